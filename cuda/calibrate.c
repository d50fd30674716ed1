/*
 * Calibration: measures transfers of equal pieces, by each strategy, in scratch memory.
 *
 *     device  | .... | .a.. | ..b. | c... |     one piece, at a random place, in each share
 *     host    |cba|fed| ...                     contiguous, but in reverse order, so that no two
 *                                               pieces form one box; elsewhere in each transfer
 *
 * For boxes with rows, each share has as many pieces, at a constant distance, as a box has rows,
 * and the host has them in the same order. The host's clock times each transfer, from before its
 * submit until a poll, repeated without naps, sees its end.
 *
 * Machines warm up, and slow down when hot. So some transfers run before the first sample, sizes
 * come in random order, and the ways of copying (direction times strategy) take turns, sample by
 * sample. The first measurements are repeated at the end. The noise is how far these are apart, or
 * how far the samples of a cell are.
 */
#include "copy/copier.h"
#include "base/hooks.h"
#include "base/time.h"
#include "cost/costs.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_PIECES = 2048,
    MOST_LARGE_PIECES = 2 * KVF__CUDA_BATCH, /* more than one batch call takes */
    SAMPLES = 3,
    USUAL_SCRATCH = 256 << 20,
    LEAST_SCRATCH = 1 << 20,
    MOST_CELL = 16 << 20,
    ROOMINESS = 6,       /* cells that fit into the scratch memory */
    LARGE_ROOMINESS = 2, /* large cells that fit */
    FEWEST = 4,          /* pieces in the largest cell of a size, or the size is left out */
    LAYERS = 16,
    LAYER_BLOCKS = 16,
    LAYER_BYTES = 1024,
    MOST_SAMPLES = 2048,
    WAYS = KVF_CUDA_DIRECTIONS * (KVF_CUDA_STRATEGIES - 1),
    WARM_UP_NS = 300 * 1000 * 1000,
    SHORT_NS = 100 * 1000,     /* spreads of shorter samples are relative to this */
    WARM_UP_BYTES = 256 << 10, /* warm-up transfers: scratch / this, at most */
    REFERENCE = 16 << 10,      /* bytes of a piece in the cell that is measured twice */
};

#define KIB ((size_t)1 << 10)

/* Dense between 16 and 64 KiB, where drivers switch to another way of copying. */
static const size_t sizes[] = {512,        1 * KIB,    2 * KIB,   4 * KIB,   8 * KIB,   12 * KIB,
                               16 * KIB,   20 * KIB,   24 * KIB,  28 * KIB,  32 * KIB,  40 * KIB,
                               48 * KIB,   64 * KIB,   96 * KIB,  128 * KIB, 256 * KIB, 512 * KIB,
                               1024 * KIB, 2048 * KIB, 4096 * KIB};
static const size_t widths[] = {512,     1 * KIB,  2 * KIB,  4 * KIB,
                                8 * KIB, 16 * KIB, 64 * KIB, 256 * KIB};
static const size_t rows_a_box[] = {8, 64};

