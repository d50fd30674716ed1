/* The oracle for kvf_assignments: three plain lists. */
#ifndef KVF_TEST_ASSIGNMENTS_ORACLE_H
#define KVF_TEST_ASSIGNMENTS_ORACLE_H

#include "support/support.h"

enum { ORACLE_BLOCKS = 160 };

typedef struct oracle_block {
    uint64_t id;
    kvf_hash hash;
    uint64_t flight; /* 0: the caller's own */
    bool landed;     /* a staged block: committed once all before it are */
} oracle_block;

typedef struct oracle_list {
    oracle_block at[ORACLE_BLOCKS];
    size_t count;
} oracle_list;

typedef struct oracle_assignments {
    uint64_t offset;
    kvf_hash_layout layout;
    oracle_list assigned, staged, pending;
    uint64_t last_flight;
} oracle_assignments;

void oracle_push(oracle_list *list, oracle_block block);
bool oracle_holds(const oracle_list *list, uint64_t id);
bool oracle_knows(const oracle_assignments *m, uint64_t id);
size_t oracle_total(const oracle_assignments *m);
uint64_t oracle_next_position(const oracle_assignments *m);
bool oracle_any_open(const oracle_assignments *m);

/* The open flight's blocks among the staged ones; empty when there is none. */
kvf_range oracle_find_flight(const oracle_assignments *m, uint64_t flight);

#define SAYS(...) ((kvf_error){__VA_ARGS__})

/* Each does the operation and returns the error that the library should return, without `what`. An
 * error changes nothing and writes no range. */
kvf_error oracle_extend_block_ids(oracle_assignments *m, const uint64_t *ids, size_t count);
kvf_error oracle_extend_assigned(oracle_assignments *m, const uint64_t *ids, const kvf_hash *hashes,
                                 size_t count);
kvf_error oracle_stage_next(oracle_assignments *m, const kvf_hash *hashes, size_t count,
                            kvf_range *staged);
kvf_error oracle_stage_pending(oracle_assignments *m, const kvf_hash *hashes, size_t count,
                               kvf_range *staged);
kvf_range oracle_commit_staged(oracle_assignments *m);
kvf_error oracle_take_staged(oracle_assignments *m, bool arrays, size_t capacity);
void oracle_clear(oracle_assignments *m);
kvf_error oracle_rollback_staged(oracle_assignments *m, size_t count);
kvf_error oracle_commit_oldest(oracle_assignments *m, size_t count);
kvf_error oracle_truncate(oracle_assignments *m, uint64_t position);
kvf_error oracle_drop_front(oracle_assignments *m, size_t count);
kvf_error oracle_depart(oracle_assignments *m, const kvf_plan *plan);
kvf_error oracle_land(oracle_assignments *m, uint64_t flight, kvf_range *assigned);
kvf_error oracle_return(oracle_assignments *m, uint64_t flight, size_t landed);

/* The error of landing the flight or returning none of it. */
kvf_error oracle_check_flight(const oracle_assignments *m, uint64_t flight);

#endif
