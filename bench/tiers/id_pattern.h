/* How the block ids of one side of a transfer advance. */
#ifndef KVF_BENCH_ID_PATTERN_H
#define KVF_BENCH_ID_PATTERN_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct id_pattern {
    const char *name; /* as given: contiguous, run:8, stride:2, random */
    enum { PATTERN_CONTIGUOUS, PATTERN_RUN, PATTERN_STRIDE, PATTERN_RANDOM } kind;
    size_t step; /* blocks of a run, or from one id to the next */
} id_pattern;

/* false for a text that is no pattern. `text` is kept. */
bool id_pattern_parse(const char *text, id_pattern *pattern);

/* Ends the program through argp for a text that is no pattern. */
void id_pattern_option(const struct argp_state *state, const char *option, const char *text,
                       id_pattern *pattern);

/* How many blocks a tier needs for `count` ids. */
size_t id_pattern_blocks(const id_pattern *pattern, size_t count);

/* `count` ids, the caller's to free. Equal seeds make equal ids. */
uint64_t *id_pattern_make(const id_pattern *pattern, size_t count, uint64_t seed);

#endif
