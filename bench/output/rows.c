#include "output/rows.h"

#include "output/compare.h"
#include "output/context.h"
#include "output/json_file.h"
#include "output/measure.h"
#include "base/options.h"
#include "output/results.h"
#include "output/table.h"
#include "base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_NOTES 10

struct report {
    json_t *root, *rows; /* rows is a part of root */
    results before;      /* what is compared with; root is NULL for nothing */
    const char *command;
    FILE *json; /* NULL: none */
    const char *json_name;
    const char *notes[MAX_NOTES];
    size_t note_count;
};

enum { KEY_JSON = 0x1000, KEY_COMPARE };

static const struct argp_option options[] = {
    {"json", KEY_JSON, "FILE", 0,
     "Write the results to FILE as JSON; - is standard output, instead of the text", 90},
    {"compare", KEY_COMPARE, "FILE", 0,
     "Set the results beside those that --json stored in FILE, with ratios, and say which differ "
     "by "
     "more than noise",
     90},
    {0},
};

static const option_rule rules[] = {
    SETS(KEY_JSON, report_options, json), SETS(KEY_COMPARE, report_options, compare), {0}};

/* No command with results takes arguments. */
static error_t parse(int key, char *argument, struct argp_state *state) {
    if (key == ARGP_KEY_ARG) {
        argp_error(state, "'%s' is one argument too many", argument);
    }
    return option_set(options, rules, key, argument, state);
}

const struct argp report_argp = {.options = options, .parser = parse};

static FILE *open_json(const char *name) {
    if (name == NULL || strcmp(name, "-") == 0) {
        return name == NULL ? NULL : stdout;
    }
    FILE *file = fopen(name, "w");
    if (file == NULL) {
        fail(EXIT_USAGE, "%s: cannot be written: %s", name, strerror(errno));
    }
    return file;
}

report *report_open(const report_options *options_given, const char *command, const char *engine) {
    report *opened = must_grow(NULL, 1, sizeof(*opened));
    *opened = (report){.json_name = options_given->json, .command = command};
    if (options_given->compare != NULL) {
        /* First: the new results may go to the same file. */
        char message[512];
        if (!results_read(options_given->compare, command, &opened->before, message,
                          sizeof(message))) {
            fail(EXIT_USAGE, "%s", message);
        }
    }
    opened->json = open_json(options_given->json);
    opened->rows = json_array();
    opened->root = json_pack("{s:i, s:s, s:o, s:O}", "schema_version", REPORT_SCHEMA, "command",
                             command, "context", context_make(engine), "rows", opened->rows);
    if (opened->root == NULL) {
        fail(EXIT_CHECK, "out of memory for results");
    }
    return opened;
}

json_t *report_context(report *report) {
    return json_object_get(report->root, "context");
}

void report_begin(report *report) {
    if (report->json != stdout) {
        context_print(report_context(report), stdout);
        fputc('\n', stdout);
        fflush(stdout); /* an error stays, and is told of in the end */
    }
}

json_t *report_row(report *report) {
    json_t *row = json_object();
    if (json_array_append_new(report->rows, row) != 0) {
        fail(EXIT_CHECK, "out of memory for results");
    }
    return row;
}

static void set(json_t *row, const char *key, json_t *value) {
    if (json_object_set_new(row, key, value) != 0) {
        fail(EXIT_CHECK, "out of memory for results");
    }
}

void row_text(json_t *row, const char *key, const char *value) {
    set(row, key, json_text(value));
}

void row_count(json_t *row, const char *key, uint64_t value) {
    set(row, key, json_integer((json_int_t)value));
}

void row_real(json_t *row, const char *key, double value) {
    set(row, key, isfinite(value) ? json_real(value) : json_null());
}

void row_flag(json_t *row, const char *key, bool value) {
    set(row, key, json_boolean(value));
}

static void row_named(json_t *row, const char *name, const char *unit, double value) {
    char key[32];
    snprintf(key, sizeof(key), "%s_%s", name, unit);
    row_real(row, key, value);
}

static void row_known(json_t *row, const char *key, bool known, bool value) {
    set(row, key, known ? json_boolean(value) : json_null());
}

void row_summary(json_t *row, const char *unit, double per_unit, const summary *summary) {
    row_count(row, "samples", summary->count);
    row_named(row, "median", unit, summary->median / per_unit);
    row_named(row, "p10", unit, summary->p10 / per_unit);
    row_named(row, "p90", unit, summary->p90 / per_unit);
    row_named(row, "p99", unit, summary->p99 / per_unit);
    row_named(row, "max", unit, summary->max / per_unit);
    row_real(row, "spread", summary->spread);
    row_known(row, "noisy", isfinite(summary->spread), summary->spread > NOISE_BOUND);
}

