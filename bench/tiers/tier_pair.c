#include "tiers/tier_pair.h"

#include "base/base.h"

#include <stdlib.h>

static void open_side(backend *backend, const route_spec *spec, place place, store *store) {
    const id_pattern *pattern = place == PLACE_DEVICE ? &spec->pattern : &spec->host_pattern;
    store_spec made = {
        .blocks = id_pattern_blocks(pattern, spec->blocks),
        .regions = spec->regions,
        .region_bytes = spec->fragment_bytes,
        .place = place,
        .arrangement = place == PLACE_HOST ? spec->host_layout : arrangement_find("region"),
    };
    store_open(store, backend, &made);
}

/* The two sides' ids must not advance alike, or a random pair of them would be one in sequence. */
static uint64_t *make_ids(const route_spec *spec, place place) {
    const id_pattern *pattern = place == PLACE_DEVICE ? &spec->pattern : &spec->host_pattern;
    return id_pattern_make(pattern, spec->blocks, SEED + (place == PLACE_HOST));
}

void route_open(route *route, backend *backend, const route_spec *spec) {
    *route = (struct route){
        .backend = backend,
        .count = spec->blocks,
        .bytes = (uint64_t)spec->blocks * spec->regions * spec->fragment_bytes,
    };
    open_side(backend, spec, spec->direction.src, &route->src);
    open_side(backend, spec, spec->direction.dst, &route->dst);
    route->src_ids = make_ids(spec, spec->direction.src);
    route->dst_ids = make_ids(spec, spec->direction.dst);
    route->seeds = must_grow(NULL, spec->blocks, sizeof(*route->seeds));
    for (size_t i = 0; i < spec->blocks; i++) {
        route->seeds[i] = mix64(i + 1);
    }
    backend->type->fill(backend, route->src.place, route->src.layout, route->src_ids, route->seeds,
                        route->count);
}

void route_close(route *route) {
    store_close(&route->src);
    store_close(&route->dst);
    free(route->src_ids);
    free(route->dst_ids);
    free(route->seeds);
}

void route_poison(route *route, size_t count) {
    route->backend->type->poison(route->backend, route->dst.place, route->dst.layout,
                                 route->dst_ids, count);
}

size_t route_check(route *route, size_t count) {
    return route->backend->type->check(route->backend, route->dst.place, route->dst.layout,
                                       route->dst_ids, route->seeds, count);
}

kvf_transfer *route_submit(route *route, size_t count, const kvf_submit_options *options) {
    kvf_plan plan = {.count = count, .src_ids = route->src_ids, .dst_ids = route->dst_ids};
    kvf_transfer *transfer = NULL;
    kvf_error error = {0};
    must(
        kvf_transfer_submit(route->src.tier, route->dst.tier, &plan, 1, options, &transfer, &error),
        &error, "submitting a transfer");
    return transfer;
}

void route_finish(kvf_transfer *transfer) {
    kvf_error error = {0};
    must(kvf_transfer_wait(transfer, -1, &error), &error, "transfer failed");
    kvf_transfer_release(transfer);
}
