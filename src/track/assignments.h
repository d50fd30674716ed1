/*
 * The assignments object's inside.
 *
 *     ids     [ - - | a a a a a a | s s s | p p p p p | . . ]
 *                   ^first        ^       ^           ^end      ^ids_capacity
 *                                 assigned_end  staged_end
 *
 * Staging and committing move fences. hashes run beside ids and have room for as many, so that
 * staging needs no memory. What lies before `first` was dropped from the front.
 */
#ifndef KVF_ASSIGNMENTS_H
#define KVF_ASSIGNMENTS_H

#include <kvferry/assignments.h>

#include "track/idset.h"
#include "track/segments.h"

struct kvf_assignments {
    kvf_allocator allocator;
    kvf_hash_layout layout;
    uint64_t offset; /* position of ids[first] */
    uint64_t *ids;
    kvf_hash *hashes;
    size_t ids_capacity, hashes_capacity; /* hashes_capacity >= end */
    size_t first, assigned_end, staged_end, end;
    kvf__idset known; /* exactly ids[first .. end) */
    kvf__segments segments;
    uint64_t last_flight;
    size_t holders; /* bound transfers that remember this assignments object */
    bool destroyed; /* by its owner; the shell stays for the holders */
};

/* Keeps the assignments object's shell alive past kvf_assignments_destroy. */
KVF__MODULES void kvf__assignments_hold(kvf_assignments *assignments);
KVF__MODULES void kvf__assignments_release(kvf_assignments *assignments);

/* Commits what has landed at the front of the staged blocks. */
void kvf__assignments_advance(kvf_assignments *assignments);

/* POSITION_MISMATCH for the first of the hashes that is not its position's; hashes[0] is that of
 * next_position. */
kvf_status kvf__assignments_check_positions(const kvf_assignments *assignments,
                                            const kvf_hash *hashes, size_t count, kvf_error *error);

/* Stages the first `count` pending ids with hashes that were checked. */
void kvf__assignments_stage(kvf_assignments *assignments, const kvf_hash *hashes, size_t count);

/* NULL, or which invariant is broken. For tests. */
const char *kvf__assignments_check(const kvf_assignments *assignments);

#endif
