#include "move_parts.h"

#include "layout_oracle.h"
#include "move/move.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PAIRS = 256 }; /* of all plans together */

char move_arenas[2][MOVE_ARENA];
move_map move_maps[2];

/* ---- the owner of each byte ----------------------------------------------------------------- */

static void paint(move_side side, const kvf_layout *layout) {
    move_map *m = &move_maps[side];
    m->arena = move_arenas[side];
    m->layout = layout;
    memset(m->owners, 0, sizeof m->owners);
    size_t count;
    const kvf_region *regions = kvf_layout_regions(layout, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < kvf_layout_blocks(layout); b++)
            for (size_t r = 0; r < oracle_rows(&regions[i]); r++)
                for (size_t k = 0; k < regions[i].bytes; k++)
                    m->owners[oracle_address(&regions[i], b, r) + k - m->arena] = (move_owner){
                        1, (uint8_t)i, (uint8_t)b, (uint16_t)(r * regions[i].bytes + k)};
}

const kvf_region *move_region_of(const move_map *m, size_t index) {
    return &kvf_layout_regions(m->layout, NULL)[index];
}

/* The layout's layers from `first` on, `count` of them, 0 for all. */
static bool is_in_layers(const kvf_layout *layout, size_t region, size_t first, size_t count) {
    const kvf_region *r = kvf_layout_regions(layout, NULL);
    size_t layer = 0;
    for (size_t i = 1; i <= region; i++)
        layer += r[i].layer != r[i - 1].layer;
    return layer >= first && (count == 0 || layer - first < count);
}

/* ---- pairs ---------------------------------------------------------------------------------- */

static bool plans_have(const kvf_move_spec *spec, uint64_t dst, uint64_t src) {
    for (size_t p = 0; p < spec->plan_count; p++)
        for (size_t i = 0; i < spec->plans[p].count; i++)
            if (spec->plans[p].dst_ids[i] == dst && spec->plans[p].src_ids[i] == src)
                return true;
    return false;
}

static bool find_range_error(const kvf_move_spec *spec, move_verdict *v) {
    for (size_t p = 0; p < spec->plan_count; p++)
        for (size_t i = 0; i < spec->plans[p].count; i++) {
            uint64_t src = spec->plans[p].src_ids[i], dst = spec->plans[p].dst_ids[i];
            bool src_out = src >= kvf_layout_blocks(spec->src);
            if (!src_out && dst < kvf_layout_blocks(spec->dst))
                continue;
            v->status = KVF_ERR_RANGE;
            v->plan = p;
            v->index = i;
            v->id = src_out ? src : dst;
            return true;
        }
    return false;
}

static move_verdict judge(const kvf_move_spec *spec) {
    move_verdict v = {.status = KVF_OK};
    for (size_t i = 0; i < MOVE_BLOCKS; i++)
        v.sources[i] = UINT64_MAX;
    if (find_range_error(spec, &v))
        return v;
    bool conflict = false;
    for (size_t p = 0; p < spec->plan_count; p++)
        for (size_t i = 0; i < spec->plans[p].count; i++) {
            uint64_t src = spec->plans[p].src_ids[i],
                     *known = &v.sources[spec->plans[p].dst_ids[i]];
            v.pairs += *known == UINT64_MAX;
            conflict |= *known != UINT64_MAX && *known != src;
            *known = src;
        }
    if (!conflict && spec->same_tier)
        for (size_t i = 0; i < MOVE_BLOCKS; i++)
            conflict |= v.sources[i] < MOVE_BLOCKS && v.sources[v.sources[i]] != UINT64_MAX;
    v.status = conflict ? KVF_ERR_CONFLICT : KVF_OK;
    return v;
}

/* Whether an error names the invalid pair. */
static bool names_invalid_pair(const kvf_move_spec *spec, const move_verdict *v, const kvf_error *e,
                               move_counts *counts) {
    if (e->status != v->status || !e->what)
        return false;
    if (v->status == KVF_ERR_RANGE) {
        const uint32_t fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX;
        counts->range_errors++;
        return (e->fields & fields) == fields && e->id == v->id && e->index == v->plan &&
               e->other_index == v->index;
    }
    if (e->fields & KVF_ERROR_OTHER_ID) {
        counts->conflicts++;
        bool another = false;
        for (uint64_t src = 0; src < MOVE_BLOCKS; src++)
            another |= src != e->other_id && plans_have(spec, e->id, src);
        return e->fields & KVF_ERROR_ID && another && plans_have(spec, e->id, e->other_id);
    }
    counts->tier_conflicts++;
    bool is_src = false, is_dst = false;
    for (uint64_t i = 0; i < MOVE_BLOCKS; i++) {
        is_src |= plans_have(spec, i, e->id);
        is_dst |= plans_have(spec, e->id, i);
    }
    return spec->same_tier && e->fields & KVF_ERROR_ID && is_src && is_dst;
}