/* Sizes that also have a large cell, of 64, 64, 64 and 128 MiB. */
static const struct {
    size_t bytes, pieces;
} large[] = {{8 * KIB, MOST_LARGE_PIECES}, {64 * KIB, 1024}, {1024 * KIB, 64}, {4096 * KIB, 32}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Pieces of one transfer. */
typedef struct cell {
    kvf_cuda_direction direction;
    kvf_cuda_strategy strategy;
    size_t bytes, pieces;
    size_t rows; /* of a box; 1: pieces */
    size_t layers;
} cell;

_Static_assert(USUAL_SCRATCH / LARGE_ROOMINESS >= 128 << 20, "cells of 64 and 128 MiB fit");

typedef struct bench {
    int device;
    size_t scratch, cell_bytes;
    kvf_allocator allocator;
    kvf_engine *engine;
    void *near_memory;
    kvf_cuda_pinned *pinned;
    kvf_tier *near, *far; /* the device's and the host's, for the current size */
    size_t blocks;        /* of each */
    size_t turn;          /* the next part of the far memory */
    uint64_t random;
    uint64_t near_ids[MOST_LARGE_PIECES], far_ids[MOST_LARGE_PIECES];
    kvf__cuda_sample samples[MOST_SAMPLES];
    double spreads[MOST_SAMPLES]; /* of each: (largest - smallest) / median, or SHORT_NS */
    size_t count;
    double noise;
} bench;

static size_t below(bench *b, size_t bound) {
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(b->random >> 33) % bound;
}

/* Ids */

/* Ids of boxes of every second block, `rows` blocks each, from `first` on. The last box is in the
 * first share, and so on. */
static void scatter(bench *b, const cell *c, uint64_t *ids, size_t first, size_t blocks) {
    size_t boxes = c->pieces / c->rows, share = blocks / boxes, extent = 2 * c->rows - 1;
    for (size_t i = 0; i < boxes; i++) {
        size_t start = first + (boxes - 1 - i) * share + below(b, share - extent + 1);
        for (size_t row = 0; row < c->rows; row++)
            ids[i * c->rows + row] = start + 2 * row;
    }
}

static void choose_ids(bench *b, const cell *c) {
    size_t half = b->blocks / 2;
    if (c->direction == KVF_CUDA_ON_DEVICE) {
        scatter(b, c, b->near_ids, 0, half);
        for (size_t i = 0; i < c->pieces; i++)
            b->far_ids[i] = half + i;
        return;
    }
    scatter(b, c, b->near_ids, 0, b->blocks);
    size_t places = b->blocks / c->pieces, place = b->turn++ % places;
    for (size_t i = 0; i < c->pieces; i++)
        b->far_ids[i] = place * c->pieces + i;
}

/* Measuring */

/* Times one transfer. `*taken`: it took the strategy that was asked for. */
static kvf_status time_once(bench *b, const cell *c, double *ns, bool *taken, kvf_error *error) {
    bool to = c->direction == KVF_CUDA_TO_DEVICE, from = c->direction == KVF_CUDA_FROM_DEVICE;
    const kvf_plan plan = {.count = c->pieces,
                           .src_ids = to ? b->far_ids : b->near_ids,
                           .dst_ids = to ? b->near_ids : b->far_ids};
    const kvf_submit_options how = {.strategy = c->strategy, .by_layer = c->layers > 1};
    kvf_transfer *transfer = NULL;
    uint64_t start = kvf__now();
    kvf_status status = kvf_transfer_submit(to ? b->far : b->near, from ? b->far : b->near, &plan,
                                            1, &how, &transfer, error);
    if (status != KVF_OK)
        return status;
    while ((status = kvf_transfer_poll(transfer, error)) == KVF_PENDING)
        ;
    *ns = (double)(kvf__now() - start);
    kvf_cuda_explanation explained = {.chosen = KVF_CUDA_AUTO};
    if (status == KVF_OK)
        status = kvf_cuda_explain(transfer, &explained, error);
    *taken = explained.chosen == c->strategy;
    kvf_transfer_release(transfer);
    return status;
}

static int by_time(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The samples of one cell. */
typedef struct series {
    double ns[WAYS][SAMPLES];
    bool left_out[WAYS]; /* not available, or not wanted */
} series;

static void set_way(cell *c, size_t way) {
    c->direction = (kvf_cuda_direction)(way / (KVF_CUDA_STRATEGIES - 1));
    c->strategy = (kvf_cuda_strategy)(KVF_CUDA_LOOP + way % (KVF_CUDA_STRATEGIES - 1));
}

static bool is_wanted(const cell *c, kvf_cuda_strategy last) {
    bool packs_for_nothing = c->direction == KVF_CUDA_ON_DEVICE && c->strategy == KVF_CUDA_STAGED;
    bool takes_too_long = c->strategy == KVF_CUDA_LOOP && c->pieces > MOST_PIECES;
    return c->strategy <= last && !packs_for_nothing && !takes_too_long;
}

/* Takes one sample of each way; the sample of number -1 warms up and is overwritten. */
static kvf_status take_samples(bench *b, cell c, int sample, series *s, kvf_error *error) {
    size_t first = below(b, WAYS);
    for (size_t i = 0; i < WAYS; i++) {
        size_t way = (first + i) % WAYS;
        bool taken = true;
        if (s->left_out[way])
            continue;
        set_way(&c, way);
        choose_ids(b, &c);
        kvf_status status = time_once(b, &c, &s->ns[way][sample < 0 ? 0 : sample], &taken, error);
        if (status != KVF_OK && status != KVF_ERR_UNSUPPORTED)
            return status;
        s->left_out[way] = status == KVF_ERR_UNSUPPORTED || !taken;
    }
    return KVF_OK;
}

static void keep(bench *b, const cell *c, double ns[SAMPLES]) {
    qsort(ns, SAMPLES, sizeof *ns, by_time);
    double middle = fmax(ns[SAMPLES / 2], 1);
    assert(b->count < MOST_SAMPLES);
    b->spreads[b->count] = (ns[SAMPLES - 1] - ns[0]) / fmax(middle, SHORT_NS);
    b->samples[b->count++] = (kvf__cuda_sample){
        .direction = c->direction,
        .strategy = c->strategy,
        .bytes = c->bytes,
        .pieces = (uint64_t)c->pieces * c->layers,
        .row_calls = c->rows > 1 ? c->pieces / c->rows : 0,
        .layers = (uint32_t)c->layers,
        .ns = middle,
    };
}

/* Measures a cell with each strategy up to `last`, in each direction. Ways that are not available
 * give no samples. */
static kvf_status measure_all(bench *b, cell c, kvf_cuda_strategy last, kvf_error *error) {
    series s;
    kvf_status status = KVF_OK;
    for (size_t way = 0; way < WAYS; way++) {
        set_way(&c, way);
        s.left_out[way] = !is_wanted(&c, last);
    }
    for (int i = -1; status == KVF_OK && i < SAMPLES; i++)
        status = take_samples(b, c, i, &s, error);
    for (size_t way = 0; status == KVF_OK && way < WAYS; way++) {
        set_way(&c, way);
        if (!s.left_out[way])
            keep(b, &c, s.ns[way]);
    }
    return status;
}

/* Tiers */

static void close_tiers(bench *b) {
    kvf_tier_destroy(b->near);
    kvf_tier_destroy(b->far);
    b->near = b->far = NULL;
}

static kvf_status make_tier(bench *b, const kvf_region *regions, size_t count, kvf_memory memory,
                            kvf_tier **out, kvf_error *error) {
    kvf_layout *layout = NULL;
    kvf_status status = kvf_layout_create(regions, count, b->blocks, &b->allocator, &layout, error);
    if (status != KVF_OK)
        return status;
    const kvf_tier_options options = {
        .layouts = (const kvf_layout *[]){layout}, .layout_count = 1, .memory = memory};
    status = kvf_tier_create(b->engine, &options, out, error);
    kvf_layout_destroy(layout);
    return status;
}

/* Opens a tier on each side. Each layer is a dense array of blocks, after the previous layer's. */
static kvf_status open_tiers(bench *b, size_t bytes, size_t layers, kvf_error *error) {
    kvf_region near[LAYERS], far[LAYERS];
    b->blocks = b->scratch / layers / bytes;
    for (size_t g = 0; g < layers; g++) {
        near[g] = (kvf_region){.base = (char *)b->near_memory + g * b->blocks * bytes,
                               .block_stride = bytes,
                               .bytes = bytes,
                               .layer = (uint32_t)g};
        far[g] = near[g];
        far[g].base = (char *)kvf_cuda_pinned_base(b->pinned) + g * b->blocks * bytes;
    }
    kvf_status status = make_tier(b, near, layers, KVF_MEMORY_DEVICE, &b->near, error);
    if (status == KVF_OK)
        status = make_tier(b, far, layers, KVF_MEMORY_PINNED, &b->far, error);
    return status;
}

/* Cells */

static size_t most_pieces(const bench *b, size_t bytes) {
    return kvf__min(b->cell_bytes / bytes, MOST_PIECES);
}

/* Measures many, fewer and few pieces, to separate the times of a piece and of a transfer. */
static kvf_status measure_pieces(bench *b, size_t bytes, kvf_error *error) {
    kvf_status status = KVF_OK;
    size_t pieces = most_pieces(b, bytes);
    for (int i = 0; status == KVF_OK && i < 3 && pieces > 0; i++, pieces /= 8)
        status = measure_all(b, (cell){.bytes = bytes, .pieces = pieces, .rows = 1, .layers = 1},
                             KVF_CUDA_STAGED, error);
    return status;
}

static bool has_rows(size_t bytes) {
    for (size_t i = 0; i < COUNT(widths); i++)
        if (widths[i] == bytes)
            return true;
    return false;
}

static kvf_status measure_rows(bench *b, size_t bytes, kvf_error *error) {
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < COUNT(rows_a_box); i++) {
        size_t rows = rows_a_box[i], boxes = most_pieces(b, bytes) / rows;
        if (boxes > 0)
            status = measure_all(
                b, (cell){.bytes = bytes, .pieces = boxes * rows, .rows = rows, .layers = 1},
                KVF_CUDA_BATCH, error);
    }
    return status;
}

/* Measures transfers of realistic size, some with more pieces than one batch call takes. */
static kvf_status measure_large(bench *b, size_t bytes, kvf_error *error) {
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < COUNT(large); i++) {
        size_t pieces = kvf__min(large[i].pieces, b->scratch / LARGE_ROOMINESS / bytes);
        if (large[i].bytes == bytes && pieces > most_pieces(b, bytes))
            status =
                measure_all(b, (cell){.bytes = bytes, .pieces = pieces, .rows = 1, .layers = 1},
                            KVF_CUDA_STAGED, error);
    }
    return status;
}

