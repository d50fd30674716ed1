/* Every strategy reorders tiles between device and pinned memory. */
#include "support/device_fixture.h"

#include "needs.h"
#include "support/engine_fixture.h"

enum { BLOCKS = 8, LAYERS = 3, PARTS = 2, PIECE = 16, REGIONS = LAYERS * PARTS };

/* A packing buffer is a quarter of it: less than a block of the largest tiles. */
enum { RING = 16384 };

/* The host's layout: whole blocks, a page per part, or tokens before layers. */
typedef enum host_form { WHOLE, PAGES, TOKENS_FIRST, HOST_FORMS } host_form;

typedef struct tile_case {
    size_t tokens, heads;
    kvf_tile_order device_order;
    host_form form;
    bool device_rows; /* a row for each outer index, with a gap after it */
} tile_case;

typedef struct tiles {
    kvf_engine *engine;
    kvf_cuda_pinned *memory;
    void *device_memory;
    kvf_layout *device_layout, *host_layout;
    kvf_tier *device, *host;
} tiles;

static kvf_tile_order other_order(kvf_tile_order order) {
    return order == KVF_ORDER_NHD ? KVF_ORDER_HND : KVF_ORDER_NHD;
}

static size_t tile_bytes(const tile_case *c) {
    return c->tokens * c->heads * PIECE;
}

/* One region per part, blocks adjacent. */
static void lay_out_device(tiles *f, const tile_case *c) {
    const size_t gap = c->device_rows ? 16 : 0;
    const size_t outer = c->device_order == KVF_ORDER_NHD ? c->tokens : c->heads;
    const size_t rows = c->device_rows ? outer : 1;
    const size_t stride = tile_bytes(c) + rows * gap;
    kvf_region regions[REGIONS] = {{0}};
    kvf_error e = {0};
    assert_int_equal(cudaMalloc(&f->device_memory, REGIONS * BLOCKS * stride), cudaSuccess);
    for (size_t i = 0; i < REGIONS; i++)
        regions[i] = (kvf_region){.base = (char *)f->device_memory + i * BLOCKS * stride,
                                  .block_stride = stride,
                                  .bytes = tile_bytes(c) / rows,
                                  .rows = rows,
                                  .row_pitch = tile_bytes(c) / rows + gap,
                                  .layer = (uint32_t)(i / PARTS),
                                  .part = (uint32_t)(i % PARTS),
                                  .tokens = c->tokens,
                                  .heads = c->heads,
                                  .order = c->device_order};
    test_expect(KVF_OK, kvf_layout_create(regions, REGIONS, BLOCKS, NULL, &f->device_layout, &e),
                &e);
}

static void lay_out_host(tiles *f, const tile_case *c) {
    const kvf_tile_order order = other_order(c->device_order);
    const size_t outer = order == KVF_ORDER_NHD ? c->tokens : c->heads;
    const kvf_shape shape = {.blocks = BLOCKS,
                             .layers = LAYERS,
                             .parts = PARTS,
                             .bytes = tile_bytes(c),
                             .rows = c->form == TOKENS_FIRST ? outer : 1,
                             .tokens = c->tokens,
                             .heads = c->heads,
                             .order = order};
    const kvf_cuda_pinned_options options = {.bytes = REGIONS * BLOCKS * tile_bytes(c)};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_pinned_create(&options, &f->memory, NULL, &e), &e);
    const kvf_buffer buffer = {kvf_cuda_pinned_base(f->memory), options.bytes};
    kvf_status status =
        c->form == WHOLE   ? kvf_layout_contiguous(&shape, buffer, &f->host_layout, &e)
        : c->form == PAGES ? kvf_layout_page_first(&shape, buffer, &f->host_layout, &e)
                           : kvf_layout_token_first(&shape, buffer, &f->host_layout, &e);
    test_expect(KVF_OK, status, &e);
}

static tiles tiles_open(const tile_case *c, kvf_cuda_strategy strategy) {
    tiles f = {0};
    kvf_error e = {0};
    const kvf_cuda_options options = {.strategy = strategy, .packing_bytes = RING, .ctas = 2};
    test_expect(KVF_OK, kvf_engine_cuda_create(&options, &f.engine, &e), &e);
    lay_out_device(&f, c);
    lay_out_host(&f, c);
    const kvf_layout *layouts[] = {f.device_layout, f.host_layout};
    const kvf_tier_options device = {
        .layouts = layouts, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    const kvf_tier_options host = {
        .layouts = layouts + 1, .layout_count = 1, .memory = KVF_MEMORY_PINNED};
    test_expect(KVF_OK, kvf_tier_create(f.engine, &device, &f.device, &e), &e);
    test_expect(KVF_OK, kvf_tier_create(f.engine, &host, &f.host, &e), &e);
    return f;
}

static void tiles_close(tiles *f) {
    kvf_tier_destroy(f->device);
    kvf_tier_destroy(f->host);
    kvf_engine_destroy(f->engine);
    kvf_layout_destroy(f->device_layout);
    kvf_layout_destroy(f->host_layout);
    kvf_cuda_pinned_destroy(f->memory);
    (void)cudaFree(f->device_memory);
    fixture_reset();
}

static void expect_blocks(const kvf_layout *layout, const uint64_t *ids, const uint64_t *tags,
                          size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!fixture_holds(layout, ids[i], tags[i]))
            fail_msg("block %zu does not have the content of block %zu", (size_t)ids[i],
                     (size_t)tags[i]);
}

static void round_trip(const tile_case *c, kvf_cuda_strategy strategy, bool by_layer) {
    static const uint64_t near[] = {2, 3, 4, 0, 7, 6}, far[] = {0, 1, 2, 3, 4, 5};
    const size_t count = sizeof near / sizeof *near;
    const kvf_submit_options how = {.by_layer = by_layer};
    tiles f = tiles_open(c, strategy);
    fixture_fill_all(f.device_layout, 0);
    fixture_finish(fixture_submit(f.device, f.host, near, far, count, &how), KVF_OK);
    expect_blocks(f.host_layout, far, near, count);
    fixture_fill_all(f.host_layout, 100);
    fixture_finish(fixture_submit(f.host, f.device, far, near, count, &how), KVF_OK);
    static const uint64_t tags[] = {100, 101, 102, 103, 104, 105};
    expect_blocks(f.device_layout, near, tags, count);
    kvf_cuda_stats stats;
    assert_int_equal(kvf_cuda_stats_get(f.engine, &stats, NULL), KVF_OK);
    assert_int_equal(stats.by[strategy].transfers, 2);
    tiles_close(&f);
}

static void test_every_strategy_reorders_tiles(void **state) {
    (void)state;
    static const size_t counts[][2] = {{16, 4}, {3, 8}, {1, 5}};
    const uint64_t fifths = test_seeds(5); /* of the cases */
    size_t n = 0;
    for (unsigned s = KVF_CUDA_AUTO; s < KVF_CUDA_STRATEGIES; s++)
        for (unsigned how = 0; how < 8; how++)
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
                for (int form = 0; form < HOST_FORMS; form++) {
                    if (n++ % 5 >= fifths)
                        continue;
                    const tile_case c = {.tokens = counts[i][0],
                                         .heads = counts[i][1],
                                         .device_order = how & 1 ? KVF_ORDER_NHD : KVF_ORDER_HND,
                                         .form = (host_form)form,
                                         .device_rows = how & 2};
                    round_trip(&c, (kvf_cuda_strategy)s, how & 4);
                }
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_strategy_reorders_tiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
