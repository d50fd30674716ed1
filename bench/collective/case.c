#include "collective/case.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

/* A case while it is measured. */
typedef struct measurement {
    backend *backend;
    kvf_group *group;
    const collective_case *chosen;
    tier_pair tier_pair;
    kvf_wire *wire;
    double *times, *waits, *runs; /* [samples] */
    collective_result *result;
} measurement;

/* must() with the rank in its message: the ranks of a machine share the terminal. */
static void must_on_rank(const measurement *m, kvf_status status, const kvf_error *error,
                         const char *doing) {
    char text[96];
    snprintf(text, sizeof text, "rank %d: %s", kvf_group_rank(m->group), doing);
    must(status, error, text);
}

static bool owns(const measurement *m, size_t position) {
    size_t owner =
        m->chosen->mode == KVF_SHARE_RANK_0 ? 0 : position % (size_t)kvf_group_ranks(m->group);
    return owner == (size_t)kvf_group_rank(m->group);
}

/* Poisons the host blocks that other ranks read, so that a read by this rank is detected. */
static void poison_others_blocks(measurement *m) {
    const tier_pair *tier_pair = &m->tier_pair;
    uint64_t *foreign = must_grow(NULL, tier_pair->count, sizeof *foreign);
    size_t count = 0;
    for (size_t i = 0; i < tier_pair->count; i++)
        if (!owns(m, i))
            foreign[count++] = tier_pair->src_ids[i];
    if (m->chosen->verify)
        m->backend->type->poison(m->backend, tier_pair->src.side, tier_pair->src.layout, foreign,
                                 count);
    m->result->host_share =
        kvf_layout_block_bytes(tier_pair->src.layout) * (tier_pair->count - count);
    free(foreign);
}

static void open_case(measurement *m) {
    const collective_case *chosen = m->chosen;
    kvf_error error = {0};
    tier_pair_open(&m->tier_pair, m->backend, &chosen->tier_pair);
    *m->result = (collective_result){.bytes = m->tier_pair.bytes};
    poison_others_blocks(m);
    const kvf_wire_options options = {.device = m->tier_pair.dst.tier,
                                      .chunk_bytes = chosen->chunk_bytes,
                                      .chunks = chosen->chunks};
    must_on_rank(m, kvf_wire_create(m->group, &options, &m->wire, &error), &error, "making a wire");
    kvf_wire_explanation explanation;
    must_on_rank(m, kvf_wire_explain(m->wire, &explanation, &error), &error, "explaining a wire");
    m->result->memory = explanation.memory;
    m->times = must_grow(NULL, chosen->samples, sizeof(double));
    m->waits = must_grow(NULL, chosen->samples, sizeof(double));
    m->runs = must_grow(NULL, chosen->samples, sizeof(double));
}

static void close_case(measurement *m) {
    kvf_wire_destroy(m->wire);
    tier_pair_close(&m->tier_pair);
    free(m->times);
    free(m->waits);
    free(m->runs);
}

/* Onboards the first `count` blocks on all ranks; returns the time on this rank in ns. */
static double onboard(measurement *m, size_t count, kvf_wire_op_stats *stats) {
    const kvf_plan plan = {
        .count = count, .src_ids = m->tier_pair.src_ids, .dst_ids = m->tier_pair.dst_ids};
    const kvf_wire_submit_options options = {.share = m->chosen->mode};
    kvf_wire_op *op = NULL;
    kvf_error error = {0};
    uint64_t start = clock_ns();
    must_on_rank(m,
                 kvf_wire_onboard(m->wire, m->tier_pair.src.tier, &plan, 1, &options, &op, &error),
                 &error, "submitting");
    must_on_rank(m, kvf_wire_op_wait(op, -1, &error), &error, "onboarding");
    uint64_t end = clock_ns();
    kvf_wire_op_stats_get(op, stats);
    kvf_wire_op_release(op);
    return (double)(end - start);
}

/* Onboards no blocks, which ends when all ranks have arrived. */
static void synchronize(measurement *m) {
    kvf_wire_op_stats stats;
    onboard(m, 0, &stats);
}

static void record_sample(measurement *m, size_t sample, double ns,
                          const kvf_wire_op_stats *stats) {
    collective_result *result = m->result;
    m->times[sample] = ns;
    m->waits[sample] = stats->wait_us;
    m->runs[sample] = stats->run_us;
    result->host_bytes = stats->host_bytes;
    result->wire_bytes = stats->wire_bytes;
    result->chunks = stats->chunks;
    result->wrong_samples += stats->host_bytes != result->host_share;
}

static void run_sample(measurement *m, size_t sample) {
    kvf_wire_op_stats stats;
    if (m->chosen->verify)
        tier_pair_poison(&m->tier_pair, m->tier_pair.count);
    synchronize(m);
    double ns = onboard(m, m->tier_pair.count, &stats);
    record_sample(m, sample, ns, &stats);
    if (m->chosen->verify)
        m->result->corrupt_blocks += tier_pair_check(&m->tier_pair, m->tier_pair.count);
}

void collective_case_run(backend *backend, kvf_group *group, const collective_case *chosen,
                         collective_result *result) {
    measurement m = {.backend = backend, .group = group, .chosen = chosen, .result = result};
    open_case(&m);
    run_sample(&m, 0); /* a warm-up that makes NCCL's connections; the next sample overwrites it */
    for (size_t i = 0; i < chosen->samples; i++)
        run_sample(&m, i);
    result->ns = summarize(m.times, chosen->samples);
    result->wait_us = median(m.waits, chosen->samples);
    result->run_us = median(m.runs, chosen->samples);
    close_case(&m);
}
