/*
 * The staged blocks of assignments with flights, in order: whose they are, and which have landed.
 *
 *     staged   | own 2 | flight 7: 5 | own 1, landed | flight 9: 3, landed | tail |
 *
 * Segments cover the staged blocks from the first on. The blocks after the last segment, the tail,
 * are the caller's own and not committed. Without flights there are no segments. While the last
 * segment is a flight, the array has room for one more, so that committing the tail cannot fail.
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

/* Adds a flight of `count` blocks after `tail` blocks of the caller's own. false: out of memory. */
bool kvf__segments_depart(kvf__segments *segments, const kvf_allocator *allocator, size_t tail,
                          uint64_t flight, size_t count);

/* Finds an open flight. `*start`: staged blocks before it. NULL: the flight is not open. */
kvf__segment *kvf__segments_find(const kvf__segments *segments, uint64_t flight, size_t *start);

void kvf__segments_land(kvf__segments *segments, kvf__segment *segment);

/* Marks all of the caller's own blocks, including the `tail`, as landed. */
void kvf__segments_land_own(kvf__segments *segments, size_t tail);

/* Removes the landed segments at the front; returns how many blocks they had. */
size_t kvf__segments_take_landed(kvf__segments *segments);

/* Whether an open flight has any of the staged blocks [start, end). */
bool kvf__segments_open_within(const kvf__segments *segments, size_t start, size_t end);

/* Drops the first `blocks`, or all others. Flights that lose all their blocks are closed. */
void kvf__segments_drop_front(kvf__segments *segments, size_t blocks);
void kvf__segments_keep_front(kvf__segments *segments, size_t blocks);

/* Copies into empty segments. false: out of memory. */
bool kvf__segments_clone(const kvf__segments *segments, const kvf_allocator *allocator,
                         kvf__segments *out);

/* Number of blocks in all segments. */
size_t kvf__segments_blocks(const kvf__segments *segments);

#endif
