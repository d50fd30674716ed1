/* The host engine: both tiers in ordinary memory. */
#include "backend.h"

#include "copy_pool.h"
#include "pattern.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Its own part of a backend: the yardstick's threads, as many as the engine's. */
typedef struct host {
    unsigned threads;
    copy_pool *pool; /* made when first asked for */
} host;

/* What the engine takes when told nothing. */
static unsigned default_threads(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > 8 ? 8 : (unsigned)processors;
}

static void host_open(backend *backend, const backend_options *options) {
    kvf_error error = {0};
    kvf_host_options chosen = {
        .threads = options->threads,
        .imitate_gbps = options->imitate_gbps,
        .imitate_latency_us = options->imitate_latency_us,
    };
    must(kvf_engine_host_create(&chosen, &backend->engine, &error), &error, "opening the engine");
    host *own = must_grow(NULL, 1, sizeof(*own));
    *own = (host){.threads = options->threads > 0 ? options->threads : default_threads()};
    backend->own = own;
}

static void host_close(backend *backend) {
    host *own = backend->own;
    if (own->pool != NULL) {
        copy_pool_destroy(own->pool);
    }
    free(own);
}

static void *host_allocate(backend *backend, place place, size_t bytes) {
    (void)backend, (void)place;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); /* only faster with it: failure is fine */
    return memory;
}

static void host_release(backend *backend, place place, void *memory, size_t bytes) {
    (void)backend, (void)place;
    munmap(memory, bytes);
}

static kvf_memory host_memory(place place) {
    (void)place;
    return KVF_MEMORY_HOST;
}

/* One contiguous piece of a block, the index'th of it. */
typedef struct piece {
    char *at;
    size_t bytes;
    uint64_t index;
} piece;

static piece piece_of(const kvf_region *region, uint64_t id, size_t row, uint64_t index) {
    char *at = (char *)region->base + id * region->block_stride + row * region->row_pitch;
    return (piece){.at = at, .bytes = region->bytes, .index = index};
}

/* Hands every piece of a block to `visit` until it returns false; whether it never did. */
static bool each_piece(const kvf_layout *layout, uint64_t id, uint64_t seed,
                       bool (*visit)(piece piece, uint64_t seed)) {
    size_t count;
    uint64_t index = 0;
    const kvf_region *regions = kvf_layout_regions(layout, &count);
    for (size_t i = 0; i < count; i++) {
        size_t rows = regions[i].rows > 0 ? regions[i].rows : 1;
        for (size_t row = 0; row < rows; row++, index++) {
            if (!visit(piece_of(&regions[i], id, row, index), seed)) {
                return false;
            }
        }
    }
    return true;
}

static bool fill_piece(piece piece, uint64_t seed) {
    pattern_fill(piece.at, piece.bytes, mix64(seed + piece.index));
    return true;
}

static bool poison_piece(piece piece, uint64_t seed) {
    (void)seed;
    memset(piece.at, PATTERN_POISON, piece.bytes);
    return true;
}

static bool check_piece(piece piece, uint64_t seed) {
    return pattern_matches(piece.at, piece.bytes, mix64(seed + piece.index));
}

static void host_fill(backend *backend, const kvf_layout *layout, const uint64_t *ids,
                      const uint64_t *seeds, size_t count) {
    (void)backend;
    for (size_t i = 0; i < count; i++) {
        each_piece(layout, ids[i], seeds[i], fill_piece);
    }
}

static void host_poison(backend *backend, const kvf_layout *layout, const uint64_t *ids,
                        size_t count) {
    (void)backend;
    for (size_t i = 0; i < count; i++) {
        each_piece(layout, ids[i], 0, poison_piece);
    }
}

static size_t host_check(backend *backend, const kvf_layout *layout, const uint64_t *ids,
                         const uint64_t *seeds, size_t count) {
    (void)backend;
    size_t corrupt = 0;
    for (size_t i = 0; i < count; i++) {
        corrupt += !each_piece(layout, ids[i], seeds[i], check_piece);
    }
    return corrupt;
}

static unsigned host_link_ways(const backend *backend) {
    return ((const host *)backend->own)->threads;
}

/* Way w is w + 1 threads. */
static void host_link_copy(backend *backend, void *dst, const void *src, size_t bytes,
                           unsigned way) {
    host *own = backend->own;
    if (own->pool == NULL) {
        own->pool = copy_pool_create(own->threads);
    }
    copy_pool_run(own->pool, dst, src, bytes, way + 1);
}

static const char *host_strategy(const kvf_transfer *transfer) {
    (void)transfer;
    return NULL;
}

static const direction host_directions[] = {{"h2h", PLACE_DEVICE, PLACE_HOST}, {0}};

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
    .link_copy = host_link_copy,
    .link_formula =
        "link_gbps = bytes / the best median, over 1 to T threads (T those of the engine), of "
        "memcpy of the same total in T large pieces, between the same buffers, in turn "
        "with the row's samples",
    .strategy = host_strategy,
};
