/* The output of a command: a context and rows, as text and as JSON.
 *
 *     {"schema_version": 2,
 *      "command": "bench transfer",
 *      "context": {...}, "rows": [{...}, ...],
 *      "noise": {"bound": 0.1, "rows": 12, "noisy": 1},
 *      "compare": {...}}                    only with --compare, see compare.h
 *
 * command: "bench plan", "bench transfer", "bench pinned", "bench collective", "replay",
 * "calibrate" or "advise".
 *
 * context: the circumstances of the measurement, as context_print shows them before the work.
 *
 *     version, compiler, flags, build_type       of kvferry
 *     command_line                               quoted for a shell
 *     seed                                       of generated ids and contents
 *     date, kernel, cpu                          text
 *     cores, numa_nodes, memory_bytes            of the machine
 *     affinity                                   CPUs that the tool may run on: "0-3,8"
 *     huge_pages                                 transparent ones: "always", "madvise", "never"
 *     load                                       the machine's load average over the minute before
 *                                                the work
 *     virtual_machine                            whether the CPU reports a hypervisor
 *     engine                                     "host" or "cuda"; null in advise
 *     threads                                    of engine host
 *     gpu, driver                                text; null without a GPU
 *     cuda_driver, cuda_runtime                  versions; these and the following with engine cuda
 *     link, link_at_most                         "PCIe gen 5 x16": as it is now, and the most that
 *                                                both ends support
 *     link_gbps                                  {"h2d": 55.1, "d2h": 54.7}: large pinned copies
 *                                                before the work
 *     sm_clock_mhz, memory_clock_mhz, power_w    of the GPU, read after measuring its link; null if
 *                                                unknown, like the following
 *     sm_clock_most_mhz, memory_clock_most_mhz, power_limit_w    the maxima of these
 *     persistence, gpu_virtualisation            true or false; "none", "passthrough", "vgpu", ...
 *     pinned_bytes, pinned_huge_bytes            pinned memory, and the part of it in huge pages
 *     costs, costs_noise                         the cost table that predicts, and its noise
 *     strategies                                 {"loop": {"transfers", "bytes", "compared",
 *                                                "median_error"}}: what each moved, and the median
 *                                                relative error of its predictions
 *     calibration_seconds, calibration_noise     of calibrate; costs is null if the table was too
 *                                                noisy to be stored
 *     ranks, nccl, links_gbps                    of bench collective; one link per rank
 *     imitated                                   whether the link or GPU is imitated; not in advise
 *     trace, trace_digest                        of replay: the file's name, and "xxh64:..." as
 *                                                xxh64sum prints it (seed is then null); both null
 *                                                without a trace
 *     config, predicted_by, limits, choose,
 *     choose_device, choose_host, striped        of advise: what config.json contains, and the
 *                                                advice
 *     left_out                                   of bench transfer: combinations that --seconds
 *                                                left out
 *
 * rows: objects. The keys are in the order of the columns. Names end in the unit: _ns, _us, _ms,
 * _s, _bytes, _gbps (10^9 bytes/s). Null means not measured or not applicable. The first keys
 * describe the request; rows of two runs are matched by them, see compare.c. The other keys are the
 * results. Every measured row has:
 *
 *     samples          the number of samples
 *     median_UNIT      UNIT: ns (bench plan), us (transfer, collective, replay), s (pinned)
 *     p10_UNIT         nearest-rank percentiles, also p90 and p99
 *     p90_UNIT
 *     p99_UNIT         null below 100 samples, where it would be the maximum
 *     max_UNIT
 *     spread           (p90 - p10) / median; null for a single sample
 *     noisy            whether spread exceeds noise.bound; null if spread is null
 *     verified         whether every check passed; null if nothing was checked
 *
 * The samples of replay are its transfers, which differ in size: spread and noisy are null. Rows of
 * calibrate and advise are predictions, and have none of these keys.
 */
#ifndef KVF_BENCH_OUTPUT_H
#define KVF_BENCH_OUTPUT_H

#include "output/measure.h"

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define OUTPUT_SCHEMA 2

typedef struct output output;

/* Set by `output_argp`. */
typedef struct output_options {
    const char *json;    /* --json: a file, "-" for standard output, NULL for none */
    const char *compare; /* --compare: a file that --json wrote, NULL for none */
} output_options;

/* A child parser for --json and --compare; its input is an output_options. */
extern const struct argp output_argp;

/* Reads the run to compare with, then opens the JSON file, as far as the options ask for them.
 * Errors end the program, before the work. `command` and `engine` are static text. */
output *output_open(const output_options *options, const char *command, const char *engine);

/* The context, to add keys to. Owned by the output. */
json_t *output_context(output *output);

/* Prints the context, unless standard output is for JSON. Call it before the work. */
void output_begin(output *output);

/* Adds an empty row. Owned by the output. */
json_t *output_row(output *output);

/* Set one value of a row. NULL and NaN (not measured) become null. */
void row_text(json_t *row, const char *key, const char *value);
void row_count(json_t *row, const char *key, uint64_t value);
void row_real(json_t *row, const char *key, double value);
void row_flag(json_t *row, const char *key, bool value);

/* Sets samples, median, p10, p90, p99, max, spread and noisy. Divides the summary's values by
 * `per_unit` to get `unit`: 1000 for "us" from nanoseconds. */
void row_summary(json_t *row, const char *unit, double per_unit, const summary *summary);

/* Sets verified: null if nothing was checked. */
void row_verified(json_t *row, bool checked, bool right);

/* Adds a line below the text table, such as the formula of a column. Static text. */
void output_note(output *output, const char *note);

/* Writes everything and frees the output. Ends the program if a write fails. */
void output_close(output *output);

/* Flushes and closes standard output. Ends the program if that fails. For atexit. */
void close_stdout(void);

/* Shows the progress of long work, on a terminal only. Set `what`, zero the rest. */
typedef struct progress {
    const char *what;
    uint64_t shown_ns;
} progress;

void progress_step(progress *progress, uint64_t done, uint64_t total);
void progress_end(progress *progress);

#endif