/* ---- boxes ---------------------------------------------------------------------------------- */

static const char *enumerate(const kvf_move *move, size_t capacity, move_boxes *list) {
    kvf_box_cursor cursor = {0};
    list->count = 0;
    for (size_t n = 1; n > 0; list->count += n) {
        const size_t left = MOVE_ARENA - list->count, most = capacity < left ? capacity : left;
        n = kvf_move_next(move, &cursor, list->boxes + list->count, most);
        if (n > most)
            return "no more boxes than there is room for";
        if (n < most && kvf_move_next(move, &cursor, list->boxes + list->count + n, 1) > 0)
            return "fewer boxes than there is room for mark the end";
        if (n > 0 && n == left)
            return "no more boxes than bytes";
    }
    return NULL;
}

static bool same_boxes(const move_boxes *a, const move_boxes *b) {
    return a->count == b->count && memcmp(a->boxes, b->boxes, a->count * sizeof *a->boxes) == 0;
}

size_t move_pitch_size(ptrdiff_t pitch) {
    return pitch < 0 ? (size_t)-pitch : (size_t)pitch;
}

static bool pitch_is_valid(const kvf_box_limits *l, ptrdiff_t pitch, size_t steps_over) {
    return l->max_pitch > 0 && move_pitch_size(pitch) <= l->max_pitch &&
           (pitch >= 0 || l->negative_pitch) &&
           (move_pitch_size(pitch) >= steps_over || l->narrow_pitch);
}

move_half move_half_of(const kvf_box *b, move_side side) {
    return side == MOVE_SRC ? (move_half){b->src, b->src_row_pitch, b->src_slice_pitch}
                            : (move_half){b->dst, b->dst_row_pitch, b->dst_slice_pitch};
}

static bool half_fits(const kvf_box_limits *l, const kvf_box *b, move_side side) {
    const move_half h = move_half_of(b, side);
    if (b->rows > 1 && !pitch_is_valid(l, h.row_pitch, b->width))
        return false;
    if (b->slices == 1)
        return true;
    const size_t reach = (b->rows - 1) * move_pitch_size(h.row_pitch) + b->width;
    bool multiple = b->rows == 1 || h.row_pitch == 0 ||
                    move_pitch_size(h.slice_pitch) % move_pitch_size(h.row_pitch) == 0;
    return l->slices && pitch_is_valid(l, h.slice_pitch, reach) &&
           (multiple || l->free_slice_pitch);
}

bool move_box_fits(const kvf_box_limits *l, const kvf_box *b) {
    return b->width > 0 && b->rows > 0 && b->slices > 0 && half_fits(l, b, MOVE_SRC) &&
           half_fits(l, b, MOVE_DST);
}

static const char *piece_at(move_half h, size_t slice, size_t row) {
    return h.base + (ptrdiff_t)slice * h.slice_pitch + (ptrdiff_t)row * h.row_pitch;
}

/* First and last byte of one side, as offsets in its arena. */
typedef struct reach {
    ptrdiff_t first, last;
} reach;

static reach reach_of(const kvf_box *b, move_side side) {
    const move_half h = move_half_of(b, side);
    reach r = {PTRDIFF_MAX, PTRDIFF_MIN};
    for (size_t corner = 0; corner < 4; corner++) {
        ptrdiff_t at = piece_at(h, corner & 1 ? b->slices - 1 : 0, corner & 2 ? b->rows - 1 : 0) -
                       move_arenas[side];
        r.first = at < r.first ? at : r.first;
        r.last = at + (ptrdiff_t)b->width - 1 > r.last ? at + (ptrdiff_t)b->width - 1 : r.last;
    }
    return r;
}

static bool in_one_segment(const kvf_box *b, move_side side, size_t segment) {
    const reach r = reach_of(b, side);
    const uintptr_t base = (uintptr_t)move_arenas[side];
    return segment == 0 ||
           (base + (uintptr_t)r.first) / segment == (base + (uintptr_t)r.last) / segment;
}

