#include "output/table.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define CELL_SIZE 64

/* About four digits of a number. */
static void format_real(double value, char *cell) {
    double size = fabs(value);
    int decimals = size == 0 || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
    snprintf(cell, CELL_SIZE, "%.*f", decimals, value);
}

static void format(const json_t *value, char *cell) {
    if (json_is_string(value))
        snprintf(cell, CELL_SIZE, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(cell, CELL_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        format_real(json_real_value(value), cell);
    else if (json_is_boolean(value))
        snprintf(cell, CELL_SIZE, "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(cell, CELL_SIZE, "-");
}

static bool varies(const json_t *rows, const char *key) {
    const json_t *first = json_object_get(json_array_get(rows, 0), key);
    for (size_t i = 1; i < json_array_size(rows); i++)
        if (!json_equal(first, json_object_get(json_array_get(rows, i), key)))
            return true;
    return false;
}

/* Whether a key has the same value in all rows, and not null. */
static bool is_constant(const json_t *rows, const char *key, const json_t *value) {
    return !json_is_null(value) && !varies(rows, key);
}

static size_t column_width(const json_t *rows, const char *key) {
    char cell[CELL_SIZE];
    size_t width = strlen(key);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        format(json_object_get(json_array_get(rows, i), key), cell);
        width = strlen(cell) > width ? strlen(cell) : width;
    }
    return width;
}

/* The first cell of a row is left-aligned, the others right-aligned. */
static void print_cell(const char *cell, size_t width, bool first, FILE *out) {
    if (first)
        fprintf(out, "%-*s", (int)width, cell);
    else
        fprintf(out, "  %*s", (int)width, cell);
}

/* Prints the varying columns of `row`; for NULL their names. */
static void print_line(const json_t *rows, json_t *row, FILE *out) {
    char cell[CELL_SIZE];
    const char *key;
    json_t *value;
    bool first = true;
    json_object_foreach(json_array_get(rows, 0), key, value) {
        if (varies(rows, key)) {
            format(json_object_get(row, key), cell);
            print_cell(row ? cell : key, column_width(rows, key), first, out);
            first = false;
        }
    }
    fputc('\n', out);
}

static void print_constants(const json_t *rows, FILE *out) {
    char cell[CELL_SIZE];
    const char *key;
    json_t *value;
    size_t width = 0;
    json_object_foreach(json_array_get(rows, 0), key, value) {
        width = is_constant(rows, key, value) && strlen(key) > width ? strlen(key) : width;
    }
    json_object_foreach(json_array_get(rows, 0), key, value) {
        if (is_constant(rows, key, value)) {
            format(value, cell);
            fprintf(out, "%-*s  %s\n", (int)width, key, cell);
        }
    }
}

void table_print(const json_t *rows, FILE *out) {
    size_t count = json_array_size(rows);
    print_constants(rows, out);
    if (count < 2)
        return;
    fputc('\n', out);
    print_line(rows, NULL, out);
    for (size_t i = 0; i < count; i++)
        print_line(rows, json_array_get(rows, i), out);
}
