/* A move's profile, compared with its boxes counted one by one. */
#include "support/support.h"

#include <kvferry/cuda.h>

#include "cost/costs.h"
#include "move/move.h"

#include <string.h>

enum { BLOCKS = 300, MOST_IDS = 200 };

static uint64_t total_bytes(const kvf__cuda_tally *t) {
    uint64_t bytes = 0, count = 0;
    for (size_t i = 0; i < KVF__CUDA_SIZES; i++) {
        bytes += t->classes[i].bytes;
        count += t->classes[i].count;
    }
    assert_int_equal(count, t->count);
    return bytes;
}

static void expect_tally(const kvf__cuda_tally *actual, const kvf__cuda_tally *expected) {
    assert_int_equal(actual->count, expected->count);
    assert_int_equal(total_bytes(actual), total_bytes(expected));
}

/* Counts the boxes that the engine would enumerate. */
static void count_boxes(const kvf_move *move, kvf__cuda_move_profile *profile) {
    kvf_box_cursor cursor = {0};
    kvf_box box;
    while (kvf__move_next(move, kvf_cuda_limits(), move->strip_count, SIZE_MAX, &cursor, &box, 1) ==
           1) {
        uint64_t rows = (uint64_t)box.rows * box.slices;
        profile->bytes += box.width * rows;
        profile->row_calls += rows > 1;
        kvf__cuda_tally_add(rows > 1 ? &profile->rows : &profile->pieces, rows, box.width * rows);
    }
}

static kvf_move *move_of(const kvf_layout *src, const kvf_layout *dst, const uint64_t *src_ids,
                         const uint64_t *dst_ids, size_t count, bool by_layer,
                         const kvf_box_limits *limits) {
    const kvf_plan plan = {.count = count, .src_ids = src_ids, .dst_ids = dst_ids};
    const kvf_move_spec spec = {
        .src = src, .dst = dst, .plans = &plan, .plan_count = 1, .by_layer = by_layer};
    kvf_move *move = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_move_create(&spec, limits, NULL, &move, &e), &e);
    return move;
}

/* Addresses that are never accessed. */
static char *const near_memory = (char *)0x100000000, *const far_memory = (char *)0x900000000;

typedef struct pair {
    kvf_layout *near, *far;
} pair;

enum { LAYERS = 6, PARTS = 2, BYTES = 1024, BLOCK = LAYERS * PARTS * BYTES };

typedef enum form { PER_LAYER, SECOND, CONTIGUOUS, PAGE_FIRST, TOKEN_FIRST, BY_LAYER, FORMS } form;

/* With `uneven`, layers differ in size. */
static kvf_layout *make(form form, char *memory, bool uneven) {
    static const size_t sizes[LAYERS] = {1024, 1024, 512, 512, 1024, 64};
    const kvf_shape shape = {.blocks = BLOCKS,
                             .layers = LAYERS,
                             .parts = PARTS,
                             .bytes = BYTES,
                             .bytes_per_layer = uneven ? sizes : NULL,
                             .rows = 4};
    const kvf_buffer whole = {memory, (size_t)BLOCKS * BLOCK};
    kvf_buffer layers[LAYERS];
    kvf_layout *layout = NULL, *like = NULL;
    kvf_error e = {0};
    for (size_t l = 0; l < LAYERS; l++)
        layers[l] = (kvf_buffer){memory + l * (whole.bytes / LAYERS), whole.bytes / LAYERS};
    switch (form) {
    case PER_LAYER:
        test_expect(KVF_OK, kvf_layout_per_layer(&shape, layers, KVF_BLOCK_FIRST, &layout, &e), &e);
        break;
    case SECOND:
        test_expect(KVF_OK, kvf_layout_per_layer(&shape, layers, KVF_BLOCK_SECOND, &layout, &e),
                    &e);
        break;
    case CONTIGUOUS:
        test_expect(KVF_OK, kvf_layout_contiguous(&shape, whole, &layout, &e), &e);
        break;
    case PAGE_FIRST:
        test_expect(KVF_OK, kvf_layout_page_first(&shape, whole, &layout, &e), &e);
        break;
    case TOKEN_FIRST:
        test_expect(KVF_OK, kvf_layout_token_first(&shape, whole, &layout, &e), &e);
        break;
    default:
        like = make(CONTIGUOUS, memory, uneven);
        test_expect(KVF_OK,
                    kvf_layout_recommend(like, KVF_USE_BY_LAYER, BLOCKS, whole, NULL, &layout, &e),
                    &e);
        kvf_layout_destroy(like);
    }
    return layout;
}

