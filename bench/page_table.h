/* The numbers behind a chart, as a table that opens on demand. */
#ifndef KVF_BENCH_PAGE_TABLE_H
#define KVF_BENCH_PAGE_TABLE_H

#include "page_results.h"

#include <stdio.h>

/* Everything that rows hold: what is the same in all of them first, then a line a row, with the
 * doubts of `results`' rows. Numbers are rounded to be read; <data value> has them in full. */
void put_rows(FILE *out, const results *results);

/* The same of rows of a comparison, without doubts, under static text; open from the start. */
void put_plain_rows(FILE *out, const char *title, const json_t *rows);

/* A table of its own begins and ends; `title` says what it has. Static text. */
void put_table_begin(FILE *out, const char *title, const char *const *columns);
void put_table_end(FILE *out);
void put_cell_text(FILE *out, const char *text);
void put_cell_number(FILE *out, double value, const char *text); /* NaN: a dash */

/* Keys and their values: what is the same in all rows, or a context. */
void put_pair(FILE *out, const char *key, json_t *value);

/* An object in a context, opened on demand: a line for each of its keys. */
void put_object(FILE *out, const char *name, json_t *object);

#endif
