/* Results that `--json` wrote, read again: by --compare, report and advise. report.h has their
 * form. */
#ifndef KVF_BENCH_RESULTS_H
#define KVF_BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define RESULTS_MOST_ROWS 10000

typedef struct results {
    const char *name; /* the file's, which has to outlive this */
    json_t *root;
    const char *command; /* this and the rest are parts of root */
    json_t *context;     /* an object */
    json_t *rows;        /* one or more objects */
} results;

/*
 * Reads a file, or standard input for "-". `command` is the one whose results are wanted; NULL:
 * any. false, with "NAME: why" in `message`, for what cannot be read, is none of kvferry's results,
 * or another command's; then there is nothing to free.
 */
bool results_read(const char *name, const char *command, results *out, char *message, size_t size);

/* The same of a document, whose reference is taken, also on failure. */
bool results_take(const char *name, json_t *root, const char *command, results *out, char *message,
                  size_t size);

void results_free(results *results);

#endif
