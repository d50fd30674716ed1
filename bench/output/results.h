/* Reads results that --json wrote, for --compare, report and advise. output.h describes their
 * format. */
#ifndef KVF_BENCH_RESULTS_H
#define KVF_BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define RESULTS_MOST_ROWS 10000

typedef struct results {
    const char *name; /* of the file; not copied */
    json_t *root;
    const char *command; /* this and the following are parts of root */
    json_t *context;     /* an object */
    json_t *rows;        /* an array of at least one object */
} results;

/*
 * Reads a file, or standard input for "-". `command` is the command whose results are expected;
 * NULL: any. Returns false, with "NAME: why" in `message` and nothing to free, if the file cannot
 * be read, is not a kvferry result, or has another command's results.
 */
bool results_read(const char *name, const char *command, results *out, char *message, size_t size);

/* The same for a document. Takes over the reference, also on failure. */
bool results_take(const char *name, json_t *root, const char *command, results *out, char *message,
                  size_t size);

void results_free(results *results);

#endif