void row_verified(json_t *row, bool checked, bool right) {
    row_known(row, "verified", checked, right);
}

void report_note(report *report, const char *note) {
    if (report->note_count < MAX_NOTES) {
        report->notes[report->note_count++] = note;
    }
}

static bool write_value(FILE *out, const json_t *value) {
    return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) == 0;
}

/* A row a line, and a line for everything else, for grep and diff. */
static bool write_document(FILE *out, json_t *root) {
    const char *key, *comma = "{";
    json_t *value, *row;
    bool written = true; /* beside what the stream knows */
    json_object_foreach(root, key, value) {
        size_t i;
        fprintf(out, "%s\n\"%s\": ", comma, key);
        comma = ",";
        if (!json_is_array(value)) {
            written = write_value(out, value) && written;
            continue;
        }
        fputc('[', out);
        json_array_foreach(value, i, row) {
            fputs(i > 0 ? ",\n" : "\n", out);
            written = write_value(out, row) && written;
        }
        fputc(']', out);
    }
    fputs("\n}\n", out);
    return fflush(out) == 0 && !ferror(out) && written;
}

static void write_json(const report *report) {
    const char *name = report->json == stdout ? "standard output" : report->json_name;
    errno = 0;
    bool written = write_document(report->json, report->root);
    if (report->json != stdout) {
        written = fclose(report->json) == 0 && written;
    }
    /* close_stdout will tell of an error of stdout's. */
    if (!written && !(report->json == stdout && ferror(stdout))) {
        fail(EXIT_CHECK, "%s: write failed: %s", name, strerror(errno));
    }
}

/* How many rows have this key, or have it true. */
static size_t count_rows(const report *report, const char *key, bool all) {
    size_t i, count = 0;
    json_t *row;
    json_array_foreach(report->rows, i, row) {
        const json_t *value = json_object_get(row, key);
        count += all ? value != NULL : json_is_true(value);
    }
    return count;
}

static void add_noise(const report *report) {
    set(report->root, "noise",
        json_pack("{s:f, s:I, s:I}", "bound", NOISE_BOUND, "rows",
                  (json_int_t)json_array_size(report->rows), "noisy",
                  (json_int_t)count_rows(report, "noisy", false)));
}

static void add_comparison(const report *report) {
    if (report->before.root != NULL) {
        set(report->root, "compare",
            compare_documents(report->command, report->root, report->before.root,
                              report->before.name));
    }
}

static void print_noise(const report *report) {
    size_t noisy = count_rows(report, "noisy", false);
    if (noisy > 0) {
        printf("\nNOISY: %zu of %zu rows spread by more than %.0f%%: (p90 - p10) / median\n", noisy,
               json_array_size(report->rows), NOISE_BOUND * 100);
    }
}

static void print_notes(const report *report) {
    for (size_t i = 0; i < report->note_count; i++) {
        printf("%s%s\n", i == 0 ? "\n" : "", report->notes[i]);
    }
    if (count_rows(report, "samples", true) > 0) {
        printf("spread = (p90 - p10) / median, noisy above %.0f%%; p99 needs 100 samples\n",
               NOISE_BOUND * 100);
    }
}

static void write_text(const report *report) {
    const json_t *comparison = json_object_get(report->root, "compare");
    table_print(report->rows, stdout);
    print_notes(report);
    print_noise(report);
    if (comparison != NULL) {
        fputc('\n', stdout);
        compare_print(comparison, stdout);
    }
    fflush(stdout); /* before what is said of it */
}

void report_close(report *report) {
    add_noise(report);
    add_comparison(report);
    if (report->json != stdout) {
        write_text(report);
    }
    if (report->json != NULL) {
        write_json(report);
    }
    bool nothing_compared = report->before.root != NULL && !compare_found(report->root);
    const char *before_name = report->before.name;
    results_free(&report->before);
    json_decref(report->rows);
    json_decref(report->root);
    free(report);
    if (nothing_compared) { /* only now: what was measured is kept */
        fail(EXIT_USAGE, "%s: has no row of what was measured now", before_name);
    }
}

void close_stdout(void) {
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) != 0 || failed) {
        fprintf(stderr, "kvferry: standard output: write failed%s%s\n", errno != 0 ? ": " : "",
                errno != 0 ? strerror(errno) : "");
        _exit(EXIT_CHECK);
    }
}

void progress_step(progress *progress, uint64_t done, uint64_t total) {
    uint64_t now = clock_ns();
    if (now - progress->shown_ns < 100000000 || !isatty(STDERR_FILENO)) {
        return;
    }
    progress->shown_ns = now;
    fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64, progress->what, done, total);
}

void progress_end(progress *progress) {
    if (progress->shown_ns != 0) {
        fputs("\r\033[K", stderr);
    }
}