/* Distinct ids, in ascending and descending runs of several steps. */
static size_t choose_ids(test_random *random, uint64_t *ids) {
    bool taken[BLOCKS] = {false};
    size_t count = 0;
    for (size_t run = 0; run < 30; run++) {
        uint64_t at = test_random_below(random, BLOCKS), step = 1 + test_random_below(random, 3);
        size_t length = 1 + (size_t)test_random_below(random, run % 5 == 0 ? 60 : 4);
        bool down = test_random_below(random, 4) == 0;
        for (size_t i = 0; i < length && at < BLOCKS && !taken[at] && count < MOST_IDS; i++) {
            taken[at] = true;
            ids[count++] = at;
            at = down ? at - step : at + step;
        }
    }
    return count;
}

static void test_equals_enumerated_boxes(void **state) {
    (void)state;
    static const kvf_box_limits everything = {.max_pitch = PTRDIFF_MAX,
                                              .negative_pitch = true,
                                              .narrow_pitch = true,
                                              .slices = true,
                                              .free_slice_pitch = true};
    static const kvf_box_limits pieces = {0};
    const kvf_box_limits *limits[] = {kvf_cuda_limits(), &everything, &pieces};
    for (uint64_t seed = 0; seed < test_seeds(20); seed++) {
        test_random random = test_random_make(seed);
        for (unsigned k = 0; k < FORMS * FORMS * 3; k++) {
            kvf_layout *src = make(k % FORMS, near_memory, seed % 3 == 0);
            kvf_layout *dst = make(k / FORMS % FORMS, far_memory, seed % 3 == 0);
            uint64_t src_ids[MOST_IDS], dst_ids[MOST_IDS];
            size_t count = choose_ids(&random, src_ids), other = choose_ids(&random, dst_ids);
            count = count < other ? count : other;
            kvf_move *move =
                move_of(src, dst, src_ids, dst_ids, count, seed % 2, limits[k / FORMS / FORMS]);
            kvf__cuda_move_profile expected = {.bytes = 0}, profile;
            count_boxes(move, &expected);
            for (kvf_cuda_direction d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
                kvf__cuda_move_profile_of(move, d, &profile);
                assert_int_equal(profile.bytes, expected.bytes);
                assert_int_equal(profile.row_calls, expected.row_calls);
                expect_tally(&profile.pieces, &expected.pieces);
                expect_tally(&profile.rows, &expected.rows);
                assert_int_equal(total_bytes(&profile.lines), profile.bytes);
                assert_int_equal(profile.layers, seed % 2 ? LAYERS : 1);
                assert_true((profile.host_boxes > 0) == (d != KVF_CUDA_ON_DEVICE));
            }
            kvf_move_destroy(move);
            kvf_layout_destroy(src);
            kvf_layout_destroy(dst);
        }
    }
}

static uint64_t host_boxes(form near, form far, bool by_layer, bool to, const uint64_t *near_ids,
                           const uint64_t *far_ids, size_t count) {
    kvf_layout *device = make(near, near_memory, false), *host = make(far, far_memory, false);
    kvf_move *move = move_of(to ? host : device, to ? device : host, to ? far_ids : near_ids,
                             to ? near_ids : far_ids, count, by_layer, kvf_cuda_limits());
    kvf_error e = {0};
    kvf_cuda_costs *m = NULL;
    kvf_cuda_explanation x;
    test_expect(KVF_OK, kvf_cuda_costs_builtin(NULL, &m, &e), &e);
    test_expect(
        KVF_OK,
        kvf_cuda_costs_explain(m, move, to ? KVF_CUDA_TO_DEVICE : KVF_CUDA_FROM_DEVICE, &x, &e),
        &e);
    assert_int_equal(x.bytes, (uint64_t)count * BLOCK);
    kvf_cuda_costs_destroy(m);
    kvf_move_destroy(move);
    kvf_layout_destroy(host);
    kvf_layout_destroy(device);
    return x.host_boxes;
}

