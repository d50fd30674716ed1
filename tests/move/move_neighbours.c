/* Finds neighbouring boxes that could have been one. */
#include "move_parts.h"

#include "layout_oracle.h"

/* Whether b continues a: at its rows' ends, with more rows, or with more slices. */
static bool could_be_one(const kvf_box_limits *l, const kvf_box *a, const kvf_box *b) {
    const ptrdiff_t dst = b->dst - a->dst, src = b->src - a->src, width = (ptrdiff_t)a->width;
    const ptrdiff_t rows = (ptrdiff_t)a->rows, slices = (ptrdiff_t)a->slices;
    const bool same_rows = a->rows == b->rows && a->dst_row_pitch == b->dst_row_pitch &&
                           a->src_row_pitch == b->src_row_pitch;
    const bool same_slices = a->slices == b->slices && a->dst_slice_pitch == b->dst_slice_pitch &&
                             a->src_slice_pitch == b->src_slice_pitch;
    kvf_box one = *a;
    if (same_rows && same_slices && dst == width && src == width) {
        one.width += b->width;
        return move_box_fits(l, &one);
    }
    if (a->width != b->width)
        return false;
    if (a->slices == 1 && b->slices == 1) {
        const kvf_box *many = a->rows > 1 ? a : b;
        one.dst_row_pitch = many->rows > 1 ? many->dst_row_pitch : dst;
        one.src_row_pitch = many->rows > 1 ? many->src_row_pitch : src;
        bool goes_on = dst == rows * one.dst_row_pitch && src == rows * one.src_row_pitch &&
                       (b->rows == 1 || (b->dst_row_pitch == one.dst_row_pitch &&
                                         b->src_row_pitch == one.src_row_pitch));
        one.rows += b->rows;
        if (goes_on && move_box_fits(l, &one))
            return true;
    }
    if (a->rows == 1 || !same_rows)
        return false;
    one = *a;
    const kvf_box *many = a->slices > 1 ? a : b;
    one.dst_slice_pitch = many->slices > 1 ? many->dst_slice_pitch : dst;
    one.src_slice_pitch = many->slices > 1 ? many->src_slice_pitch : src;
    one.slices += b->slices;
    return dst == slices * one.dst_slice_pitch && src == slices * one.src_slice_pitch &&
           (b->slices == 1 || (b->dst_slice_pitch == one.dst_slice_pitch &&
                               b->src_slice_pitch == one.src_slice_pitch)) &&
           move_box_fits(l, &one);
}

static size_t count_bits(uint32_t bits) {
    return (size_t)__builtin_popcount(bits);
}

/* Whether limits did not cut the box out of a larger one: it has all bytes of its blocks' regions,
 * or nothing was cut at all. */
static bool is_whole(const move_contents *c, bool cut) {
    size_t bytes = 0;
    for (size_t i = 0; i < MOVE_REGIONS; i++)
        if (c->regions >> i & 1)
            bytes += oracle_bytes(move_region_of(&move_maps[MOVE_DST], i));
    return !cut || c->bytes == bytes * count_bits(c->blocks);
}

/* Whether ids advance by a constant step on each side. */
static bool is_run(uint32_t blocks, const move_verdict *v) {
    int64_t last = -1, dst_step = 0, src_step = 0;
    size_t seen = 0;
    for (int64_t b = 0; b < MOVE_BLOCKS; b++) {
        if (!(blocks >> b & 1))
            continue;
        if (seen > 0) {
            const int64_t dst = b - last, src = (int64_t)v->sources[b] - (int64_t)v->sources[last];
            if (seen > 1 && (dst != dst_step || src != src_step))
                return false;
            dst_step = dst;
            src_step = src;
        }
        last = b;
        seen++;
    }
    return true;
}

static size_t stride_of(move_side side, size_t region) {
    const kvf_layout *layout = move_maps[side].layout;
    return kvf_layout_blocks(layout) > 1 ? move_region_of(&move_maps[side], region)->block_stride
                                         : 0;
}

static size_t first_region(const move_contents *c) {
    return (size_t)__builtin_ctz(c->regions);
}

