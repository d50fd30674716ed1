#include "move.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const kvf_box_limits no_limits = {
    .max_pitch = PTRDIFF_MAX,
    .negative_pitch = true,
    .narrow_pitch = true,
    .slices = true,
    .free_slice_pitch = true,
};

static kvf_status check_regions(const kvf_region *src, const kvf_region *dst, size_t count,
                                kvf_error *error) {
    for (size_t i = 0; i < count; i++) {
        const char *what = src[i].bytes != dst[i].bytes   ? "regions differ in bytes"
                           : src[i].rows != dst[i].rows   ? "regions differ in rows"
                           : src[i].group != dst[i].group ? "regions differ in group"
                           : src[i].part != dst[i].part   ? "regions differ in part"
                           : src[i].kind != dst[i].kind   ? "regions differ in kind"
                                                          : NULL;
        if (what)
            return KVF__FAIL(error, .status = KVF_ERR_LAYOUT, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = what);
    }
    return KVF_OK;
}

static kvf_status check_layouts(const kvf_move_spec *spec, kvf_error *error) {
    size_t src_count, dst_count;
    const kvf_region *src = kvf_layout_regions(spec->src, &src_count);
    const kvf_region *dst = kvf_layout_regions(spec->dst, &dst_count);
    if (src_count != dst_count)
        return KVF__FAIL(error, .status = KVF_ERR_LAYOUT,
                         .fields = KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX, .index = src_count,
                         .other_index = dst_count, .what = "layouts differ in number of regions");
    return check_regions(src, dst, src_count, error);
}

static kvf_status check_groups(const kvf_move_spec *spec, uint32_t *count, kvf_error *error) {
    size_t groups = kvf_layout_groups(spec->src);
    size_t left = spec->first_group < groups ? groups - spec->first_group : 0;
    if (left == 0 || spec->group_count > left)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .fields = KVF_ERROR_INDEX | KVF_ERROR_EXPECTED, .index = spec->first_group,
                         .expected = groups, .what = "groups past the layout's last");
    *count = spec->group_count ? spec->group_count : (uint32_t)left;
    return KVF_OK;
}

/* Joining regions */

static kvf__span make_span(const kvf_region *src, const kvf_region *dst, uint32_t group) {
    return (kvf__span){
        .dst = dst->base,
        .src = src->base,
        .width = dst->bytes,
        .rows = dst->rows,
        .dst_pitch = dst->rows > 1 ? (ptrdiff_t)dst->row_pitch : 0,
        .src_pitch = src->rows > 1 ? (ptrdiff_t)src->row_pitch : 0,
        .dst_stride = dst->block_stride,
        .src_stride = src->block_stride,
        .dst_buffer = dst->buffer,
        .src_buffer = src->buffer,
        .group = group,
    };
}

/* Rows that touch on both sides are one. */
static void close_rows(kvf__span *span) {
    if (span->rows > 1 && (size_t)span->dst_pitch == span->width &&
        (size_t)span->src_pitch == span->width) {
        span->width *= span->rows;
        span->rows = 1;
        span->dst_pitch = span->src_pitch = 0;
    }
}

static bool alike(const kvf_move *move, const kvf__span *a, const kvf__span *b) {
    return a->dst_stride == b->dst_stride && a->src_stride == b->src_stride &&
           a->dst_buffer == b->dst_buffer && a->src_buffer == b->src_buffer &&
           a->rows == b->rows && a->dst_pitch == b->dst_pitch && a->src_pitch == b->src_pitch &&
           (!move->by_group || a->group == b->group);
}

static bool touches(const kvf_move *move, const kvf__span *a, const kvf__span *b) {
    return alike(move, a, b) && b->dst == a->dst + a->width && b->src == a->src + a->width;
}

/* Joins each span with those behind it that touch it on both sides. */
static void join_touching(kvf_move *move) {
    size_t kept = 0;
    for (size_t i = 1; i < move->span_count; i++) {
        kvf__span *last = &move->spans[kept];
        if (touches(move, last, &move->spans[i])) {
            last->width += move->spans[i].width;
        } else {
            close_rows(last);
            move->spans[++kept] = move->spans[i];
        }
    }
    close_rows(&move->spans[kept]);
    move->span_count = kept + 1;
}

static ptrdiff_t distance(const void *from, const void *to) {
    return (ptrdiff_t)((uintptr_t)to - (uintptr_t)from);
}

static size_t magnitude(ptrdiff_t x) {
    return x < 0 ? (size_t)0 - (size_t)x : (size_t)x;
}

static bool pitch_fits(const kvf_box_limits *limits, ptrdiff_t pitch, size_t extent) {
    return magnitude(pitch) <= limits->max_pitch && (pitch >= 0 || limits->negative_pitch) &&
           (magnitude(pitch) >= extent || limits->narrow_pitch);
}

/* Whether b may be the next row of a, which has one row, or rows at this very distance. */
static bool is_next_row(const kvf_move *move, const kvf__span *a, const kvf__span *last,
                        const kvf__span *b) {
    ptrdiff_t dst = distance(last->dst, b->dst), src = distance(last->src, b->src);
    if (last->width != b->width || !alike(move, last, b) || last->rows != 1)
        return false;
    if (a->rows > 1)
        return dst == a->dst_pitch && src == a->src_pitch;
    return pitch_fits(&move->limits, dst, b->width) && pitch_fits(&move->limits, src, b->width);
}

