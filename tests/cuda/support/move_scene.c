#include "move_scene.h"

#include "move/move.h"

#include <stdlib.h>
#include <string.h>

uint64_t scene_below(scene *s, uint64_t bound) {
    return test_random_below(&s->random, bound);
}

static fixture_side side_of(size_t tier) {
    return tier == SCENE_HOST ? FIXTURE_FAR : FIXTURE_NEAR;
}

/* Shapes and positions */

static size_t choose_blocks(scene *s) {
    switch (s->kind) {
    case SCENE_MANY_BLOCKS:
        return 1000 + scene_below(s, 4000);
    case SCENE_BIG_BLOCKS:
        return 2 + scene_below(s, 10);
    default:
        return 2 + scene_below(s, 30);
    }
}

/* Bytes of a row: half the time an odd number of units. */
static size_t choose_row(scene *s) {
    switch (s->kind) {
    case SCENE_MANY_REGIONS:
        return s->unit * (1 + scene_below(s, 5));
    case SCENE_MANY_BLOCKS:
        return 16 * (1 + scene_below(s, 2));
    case SCENE_BIG_BLOCKS:
        return s->unit * (1 + scene_below(s, 120000) / s->unit);
    default:
        return s->unit * (1 + scene_below(s, 70));
    }
}

static void choose_shape(scene *s, size_t layout) {
    kvf_shape *shape = &s->shapes[layout];
    *shape = (kvf_shape){.layers = 1 + scene_below(s, 4),
                         .parts = 1 + scene_below(s, 3),
                         .rows = 1 + scene_below(s, 2) * scene_below(s, 5)};
    if (s->kind == SCENE_MANY_REGIONS)
        shape->layers = 40 + scene_below(s, SCENE_LAYERS - 39);
    size_t row = choose_row(s), more = scene_below(s, 3) == 0 ? s->unit : 0;
    for (size_t l = 0; l < shape->layers; l++)
        s->bytes[layout][l] = shape->rows * (row + l % 5 * more);
    shape->bytes = s->bytes[layout][0];
    if (more)
        shape->bytes_per_layer = s->bytes[layout];
}

static fixture_form choose_form(scene *s, const kvf_shape *shape) {
    fixture_form form = (fixture_form)scene_below(s, FIXTURE_ALL_FORMS);
    /* Layers of different sizes cannot share a row or interleave their rows. */
    bool mixes = form == FIXTURE_TOKEN_FIRST || form == FIXTURE_PADDED;
    return shape->bytes_per_layer && mixes ? FIXTURE_PER_PART : form;
}

/* Fills the memory and the oracle with the same random bytes. */
static void make_memory(scene *s, size_t tier, size_t layout) {
    scene_tier *t = &s->tiers[tier];
    kvf_shape shape = s->shapes[layout];
    shape.blocks = t->blocks;
    const fixture_placement placement = {
        .side = side_of(tier), .offset = s->unit * (1 + 2 * scene_below(s, 4)), .unit = s->unit};
    fixture_memory *m = &t->memories[layout];
    *m = fixture_memory_make_at(&shape, choose_form(s, &shape), &placement);
    t->expected[layout] = malloc(m->size);
    assert_non_null(t->expected[layout]);
    for (size_t i = 0; i < m->size; i++)
        t->expected[layout][i] = (char)test_random_next(&s->random);
    fixture_write(m->bytes, t->expected[layout], m->size);
}

static void make_tier(scene *s, size_t tier) {
    scene_tier *t = &s->tiers[tier];
    const kvf_layout *layouts[SCENE_LAYOUTS];
    t->blocks = choose_blocks(s);
    for (size_t k = 0; k < s->layout_count; k++) {
        make_memory(s, tier, k);
        layouts[k] = t->memories[k].layout;
    }
    const kvf_tier_options options = {
        .layouts = layouts, .layout_count = s->layout_count, .memory = fixture_kind(side_of(tier))};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_tier_create(s->engine, &options, &t->tier, &e), &e);
}