static void test_host_boxes(void **state) {
    (void)state;
    static const uint64_t scattered[] = {90, 4, 71, 33, 250, 18}, gaps[] = {5, 6, 7, 9, 20, 21};
    static const uint64_t down[] = {12, 11, 10, 9, 8, 7}, up[] = {7, 8, 9, 10, 11, 12};
    for (int to = 0; to < 2; to++) {
        /* Adjacent whole blocks: one box per run of ids. */
        assert_int_equal(host_boxes(PER_LAYER, CONTIGUOUS, false, to, scattered, up, 6), 1);
        assert_int_equal(host_boxes(SECOND, CONTIGUOUS, false, to, scattered, up, 6), 1);
        assert_int_equal(host_boxes(SECOND, CONTIGUOUS, false, to, up, down, 6), 1);
        assert_int_equal(host_boxes(SECOND, CONTIGUOUS, false, to, up, gaps, 6), 3);
        assert_int_equal(host_boxes(SECOND, CONTIGUOUS, false, to, up, scattered, 6), 6);
        /* Two whole pages per block. */
        assert_int_equal(host_boxes(PER_LAYER, PAGE_FIRST, false, to, scattered, up, 6), 2);
        assert_int_equal(host_boxes(PER_LAYER, PAGE_FIRST, false, to, up, gaps, 6), 6);
        /* By layer a contiguous block is cut into its layers. */
        assert_int_equal(host_boxes(PER_LAYER, CONTIGUOUS, true, to, scattered, up, 6), 6 * LAYERS);
        assert_int_equal(host_boxes(PER_LAYER, BY_LAYER, true, to, scattered, up, 6), LAYERS);
    }
}

/* The last class takes everything larger, the first everything smaller. */
static void test_tally(void **state) {
    (void)state;
    kvf__cuda_tally t = {.count = 0};
    for (unsigned shift = 0; shift < 62; shift++)
        kvf__cuda_tally_add(&t, 1, UINT64_C(1) << shift);
    assert_int_equal(t.count, 62);
    assert_int_equal(total_bytes(&t), (UINT64_C(1) << 62) - 1);
    t = (kvf__cuda_tally){.count = 0};
    kvf__cuda_tally_add(&t, 0, 0);
    assert_int_equal(t.count, 0);
    /* Sizes on both sides of a driver's threshold are in different classes. */
    kvf__cuda_tally_add(&t, 1, 24 << 10);
    kvf__cuda_tally_add(&t, 1, 28 << 10);
    kvf__cuda_tally_add(&t, 1, 32 << 10);
    size_t classes = 0;
    for (size_t i = 0; i < KVF__CUDA_SIZES; i++)
        classes += t.classes[i].count > 0;
    assert_int_equal(classes, 3);
}

static void test_nothing(void **state) {
    (void)state;
    kvf_layout *near = make(PER_LAYER, near_memory, false),
               *far = make(CONTIGUOUS, far_memory, false);
    kvf_move *move = move_of(near, far, NULL, NULL, 0, false, kvf_cuda_limits());
    kvf_cuda_costs *m = NULL;
    kvf_cuda_explanation x;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_costs_builtin(NULL, &m, &e), &e);
    for (int d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        test_expect(KVF_OK, kvf_cuda_costs_explain(m, move, (kvf_cuda_direction)d, &x, &e), &e);
        assert_int_equal(x.bytes + x.boxes + x.fragments + x.host_boxes, 0);
        assert_true(x.us[KVF_CUDA_AUTO] > 0 && x.chosen != KVF_CUDA_AUTO);
    }
    memset(&x, 1, sizeof x);
    const kvf_cuda_explanation before = x;
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_explain(m, move, 3, &x, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_explain(NULL, move, 0, &x, &e), &e);
    assert_memory_equal(&x, &before, sizeof x);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_explain(m, move, 0, NULL, &e), &e);
    kvf_cuda_costs_destroy(m);
    kvf_move_destroy(move);
    kvf_layout_destroy(near);
    kvf_layout_destroy(far);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tally),
        cmocka_unit_test(test_equals_enumerated_boxes),
        cmocka_unit_test(test_host_boxes),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