/* Makes single rows at one distance the rows of one span. */
static void join_rows(kvf_move *move) {
    size_t kept = 0;
    kvf__span last = move->spans[0];
    for (size_t i = 1; i < move->span_count; i++) {
        kvf__span *first = &move->spans[kept];
        kvf__span next = move->spans[i];
        if (is_next_row(move, first, &last, &next)) {
            first->rows++;
            first->dst_pitch = distance(last.dst, next.dst);
            first->src_pitch = distance(last.src, next.src);
        } else {
            move->spans[++kept] = next;
        }
        last = next;
    }
    move->span_count = kept + 1;
}

static bool comes_before(const kvf_move *move, const kvf__span *a, const kvf__span *b) {
    if (move->by_group && a->group != b->group)
        return a->group < b->group;
    return (uintptr_t)a->dst < (uintptr_t)b->dst;
}

/* By destination, within groups when these stay apart. Nearly always in order already. */
static void sort_spans(kvf_move *move) {
    for (size_t i = 1; i < move->span_count; i++) {
        kvf__span span = move->spans[i];
        size_t at = i;
        for (; at > 0 && comes_before(move, &span, &move->spans[at - 1]); at--)
            move->spans[at] = move->spans[at - 1];
        move->spans[at] = span;
    }
}

static bool join_regions(kvf_move *move, const kvf_move_spec *spec) {
    size_t count;
    const kvf_region *src = kvf_layout_regions(spec->src, &count);
    const kvf_region *dst = kvf_layout_regions(spec->dst, NULL);
    move->spans = kvf__alloc(&move->allocator, count, sizeof *move->spans);
    if (!move->spans)
        return false;
    move->span_capacity = count;
    uint32_t group = 0;
    for (size_t i = 0; i < count; i++) {
        group += i > 0 && src[i].group != src[i - 1].group;
        if (group < move->first_group || group - move->first_group >= move->group_count)
            continue;
        move->block_bytes += src[i].bytes * src[i].rows;
        move->spans[move->span_count] = make_span(&src[i], &dst[i], group);
        close_rows(&move->spans[move->span_count++]);
    }
    sort_spans(move);
    join_touching(move);
    join_rows(move);
    return true;
}

/* Runs that fit every span */

static uint32_t largest_step(size_t max_pitch, size_t stride) {
    size_t step = stride ? max_pitch / stride : 1;
    return step < INT32_MAX ? (uint32_t)step : INT32_MAX;
}

/* Whether rows of this span may stand at any slice pitch that ids make. */
static bool any_slice_pitch(const kvf_box_limits *limits, const kvf__span *s) {
    if (s->rows == 1)
        return true;
    if (!limits->slices)
        return false;
    return limits->free_slice_pitch || (s->dst_stride % magnitude(s->dst_pitch) == 0 &&
                                        s->src_stride % magnitude(s->src_pitch) == 0);
}

static size_t extent_of(const kvf__span *s, ptrdiff_t pitch) {
    return (s->rows - 1) * magnitude(pitch) + s->width;
}

static void limit_steps(const kvf_move *move, kvf__pairs_spec *pairs) {
    const kvf_box_limits *l = &move->limits;
    pairs->max_src_step = pairs->max_dst_step = INT32_MAX;
    pairs->backwards = l->negative_pitch;
    pairs->standing = l->narrow_pitch;
    for (size_t i = 0; i < move->span_count; i++) {
        const kvf__span *s = &move->spans[i];
        bool strides_fit = l->narrow_pitch || (s->dst_stride >= extent_of(s, s->dst_pitch) &&
                                               s->src_stride >= extent_of(s, s->src_pitch));
        bool fits = any_slice_pitch(l, s) && strides_fit;
        uint32_t src = fits ? largest_step(l->max_pitch, s->src_stride) : 0;
        uint32_t dst = fits ? largest_step(l->max_pitch, s->dst_stride) : 0;
        pairs->max_src_step = src < pairs->max_src_step ? src : pairs->max_src_step;
        pairs->max_dst_step = dst < pairs->max_dst_step ? dst : pairs->max_dst_step;
    }
}

static kvf_status fill(kvf_move *move, const kvf_move_spec *spec, kvf_error *error) {
    if (!join_regions(move, spec))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__pairs_spec pairs = {
        .plans = spec->plans,
        .plan_count = spec->plan_count,
        .src_blocks = kvf_layout_blocks(spec->src),
        .dst_blocks = kvf_layout_blocks(spec->dst),
        .same_tier = spec->same_tier,
    };
    limit_steps(move, &pairs);
    return kvf__pairs_to_runs(&pairs, &move->allocator, &move->runs, error);
}

kvf_status kvf_move_create(const kvf_move_spec *spec, const kvf_box_limits *limits,
                           const kvf_allocator *allocator, kvf_move **out, kvf_error *error) {
    if (!spec || !out || !spec->src || !spec->dst || (!spec->plans && spec->plan_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    uint32_t groups = 0;
    kvf_status status = check_layouts(spec, error);
    if (status == KVF_OK)
        status = check_groups(spec, &groups, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator own = kvf__allocator(allocator);
    kvf_move *move = kvf__alloc_zero(&own, 1, sizeof *move);
    if (!move)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    move->allocator = own;
    move->limits = limits ? *limits : no_limits;
    move->first_group = spec->first_group;
    move->group_count = groups;
    move->by_group = spec->by_group;
    status = fill(move, spec, error);
    if (status != KVF_OK) {
        kvf_move_destroy(move);
        return status;
    }
    *out = move;
    return KVF_OK;
}

void kvf_move_destroy(kvf_move *move) {
    if (!move)
        return;
    kvf_allocator allocator = move->allocator;
    kvf__runs_free(&move->runs, &allocator);
    kvf__free(&allocator, move->spans, move->span_capacity, sizeof *move->spans);
    kvf__free(&allocator, move, 1, sizeof *move);
}
