/*
 * A lowered move: the product of strips and runs.
 *
 *     strips   joined regions                          runs   ids that advance together
 *
 *       dst, src, width                                 4>8 5>9 6>10
 *       rows at row_pitch          x                    9>1
 *       blocks at block stride                          ...
 *
 * Strip s of block i of run r is rows * width bytes. Every pair of a strip and a run is one box.
 */
#ifndef KVF_MOVE_H
#define KVF_MOVE_H

#include <kvferry/move.h>

#include "move/pairs.h"

#include <stdatomic.h>

typedef struct kvf__strip {
    char *dst;
    const char *src;
    size_t width, rows;
    ptrdiff_t dst_pitch, src_pitch; /* between rows; 0 for one row */
    size_t dst_stride, src_stride;  /* between blocks */
    uint32_t dst_buffer, src_buffer;
    uint32_t layer; /* index in the layout, of the first region joined */
} kvf__strip;

struct kvf_move {
    kvf_allocator allocator;
    atomic_size_t holds; /* references; kvf_move_destroy releases one */
    kvf_box_limits limits;
    kvf__strip *strips;
    size_t strip_count, strip_capacity;
    kvf__runs runs;
    size_t block_bytes; /* bytes of one block in all strips */
    uint32_t first_layer, layer_count;
    bool by_layer;
    _Atomic uint64_t boxes; /* see kvf__move_boxes; 0: not counted yet */
};

static inline size_t kvf__magnitude(ptrdiff_t pitch) {
    return pitch < 0 ? (size_t)0 - (size_t)pitch : (size_t)pitch;
}

/* Whether pieces that extend over `extent` bytes may be this pitch apart. */
static inline bool kvf__pitch_fits(const kvf_box_limits *limits, ptrdiff_t pitch, size_t extent) {
    return kvf__magnitude(pitch) <= limits->max_pitch && (pitch >= 0 || limits->negative_pitch) &&
           (kvf__magnitude(pitch) >= extent || limits->narrow_pitch);
}

/* The box of a strip and a run, before limits and segments cut it. */
KVF__MODULES kvf_box kvf__move_box(const kvf__strip *strip, const kvf__run *run);

/* Whether the limits, segments aside, allow a box as one copy. */
KVF__MODULES bool kvf__box_fits(const kvf_box_limits *limits, const kvf_box *box);

/* How many boxes the move has within these limits, segments aside. */
KVF__MODULES uint64_t kvf__move_box_count(const kvf_move *move, const kvf_box_limits *limits);

/* How many boxes the move has within its own limits. The first call takes time proportional to
 * strips times runs and stores the result. */
uint64_t kvf__move_boxes(kvf_move *move);

/* kvf_move_next within other limits than the move's own, before strip `end_strip`, in boxes of at
 * most `most` bytes; `most` is at least 1. */
KVF__MODULES size_t kvf__move_next(const kvf_move *move, const kvf_box_limits *limits,
                                   size_t end_strip, size_t most, kvf_box_cursor *cursor,
                                   kvf_box *boxes, size_t capacity);

/* Joins neighbouring strips of the list, within the move's limits, until no two can be joined. */
KVF__MODULES void kvf__move_join(kvf_move *move);

#endif