static kvf_status measure_size(bench *b, size_t bytes, kvf_error *error) {
    if (most_pieces(b, bytes) < FEWEST)
        return KVF_OK;
    kvf_status status = open_tiers(b, bytes, 1, error);
    if (status == KVF_OK)
        status = measure_pieces(b, bytes, error);
    if (status == KVF_OK && has_rows(bytes))
        status = measure_rows(b, bytes, error);
    if (status == KVF_OK)
        status = measure_large(b, bytes, error);
    close_tiers(b);
    return status;
}

static kvf_status measure_layers(bench *b, kvf_error *error) {
    const cell c = {.bytes = LAYER_BYTES, .pieces = LAYER_BLOCKS, .rows = 1, .layers = LAYERS};
    kvf_status status = open_tiers(b, LAYER_BYTES, LAYERS, error);
    if (status == KVF_OK)
        status = measure_all(b, c, KVF_CUDA_STAGED, error);
    close_tiers(b);
    return status;
}

static kvf_status measure_sizes(bench *b, kvf_error *error) {
    size_t order[COUNT(sizes) + 1]; /* the last: layers */
    for (size_t i = 0; i < COUNT(order); i++)
        order[i] = i;
    for (size_t i = COUNT(order); i > 1; i--) {
        size_t at = below(b, i), last = order[i - 1];
        order[i - 1] = order[at];
        order[at] = last;
    }
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < COUNT(order); i++)
        status = order[i] < COUNT(sizes) ? measure_size(b, sizes[order[i]], error)
                                         : measure_layers(b, error);
    return status;
}