move_contents move_contents_of(const kvf_box *b) {
    move_contents c = {0};
    const move_half from = move_half_of(b, MOVE_SRC), to = move_half_of(b, MOVE_DST);
    for (size_t i = 0; i < b->slices * b->rows * b->width; i++) {
        const size_t k = i % b->width, row = i / b->width % b->rows, s = i / b->width / b->rows;
        const move_owner src =
            move_maps[MOVE_SRC].owners[piece_at(from, s, row) + k - move_arenas[MOVE_SRC]];
        const move_owner dst =
            move_maps[MOVE_DST].owners[piece_at(to, s, row) + k - move_arenas[MOVE_DST]];
        const kvf_region *src_region = move_region_of(&move_maps[MOVE_SRC], src.region);
        const kvf_region *dst_region = move_region_of(&move_maps[MOVE_DST], dst.region);
        if (i == 0) {
            c.src_buffer = src_region->buffer;
            c.dst_buffer = dst_region->buffer;
            c.layer = dst_region->layer;
            c.region = dst.region;
            c.at = dst.at;
        }
        c.mixed_buffers |= c.src_buffer != src_region->buffer || c.dst_buffer != dst_region->buffer;
        c.mixed_layers |= c.layer != dst_region->layer;
        c.strays |= !src.taken || !dst.taken || src.region != dst.region;
        c.regions |= 1u << dst.region;
        c.blocks |= 1u << dst.block;
    }
    c.bytes = b->slices * b->rows * b->width;
    return c;
}

static bool is_inside(const kvf_box *b, move_side side) {
    const reach r = reach_of(b, side);
    return r.first >= 0 && r.last < MOVE_ARENA;
}

static void count_box(const kvf_box *b, const move_contents *c, move_counts *counts) {
    counts->boxes++;
    counts->rows += b->rows > 1;
    counts->slices += b->slices > 1;
    counts->backward += b->src_row_pitch < 0 || b->src_slice_pitch < 0;
    counts->standing +=
        (b->rows > 1 && b->src_row_pitch == 0) || (b->slices > 1 && b->src_slice_pitch == 0);
    counts->narrow +=
        b->slices > 1 && move_pitch_size(b->src_slice_pitch) < move_pitch_size(b->src_row_pitch);
    counts->joined += (c->regions & (c->regions - 1)) != 0;
}

static const char *check_boxes(const kvf_move_spec *spec, const kvf_box_limits *limits,
                               const move_boxes *list, move_counts *counts) {
    uint32_t layer = 0;
    for (size_t i = 0; i < list->count; i++) {
        const kvf_box *b = &list->boxes[i];
        if (!move_box_fits(limits, b))
            return "a box is within the limits";
        if (!is_inside(b, MOVE_SRC) || !is_inside(b, MOVE_DST))
            return "a box lies in the layouts' memory";
        if (!in_one_segment(b, MOVE_SRC, limits->src_segment) ||
            !in_one_segment(b, MOVE_DST, limits->dst_segment))
            return "no copy crosses a segment";
        const move_contents c = move_contents_of(b);
        if (c.strays)
            return "a byte moves to the same region";
        if (c.mixed_buffers)
            return "no copy spans two buffers";
        if (spec->by_layer && (c.mixed_layers || c.layer < layer))
            return "layers are separate and in order";
        layer = c.layer;
        count_box(b, &c, counts);
    }
    return NULL;
}

/* ---- copying -------------------------------------------------------------------------------- */

static uint8_t written[MOVE_ARENA];
static char wanted[MOVE_ARENA];

static void fill_arenas(void) {
    uint32_t x = 1;
    for (size_t i = 0; i < MOVE_ARENA; i++) {
        x = x * 1664525 + 1013904223;
        move_arenas[MOVE_SRC][i] = (char)(x >> 24);
    }
    memset(move_arenas[MOVE_DST], 0x5a, MOVE_ARENA);
    memset(written, 0, sizeof written);
}

static void copy_boxes(const move_boxes *list) {
    for (size_t i = 0; i < list->count; i++) {
        const kvf_box *b = &list->boxes[i];
        const move_half from = move_half_of(b, MOVE_SRC), to = move_half_of(b, MOVE_DST);
        for (size_t s = 0; s < b->slices; s++)
            for (size_t r = 0; r < b->rows; r++) {
                const ptrdiff_t at = piece_at(to, s, r) - move_arenas[MOVE_DST];
                memcpy(move_arenas[MOVE_DST] + at, piece_at(from, s, r), b->width);
                for (size_t k = 0; k < b->width; k++)
                    written[at + (ptrdiff_t)k]++;
            }
    }
}

