/*
 * What the staged blocks of an assignments object with flights consist of, in order.
 *
 *     staged   | own 2 | flight 7: 5 | own 1, landed | flight 9: 3, landed | tail |
 *
 * Segments cover the staged blocks from the first on; those behind the last segment, the tail, are
 * the caller's own and not committed. Without flights there are no segments. While the last segment
 * is a flight there is room for one more, so that committing the tail cannot fail.
 */
#ifndef KVF_SEGMENTS_H
#define KVF_SEGMENTS_H

#include "base/allocator.h"

typedef struct kvf__segment {
    uint64_t flight; /* 0: the caller's own blocks */
    size_t count;    /* blocks, more than 0 */
    bool landed;
} kvf__segment;

typedef struct kvf__segments {
    kvf__segment *items;
    size_t count, capacity;
    size_t open; /* flights that have not landed */
} kvf__segments;

/* Adds a flight of `count` blocks behind `tail` of the caller's own. false without memory. */
bool kvf__segments_depart(kvf__segments *segments, const kvf_allocator *allocator, size_t tail,
                          uint64_t flight, size_t count);

/* The open flight's segment, `*start` the staged blocks before it; NULL when there is none. */
kvf__segment *kvf__segments_find(const kvf__segments *segments, uint64_t flight, size_t *start);

void kvf__segments_land(kvf__segments *segments, kvf__segment *segment);

/* Marks all the caller's own blocks, the `tail` too, as landed. */
void kvf__segments_land_own(kvf__segments *segments, size_t tail);

/* Removes the landed segments at the front and returns their blocks. */
size_t kvf__segments_take_landed(kvf__segments *segments);

/* Whether an open flight has blocks in [start, end) of the staged ones. */
bool kvf__segments_open_within(const kvf__segments *segments, size_t start, size_t end);

/* Drops the first blocks, or all but the first blocks. */
void kvf__segments_drop_front(kvf__segments *segments, size_t blocks);
void kvf__segments_keep_front(kvf__segments *segments, size_t blocks);

/* Copies into empty segments. false without memory. */
bool kvf__segments_clone(const kvf__segments *segments, const kvf_allocator *allocator,
                         kvf__segments *out);

/* Blocks in segments. */
size_t kvf__segments_blocks(const kvf__segments *segments);

#endif
