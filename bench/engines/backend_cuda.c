/* The CUDA engine: one tier in a GPU's memory, the other in pinned host memory. */
#include "engines/backend.h"

#include "gpu/compute.h"
#include "engines/contents.h"
#include "gpu/device.h"
#include "gpu/device_contents.h"
#include "gpu/gpu_info.h"
#include "gpu/link.h"
#include "engines/cost_cache.h"
#include "base/base.h"

#include <kvferry/cuda.h>

#include <math.h>
#include <stdlib.h>

#define USUAL_LINK_BYTES ((uint64_t)256 << 20)

enum { MOST_PINNED = 8 };

/* The private part of a backend. */
typedef struct cuda {
    device device;
    char *costs_from;
    double costs_noise;
    size_t link_bytes;
    link_limit *link; /* created on first use */
    compute *compute;
    device_contents *contents;
    kvf_cuda_pinned *pinned[MOST_PINNED]; /* allocated and not released */
    uint64_t pinned_bytes, huge_bytes;    /* of all allocations so far */
} cuda;

static void check_options(const backend_options *options) {
    if (options->imitate_gbps > 0 || options->imitate_latency_us > 0)
        fail(EXIT_USAGE, "--imitate-gbps and --imitate-latency-us need engine host");
    if (options->threads > 0)
        fail(EXIT_USAGE, "--threads needs engine host");
}

static void cuda_open(backend *backend, const backend_options *options) {
    kvf_error error = {0};
    check_options(options);
    cuda *own = must_grow(NULL, 1, sizeof *own);
    *own = (cuda){
        .link_bytes = options->link_bytes > 0 ? options->link_bytes : USUAL_LINK_BYTES,
    };
    device_open(&own->device, options->device);
    kvf_cuda_costs *costs = cost_cache_choose(options, own->device.name, &own->costs_from);
    kvf_cuda_options chosen = {.device = options->device, .costs = costs};
    must(kvf_engine_cuda_create(&chosen, &backend->engine, &error), &error, "opening the engine");
    own->costs_noise = kvf_cuda_costs_noise(costs);
    kvf_cuda_costs_destroy(costs);
    own->contents = device_contents_open();
    backend->own = own;
    backend->imitated = own->device.imitated;
}

static void cuda_close(backend *backend) {
    cuda *own = backend->own;
    if (own->link)
        link_close(own->link);
    device_contents_close(own->contents);
    device_close(&own->device);
    free(own->costs_from);
    free(own);
}

static void *allocate_pinned(cuda *own, size_t bytes) {
    kvf_cuda_pinned_options options = {
        .bytes = bytes, .device = own->device.index, .near_device = true};
    kvf_cuda_pinned_info info;
    for (size_t i = 0; i < MOST_PINNED; i++) {
        if (!own->pinned[i]) {
            if (kvf_cuda_pinned_create(&options, &own->pinned[i], &info, NULL) != KVF_OK)
                return NULL;
            own->pinned_bytes += info.bytes;
            own->huge_bytes += info.huge_bytes;
            return kvf_cuda_pinned_base(own->pinned[i]);
        }
    }
    return NULL;
}

static void *cuda_allocate(backend *backend, side side, size_t bytes) {
    cuda *own = backend->own;
    void *memory = NULL;
    if (side == SIDE_HOST)
        return allocate_pinned(own, bytes);
    kvf_status status = kvf_cuda_device_alloc(own->device.index, bytes, &memory, NULL);
    return status == KVF_OK ? memory : NULL;
}

static void cuda_release(backend *backend, side side, void *memory, size_t bytes) {
    cuda *own = backend->own;
    (void)bytes;
    if (side == SIDE_DEVICE) {
        kvf_cuda_device_free(own->device.index, memory);
        return;
    }
    for (size_t i = 0; i < MOST_PINNED; i++) {
        if (own->pinned[i] && kvf_cuda_pinned_base(own->pinned[i]) == memory) {
            kvf_cuda_pinned_destroy(own->pinned[i]);
            own->pinned[i] = NULL;
            return;
        }
    }
}

static kvf_memory cuda_memory(side side) {
    return side == SIDE_DEVICE ? KVF_MEMORY_DEVICE : KVF_MEMORY_PINNED;
}

static void cuda_fill(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                      const uint64_t *seeds, size_t count) {
    if (side == SIDE_DEVICE)
        device_contents_fill(((cuda *)backend->own)->contents, layout, ids, seeds, count);
    else
        contents_fill(layout, ids, seeds, count);
}

static void cuda_poison(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                        size_t count) {
    if (side == SIDE_DEVICE)
        device_contents_poison(((cuda *)backend->own)->contents, layout, ids, count);
    else
        contents_poison(layout, ids, count);
}

