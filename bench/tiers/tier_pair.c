#include "tiers/tier_pair.h"

#include "base/base.h"

#include <stdlib.h>

static void open_side(backend *backend, const tier_pair_spec *spec, side side, store *store) {
    const id_pattern *pattern = side == SIDE_DEVICE ? &spec->pattern : &spec->host_pattern;
    store_spec made = {
        .blocks = id_pattern_blocks(pattern, spec->blocks),
        .regions = spec->regions,
        .region_bytes = spec->fragment_bytes,
        .side = side,
        .arrangement = side == SIDE_HOST ? spec->host_layout : arrangement_find("region"),
    };
    store_open(store, backend, &made);
}

/* Different seeds: with equal ones, two random sides would have equal ids. */
static uint64_t *make_ids(const tier_pair_spec *spec, side side) {
    const id_pattern *pattern = side == SIDE_DEVICE ? &spec->pattern : &spec->host_pattern;
    return id_pattern_make(pattern, spec->blocks, SEED + (side == SIDE_HOST));
}

void tier_pair_open(tier_pair *pair, backend *backend, const tier_pair_spec *spec) {
    *pair = (struct tier_pair){
        .backend = backend,
        .count = spec->blocks,
        .bytes = (uint64_t)spec->blocks * spec->regions * spec->fragment_bytes,
    };
    open_side(backend, spec, spec->direction.src, &pair->src);
    open_side(backend, spec, spec->direction.dst, &pair->dst);
    pair->src_ids = make_ids(spec, spec->direction.src);
    pair->dst_ids = make_ids(spec, spec->direction.dst);
    pair->seeds = must_grow(NULL, spec->blocks, sizeof *pair->seeds);
    for (size_t i = 0; i < spec->blocks; i++)
        pair->seeds[i] = mix64(i + 1);
    backend->type->fill(backend, pair->src.side, pair->src.layout, pair->src_ids, pair->seeds,
                        pair->count);
}

void tier_pair_close(tier_pair *pair) {
    store_close(&pair->src);
    store_close(&pair->dst);
    free(pair->src_ids);
    free(pair->dst_ids);
    free(pair->seeds);
}

void tier_pair_poison(tier_pair *pair, size_t count) {
    pair->backend->type->poison(pair->backend, pair->dst.side, pair->dst.layout, pair->dst_ids,
                                count);
}

size_t tier_pair_check(tier_pair *pair, size_t count) {
    return pair->backend->type->check(pair->backend, pair->dst.side, pair->dst.layout,
                                      pair->dst_ids, pair->seeds, count);
}

kvf_transfer *tier_pair_submit(tier_pair *pair, size_t count, const kvf_submit_options *options) {
    kvf_plan plan = {.count = count, .src_ids = pair->src_ids, .dst_ids = pair->dst_ids};
    kvf_transfer *transfer = NULL;
    kvf_error error = {0};
    must(kvf_transfer_submit(pair->src.tier, pair->dst.tier, &plan, 1, options, &transfer, &error),
         &error, "submitting a transfer");
    return transfer;
}

void tier_pair_finish(kvf_transfer *transfer) {
    kvf_error error = {0};
    must(kvf_transfer_wait(transfer, -1, &error), &error, "transfer failed");
    kvf_transfer_release(transfer);
}
