/* What a tracker should do, told by three plain lists. */
#ifndef KVF_TEST_TRACKER_MODEL_H
#define KVF_TEST_TRACKER_MODEL_H

#include "support/support.h"

enum { MODEL_BLOCKS = 160 };

typedef struct model_block {
    uint64_t id;
    kvf_hash hash;
    uint64_t flight; /* 0: the caller's own */
    bool landed;     /* of staged blocks: to be committed once everything before it is */
} model_block;

typedef struct model_list {
    model_block at[MODEL_BLOCKS];
    size_t count;
} model_list;

typedef struct model_tracker {
    uint64_t offset;
    kvf_hash_layout layout;
    model_list assigned, staged, pending;
    uint64_t last_flight;
} model_tracker;

void model_push(model_list *list, model_block block);
bool model_holds(const model_list *list, uint64_t id);
bool model_knows(const model_tracker *m, uint64_t id);
size_t model_total(const model_tracker *m);
uint64_t model_next_position(const model_tracker *m);
bool model_any_open(const model_tracker *m);

/* The open flight's blocks among the staged ones; empty when there is none. */
kvf_range model_find_flight(const model_tracker *m, uint64_t flight);

#define SAYS(...) ((kvf_error){__VA_ARGS__})

/* Each does the operation and returns what the real one should say; `what` is left out. With an
 * error nothing has changed, and ranges are not written. */
kvf_error model_extend_block_ids(model_tracker *m, const uint64_t *ids, size_t count);
kvf_error model_extend_assigned(model_tracker *m, const uint64_t *ids, const kvf_hash *hashes,
                                size_t count);
kvf_error model_stage_next(model_tracker *m, const kvf_hash *hashes, size_t count,
                           kvf_range *staged);
kvf_error model_stage_pending(model_tracker *m, const kvf_hash *hashes, size_t count,
                              kvf_range *staged);
kvf_range model_commit_staged(model_tracker *m);
kvf_error model_take_staged(model_tracker *m, bool arrays, size_t capacity);
void model_clear(model_tracker *m);
kvf_error model_rollback_staged(model_tracker *m, size_t count);
kvf_error model_commit_oldest(model_tracker *m, size_t count);
kvf_error model_truncate(model_tracker *m, uint64_t position);
kvf_error model_drop_front(model_tracker *m, size_t count);
kvf_error model_depart(model_tracker *m, const kvf_plan *plan);
kvf_error model_land(model_tracker *m, uint64_t flight, kvf_range *assigned);
kvf_error model_return(model_tracker *m, uint64_t flight, size_t landed);

/* What landing or returning nothing of the flight would say. */
kvf_error model_check_flight(const model_tracker *m, uint64_t flight);

#endif
