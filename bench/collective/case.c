#include "collective/case.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

/* Everything of a case while it is measured. */
typedef struct bench {
    backend *backend;
    kvf_group *group;
    const collective_case *chosen;
    tier_pair tier_pair;
    kvf_wire *wire;
    double *times, *waits, *runs; /* [samples] */
    collective_result *result;
} bench;

/* As must, with the rank: the ranks of a machine share the terminal. */
static void rank_must(const bench *bench, kvf_status status, const kvf_error *error,
                      const char *doing) {
    char text[96];
    snprintf(text, sizeof text, "rank %d: %s", kvf_group_rank(bench->group), doing);
    must(status, error, text);
}

static bool is_mine(const bench *bench, size_t position) {
    size_t owner = bench->chosen->mode == KVF_SHARE_RANK_0
                       ? 0
                       : position % (size_t)kvf_group_ranks(bench->group);
    return owner == (size_t)kvf_group_rank(bench->group);
}

/* What other ranks are to read is not here: whoever reads it nevertheless is found out. */
static void poison_foreign(bench *bench) {
    const tier_pair *tier_pair = &bench->tier_pair;
    uint64_t *foreign = must_grow(NULL, tier_pair->count, sizeof *foreign);
    size_t count = 0;
    for (size_t i = 0; i < tier_pair->count; i++)
        if (!is_mine(bench, i))
            foreign[count++] = tier_pair->src_ids[i];
    if (bench->chosen->verify) {
        bench->backend->type->poison(bench->backend, tier_pair->src.side, tier_pair->src.layout,
                                     foreign, count);
    }
    bench->result->host_share =
        kvf_layout_block_bytes(tier_pair->src.layout) * (tier_pair->count - count);
    free(foreign);
}

static void open_bench(bench *bench) {
    const collective_case *chosen = bench->chosen;
    kvf_error error = {0};
    tier_pair_open(&bench->tier_pair, bench->backend, &chosen->tier_pair);
    *bench->result = (collective_result){.bytes = bench->tier_pair.bytes};
    poison_foreign(bench);
    const kvf_wire_options options = {.device = bench->tier_pair.dst.tier,
                                      .chunk_bytes = chosen->chunk_bytes,
                                      .chunks = chosen->chunks};
    rank_must(bench, kvf_wire_create(bench->group, &options, &bench->wire, &error), &error,
              "making a wire");
    kvf_wire_explanation explanation;
    rank_must(bench, kvf_wire_explain(bench->wire, &explanation, &error), &error,
              "explaining a wire");
    bench->result->memory = explanation.memory;
    bench->times = must_grow(NULL, chosen->samples, sizeof(double));
    bench->waits = must_grow(NULL, chosen->samples, sizeof(double));
    bench->runs = must_grow(NULL, chosen->samples, sizeof(double));
}

static void close_bench(bench *bench) {
    kvf_wire_destroy(bench->wire);
    tier_pair_close(&bench->tier_pair);
    free(bench->times);
    free(bench->waits);
    free(bench->runs);
}

/* Onboards the first `count` blocks, on all ranks; returns the nanoseconds it took here. */
static double onboard(bench *bench, size_t count, kvf_wire_op_stats *stats) {
    const kvf_plan plan = {
        .count = count, .src_ids = bench->tier_pair.src_ids, .dst_ids = bench->tier_pair.dst_ids};
    const kvf_wire_submit_options options = {.share = bench->chosen->mode};
    kvf_wire_op *op = NULL;
    kvf_error error = {0};
    uint64_t start = clock_ns();
    rank_must(
        bench,
        kvf_wire_onboard(bench->wire, bench->tier_pair.src.tier, &plan, 1, &options, &op, &error),
        &error, "submitting");
    rank_must(bench, kvf_wire_op_wait(op, -1, &error), &error, "onboarding");
    uint64_t end = clock_ns();
    kvf_wire_op_stats_get(op, stats);
    kvf_wire_op_release(op);
    return (double)(end - start);
}

/* Without any block: ends when all ranks have come to it. */
static void meet(bench *bench) {
    kvf_wire_op_stats stats;
    onboard(bench, 0, &stats);
}

static void note(bench *bench, size_t sample, double ns, const kvf_wire_op_stats *stats) {
    collective_result *result = bench->result;
    bench->times[sample] = ns;
    bench->waits[sample] = stats->wait_us;
    bench->runs[sample] = stats->run_us;
    result->host_bytes = stats->host_bytes;
    result->wire_bytes = stats->wire_bytes;
    result->chunks = stats->chunks;
    result->unlike += stats->host_bytes != result->host_share;
}

static void run_sample(bench *bench, size_t sample) {
    kvf_wire_op_stats stats;
    if (bench->chosen->verify)
        tier_pair_poison(&bench->tier_pair, bench->tier_pair.count);
    meet(bench);
    double ns = onboard(bench, bench->tier_pair.count, &stats);
    note(bench, sample, ns, &stats);
    if (bench->chosen->verify)
        bench->result->corrupt_blocks += tier_pair_check(&bench->tier_pair, bench->tier_pair.count);
}

void collective_case_run(backend *backend, kvf_group *group, const collective_case *chosen,
                         collective_result *result) {
    bench bench = {.backend = backend, .group = group, .chosen = chosen, .result = result};
    open_bench(&bench);
    run_sample(&bench, 0); /* connects, and is overwritten */
    for (size_t i = 0; i < chosen->samples; i++)
        run_sample(&bench, i);
    result->ns = summarize(bench.times, chosen->samples);
    result->wait_us = median(bench.waits, chosen->samples);
    result->run_us = median(bench.runs, chosen->samples);
    close_bench(&bench);
}
