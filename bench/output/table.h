/* Rows as a table for people. */
#ifndef KVF_BENCH_TABLE_H
#define KVF_BENCH_TABLE_H

#include <jansson.h>
#include <stdio.h>

/*
 * One row: a line for each value. Several: what is the same in all of them first, then a column for
 * each key that varies. What is null in all rows is left out. The rows have the same keys.
 */
void table_print(const json_t *rows, FILE *out);

#endif