/* Fills `wanted` with the expected destination. false when a byte is missing, written twice, or
 * written although it must not be. */
static bool copy_naively(const kvf_move_spec *spec, const move_verdict *v) {
    size_t count;
    const kvf_region *src = kvf_layout_regions(spec->src, &count);
    const kvf_region *dst = kvf_layout_regions(spec->dst, NULL);
    memset(wanted, 0x5a, MOVE_ARENA);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < kvf_layout_blocks(spec->dst); b++)
            for (size_t k = 0; v->sources[b] != UINT64_MAX && k < oracle_bytes(&dst[i]); k++) {
                if (!is_in_layers(spec->dst, i, spec->first_layer, spec->layer_count))
                    continue;
                const ptrdiff_t at = oracle_byte(&dst[i], b, k) - move_arenas[MOVE_DST];
                wanted[at] = *oracle_byte(&src[i], v->sources[b], k);
                written[at]--;
            }
    for (size_t i = 0; i < MOVE_ARENA; i++)
        if (written[i] != 0)
            return false;
    return true;
}

/* ---- describing ----------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static const char *check_summary(const kvf_move *move, const move_boxes *list,
                                 const move_verdict *v) {
    static size_t boxes[MOVE_ARENA], fragments[MOVE_ARENA];
    kvf_move_summary r;
    if (kvf_move_describe(move, &r, NULL) != KVF_OK)
        return "a move can be described";
    uint64_t bytes = 0;
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        const kvf_box *b = &list->boxes[i];
        boxes[i] = b->width * b->rows * b->slices;
        bytes += boxes[i];
        for (size_t k = 0; k < b->rows * b->slices; k++)
            fragments[n++] = b->width;
    }
    if (r.bytes != bytes || r.blocks != v->pairs)
        return "bytes and blocks are those that move";
    if (r.boxes != list->count || r.fragments != n ||
        kvf__move_box_count(move, &move->limits) != list->count)
        return "boxes and fragments are counted";
    if (n > 0 && (r.runs > r.blocks || r.runs == 0 || r.strips == 0 || r.boxes < r.runs * r.strips))
        return "a run of a strip is at least one box";
    qsort(boxes, list->count, sizeof *boxes, by_size);
    qsort(fragments, n, sizeof *fragments, by_size);
    if (n > 0 &&
        (r.smallest_box != boxes[0] || r.median_box != boxes[(list->count - 1) / 2] ||
         r.smallest_fragment != fragments[0] || r.median_fragment != fragments[(n - 1) / 2]))
        return "sizes are those of the boxes";
    if (n == 0 && (r.smallest_box || r.median_box || r.smallest_fragment || r.median_fragment))
        return "an empty move has no sizes";
    return NULL;
}

/* ---- the whole check ------------------------------------------------------------------------ */

/* The same pairs in reverse, in plans of two, some of them twice. */
static kvf_status make_shuffled(const kvf_move_spec *spec, const kvf_box_limits *limits,
                                kvf_move **move) {
    static uint64_t src[2 * MAX_PAIRS], dst[2 * MAX_PAIRS];
    static kvf_plan plans[MAX_PAIRS];
    size_t n = 0, plan_count = 0;
    for (size_t p = spec->plan_count; p-- > 0;)
        for (size_t i = spec->plans[p].count; i-- > 0;) {
            for (size_t times = 1 + i % 3 / 2; times > 0; times--, n++) {
                src[n] = spec->plans[p].src_ids[i];
                dst[n] = spec->plans[p].dst_ids[i];
            }
        }
    for (size_t i = 0; i < n; i += 2)
        plans[plan_count++] =
            (kvf_plan){.count = n - i < 2 ? n - i : 2, .src_ids = src + i, .dst_ids = dst + i};
    kvf_move_spec shuffled = *spec;
    shuffled.plans = plans;
    shuffled.plan_count = plan_count;
    return kvf_move_create(&shuffled, limits, NULL, move, NULL);
}

static const char *check_order(const kvf_move_spec *spec, const kvf_box_limits *limits,
                               const move_boxes *list) {
    static move_boxes other;
    kvf_move *move;
    if (make_shuffled(spec, limits, &move) != KVF_OK)
        return "the order of pairs causes no error";
    const char *broken = enumerate(move, MOVE_ARENA, &other);
    if (!broken && !same_boxes(list, &other))
        broken = "the order of pairs makes no difference";
    kvf_move_destroy(move);
    return broken;
}

