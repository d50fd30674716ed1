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

/* The two sides' ids must not advance alike, or a random pair of them would be one in sequence. */
static uint64_t *make_ids(const tier_pair_spec *spec, side side) {
    const id_pattern *pattern = side == SIDE_DEVICE ? &spec->pattern : &spec->host_pattern;
    return id_pattern_make(pattern, spec->blocks, SEED + (side == SIDE_HOST));
}

void tier_pair_open(tier_pair *tier_pair, backend *backend, const tier_pair_spec *spec) {
    *tier_pair = (struct tier_pair){
        .backend = backend,
        .count = spec->blocks,
        .bytes = (uint64_t)spec->blocks * spec->regions * spec->fragment_bytes,
    };
    open_side(backend, spec, spec->direction.src, &tier_pair->src);
    open_side(backend, spec, spec->direction.dst, &tier_pair->dst);
    tier_pair->src_ids = make_ids(spec, spec->direction.src);
    tier_pair->dst_ids = make_ids(spec, spec->direction.dst);
    tier_pair->seeds = must_grow(NULL, spec->blocks, sizeof *tier_pair->seeds);
    for (size_t i = 0; i < spec->blocks; i++)
        tier_pair->seeds[i] = mix64(i + 1);
    backend->type->fill(backend, tier_pair->src.side, tier_pair->src.layout, tier_pair->src_ids,
                        tier_pair->seeds, tier_pair->count);
}

void tier_pair_close(tier_pair *tier_pair) {
    store_close(&tier_pair->src);
    store_close(&tier_pair->dst);
    free(tier_pair->src_ids);
    free(tier_pair->dst_ids);
    free(tier_pair->seeds);
}

void tier_pair_poison(tier_pair *tier_pair, size_t count) {
    tier_pair->backend->type->poison(tier_pair->backend, tier_pair->dst.side, tier_pair->dst.layout,
                                     tier_pair->dst_ids, count);
}

size_t tier_pair_check(tier_pair *tier_pair, size_t count) {
    return tier_pair->backend->type->check(tier_pair->backend, tier_pair->dst.side,
                                           tier_pair->dst.layout, tier_pair->dst_ids,
                                           tier_pair->seeds, count);
}

kvf_transfer *tier_pair_submit(tier_pair *tier_pair, size_t count,
                               const kvf_submit_options *options) {
    kvf_plan plan = {.count = count, .src_ids = tier_pair->src_ids, .dst_ids = tier_pair->dst_ids};
    kvf_transfer *transfer = NULL;
    kvf_error error = {0};
    must(kvf_transfer_submit(tier_pair->src.tier, tier_pair->dst.tier, &plan, 1, options, &transfer,
                             &error),
         &error, "submitting a transfer");
    return transfer;
}

void tier_pair_finish(kvf_transfer *transfer) {
    kvf_error error = {0};
    must(kvf_transfer_wait(transfer, -1, &error), &error, "transfer failed");
    kvf_transfer_release(transfer);
}
