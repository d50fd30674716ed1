/*
 * Assignments: one array of block ids, in which two fences separate three phases.
 *
 *     ids     [ - - | a a a a a a | s s s | p p p p p | . . ]
 *           dropped    assigned    staged    pending    free
 *                   ^first        ^       ^staged_end ^end  ^ids_capacity
 *                                 assigned_end
 *
 * Staging and committing move fences. `hashes` runs parallel to `ids`, up to staged_end, and has
 * room for as many entries, so that staging allocates nothing.
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
    size_t holders; /* bound transfers that fill these assignments */
    bool destroyed; /* by its owner; the struct stays for the holders */
};

/* Keeps the struct itself allocated past kvf_assignments_destroy. */
KVF__MODULES void kvf__assignments_hold(kvf_assignments *assignments);
KVF__MODULES void kvf__assignments_release(kvf_assignments *assignments);

/* Commits the landed blocks at the front of the staged ones. */
void kvf__assignments_advance(kvf_assignments *assignments);

/* Checks that hashes[i] belongs to position next_position + i. Errors: POSITION_MISMATCH for the
 * first one that does not. */
kvf_status kvf__assignments_check_positions(const kvf_assignments *assignments,
                                            const kvf_hash *hashes, size_t count, kvf_error *error);

/* Stages the first `count` pending ids with their hashes, which are checked already. */
void kvf__assignments_stage(kvf_assignments *assignments, const kvf_hash *hashes, size_t count);

/* Returns which invariant is broken; NULL if none is. For tests. */
const char *kvf__assignments_check(const kvf_assignments *assignments);

#endif