static const char *check_capacities(const kvf_move *move, const move_boxes *list) {
    static const size_t capacities[] = {1, 2, 7, 1000};
    static move_boxes other;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        const char *broken = enumerate(move, capacities[i], &other);
        if (broken)
            return broken;
        if (!same_boxes(list, &other))
            return "boxes do not depend on the array's capacity";
    }
    return NULL;
}

/* Rules for boxes that no segment cuts, and for the summary, which ignores segments. */
static const char *check_unsegmented(const kvf_move_spec *spec, const kvf_box_limits *limits,
                                     const kvf_move *move, const move_boxes *list,
                                     const move_verdict *v, move_counts *counts) {
    static move_boxes uncut;
    kvf_box_limits l = *limits;
    l.src_segment = l.dst_segment = 0;
    kvf_move *without = NULL;
    if (kvf_move_create(spec, &l, NULL, &without, NULL) != KVF_OK)
        return "segments cause no error";
    const char *broken = enumerate(without, MOVE_ARENA, &uncut);
    if (!broken)
        broken = check_summary(move, &uncut, v);
    if (!broken) {
        kvf_move_summary r = {0};
        const bool cut =
            kvf_move_describe(without, &r, NULL) != KVF_OK || r.strips * r.runs != uncut.count;
        broken = move_check_neighbours(spec, &l, cut, &uncut, v);
    }
    counts->split += uncut.count != list->count;
    kvf_move_destroy(without);
    return broken;
}

/* Whether some tile of more than one token and head changes its order. */
static bool is_reordered(const kvf_move_spec *spec) {
    size_t count;
    const kvf_region *src = kvf_layout_regions(spec->src, &count);
    const kvf_region *dst = kvf_layout_regions(spec->dst, NULL);
    bool turned = false;
    for (size_t i = 0; i < count; i++)
        turned |= src[i].order != dst[i].order && dst[i].tokens > 1 && dst[i].heads > 1;
    return turned;
}

static const char *check_move(const kvf_move_spec *spec, const kvf_box_limits *limits,
                              const kvf_move *move, const move_verdict *v, move_counts *counts) {
    static move_boxes list;
    counts->moves++;
    counts->reordered += is_reordered(spec);
    const char *broken = enumerate(move, MOVE_ARENA, &list);
    if (!broken)
        broken = check_boxes(spec, limits, &list, counts);
    if (broken)
        return broken;
    fill_arenas();
    copy_boxes(&list);
    if (!copy_naively(spec, v))
        return "every byte of the move is written once, and no other";
    if (memcmp(move_arenas[MOVE_DST], wanted, MOVE_ARENA) != 0)
        return "bytes are those of their source";
    broken = check_capacities(move, &list);
    if (!broken)
        broken = check_order(spec, limits, &list);
    return broken ? broken : check_unsegmented(spec, limits, move, &list, v, counts);
}

const char *move_oracle_check(const kvf_move_spec *spec, const kvf_box_limits *limits,
                              move_counts *counts) {
    static const kvf_box_limits everything = {.max_pitch = SIZE_MAX,
                                              .negative_pitch = true,
                                              .narrow_pitch = true,
                                              .slices = true,
                                              .free_slice_pitch = true};
    static char untouched;
    kvf_move *move = (kvf_move *)(void *)&untouched;
    kvf_error error = {.status = KVF_OK};
    kvf_status status = kvf_move_create(spec, limits, NULL, &move, &error);
    const size_t layers = kvf_layout_layers(spec->src);
    if (spec->first_layer >= layers || spec->layer_count > layers - spec->first_layer) {
        counts->layer_errors++;
        bool named = error.index == spec->first_layer && error.expected == layers;
        return status == KVF_ERR_RANGE && named ? NULL : "layers past the last are refused";
    }
    const move_verdict v = judge(spec);
    if (status != v.status) {
        if (status == KVF_OK)
            kvf_move_destroy(move);
        return "a move is created exactly when its pairs are valid";
    }
    if (status != KVF_OK) {
        if (move != (kvf_move *)(void *)&untouched)
            return "a refusal does not change the result";
        return names_invalid_pair(spec, &v, &error, counts) ? NULL
                                                            : "a refusal names the invalid pair";
    }
    paint(MOVE_SRC, spec->src);
    paint(MOVE_DST, spec->dst);
    const char *broken = check_move(spec, limits ? limits : &everything, move, &v, counts);
    kvf_move_destroy(move);
    return broken ? broken : error.status != KVF_OK ? "success does not change the error" : NULL;
}
