/* Reading results that `--json` wrote: report.h has their form. */
#ifndef KVF_BENCH_PAGE_RESULTS_H
#define KVF_BENCH_PAGE_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* More is not read. */
#define RESULTS_MOST_BYTES ((size_t)32 << 20)
#define RESULTS_MOST_ROWS  10000

typedef struct results {
    const char *name; /* the file's */
    json_t *root;
    json_t *context; /* an object, of root */
    json_t *rows;    /* one or more objects, of root */
} results;

/* Reads a file, or standard input for "-"; `name` has to outlive the results. Ends the program with
 * EXIT_USAGE and a message for what cannot be read or is none of kvferry's results. */
void results_read(const char *name, results *results);
void results_free(results *results);

/* Why a row is to be taken with care; bits. */
enum {
    DOUBT_NOISY = 1,      /* its samples differ too much */
    DOUBT_UNVERIFIED = 2, /* what was moved was not looked at */
    DOUBT_CORRUPT = 4,    /* it was, and was wrong */
    DOUBT_IMITATED = 8,   /* no machine took this time */
};

unsigned row_doubts(const results *results, const json_t *row);

/* All rows' and the context's. */
unsigned results_doubts(const results *results);

/* "NOISY, not verified"; what a reader is to know. The caller frees it; "" for no doubts. */
char *doubts_text(unsigned doubts);

#endif
