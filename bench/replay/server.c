#include "replay/server.h"

#include "replay/lru.h"
#include "output/measure.h"
#include "base/base.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where a block of a prompt comes from. In most prompts in this order, since a full tier evicts the
 * ends of prompts before their starts. */
typedef enum source {
    FROM_DEVICE,
    FROM_HOST,
    FROM_COMPUTE, /* computed */
} source;

/* A stretch of a prompt in which, on both tiers, assigned blocks precede pending ones:
 *
 *     device   | FROM_DEVICE | FROM_HOST FROM_COMPUTE |     source never falls
 *     host     | present     | missing                |     missing never falls
 *
 * Nearly always the whole prompt. */
typedef struct stretch {
    size_t first, count;
    kvf_assignments *device, *host;
} stretch;

struct server {
    backend *backend;
    server_options options;
    store device, host;
    lru *device_blocks, *host_blocks;
    kvf_sequence *sequence;
    server_counts counts;

    double *latencies;
    size_t latency_count, latency_capacity;

    /* The current prompt, and [chunk] entries for the part of it that is served at a time. A chunk
     * fits in either tier, so that both can hold all its blocks while it is served. */
    uint32_t *tokens;
    size_t token_capacity;
    size_t chunk;
    const kvf_hash *hashes; /* of the chunk's blocks */
    uint64_t *device_ids, *host_ids;
    source *sources;
    bool *missing; /* in the host tier */
    stretch *stretches;
    kvf_pair *pairs;
    uint64_t *ids, *seeds; /* of blocks to fill, poison or check */
};

static lru *open_lru(size_t blocks) {
    lru *made = lru_create(blocks);
    if (!made)
        fail(EXIT_CHECK, "out of memory for a tier of %zu blocks", blocks);
    return made;
}

static void open_stores(server *server) {
    const server_options *options = &server->options;
    store_spec spec = {
        .blocks = options->device_blocks,
        .regions = options->regions,
        .region_bytes = options->region_bytes,
        .side = SIDE_DEVICE,
        .arrangement = arrangement_find("region"),
    };
    store_open(&server->device, server->backend, &spec);
    spec.blocks = options->host_blocks;
    spec.side = SIDE_HOST;
    spec.arrangement = arrangement_find("whole");
    spec.integrity = options->integrity;
    store_open(&server->host, server->backend, &spec);
}

static void open_scratch(server *server) {
    size_t chunk = server->chunk;
    server->device_ids = must_grow(NULL, chunk, sizeof *server->device_ids);
    server->host_ids = must_grow(NULL, chunk, sizeof *server->host_ids);
    server->sources = must_grow(NULL, chunk, sizeof *server->sources);
    server->missing = must_grow(NULL, chunk, sizeof *server->missing);
    server->stretches = must_grow(NULL, chunk, sizeof *server->stretches);
    server->pairs = must_grow(NULL, chunk, sizeof *server->pairs);
    server->ids = must_grow(NULL, chunk, sizeof *server->ids);
    server->seeds = must_grow(NULL, chunk, sizeof *server->seeds);
}

server *server_open(backend *backend, const server_options *options) {
    server *server = must_grow(NULL, 1, sizeof *server);
    kvf_sequence_options sequence = {.block_size = options->block_tokens};
    kvf_error error = {0};
    *server = (struct server){.backend = backend, .options = *options};
    server->chunk = options->device_blocks < options->host_blocks ? options->device_blocks
                                                                  : options->host_blocks;
    open_stores(server);
    server->device_blocks = open_lru(options->device_blocks);
    server->host_blocks = open_lru(options->host_blocks);
    must(kvf_sequence_create(&sequence, &server->sequence, &error), &error, "making a sequence");
    open_scratch(server);
    return server;
}

void server_close(server *server) {
    free(server->tokens);
    free(server->latencies);
    free(server->device_ids);
    free(server->host_ids);
    free(server->sources);
    free(server->missing);
    free(server->stretches);
    free(server->pairs);
    free(server->ids);
    free(server->seeds);
    kvf_sequence_destroy(server->sequence);
    lru_destroy(server->device_blocks);
    lru_destroy(server->host_blocks);
    store_close(&server->device);
    store_close(&server->host);
    free(server);
}

const server_counts *server_get_counts(const server *server) {
    return &server->counts;
}

double *server_latencies(server *server, size_t *count) {
    *count = server->latency_count;
    return server->latencies;
}

