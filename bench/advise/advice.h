/* What `kvferry advise` says of each pair of layouts, and which it prefers. */
#ifndef KVF_BENCH_ADVICE_H
#define KVF_BENCH_ADVICE_H

#include "advise/forecast.h"
#include "advise/paper_layouts.h"
#include "advise/stored_results.h"
#include "output/output.h"

/* Tokens of the contexts that are looked at. */
enum { CONTEXT_SHORT, CONTEXT_LONG, CONTEXTS };
extern const uint64_t context_tokens[CONTEXTS];

typedef struct advice_source {
    const forecast *forecast;      /* NULL: none */
    const stored_results *results; /* NULL: none; goes before the forecast */
} advice_source;

/* A pair of layouts under one pattern of block ids. */
typedef struct advice {
    layout_pair pair;
    const id_pattern *pattern;
    size_t regions;                            /* of the device layout */
    kvf_move_summary moved;                    /* what bringing in the short context amounts to */
    prediction in[CONTEXTS], out, first_layer; /* `out` and first_layer: of the short context */
    double out_gbps, in_gbps;
} advice;

/* All pairs under all patterns; the caller frees them. */
advice *advice_make(const kv_blocks *kv, const id_pattern *patterns, size_t pattern_count,
                    const id_pattern *host_pattern, const advice_source *source, size_t *count);

void advice_row(const advice *advice, const kv_blocks *kv, json_t *row);

/* A pair by the pattern under which it does worst. */
typedef struct verdict {
    const advice *worst;
    double cost; /* microseconds to bring the short context in; without a prediction, pieces */
    bool predicted;
} verdict;

/* The best pair of a device layout (NULL: of all), and the worst. Of pairs that are within 2
 * percent of each other the one first listed. false where nothing is to be said. */
bool advice_best(const advice *advice, size_t count, const char *device, verdict *best,
                 verdict *worst);

#endif
