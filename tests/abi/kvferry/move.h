#ifndef KVFERRY_MOVE_H
#define KVFERRY_MOVE_H
#include "layout.h"
#include "plan.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_move kvf_move;
typedef struct kvf_move_spec {
    const kvf_layout *src;
    const kvf_layout *dst;
    const kvf_plan *plans;
    size_t plan_count;
    uint32_t first_group;
    uint32_t group_count;
    bool same_tier;
    bool by_group;
} kvf_move_spec;
typedef struct kvf_box {
    char *dst;
    const char *src;
    size_t width;
    size_t rows;
    size_t slices;
    ptrdiff_t dst_row_pitch;
    ptrdiff_t src_row_pitch;
    ptrdiff_t dst_slice_pitch;
    ptrdiff_t src_slice_pitch;
} kvf_box;
typedef struct kvf_box_limits {
    size_t max_pitch;
    bool negative_pitch;
    bool narrow_pitch;
    bool slices;
    bool free_slice_pitch;
    size_t src_segment;
    size_t dst_segment;
} kvf_box_limits;
typedef struct kvf_move_report {
    uint64_t bytes;
    uint64_t blocks;
    uint64_t boxes;
    uint64_t fragments;
    size_t smallest_box;
    size_t median_box;
    size_t smallest_fragment;
    size_t median_fragment;
    size_t spans;
    size_t runs;
} kvf_move_report;
KVF_API kvf_status kvf_move_create(const kvf_move_spec *spec, const kvf_box_limits *limits,
                                   const kvf_allocator *allocator, kvf_move **out,
                                   kvf_error *error);
KVF_API void kvf_move_destroy(kvf_move *move);
typedef struct kvf_box_cursor {
    size_t span;
    size_t run;
    size_t slice;
    size_t row;
    size_t column;
} kvf_box_cursor;
KVF_API size_t kvf_move_next(const kvf_move *move, kvf_box_cursor *cursor, kvf_box *boxes,
                             size_t capacity);
KVF_API kvf_status kvf_move_describe(const kvf_move *move, kvf_move_report *report,
                                     kvf_error *error);
#ifdef __cplusplus
}
#endif
#endif
