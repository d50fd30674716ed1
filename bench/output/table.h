/* Prints rows as a text table. */
#ifndef KVF_BENCH_TABLE_H
#define KVF_BENCH_TABLE_H

#include <jansson.h>
#include <stdio.h>

/*
 * One row: a line per value. Several rows: first a line for each key whose value all rows share,
 * then a table with a column for each key that varies. Keys that are null in all rows are left out.
 * All rows have the same keys.
 */
void table_print(const json_t *rows, FILE *out);

#endif