void scene_open(scene *s, uint64_t seed, scene_kind kind, kvf_engine *engine) {
    *s = (scene){.random = test_random_make(seed), .kind = kind, .engine = engine};
    s->unit = (size_t)1 << scene_below(s, 5);
    s->layout_count = kind == SCENE_SMALL ? 1 + scene_below(s, SCENE_LAYOUTS) : 1;
    for (size_t k = 0; k < s->layout_count; k++)
        choose_shape(s, k);
    for (size_t t = 0; t < SCENE_TIERS; t++)
        make_tier(s, t);
}

static const char *const names[SCENE_TIERS] = {"device", "other device", "host"};

const char *scene_compare(const scene *s, size_t *offset) {
    const char *differs = NULL;
    for (size_t i = 0; !differs && i < SCENE_TIERS * s->layout_count; i++) {
        const size_t tier = i / s->layout_count, layout = i % s->layout_count;
        const fixture_memory *m = &s->tiers[tier].memories[layout];
        const char *expected = s->tiers[tier].expected[layout];
        char *found = malloc(m->size);
        assert_non_null(found);
        fixture_read(found, m->bytes, m->size);
        if (memcmp(found, expected, m->size) != 0)
            differs = names[tier];
        for (*offset = 0; differs && found[*offset] == expected[*offset];)
            ++*offset;
        free(found);
    }
    return differs;
}

void scene_close(scene *s) {
    for (size_t t = 0; t < SCENE_TIERS; t++)
        kvf_tier_destroy(s->tiers[t].tier);
    kvf_engine_destroy(s->engine);
    for (size_t i = 0; i < SCENE_TIERS * s->layout_count; i++) {
        scene_tier *t = &s->tiers[i / s->layout_count];
        fixture_memory_free(&t->memories[i % s->layout_count]);
        free(t->expected[i % s->layout_count]);
    }
}

/* Moves */

/* Ids of a tier that a move may use. */
typedef struct id_range {
    uint64_t first;
    size_t count;
} id_range;

/* `count` distinct ids: ascending, descending, by steps, or in random order. */
static void choose_ids(scene *s, id_range range, uint64_t *ids, size_t count) {
    const uint64_t how = scene_below(s, 4);
    const size_t step = how == 2 && count > 1 ? (range.count - 1) / (count - 1) : 1;
    const size_t first = scene_below(s, range.count - step * (count - 1));
    uint64_t *all = malloc(range.count * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < range.count; i++)
        all[i] = i;
    for (size_t i = range.count - 1; how == 3 && i > 0; i--) {
        const size_t k = scene_below(s, i + 1);
        const uint64_t other = all[i];
        all[i] = all[k];
        all[k] = other;
    }
    for (size_t i = 0; i < count; i++)
        ids[i] = range.first + all[first + step * (how == 1 ? count - 1 - i : i)];
    free(all);
}

/* One source may fill several destinations. */
static void choose_pairs(scene *s, scene_move *m) {
    id_range from = {0, s->tiers[m->src].blocks}, to = {0, s->tiers[m->dst].blocks};
    if (m->src == m->dst) {
        from.count /= 2;
        to = (id_range){from.count, to.count - from.count};
    }
    m->count = 1 + scene_below(s, to.count);
    m->src_ids = malloc(m->count * sizeof *m->src_ids);
    m->dst_ids = malloc(m->count * sizeof *m->dst_ids);
    assert_true(m->src_ids && m->dst_ids);
    choose_ids(s, to, m->dst_ids, m->count);
    if (m->count <= from.count && scene_below(s, 4) > 0)
        choose_ids(s, from, m->src_ids, m->count);
    else
        for (size_t i = 0; i < m->count; i++)
            m->src_ids[i] = from.first + scene_below(s, from.count);
}

/* Cuts the pairs at random into plans; some pairs are in two. */
static void choose_plans(scene *s, scene_move *m) {
    m->plan_count = 1 + scene_below(s, SCENE_PLANS);
    for (size_t i = 0, at = 0; i < m->plan_count; i++) {
        const size_t left = m->count - at, again = at < 2 ? at : scene_below(s, 3);
        const size_t n = i + 1 == m->plan_count ? left : scene_below(s, left + 1);
        m->plans[i] = (kvf_plan){.count = n + again,
                                 .src_ids = m->src_ids + at - again,
                                 .dst_ids = m->dst_ids + at - again};
        at += n;
    }
}

