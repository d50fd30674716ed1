#include "page_table.h"

#include "page_text.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers in full, for who reads the page by machine. */
static void put_value(FILE *out, json_t *value) {
    char *text = value_text(value);
    if (json_is_integer(value)) {
        fprintf(out, "<data value=\"%" JSON_INTEGER_FORMAT "\">%s</data>",
                json_integer_value(value), text);
    } else if (json_is_real(value)) {
        fprintf(out, "<data value=\"%.9g\">%s</data>", json_real_value(value), text);
    } else {
        put_text(out, text, 0);
    }
    free(text);
}

void put_pair(FILE *out, const char *key, json_t *value) {
    fputs("<div><dt>", out);
    put_text(out, key, 0);
    fputs("</dt><dd>", out);
    put_value(out, value);
    fputs("</dd></div>\n", out);
}

/* The values of an object one level below, or the one value. */
static void put_inner(FILE *out, json_t *value) {
    const char *key;
    json_t *inner;
    if (!json_is_object(value)) {
        fputs("<td>", out);
        put_value(out, value);
        fputs("</td>", out);
        return;
    }
    json_object_foreach(value, key, inner) {
        fputs("<td>", out);
        put_text(out, key, 0);
        fputs(" ", out);
        put_value(out, inner);
        fputs("</td>", out);
    }
}

void put_object(FILE *out, const char *name, json_t *object) {
    const char *key;
    json_t *value;
    fputs("<details><summary>", out);
    put_text(out, name, 0);
    fputs("</summary>\n<div class=\"scroll\" tabindex=\"0\"><table><tbody>\n", out);
    json_object_foreach(object, key, value) {
        fputs("<tr>", out);
        put_cell_text(out, key);
        put_inner(out, value);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

/* What a comparison is made for keeps its columns, alike or not. */
static bool is_compared(const char *key) {
    static const char *const keys[] = {"now", "before", "ratio", "noise", "verdict"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* Keys of all rows, in the order in which they come, each with true when it takes a column. The
 * caller drops it. */
static json_t *find_keys(const json_t *rows) {
    json_t *keys = json_object();
    size_t i;
    json_t *row, *value;
    const char *key;
    json_array_foreach(rows, i, row) {
        json_object_foreach(row, key, value) {
            bool varies =
                is_compared(key) ||
                (i > 0 && !json_equal(json_object_get(json_array_get(rows, 0), key), value));
            if (varies || json_object_get(keys, key) == NULL) {
                if (json_object_set_new(keys, key, json_boolean(varies)) != 0) {
                    fail(EXIT_CHECK, "out of memory for a page");
                }
            }
        }
    }
    return keys;
}

/* A key that some row lacks varies as well. */
static void find_gaps(const json_t *rows, json_t *keys) {
    size_t i;
    json_t *row, *value;
    const char *key;
    json_array_foreach(rows, i, row) {
        if (json_object_size(row) == json_object_size(keys)) {
            continue;
        }
        json_object_foreach(keys, key, value) {
            if (json_object_get(row, key) == NULL) {
                json_object_set_new(keys, key, json_true());
            }
        }
    }
}

static void put_same(FILE *out, const json_t *rows, json_t *keys) {
    const char *key;
    json_t *varies;
    fputs("<dl class=\"pairs\">\n", out);
    json_object_foreach(keys, key, varies) {
        if (!json_is_true(varies)) {
            put_pair(out, key, json_object_get(json_array_get(rows, 0), key));
        }
    }
    fputs("</dl>\n", out);
}

static void put_cells(FILE *out, const json_t *row, json_t *keys) {
    const char *key;
    json_t *varies;
    json_object_foreach(keys, key, varies) {
        if (json_is_true(varies)) {
            json_t *value = json_object_get(row, key);
            fprintf(out, "<td%s>", json_is_string(value) ? " class=\"word\"" : "");
            put_value(out, value);
            fputs("</td>", out);
        }
    }
}

/* `results`: NULL for rows without doubts. */
static void put_line(FILE *out, const results *results, const json_t *row, json_t *keys) {
    fputs("<tr>", out);
    put_cells(out, row, keys);
    if (results != NULL) {
        char *doubts = doubts_text(row_doubts(results, row));
        fprintf(out, "<td class=\"word flag\">%s</td>", doubts);
        free(doubts);
    }
    fputs("</tr>\n", out);
}

/* Words stand at the left, as they do in the first row. */
static void put_head(FILE *out, const json_t *first, json_t *keys, bool doubts) {
    const char *key;
    json_t *varies;
    fputs("<thead><tr>", out);
    json_object_foreach(keys, key, varies) {
        if (json_is_true(varies)) {
            bool word = json_is_string(json_object_get(first, key));
            fprintf(out, "<th scope=\"col\"%s>", word ? " class=\"word\"" : "");
            put_text(out, key, 0);
            fputs("</th>", out);
        }
    }
    fprintf(out, "%s</tr></thead>\n<tbody>\n",
            doubts ? "<th scope=\"col\" class=\"word\">beware</th>" : "");
}

static bool has_columns(json_t *keys) {
    const char *key;
    json_t *varies;
    json_object_foreach(keys, key, varies) {
        if (json_is_true(varies)) {
            return true;
        }
    }
    return false;
}

static void put_lines(FILE *out, const results *results, const json_t *rows) {
    const json_t *row;
    size_t i;
    json_t *keys = find_keys(rows);
    find_gaps(rows, keys);
    put_same(out, rows, keys);
    if (has_columns(keys)) {
        fputs("<div class=\"scroll\" tabindex=\"0\"><table>\n", out);
        put_head(out, json_array_get(rows, 0), keys, results != NULL);
        json_array_foreach(rows, i, row) {
            put_line(out, results, row, keys);
        }
        fputs("</tbody></table></div>\n", out);
    }
    json_decref(keys);
}

void put_rows(FILE *out, const results *results) {
    size_t count = json_array_size(results->rows);
    fprintf(out, "<details><summary>All values of %zu row%s</summary>\n", count,
            count == 1 ? "" : "s");
    put_lines(out, results, results->rows);
    fputs("</details>\n", out);
}

void put_plain_rows(FILE *out, const char *title, const json_t *rows) {
    fprintf(out, "<details open=\"\"><summary>%s</summary>\n", title);
    put_lines(out, NULL, rows);
    fputs("</details>\n", out);
}

void put_table_begin(FILE *out, const char *title, const char *const *columns) {
    fprintf(out,
            "<details><summary>%s</summary>\n<div class=\"scroll\" tabindex=\"0\"><table>\n"
            "<thead><tr>",
            title);
    for (; *columns != NULL; columns++) {
        fprintf(out, "<th scope=\"col\">%s</th>", *columns);
    }
    fputs("</tr></thead>\n<tbody>\n", out);
}

void put_table_end(FILE *out) {
    fputs("</tbody></table></div></details>\n", out);
}

void put_cell_text(FILE *out, const char *text) {
    fputs("<td class=\"word\">", out);
    put_text(out, text, 0);
    fputs("</td>", out);
}

void put_cell_number(FILE *out, double value, const char *text) {
    if (isfinite(value)) {
        fprintf(out, "<td><data value=\"%.9g\">%s</data></td>", value, text);
    } else {
        fputs("<td>-</td>", out);
    }
}
