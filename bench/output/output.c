#include "output/output.h"

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

struct output {
    json_t *root, *rows; /* rows is a part of root */
    results before;      /* the run to compare with; root is NULL without one */
    const char *command;
    FILE *json; /* NULL: none */
    const char *json_name;
    const char *notes[MAX_NOTES];
    size_t note_count;
};

enum { KEY_JSON = 0x1000, KEY_COMPARE };

static const struct argp_option options[] = {
    {"json", KEY_JSON, "FILE", 0,
     "Write the results to FILE as JSON; - is standard output, which replaces the text", 90},
    {"compare", KEY_COMPARE, "FILE", 0,
     "Compare the results with those that --json stored in FILE: ratios, and which differ by more "
     "than noise",
     90},
    {0},
};

static const option_rule rules[] = {
    SETS(KEY_JSON, output_options, json), SETS(KEY_COMPARE, output_options, compare), {0}};

/* Commands with results take no arguments. */
static error_t parse(int key, char *argument, struct argp_state *state) {
    if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument '%s'", argument);
    return option_set(options, rules, key, argument, state);
}

const struct argp output_argp = {.options = options, .parser = parse};

static FILE *open_json(const char *name) {
    if (!name || strcmp(name, "-") == 0)
        return name ? stdout : NULL;
    FILE *file = fopen(name, "w");
    if (!file)
        fail(EXIT_USAGE, "%s: cannot be written: %s", name, strerror(errno));
    return file;
}

output *output_open(const output_options *options_given, const char *command, const char *engine) {
    output *opened = must_grow(NULL, 1, sizeof *opened);
    *opened = (output){.json_name = options_given->json, .command = command};
    if (options_given->compare) {
        /* Read first: the new results may replace the same file. */
        char message[512];
        if (!results_read(options_given->compare, command, &opened->before, message,
                          sizeof message))
            fail(EXIT_USAGE, "%s", message);
    }
    opened->json = open_json(options_given->json);
    opened->rows = json_array();
    opened->root = json_pack("{s:i, s:s, s:o, s:O}", "schema_version", OUTPUT_SCHEMA, "command",
                             command, "context", context_make(engine), "rows", opened->rows);
    if (!opened->root)
        fail(EXIT_CHECK, "out of memory for results");
    return opened;
}

json_t *output_context(output *output) {
    return json_object_get(output->root, "context");
}

void output_begin(output *output) {
    if (output->json != stdout) {
        context_print(output_context(output), stdout);
        fputc('\n', stdout);
        fflush(stdout); /* close_stdout reports an error */
    }
}

json_t *output_row(output *output) {
    json_t *row = json_object();
    if (json_array_append_new(output->rows, row) != 0)
        fail(EXIT_CHECK, "out of memory for results");
    return row;
}

static void set(json_t *row, const char *key, json_t *value) {
    if (json_object_set_new(row, key, value) != 0)
        fail(EXIT_CHECK, "out of memory for results");
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
    snprintf(key, sizeof key, "%s_%s", name, unit);
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

void output_note(output *output, const char *note) {
    if (output->note_count < MAX_NOTES)
        output->notes[output->note_count++] = note;
}

static bool write_value(FILE *out, const json_t *value) {
    return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) == 0;
}

/* One line per row and one for everything else, for grep and diff. */
static bool write_document(FILE *out, json_t *root) {
    const char *key, *comma = "{";
    json_t *value, *row;
    bool written = true; /* errors that the stream does not record */
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

static void write_json(const output *output) {
    const char *name = output->json == stdout ? "standard output" : output->json_name;
    errno = 0;
    bool written = write_document(output->json, output->root);
    if (output->json != stdout)
        written = fclose(output->json) == 0 && written;
    /* close_stdout reports an error of stdout. */
    if (!written && !(output->json == stdout && ferror(stdout)))
        fail(EXIT_CHECK, "%s: write failed: %s", name, strerror(errno));
}

/* The number of rows that have this key (`all`), or in which it is true. */
static size_t count_rows(const output *output, const char *key, bool all) {
    size_t i, count = 0;
    json_t *row;
    json_array_foreach(output->rows, i, row) {
        const json_t *value = json_object_get(row, key);
        count += all ? value != NULL : json_is_true(value);
    }
    return count;
}

static void add_noise(const output *output) {
    set(output->root, "noise",
        json_pack("{s:f, s:I, s:I}", "bound", NOISE_BOUND, "rows",
                  (json_int_t)json_array_size(output->rows), "noisy",
                  (json_int_t)count_rows(output, "noisy", false)));
}

static void add_comparison(const output *output) {
    if (output->before.root) {
        set(output->root, "compare",
            compare_documents(output->command, output->root, output->before.root,
                              output->before.name));
    }
}

static void print_noise(const output *output) {
    size_t noisy = count_rows(output, "noisy", false);
    if (noisy > 0) {
        printf("\nNOISY: %zu of %zu rows have a spread, (p90 - p10) / median, above %.0f%%\n",
               noisy, json_array_size(output->rows), NOISE_BOUND * 100);
    }
}

static void print_notes(const output *output) {
    for (size_t i = 0; i < output->note_count; i++)
        printf("%s%s\n", i == 0 ? "\n" : "", output->notes[i]);
    if (count_rows(output, "samples", true) > 0) {
        printf("spread = (p90 - p10) / median, noisy above %.0f%%; p99 needs 100 samples\n",
               NOISE_BOUND * 100);
    }
}

static void write_text(const output *output) {
    const json_t *comparison = json_object_get(output->root, "compare");
    table_print(output->rows, stdout);
    print_notes(output);
    print_noise(output);
    if (comparison) {
        fputc('\n', stdout);
        compare_print(comparison, stdout);
    }
    fflush(stdout); /* before messages on stderr */
}

void output_close(output *output) {
    add_noise(output);
    add_comparison(output);
    if (output->json != stdout)
        write_text(output);
    if (output->json)
        write_json(output);
    bool nothing_compared = output->before.root && !compare_found(output->root);
    const char *before_name = output->before.name;
    results_free(&output->before);
    json_decref(output->rows);
    json_decref(output->root);
    free(output);
    if (nothing_compared) /* only now: the results are written */
        fail(EXIT_USAGE, "%s: has no row that matches these results", before_name);
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
    if (now - progress->shown_ns < 100000000 || !isatty(STDERR_FILENO))
        return;
    progress->shown_ns = now;
    fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64, progress->what, done, total);
}

void progress_end(progress *progress) {
    if (progress->shown_ns != 0)
        fputs("\r\033[K", stderr);
}
