/* Modelled on the conversation trace of the Mooncake FAST'25 trace release (repository
 * kvcache-ai/Mooncake, FAST25-release/traces/conversation_trace.jsonl, Apache-2.0), one hour of a
 * production service: 12,031 requests, 288,500 prompt blocks of 512 tokens, 2 to 247 a request and
 * 24 on average, 182,790 of them distinct; 105,710 blocks (36.64 %) are prefix hits if nothing is
 * evicted. What is taken from it:
 *
 *  - Every prompt starts with the same block (the system prompt).
 *  - 61.3 % of the requests share only that block: they open a conversation.
 *  - 38.7 % continue an earlier request. 82 % of these contain the earlier prompt without its last,
 *    partial block, 3 % contain all of it, and in 15 % it is cut somewhere, more often near its
 * start (median a fifth to a quarter, mean a third: the square of a uniform number).
 *  - The number of new blocks, and how many requests ago the earlier one came, are drawn from the
 *    quantiles below, interpolated linearly.
 *
 * Twenty seeds gave 286,300 blocks and 36.0 % hits on average; the extremes were 299,200 blocks,
 * and 34.2 % and 38.0 % hits. Only integers are used, so that results do not depend on a maths
 * library.
 */
#include "replay/synthetic.h"

#include "base/base.h"

#include <stdlib.h>

#define MAX_BLOCKS 247

/* Value of the trace at each quantile, in thousandths. */
typedef struct quantile {
    uint16_t permille, value;
} quantile;

static const quantile opening_blocks[] = {{0, 1},     {100, 1},   {250, 2},   {500, 10},  {600, 14},
                                          {700, 21},  {800, 30},  {850, 37},  {900, 49},  {950, 75},
                                          {980, 131}, {990, 175}, {995, 218}, {1000, 246}};
static const quantile added_blocks[] = {{0, 0},    {100, 1},  {250, 2},  {500, 2},   {600, 2},
                                        {700, 4},  {800, 10}, {850, 15}, {900, 20},  {950, 29},
                                        {980, 41}, {990, 53}, {995, 65}, {1000, 186}};
static const quantile requests_ago[] = {
    {0, 5},      {100, 141},  {250, 229},  {500, 423},  {600, 550},  {700, 757},  {800, 1087},
    {850, 1316}, {900, 1662}, {950, 2131}, {980, 3491}, {990, 5110}, {995, 6711}, {1000, 10514}};

static size_t draw(const quantile *quantiles, uint64_t *state) {
    uint64_t at = random_below(state, 1000000); /* in millionths */
    while (at >= quantiles[1].permille * UINT64_C(1000))
        quantiles++;
    uint64_t from = quantiles[0].permille * UINT64_C(1000);
    uint64_t width = (uint64_t)(quantiles[1].permille - quantiles[0].permille) * UINT64_C(1000);
    uint64_t rise = (uint64_t)(quantiles[1].value - quantiles[0].value);
    return (size_t)(quantiles[0].value + rise * (at - from) / width);
}

/* Copies the shared part of an earlier request's ids. Returns its length. */
static size_t continue_earlier(const trace *trace, uint64_t *state, uint64_t *ids) {
    size_t ago = draw(requests_ago, state);
    size_t earlier = ago <= trace->requests ? trace->requests - ago
                                            : (size_t)random_below(state, trace->requests);
    size_t count;
    const uint64_t *from = trace_request(trace, earlier, &count);
    uint64_t how = random_below(state, 1000);
    size_t shared = how < 30 ? count : count - 1;
    if (how >= 850) {
        uint64_t part = random_below(state, 1000);
        shared = (size_t)((count - 1) * part * part / 1000000);
    }
    shared += shared == 0;
    for (size_t i = 0; i < shared; i++)
        ids[i] = from[i];
    return shared;
}

void synthetic_make(uint64_t seed, size_t requests, trace *out) {
    uint64_t state = seed;
    uint64_t next_id = 1;
    uint64_t ids[MAX_BLOCKS] = {0};
    for (size_t i = 0; i < requests; i++) {
        bool continues = i > 0 && random_below(&state, 1000) < 387;
        size_t shared = continues ? continue_earlier(out, &state, ids) : 1;
        size_t added = draw(continues ? added_blocks : opening_blocks, &state);
        for (; added > 0 && shared < MAX_BLOCKS; added--)
            ids[shared++] = next_id++;
        trace_append(out, ids, shared);
    }
}
