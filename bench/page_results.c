#include "page_results.h"

#include "page_text.h"
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The schemas that are known. */
enum { FIRST_VERSION = 1, LAST_VERSION = 2 };

/* Reads all of it, bounded; the caller frees it. */
static char *read_all(const char *name, size_t *length) {
    bool from_stdin = strcmp(name, "-") == 0;
    FILE *file = from_stdin ? stdin : fopen(name, "r");
    char *text = NULL;
    size_t capacity = 0, got = 1;
    if (file == NULL) {
        fail(EXIT_USAGE, "%s: cannot be opened: %s", name, strerror(errno));
    }
    for (*length = 0; got > 0 && *length <= RESULTS_MOST_BYTES; *length += got) {
        capacity = *length == capacity ? capacity + capacity / 2 + 65536 : capacity;
        text = must_grow(text, capacity, 1);
        got = fread(text + *length, 1, capacity - *length, file);
    }
    if (ferror(file)) {
        fail(EXIT_USAGE, "%s: cannot be read: %s", name, strerror(errno));
    }
    if (*length > RESULTS_MOST_BYTES) {
        fail(EXIT_USAGE, "%s: has more than %zu bytes", name, RESULTS_MOST_BYTES);
    }
    if (!from_stdin) {
        fclose(file);
    }
    return text;
}

/* The parser quotes what it found, which is not to reach a terminal as it is. */
static void make_printable(char *text) {
    for (; *text != '\0'; text++) {
        *text = isprint((unsigned char)*text) ? *text : '?';
    }
}

static json_t *parse(const char *name) {
    json_error_t error;
    size_t length;
    char *text = read_all(name, &length);
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (root == NULL) {
        make_printable(error.text);
        fail(EXIT_USAGE, "%s:%d: not JSON: %s", name, error.line, error.text);
    }
    return root;
}

static void check_version(const char *name, const json_t *root) {
    const json_t *version = json_object_get(root, "schema_version");
    if (!json_is_integer(version)) {
        fail(EXIT_USAGE, "%s: no results of kvferry's: there is no schema_version", name);
    }
    json_int_t number = json_integer_value(version);
    if (number < FIRST_VERSION || number > LAST_VERSION) {
        fail(EXIT_USAGE, "%s: has schema_version %lld; this kvferry reads %d to %d", name,
             (long long)number, FIRST_VERSION, LAST_VERSION);
    }
}

static void check_objects(const char *name, const char *what, const json_t *rows) {
    const json_t *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        if (!json_is_object(row)) {
            fail(EXIT_USAGE, "%s: %s %zu is no object", name, what, i);
        }
    }
}

static void check_rows(const char *name, const json_t *rows) {
    if (!json_is_array(rows) || json_array_size(rows) == 0) {
        fail(EXIT_USAGE, "%s: has no rows", name);
    }
    if (json_array_size(rows) > RESULTS_MOST_ROWS) {
        fail(EXIT_USAGE, "%s: has more than %d rows", name, RESULTS_MOST_ROWS);
    }
    check_objects(name, "row", rows);
}

void results_read(const char *name, results *results) {
    *results = (struct results){.name = name, .root = parse(name)};
    check_version(name, results->root);
    results->context = json_object_get(results->root, "context");
    results->rows = json_object_get(results->root, "rows");
    if (!json_is_object(results->context)) {
        fail(EXIT_USAGE, "%s: has no context", name);
    }
    check_rows(name, results->rows);
    check_objects(name, "compared row",
                  json_object_get(json_object_get(results->root, "compare"), "rows"));
}

void results_free(results *results) {
    json_decref(results->root);
}

/* Doubts */

/* Whether it is of something that moves data. */
static bool moves(const json_t *row) {
    return json_object_get(row, "op") == NULL && json_object_get(row, "way") == NULL;
}

static unsigned doubts_of_check(const json_t *row) {
    const json_t *verified = json_object_get(row, "verified");
    const json_t *corrupt = json_object_get(row, "corrupt_blocks");
    if (json_is_false(verified) || json_integer_value(corrupt) > 0) {
        return DOUBT_CORRUPT;
    }
    bool looked_at = !json_is_null(verified) && !json_is_null(corrupt);
    return looked_at || !moves(row) ? 0 : DOUBT_UNVERIFIED;
}

unsigned row_doubts(const results *results, const json_t *row) {
    unsigned doubts = doubts_of_check(row);
    if (json_is_true(json_object_get(row, "noisy"))) {
        doubts |= DOUBT_NOISY;
    }
    if (json_is_true(json_object_get(row, "imitated")) ||
        json_is_true(json_object_get(results->context, "imitated"))) {
        doubts |= DOUBT_IMITATED;
    }
    return doubts;
}

unsigned results_doubts(const results *results) {
    const json_t *row;
    size_t i;
    unsigned doubts = 0;
    json_array_foreach(results->rows, i, row) {
        doubts |= row_doubts(results, row);
    }
    return doubts;
}

char *doubts_text(unsigned doubts) {
    static const struct {
        unsigned doubt;
        const char *text;
    } all[] = {{DOUBT_CORRUPT, "CORRUPT"},
               {DOUBT_NOISY, "NOISY"},
               {DOUBT_UNVERIFIED, "not verified"},
               {DOUBT_IMITATED, "IMITATED"}};
    sheet sheet;
    const char *before = "";
    sheet_open(&sheet);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if ((doubts & all[i].doubt) != 0) {
            fprintf(sheet.out, "%s%s", before, all[i].text);
            before = ", ";
        }
    }
    return sheet_close(&sheet);
}