/* Noise */

static cell reference(const bench *b) {
    return (cell){.bytes = REFERENCE, .pieces = most_pieces(b, REFERENCE), .rows = 1, .layers = 1};
}

/* The clocks of GPU, link and CPU rise under load. */
static kvf_status warm_up(bench *b, kvf_error *error) {
    cell c = reference(b);
    kvf_status status = open_tiers(b, c.bytes, 1, error);
    double ns;
    uint64_t start = kvf__now();
    size_t most = b->scratch / WARM_UP_BYTES;
    for (size_t i = 0; status == KVF_OK && i < most && kvf__now() - start < WARM_UP_NS; i++) {
        bool taken;
        set_way(&c, i % WAYS);
        choose_ids(b, &c);
        if (is_wanted(&c, KVF_CUDA_STAGED))
            status = time_once(b, &c, &ns, &taken, error);
        status = status == KVF_ERR_UNSUPPORTED ? KVF_OK : status;
    }
    close_tiers(b);
    return status;
}

static kvf_status measure_reference(bench *b, kvf_error *error) {
    kvf_status status = open_tiers(b, REFERENCE, 1, error);
    if (status == KVF_OK)
        status = measure_all(b, reference(b), KVF_CUDA_STAGED, error);
    close_tiers(b);
    return status;
}

static kvf_status measure_everything(bench *b, kvf_error *error) {
    kvf_status status = warm_up(b, error);
    if (status == KVF_OK)
        status = measure_reference(b, error);
    if (status == KVF_OK)
        status = measure_sizes(b, error);
    size_t again = b->count;
    if (status == KVF_OK)
        status = measure_reference(b, error);
    if (status == KVF_OK)
        b->noise = kvf__cuda_noise(b->samples, b->spreads, b->count, b->count - again);
    return status;
}

