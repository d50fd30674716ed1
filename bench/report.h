/* Results: a context and rows, as human text and as JSON.
 *
 *     {"schema_version": 1, "context": {...}, "rows": [{...}, ...]}
 *
 * A row is an object; its keys keep the order in which they were set, which is that of the columns.
 */
#ifndef KVF_BENCH_REPORT_H
#define KVF_BENCH_REPORT_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct report report;

/* Where results go; what `report_argp` sets. */
typedef struct report_options {
    const char *json; /* --json: a file, "-" for stdout, NULL for none */
} report_options;

/* A child parser with the report's options; its input is a report_options. */
extern const struct argp report_argp;

/* Opens the JSON file, if there is to be one: an error then ends the program before the work. */
report *report_open(const report_options *options, const char *engine);

/* What the results were measured with and on, to be added to; the report's. */
json_t *report_context(report *report);

/* A new, empty row; the report's. */
json_t *report_row(report *report);

/* Set one value of a row. What was not measured is NULL or NaN, and becomes null. */
void row_text(json_t *row, const char *key, const char *value);
void row_count(json_t *row, const char *key, uint64_t value);
void row_real(json_t *row, const char *key, double value);
void row_flag(json_t *row, const char *key, bool value);

/* A line under the human table: the formula behind a column. Static text. */
void report_note(report *report, const char *note);

/* Writes everything and frees the report; ends the program when something cannot be written. */
void report_close(report *report);

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