static size_t cuda_check(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                         const uint64_t *seeds, size_t count) {
    return side == SIDE_DEVICE
               ? device_contents_check(((cuda *)backend->own)->contents, layout, ids, seeds, count)
               : contents_check(layout, ids, seeds, count);
}

static unsigned cuda_link_ways(const backend *backend) {
    (void)backend;
    return 1;
}

static double cuda_link_ns(backend *backend, const link_copy *copy) {
    cuda *own = backend->own;
    if (!own->link)
        own->link = link_open(&own->device, own->link_bytes);
    bool to_device = copy->direction->dst == SIDE_DEVICE;
    return (double)copy->bytes * link_sample_ns(own->link, to_device, copy->opposed);
}

static moved_by cuda_moved_by(const kvf_transfer *transfer) {
    kvf_cuda_explanation why;
    kvf_error error = {0};
    must(kvf_cuda_explain(transfer, &why, &error), &error, "explaining a transfer");
    return (moved_by){.strategy = kvf_cuda_strategy_name(why.chosen),
                      .predicted_us = why.us[why.chosen]};
}

static const char *cuda_compute_open(backend *backend) {
    cuda *own = backend->own;
    own->compute = compute_open(&own->device);
    return compute_name(own->compute);
}

static void cuda_compute_close(backend *backend) {
    cuda *own = backend->own;
    compute_close(own->compute);
    own->compute = NULL;
}

static void cuda_compute_begin(backend *backend, size_t units) {
    compute_begin(((cuda *)backend->own)->compute, units);
}

static bool cuda_compute_running(backend *backend) {
    return compute_running(((cuda *)backend->own)->compute);
}

static double cuda_compute_end(backend *backend) {
    return compute_end(((cuda *)backend->own)->compute);
}

static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* How much the engine moved by each strategy, and how wrong its predictions were. */
static json_t *describe_strategies(kvf_engine *engine) {
    kvf_cuda_stats stats;
    kvf_error error = {0};
    json_t *all = json_object();
    must(kvf_cuda_stats_get(engine, &stats, &error), &error, "asking the engine");
    for (unsigned i = 1; i < KVF_CUDA_STRATEGIES; i++) {
        const kvf_cuda_strategy_stats *by = &stats.by[i];
        if (by->transfers > 0) {
            json_object_set_new(all, kvf_cuda_strategy_name((kvf_cuda_strategy)i),
                                json_pack("{s:I, s:I, s:I, s:o}", "transfers",
                                          (json_int_t)by->transfers, "bytes", (json_int_t)by->bytes,
                                          "compared", (json_int_t)by->compared, "median_error",
                                          real_or_null(by->median_error)));
        }
    }
    return all;
}

static void cuda_describe(backend *backend, json_t *context) {
    cuda *own = backend->own;
    gpu_info_describe(&own->device, backend->link_known ? 0 : own->link_bytes, context);
    json_object_set_new(context, "costs", json_string(own->costs_from));
    json_object_set_new(context, "costs_noise", real_or_null(own->costs_noise));
}

static void cuda_conclude(backend *backend, json_t *context) {
    const cuda *own = backend->own;
    json_object_set_new(context, "pinned_bytes", json_integer((json_int_t)own->pinned_bytes));
    json_object_set_new(context, "pinned_huge_bytes", json_integer((json_int_t)own->huge_bytes));
    json_object_set_new(context, "strategies", describe_strategies(backend->engine));
}

static const direction cuda_directions[] = {
    {"h2d", SIDE_HOST, SIDE_DEVICE}, {"d2h", SIDE_DEVICE, SIDE_HOST}, {0}};

/* Indexed by kvf_cuda_strategy. */
static const char *const cuda_strategies[] = {"auto", "loop", "batch", "kernel", "staged", NULL};

_Static_assert(sizeof cuda_strategies / sizeof cuda_strategies[0] == KVF_CUDA_STRATEGIES + 1,
               "every strategy has a name");

static const computation cuda_computation = {
    .open = cuda_compute_open,
    .close = cuda_compute_close,
    .begin = cuda_compute_begin,
    .running = cuda_compute_running,
    .end = cuda_compute_end,
};

const backend_type backend_cuda = {
    .name = "cuda",
    .directions = cuda_directions,
    .strategies = cuda_strategies,
    .computation = &cuda_computation,
    .open = cuda_open,
    .close = cuda_close,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .memory = cuda_memory,
    .fill = cuda_fill,
    .poison = cuda_poison,
    .check = cuda_check,
    .link_ways = cuda_link_ways,
    .link_ns = cuda_link_ns,
    .link_formula = "link_gbps: the median speed of large copies in the row's direction, between "
                    "memory like the tiers', timed by events, taken in turn with the row's "
                    "samples; with --both-ways while twice as much moves in the opposite direction",
    .moved_by = cuda_moved_by,
    .describe = cuda_describe,
    .conclude = cuda_conclude,
};
