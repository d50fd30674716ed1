/* The host engine: both tiers in ordinary memory. */
#include "engines/backend.h"

#include "engines/contents.h"
#include "engines/copy_pool.h"
#include "output/measure.h"
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The private part of a backend: as many threads for plain copies as the engine has. */
typedef struct host {
    unsigned threads;
    copy_pool *pool; /* created on first use */
} host;

static void host_open(backend *backend, const backend_options *options) {
    kvf_error error = {0};
    kvf_host_options chosen = {
        .threads = options->threads,
        .imitate_gbps = options->imitate_gbps,
        .imitate_latency_us = options->imitate_latency_us,
    };
    must(kvf_engine_host_create(&chosen, &backend->engine, &error), &error, "opening the engine");
    host *own = must_grow(NULL, 1, sizeof *own);
    /* By default as many as the engine starts. */
    *own = (host){.threads = options->threads > 0 ? options->threads : usable_cpus(8)};
    backend->own = own;
    backend->imitated = options->imitate_gbps > 0 || options->imitate_latency_us > 0;
}

static void host_close(backend *backend) {
    host *own = backend->own;
    if (own->pool)
        copy_pool_destroy(own->pool);
    free(own);
}

static void *host_allocate(backend *backend, side side, size_t bytes) {
    (void)backend, (void)side;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE); /* failure only costs speed */
    return memory;
}

static void host_release(backend *backend, side side, void *memory, size_t bytes) {
    (void)backend, (void)side;
    munmap(memory, bytes);
}

static kvf_memory host_memory(side side) {
    (void)side;
    return KVF_MEMORY_HOST;
}

static void host_fill(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                      const uint64_t *seeds, size_t count) {
    (void)backend, (void)side;
    contents_fill(layout, ids, seeds, count);
}

static void host_poison(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                        size_t count) {
    (void)backend, (void)side;
    contents_poison(layout, ids, count);
}

static size_t host_check(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                         const uint64_t *seeds, size_t count) {
    (void)backend, (void)side;
    return contents_check(layout, ids, seeds, count);
}

static unsigned host_link_ways(const backend *backend) {
    return ((const host *)backend->own)->threads;
}

/* Way w uses w + 1 threads. */
static double host_link_ns(backend *backend, const link_copy *copy) {
    host *own = backend->own;
    if (copy->opposed)
        return NAN; /* memory has no directions */
    if (!own->pool)
        own->pool = copy_pool_create(own->threads);
    uint64_t start = clock_ns();
    copy_pool_run(own->pool, copy->dst, copy->src, copy->bytes, copy->way + 1);
    return (double)(clock_ns() - start);
}

static moved_by host_moved_by(const kvf_transfer *transfer) {
    (void)transfer;
    return (moved_by){.predicted_us = NAN};
}

static void host_describe(backend *backend, json_t *context) {
    const host *own = backend->own;
    json_object_set_new(context, "threads", json_integer(own->threads));
}

static const direction host_directions[] = {{"h2h", SIDE_DEVICE, SIDE_HOST}, {0}};

const backend_type backend_host = {
    .name = "host",
    .directions = host_directions,
    .open = host_open,
    .close = host_close,
    .allocate = host_allocate,
    .release = host_release,
    .memory = host_memory,
    .fill = host_fill,
    .poison = host_poison,
    .check = host_check,
    .link_ways = host_link_ways,
    .link_ns = host_link_ns,
    .link_formula =
        "link_gbps = bytes / the best median over 1 to T threads (T: those of the engine) of "
        "memcpy of the same total in as many pieces, between the same buffers, taken in turn with "
        "the row's samples",
    .moved_by = host_moved_by,
    .describe = host_describe,
};