static void choose_layers(scene *s, scene_move *m) {
    const size_t layers = s->shapes[m->layout].layers;
    m->options.by_layer = scene_below(s, 2);
    if (scene_below(s, 2))
        return;
    m->options.first_layer = (uint32_t)scene_below(s, layers);
    m->options.layer_count = (uint32_t)scene_below(s, layers - m->options.first_layer + 1);
}

static bool has_layer(const kvf_submit_options *o, uint32_t layer) {
    return layer >= o->first_layer &&
           (o->layer_count == 0 || layer - o->first_layer < o->layer_count);
}

static const kvf_region *regions_of(const scene *s, size_t tier, size_t layout, size_t *count) {
    return kvf_layout_regions(s->tiers[tier].memories[layout].layout, count);
}

scene_move scene_move_make(scene *s) {
    scene_move m = {.layout = scene_below(s, s->layout_count)};
    do {
        m.src = scene_below(s, SCENE_TIERS);
        m.dst = scene_below(s, SCENE_TIERS);
    } while (m.src == SCENE_HOST && m.dst == SCENE_HOST);
    m.options.src_layout = m.options.dst_layout = m.layout;
    choose_pairs(s, &m);
    choose_plans(s, &m);
    choose_layers(s, &m);
    size_t count;
    const kvf_region *r = regions_of(s, m.src, m.layout, &count);
    for (size_t i = 0; i < count; i++)
        m.bytes += has_layer(&m.options, r[i].layer) ? r[i].bytes * r[i].rows * m.count : 0;
    return m;
}

void scene_move_free(scene_move *m) {
    free(m->src_ids);
    free(m->dst_ids);
}

/* A row in the oracle. */
static char *row_of(const scene *s, size_t tier, size_t layout, const kvf_region *r, uint64_t id,
                    size_t row) {
    const scene_tier *t = &s->tiers[tier];
    const size_t base = (size_t)((const char *)r->base - t->memories[layout].bytes);
    return t->expected[layout] + base + id * r->block_stride + row * r->row_pitch;
}

void scene_move_apply(scene *s, const scene_move *m) {
    size_t count;
    const kvf_region *from = regions_of(s, m->src, m->layout, &count);
    const kvf_region *to = regions_of(s, m->dst, m->layout, NULL);
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; has_layer(&m->options, from[i].layer) && p < m->count; p++)
            for (size_t row = 0; row < from[i].rows; row++)
                for (size_t k = 0; k < from[i].bytes; k++)
                    row_of(s, m->dst, m->layout, &to[i], m->dst_ids[p], row)[k] =
                        row_of(s, m->src, m->layout, &from[i], m->src_ids[p], row)[k];
}

kvf_cuda_direction scene_direction(const scene_move *m) {
    return m->src == SCENE_HOST   ? KVF_CUDA_TO_DEVICE
           : m->dst == SCENE_HOST ? KVF_CUDA_FROM_DEVICE
                                  : KVF_CUDA_ON_DEVICE;
}

scene_copies scene_lower(const scene *s, const scene_move *m) {
    const kvf_move_spec spec = {.src = s->tiers[m->src].memories[m->layout].layout,
                                .dst = s->tiers[m->dst].memories[m->layout].layout,
                                .plans = m->plans,
                                .plan_count = m->plan_count,
                                .first_layer = m->options.first_layer,
                                .layer_count = m->options.layer_count,
                                .by_layer = m->options.by_layer};
    kvf_move *move = NULL;
    kvf_error e = {0};
    scene_copies copies = {0};
    test_expect(KVF_OK, kvf_move_create(&spec, kvf_cuda_limits(), NULL, &move, &e), &e);
    for (size_t i = 0; i < move->strip_count; i++) {
        const size_t bytes = move->strips[i].width * move->strips[i].rows;
        copies.widest = bytes > copies.widest ? bytes : copies.widest;
    }
    enum { AT_ONCE = 64 };
    kvf_box boxes[AT_ONCE];
    kvf_box_cursor cursor = {0};
    for (size_t count; (count = kvf_move_next(move, &cursor, boxes, AT_ONCE)) > 0;)
        for (size_t i = 0; i < count; i++) {
            copies.rows += boxes[i].rows > 1 && boxes[i].slices == 1;
            copies.slices += boxes[i].slices > 1;
        }
    kvf_move_destroy(move);
    return copies;
}
