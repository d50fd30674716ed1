#include "tiers/id_pattern.h"

#include "base/options.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STEP 4096

/* "name:K". */
static bool parse_step(const char *text, const char *name, size_t *step) {
    size_t length = strlen(name);
    uint64_t number;
    if (strncmp(text, name, length) != 0 || text[length] != ':' ||
        !parse_number(text + length + 1, &number) || number < 1 || number > MAX_STEP)
        return false;
    *step = (size_t)number;
    return true;
}

bool id_pattern_parse(const char *text, id_pattern *pattern) {
    *pattern = (id_pattern){.name = text, .step = 1};
    if (strcmp(text, "contiguous") == 0)
        pattern->kind = PATTERN_CONTIGUOUS;
    else if (strcmp(text, "random") == 0)
        pattern->kind = PATTERN_RANDOM;
    else if (parse_step(text, "run", &pattern->step))
        pattern->kind = PATTERN_RUN;
    else if (parse_step(text, "stride", &pattern->step))
        pattern->kind = PATTERN_STRIDE;
    else
        return false;
    return true;
}

void id_pattern_option(const struct argp_state *state, const char *option, const char *text,
                       id_pattern *pattern) {
    if (!id_pattern_parse(text, pattern)) {
        argp_error(state,
                   "--%s: unknown pattern '%s' (expected contiguous, run:K, stride:K or random, K "
                   "from 1 to %d)",
                   option, text, MAX_STEP);
    }
}

size_t id_pattern_blocks(const id_pattern *pattern, size_t count) {
    return pattern->kind == PATTERN_STRIDE ? count * pattern->step : count;
}

/* Runs of `step` consecutive ids, with the runs in random order. */
static void fill_runs(uint64_t *ids, size_t count, size_t step, uint64_t seed) {
    size_t runs = (count + step - 1) / step;
    uint64_t state = seed;
    uint64_t *order = must_grow(NULL, runs, sizeof *order);
    for (size_t i = 0; i < runs; i++)
        order[i] = i;
    shuffle(order, runs, &state);
    for (size_t i = 0, filled = 0; i < runs; i++)
        for (size_t id = order[i] * step; id < (order[i] + 1) * step && id < count; id++)
            ids[filled++] = id;
    free(order);
}

uint64_t *id_pattern_make(const id_pattern *pattern, size_t count, uint64_t seed) {
    uint64_t *ids = must_grow(NULL, count, sizeof *ids);
    size_t step = pattern->kind == PATTERN_STRIDE ? pattern->step : 1;
    if (pattern->kind == PATTERN_RUN || pattern->kind == PATTERN_RANDOM) {
        fill_runs(ids, count, pattern->step, seed); /* random: runs of 1 */
        return ids;
    }
    for (size_t i = 0; i < count; i++)
        ids[i] = i * step;
    return ids;
}
