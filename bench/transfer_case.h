/* One row of `kvferry bench transfer`: a transfer, measured beside the link's own copy. */
#ifndef KVF_BENCH_TRANSFER_CASE_H
#define KVF_BENCH_TRANSFER_CASE_H

#include "store.h"

/* How the block ids of the device side advance while those of the other side count up. */
typedef struct id_pattern {
    const char *name; /* as given: contiguous, run:8, stride:2, random */
    enum { PATTERN_CONTIGUOUS, PATTERN_RUN, PATTERN_STRIDE, PATTERN_RANDOM } kind;
    size_t step; /* blocks of a run, or from one id to the next */
} id_pattern;

/* false for a text that is no pattern. `text` is kept. */
bool id_pattern_parse(const char *text, id_pattern *pattern);

typedef struct transfer_case {
    const direction *direction;
    size_t blocks, regions, fragment_bytes;
    const arrangement *host_layout;
    id_pattern pattern;
    size_t samples;
    bool verify;
} transfer_case;

/* Medians of the samples; times in nanoseconds. */
typedef struct transfer_result {
    uint64_t bytes, boxes;
    const char *strategy; /* NULL where the engine has only one */
    double median_ns;     /* submit to completion */
    double p99_ns;        /* NaN under 100 samples */
    double submit_ns, cpu_ns;
    double link_ns;        /* the best way's */
    size_t corrupt_blocks; /* in all samples */
} transfer_result;

/* Ends the program when a transfer fails. */
transfer_result transfer_case_run(backend *backend, const transfer_case *chosen);

#endif
