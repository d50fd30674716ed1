/* What a reader of results is to know of them. */
#ifndef KVF_BENCH_PAGE_RESULTS_H
#define KVF_BENCH_PAGE_RESULTS_H

#include "results.h"

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