/* Makes up tokens for every id, and hashes them. */
static void hash_prompt(server *server, const uint64_t *ids, size_t count) {
    kvf_error error = {0};
    size_t block = server->options.block_tokens;
    if (count * block > server->token_capacity) {
        server->token_capacity = count * block;
        server->tokens = must_grow(server->tokens, count * block, sizeof *server->tokens);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t *tokens = server->tokens + i * block;
        uint64_t seed = mix64(ids[i] + 1);
        for (size_t j = 0; j < block; j++)
            tokens[j] = (uint32_t)((seed + j * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    }
    must(kvf_sequence_truncate(server->sequence, 0, &error), &error, "hashing");
    must(kvf_sequence_extend(server->sequence, server->tokens, count * block, NULL, &error), &error,
         "hashing");
}

/* Pins the blocks that the tiers hold, and sets where each block comes from. Hits end before the
 * first block that neither tier holds; later blocks that a tier holds keep their slots but count as
 * computed. `prefix`: whether all blocks before the chunk were hits. */
static bool look_up(server *server, size_t count, bool prefix) {
    for (size_t i = 0; i < count; i++) {
        uint32_t device = lru_find(server->device_blocks, server->hashes[i]);
        uint32_t host = lru_find(server->host_blocks, server->hashes[i]);
        if (device != LRU_NONE)
            lru_pin(server->device_blocks, device);
        if (host != LRU_NONE)
            lru_pin(server->host_blocks, host);
        prefix = prefix && (device != LRU_NONE || host != LRU_NONE);
        server->sources[i] = device != LRU_NONE ? FROM_DEVICE : FROM_HOST;
        if (!prefix)
            server->sources[i] = FROM_COMPUTE;
        server->missing[i] = host == LRU_NONE;
        server->device_ids[i] = device;
        server->host_ids[i] = host;
    }
    return prefix;
}

/* Takes slots for missing blocks. There always is one: a chunk fits, and only its blocks are
 * pinned. */
static void take_slots(server *server, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (server->device_ids[i] == LRU_NONE)
            server->device_ids[i] = lru_take(server->device_blocks, server->hashes[i]);
        if (server->host_ids[i] == LRU_NONE)
            server->host_ids[i] = lru_take(server->host_blocks, server->hashes[i]);
    }
}

/* The last block of a prompt first: it is then evicted before the prefix that it needs. */
static void release_slots(server *server, size_t count) {
    for (size_t i = count; i-- > 0;) {
        lru_unpin(server->device_blocks, (uint32_t)server->device_ids[i]);
        lru_unpin(server->host_blocks, (uint32_t)server->host_ids[i]);
    }
}

/* Assignments of `count` slots from a position on; the first `present` hold their content. */
static kvf_assignments *make_assignments(const uint64_t *ids, const kvf_hash *hashes,
                                         size_t present, size_t count, uint64_t position) {
    kvf_assignments_options options = {.offset = position};
    kvf_assignments *assignments = NULL;
    kvf_error error = {0};
    must(kvf_assignments_create(&options, &assignments, &error), &error, "making assignments");
    must(kvf_assignments_extend_assigned(assignments, ids, hashes, present, &error), &error,
         "assigning blocks");
    must(kvf_assignments_extend_block_ids(assignments, ids, count, &error), &error,
         "assigning blocks");
    return assignments;
}

/* Cuts the chunk into stretches and makes their assignments. Returns the number of stretches. */
static size_t make_stretches(server *server, size_t count, uint64_t position) {
    size_t stretches = 0;
    for (size_t first = 0, end; first < count; first = end) {
        size_t on_device = 0, on_host = 0;
        for (end = first; end < count; end++) {
            if (end > first && (server->sources[end] < server->sources[end - 1] ||
                                server->missing[end] < server->missing[end - 1]))
                break;
            on_device += server->sources[end] == FROM_DEVICE;
            on_host += !server->missing[end];
        }
        server->stretches[stretches++] = (stretch){
            .first = first,
            .count = end - first,
            .device = make_assignments(server->device_ids + first, server->hashes + first,
                                       on_device, end - first, position + first),
            .host = make_assignments(server->host_ids + first, server->hashes + first, on_host,
                                     end - first, position + first),
        };
    }
    return stretches;
}

static void drop_stretches(server *server, size_t stretches) {
    for (size_t i = 0; i < stretches; i++) {
        kvf_assignments_destroy(server->stretches[i].device);
        kvf_assignments_destroy(server->stretches[i].host);
    }
}

static void record_latency(server *server, uint64_t ns) {
    if (server->latency_count == server->latency_capacity) {
        server->latency_capacity = 2 * server->latency_capacity + 64;
        server->latencies =
            must_grow(server->latencies, server->latency_capacity, sizeof *server->latencies);
    }
    server->latencies[server->latency_count++] = (double)ns / 1000;
}

/* The result of one bound transfer. */
typedef struct moved {
    uint64_t blocks, bytes, ns;
} moved;

/* Moves `pairs`, and waits for the end. */
static moved move(server *server, const store *src, const store *dst, size_t pairs) {
    kvf_error error = {0};
    kvf_bound *bound = NULL;
    kvf_transfer_stats stats;
    moved moved = {0};
    uint64_t start = clock_ns();
    must(kvf_bound_submit(src->tier, dst->tier, server->pairs, pairs, NULL, &bound, &error), &error,
         "submitting a transfer");
    must(kvf_bound_wait(bound, -1, &error), &error, "transfer failed");
    moved.ns = clock_ns() - start;
    kvf_transfer_stats_get(kvf_bound_transfer(bound), &stats);
    for (size_t i = 0; i < pairs; i++) {
        size_t landed = 0;
        must(kvf_bound_result(bound, i, &landed), &error, "transfer failed");
        moved.blocks += landed;
    }
    moved.bytes = stats.bytes;
    server->counts.boxes += stats.boxes;
    kvf_bound_release(bound);
    record_latency(server, moved.ns);
    return moved;
}

/* Collects the slots and seeds of the chunk's blocks that `wanted` accepts. Returns their number.
 */
static size_t pick(server *server, size_t count, const uint64_t *slots,
                   bool (*wanted)(const struct server *server, size_t index)) {
    size_t picked = 0;
    for (size_t i = 0; i < count; i++) {
        if (wanted(server, i)) {
            kvf_hash hash = server->hashes[i];
            server->ids[picked] = slots[i];
            server->seeds[picked++] = mix64(hash.low + mix64(hash.high));
        }
    }
    return picked;
}

static bool to_onboard(const server *server, size_t index) {
    return server->sources[index] == FROM_HOST;
}

static bool to_compute(const server *server, size_t index) {
    return server->sources[index] == FROM_COMPUTE;
}

static bool to_offload(const server *server, size_t index) {
    return server->missing[index];
}

/* Moves the blocks picked last, and verifies them. No other blocks move to `dst`. */
static moved move_verified(server *server, const store *src, const store *dst, size_t pairs,
                           size_t picked) {
    const backend_type *type = server->backend->type;
    if (picked == 0)
        return (moved){0};
    if (server->options.verify)
        type->poison(server->backend, dst->side, dst->layout, server->ids, picked);
    moved moved = move(server, src, dst, pairs);
    if (moved.blocks != picked)
        fail(EXIT_CHECK, "a transfer moved %" PRIu64 " blocks of %zu", moved.blocks, picked);
    if (server->options.verify) {
        server->counts.verified_blocks += picked;
        server->counts.corrupt_blocks += type->check(server->backend, dst->side, dst->layout,
                                                     server->ids, server->seeds, picked);
    }
    return moved;
}

static void onboard(server *server, size_t count, size_t stretches) {
    size_t pairs = 0;
    for (size_t i = 0; i < stretches; i++) {
        stretch *stretch = &server->stretches[i];
        size_t hits = 0;
        for (size_t j = 0; j < stretch->count; j++)
            hits += to_onboard(server, stretch->first + j);
        if (hits > 0) { /* a max_blocks of 0 would mean all */
            server->pairs[pairs++] =
                (kvf_pair){.src = stretch->host, .dst = stretch->device, .max_blocks = hits};
        }
    }
    size_t picked = pick(server, count, server->device_ids, to_onboard);
    moved moved = move_verified(server, &server->host, &server->device, pairs, picked);
    server->counts.onboarded += moved.blocks;
    server->counts.onboard_bytes += moved.bytes;
    server->counts.onboard_ns += moved.ns;
}

static void compute(server *server, size_t count, size_t stretches) {
    kvf_error error = {0};
    size_t picked = pick(server, count, server->device_ids, to_compute);
    server->backend->type->fill(server->backend, server->device.side, server->device.layout,
                                server->ids, server->seeds, picked);
    for (size_t i = 0; i < stretches; i++) {
        stretch *stretch = &server->stretches[i];
        size_t blocks = kvf_sequence_block_count(server->sequence);
        must(kvf_assignments_assign_pending(stretch->device, kvf_sequence_hashes(server->sequence),
                                            blocks, NULL, &error),
             &error, "assigning computed blocks");
    }
}

static void offload(server *server, size_t count, size_t stretches) {
    for (size_t i = 0; i < stretches; i++) {
        stretch *stretch = &server->stretches[i];
        server->pairs[i] = (kvf_pair){.src = stretch->device, .dst = stretch->host};
    }
    size_t picked = pick(server, count, server->host_ids, to_offload);
    moved moved = move_verified(server, &server->device, &server->host, stretches, picked);
    server->counts.offloaded += moved.blocks;
    server->counts.offload_bytes += moved.bytes;
    server->counts.offload_ns += moved.ns;
}

static void count_hits(server *server, size_t count) {
    for (size_t i = 0; i < count; i++) {
        server->counts.device_hits += server->sources[i] == FROM_DEVICE;
        server->counts.host_hits += server->sources[i] == FROM_HOST;
        server->counts.computed += server->sources[i] == FROM_COMPUTE;
    }
    server->counts.blocks += count;
}

/* A prompt longer than a tier is served in chunks. A chunk may evict earlier ones, and a block is a
 * hit if a tier holds it when its chunk is served. */
void server_serve(server *server, const uint64_t *ids, size_t count) {
    bool prefix = true;
    hash_prompt(server, ids, count);
    for (size_t first = 0; first < count; first += server->chunk) {
        size_t length = count - first < server->chunk ? count - first : server->chunk;
        server->hashes = kvf_sequence_hashes(server->sequence) + first;
        prefix = look_up(server, length, prefix);
        take_slots(server, length);
        count_hits(server, length);
        size_t stretches = make_stretches(server, length, first);
        onboard(server, length, stretches);
        compute(server, length, stretches);
        offload(server, length, stretches);
        drop_stretches(server, stretches);
        release_slots(server, length);
    }
    server->counts.requests++;
}
