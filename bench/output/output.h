/* Results: a context and rows, as human text and as JSON.
 *
 *     {"schema_version": 2,
 *      "command": "bench transfer",
 *      "context": {...}, "rows": [{...}, ...],
 *      "noise": {"bound": 0.1, "rows": 12, "noisy": 1},
 *      "compare": {...}}                    with --compare only, see compare.h
 *
 * command: "bench plan", "bench transfer", "bench pinned", "bench collective", "replay",
 * "calibrate" or "advise".
 *
 * context: what was measured, as context_print says it before the work.
 *
 *     version, compiler, flags, build_type       of kvferry
 *     command_line                               text, quoted as a shell wants it
 *     seed                                       of ids and contents that were made up
 *     date, kernel, cpu                          text
 *     cores, numa_nodes, memory_bytes            of the machine
 *     affinity                                   processors that the tool may run on: "0-3,8"
 *     huge_pages                                 transparent ones: "always", "madvise", "never"
 *     load                                       runnable threads of the machine, its average over
 *                                                the minute before the work
 *     virtual_machine                            whether the processor says that it is one
 *     engine                                     "host" or "cuda"; null in advise
 *     threads                                    of engine host, beside its caller's
 *     gpu, driver                                text; null without a GPU
 *     cuda_driver, cuda_runtime                  text, of engine cuda, as what follows
 *     link, link_at_most                         "PCIe gen 5 x16": now, and what both ends can do
 *     link_gbps                                  {"h2d": 55.1, "d2h": 54.7}: large pinned copies
 *                                                before the work
 *     sm_clock_mhz, memory_clock_mhz, power_w    of the GPU, after its link was measured; null when
 *                                                not known, as what follows
 *     sm_clock_most_mhz, memory_clock_most_mhz, power_limit_w    the most of these
 *     persistence, gpu_virtualisation            true or false; "none", "passthrough", "vgpu", ...
 *     pinned_bytes, pinned_huge_bytes            of engine cuda's tiers, and of that in huge pages
 *     costs, costs_noise                         the cost table that predicts, and its noise
 *     strategies                                 {"loop": {"transfers", "bytes", "compared",
 *                                                "median_error"}}: how much each moved, and by what
 *                                                share predictions were wrong
 *     calibration_seconds, calibration_noise     of calibrate; too noisy to be kept: null for costs
 *     ranks, nccl, links_gbps                    of bench collective; a link for each rank
 *     imitated                                   times are of no machine; not in advise
 *     trace, trace_digest                        of replay: its name, and "xxh64:..." as xxh64sum
 *                                                has it; seed is null then. Without a trace: null
 *     config, predicted_by, limits, choose,
 *     choose_device, choose_host, striped        of advise: what the model's file says, and advice
 *     left_out                                   of bench transfer: combinations for lack of time
 *
 * rows: objects; their keys keep the order in which they were set, which is that of the columns.
 * Names end in the unit: _ns, _us, _ms, _s, _bytes, _gbps (10^9 bytes/s). Null is what was not
 * measured or does not apply. First what was asked for, by which rows of two runs are matched, see
 * compare.c; then what was measured. All rows that are measured have
 *
 *     samples          how many
 *     median_UNIT      UNIT: ns (bench plan), us (transfer, collective, replay), s (pinned)
 *     p10_UNIT         percentiles, nearest ranks, as p90 and p99
 *     p90_UNIT
 *     p99_UNIT         null under 100 samples, which cannot tell it from max
 *     max_UNIT
 *     spread           (p90 - p10) / median; null for a single sample
 *     noisy            whether spread is above noise.bound; null with spread
 *     verified         whether every check passed; null if nothing was checked
 *
 * In replay the samples are the transfers, which differ: spread and noisy are null. Rows of
 * calibrate and advise are predictions, and have none of these.
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

/* Where results go and what they are set beside; what `output_argp` sets. */
typedef struct output_options {
    const char *json;    /* --json: a file, "-" for stdout, NULL for none */
    const char *compare; /* --compare: a stored JSON, NULL for none */
} output_options;

/* A child parser with the output's options; its input is a output_options. */
extern const struct argp output_argp;

/* Reads what is to be compared with, then opens the JSON file, if there are to be such: an error
 * then ends the program before the work. `command` and `engine` are static text. */
output *output_open(const output_options *options, const char *command, const char *engine);

/* What the results were measured with and on, to be added to; the output's. */
json_t *output_context(output *output);

/* Once the context is known, before the work: prints it where there is text. */
void output_begin(output *output);

/* A new, empty row; the output's. */
json_t *output_row(output *output);

/* Set one value of a row. What was not measured is NULL or NaN, and becomes null. */
void row_text(json_t *row, const char *key, const char *value);
void row_count(json_t *row, const char *key, uint64_t value);
void row_real(json_t *row, const char *key, double value);
void row_flag(json_t *row, const char *key, bool value);

/* Sets samples, median, p10, p90, p99, max, spread and noisy. The summary's values are `per_unit`
 * to a `unit`: 1000 for "us" of nanoseconds. */
void row_summary(json_t *row, const char *unit, double per_unit, const summary *summary);

/* Sets verified: null when nothing was checked. */
void row_verified(json_t *row, bool checked, bool right);

/* A line under the human table: the formula behind a column. Static text. */
void output_note(output *output, const char *note);

/* Writes everything and frees the report; ends the program when something cannot be written. */
void output_close(output *output);

/* Flushes stdout and closes it; ends the program when that fails. For atexit. */
void close_stdout(void);

/* Shows how far long work is, on a terminal only. Zero-initialise but for `what`. */
typedef struct progress {
    const char *what;
    uint64_t shown_ns;
} progress;

void progress_step(progress *progress, uint64_t done, uint64_t total);
void progress_end(progress *progress);

#endif