static bool same_memory(const kvf_move_spec *spec, const move_contents *a, const move_contents *b) {
    const size_t x = first_region(a), y = first_region(b);
    return a->src_buffer == b->src_buffer && a->dst_buffer == b->dst_buffer &&
           (!spec->by_layer || a->layer == b->layer) &&
           stride_of(MOVE_SRC, x) == stride_of(MOVE_SRC, y) &&
           stride_of(MOVE_DST, x) == stride_of(MOVE_DST, y);
}

/* Whether blocks of several rows may be repeated as slices at every step of ids up to the one from
 * a to b. Other possible steps are not considered. */
static bool steps_freely(const kvf_box_limits *l, const kvf_box *a, const kvf_box *b,
                         const move_contents *of_a) {
    const size_t blocks = count_bits(of_a->blocks), rows = a->rows * a->slices / blocks;
    for (move_side side = MOVE_SRC; rows > 1 && side <= MOVE_DST; side++) {
        const move_half from = move_half_of(a, side), to = move_half_of(b, side);
        const size_t stride = stride_of(side, first_region(of_a));
        const size_t pitch = move_pitch_size(from.row_pitch);
        const size_t step = move_pitch_size(to.base - from.base) / blocks;
        if (!l->slices || step > l->max_pitch ||
            (!l->narrow_pitch && stride < (rows - 1) * pitch + a->width) ||
            (!l->free_slice_pitch && stride % pitch != 0))
            return false;
    }
    return true;
}

/* Whether two boxes have the same parts of their blocks. */
static bool same_pieces(const move_contents *a, const move_contents *b) {
    return a->regions == b->regions && a->region == b->region && a->at == b->at;
}

/* Whether two neighbours with the same regions could be one, and all other boxes of their blocks,
 * too: a run covers all regions. */
static bool could_run(const kvf_box_limits *l, bool cut, const move_boxes *list,
                      const move_contents *all, size_t i, const move_verdict *v) {
    const uint32_t a = all[i].blocks, b = all[i + 1].blocks;
    if (!same_pieces(&all[i], &all[i + 1]) || (a & b) != 0 || !is_run(a | b, v))
        return false;
    uint32_t seen = 0, regions = 0;
    for (size_t k = 0; k < list->count; k++) {
        regions |= all[k].regions;
        if (k + 1 == list->count || all[k].blocks != a || all[k + 1].blocks != b)
            continue;
        if (!same_pieces(&all[k], &all[k + 1]) || !is_whole(&all[k], cut) ||
            !is_whole(&all[k + 1], cut) ||
            !steps_freely(l, &list->boxes[k], &list->boxes[k + 1], &all[k]) ||
            !could_be_one(l, &list->boxes[k], &list->boxes[k + 1]))
            return false;
        seen |= all[k].regions;
    }
    return seen == regions;
}

/* Whether two neighbours with the same single block could be one. */
static bool could_join(const kvf_move_spec *spec, const kvf_box_limits *l, bool cut,
                       const move_boxes *list, const move_contents *all, size_t i) {
    const move_contents *a = &all[i], *b = &all[i + 1];
    return a->blocks == b->blocks && count_bits(a->blocks) == 1 && is_whole(a, cut) &&
           is_whole(b, cut) && same_memory(spec, a, b) &&
           (could_be_one(l, &list->boxes[i], &list->boxes[i + 1]) ||
            could_be_one(l, &list->boxes[i + 1], &list->boxes[i]));
}

const char *move_check_neighbours(const kvf_move_spec *spec, const kvf_box_limits *limits, bool cut,
                                  const move_boxes *list, const move_verdict *v) {
    static move_contents all[MOVE_ARENA];
    kvf_box_limits rows_only = *limits;
    rows_only.slices = false; /* slices come from ids */
    for (size_t i = 0; i < list->count; i++)
        all[i] = move_contents_of(&list->boxes[i]);
    for (size_t i = 0; i + 1 < list->count; i++) {
        if (could_join(spec, &rows_only, cut, list, all, i))
            return "two regions could be joined";
        if (could_run(limits, cut, list, all, i, v))
            return "two runs of ids could be one";
    }
    return NULL;
}
