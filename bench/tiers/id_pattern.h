/* Patterns in which the block ids of one side of a transfer advance. */
#ifndef KVF_BENCH_ID_PATTERN_H
#define KVF_BENCH_ID_PATTERN_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct id_pattern {
    const char *name; /* as given: contiguous, run:8, stride:2, random */
    enum { PATTERN_CONTIGUOUS, PATTERN_RUN, PATTERN_STRIDE, PATTERN_RANDOM } kind;
    size_t step; /* the K of run:K and stride:K; else 1 */
} id_pattern;

/* Returns false for an unknown pattern. `text` must outlive `pattern`. */
bool id_pattern_parse(const char *text, id_pattern *pattern);

/* Like id_pattern_parse, but an unknown pattern is a usage error. */
void id_pattern_option(const struct argp_state *state, const char *option, const char *text,
                       id_pattern *pattern);

/* The number of blocks that a tier needs for `count` ids. */
size_t id_pattern_blocks(const id_pattern *pattern, size_t count);

/* Makes `count` ids, equal for equal seeds. The caller frees them. */
uint64_t *id_pattern_make(const id_pattern *pattern, size_t count, uint64_t seed);

#endif