/* All */

static kvf_status open_bench(bench *b, kvf_error *error) {
    const kvf_cuda_options engine = {
        .device = b->device, .lanes = 1, .no_thread = true, .allocator = &b->allocator};
    const kvf_cuda_pinned_options pinned = {
        .bytes = b->scratch, .device = b->device, .near_device = true, .allocator = &b->allocator};
    kvf_status status = kvf_engine_cuda_create(&engine, &b->engine, error);
    if (status == KVF_OK)
        status = kvf_cuda_device_alloc(b->device, b->scratch, &b->near_memory, error);
    if (status == KVF_OK)
        status = kvf_cuda_pinned_create(&pinned, &b->pinned, NULL, error);
    return status;
}

static void close_bench(bench *b) {
    kvf_engine_destroy(b->engine);
    kvf_cuda_pinned_destroy(b->pinned);
    kvf_cuda_device_free(b->device, b->near_memory);
}

static void set_date(kvf_cuda_costs *costs) {
    time_t seconds = time(NULL);
    struct tm parts;
    if (gmtime_r(&seconds, &parts))
        (void)strftime(costs->date, sizeof costs->date, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static bool has_samples(const bench *b, kvf_cuda_strategy strategy) {
    for (size_t i = 0; i < b->count; i++)
        if (b->samples[i].strategy == strategy)
            return true;
    return false;
}

static void write_result(const bench *b, const kvf_log *log) {
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        if (!has_samples(b, (kvf_cuda_strategy)s))
            kvf__log(log, KVF_LOG_WARNING, "calibrating device %d: strategy %s is not available",
                     b->device, kvf_cuda_strategy_name((kvf_cuda_strategy)s));
    kvf__log(log, b->noise > KVF_CUDA_NOISY ? KVF_LOG_WARNING : KVF_LOG_INFO,
             "calibrated device %d: %zu samples, noise %.1f %%%s", b->device, b->count,
             b->noise * 100, b->noise > KVF_CUDA_NOISY ? ": other work was running" : "");
}

static kvf_status make_costs(bench *b, kvf_cuda_costs **out, kvf_error *error) {
    kvf_cuda_costs *costs = kvf__cuda_costs_make(&b->allocator);
    if (!costs)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = kvf__cuda_machine_key_of(b->device, &costs->key, error);
    if (status == KVF_OK)
        status = open_bench(b, error);
    if (status == KVF_OK)
        status = measure_everything(b, error);
    if (status == KVF_OK)
        status = kvf__cuda_costs_fit(costs, b->samples, b->count, error);
    close_bench(b);
    if (status != KVF_OK) {
        kvf_cuda_costs_destroy(costs);
        return status;
    }
    set_date(costs);
    costs->noise_ppm = (int32_t)fmin(ceil(b->noise * 1e6), INT32_MAX);
    *out = costs;
    return KVF_OK;
}

kvf_status kvf_cuda_costs_calibrate(const kvf_cuda_calibrate_options *options, kvf_cuda_costs **out,
                                    kvf_error *error) {
    const kvf_cuda_calibrate_options none = {0};
    const kvf_cuda_calibrate_options *o = options ? options : &none;
    size_t scratch = o->scratch_bytes ? o->scratch_bytes : USUAL_SCRATCH;
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (scratch < LEAST_SCRATCH)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = LEAST_SCRATCH, .what = "scratch_bytes must be at least 1 MiB");
    if (scratch > USUAL_SCRATCH)
        scratch = USUAL_SCRATCH;
    kvf__hooks hooks;
    kvf_status status = kvf__hooks_take(&hooks, o->log, NULL, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator allocator = kvf__allocator(o->allocator);
    bench *b = kvf__alloc_zero(&allocator, 1, sizeof *b);
    if (!b)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    b->device = o->device;
    b->scratch = scratch;
    b->cell_bytes = kvf__min(scratch / ROOMINESS, MOST_CELL);
    b->allocator = allocator;
    status = make_costs(b, out, error);
    if (status == KVF_OK)
        write_result(b, &hooks.log);
    kvf__free(&allocator, b, 1, sizeof *b);
    return status;
}
