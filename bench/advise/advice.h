/* The rows of `kvferry advise`, one per pair of layouts and pattern, and the best pair. */
#ifndef KVF_BENCH_ADVICE_H
#define KVF_BENCH_ADVICE_H

#include "advise/forecast.h"
#include "advise/paper_layouts.h"
#include "advise/stored_results.h"
#include "output/output.h"

/* The contexts, and their tokens. */
enum { CONTEXT_SHORT, CONTEXT_LONG, CONTEXTS };
extern const uint64_t context_tokens[CONTEXTS];

typedef struct advice_source {
    const forecast *forecast;      /* NULL: none */
    const stored_results *results; /* NULL: none; takes precedence over the forecast */
} advice_source;

/* A pair of layouts with one pattern of block ids. */
typedef struct advice {
    layout_pair pair;
    const id_pattern *pattern;
    size_t regions;                            /* of the device layout */
    kvf_move_summary moved;                    /* onboarding the short context */
    prediction in[CONTEXTS], out, first_layer; /* out, first_layer: of the short context */
    double out_gbps, in_gbps;
} advice;

/* All pairs with all patterns. The caller frees the array. */
advice *advice_make(const kv_blocks *kv, const id_pattern *patterns, size_t pattern_count,
                    const id_pattern *host_pattern, const advice_source *source, size_t *count);

void advice_row(const advice *advice, const kv_blocks *kv, json_t *row);

/* A pair, judged by its worst pattern. */
typedef struct verdict {
    const advice *worst;
    double cost; /* microseconds to onboard the short context; without a prediction its pieces */
    bool predicted;
} verdict;

/* The best and the worst pair of a device layout (NULL: of all). Of pairs within 2 percent of each
 * other the first is the best. Returns false if there is no pair. */
bool advice_best(const advice *advice, size_t count, const char *device, verdict *best,
                 verdict *worst);

#endif
