#include "report.h"

#include "context.h"
#include "measure.h"
#include "table.h"
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_NOTES 8

struct report {
    json_t *root, *rows; /* rows is a part of root */
    FILE *json;          /* NULL: none */
    const char *json_name;
    const char *notes[MAX_NOTES];
    size_t note_count;
};

enum { KEY_JSON = 0x1000 };

static const struct argp_option options[] = {
    {"json", KEY_JSON, "FILE", 0,
     "Write the results to FILE as JSON; - is standard output, instead of the text", 90},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    report_options *chosen = state->input;
    if (key != KEY_JSON) {
        return ARGP_ERR_UNKNOWN;
    }
    chosen->json = argument;
    return 0;
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

report *report_open(const report_options *options_given, const char *engine) {
    report *opened = must_grow(NULL, 1, sizeof(*opened));
    *opened = (report){.json = open_json(options_given->json), .json_name = options_given->json};
    opened->rows = json_array();
    opened->root = json_pack("{s:i, s:o, s:O}", "schema_version", 1, "context",
                             context_make(engine), "rows", opened->rows);
    if (opened->root == NULL) {
        fail(EXIT_CHECK, "out of memory for results");
    }
    return opened;
}

json_t *report_context(report *report) {
    return json_object_get(report->root, "context");
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
    set(row, key, value != NULL ? json_string(value) : json_null());
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

void report_note(report *report, const char *note) {
    if (report->note_count < MAX_NOTES) {
        report->notes[report->note_count++] = note;
    }
}

static void write_json(const report *report) {
    const char *name = report->json == stdout ? "standard output" : report->json_name;
    errno = 0;
    bool written =
        json_dumpf(report->root, report->json, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
        fputc('\n', report->json) != EOF && fflush(report->json) == 0;
    if (report->json != stdout) {
        written = fclose(report->json) == 0 && written;
    }
    /* close_stdout will tell of an error of stdout's. */
    if (!written && !(report->json == stdout && ferror(stdout))) {
        fail(EXIT_CHECK, "%s: write failed: %s", name, strerror(errno));
    }
}

static void write_text(const report *report) {
    context_print(json_object_get(report->root, "context"), stdout);
    fputc('\n', stdout);
    table_print(report->rows, stdout);
    for (size_t i = 0; i < report->note_count; i++) {
        printf("%s%s\n", i == 0 ? "\n" : "", report->notes[i]);
    }
}

void report_close(report *report) {
    if (report->json != stdout) {
        write_text(report);
    }
    if (report->json != NULL) {
        write_json(report);
    }
    json_decref(report->rows);
    json_decref(report->root);
    free(report);
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
