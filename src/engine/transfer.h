/* A transfer, as engines see it. engine.h says what an engine must do with it. */
#ifndef KVF_TRANSFER_H
#define KVF_TRANSFER_H

#include <kvferry/transfer.h>

#include "engine/engine.h"

/* The plans as given. Kept only where blocks must be found by position later. */
typedef struct kvf__kept_plans {
    kvf_plan *items; /* [plan_count]; their ids point into `ids`, hashes are NULL */
    uint64_t *ids;
    size_t id_count;
} kvf__kept_plans;

struct kvf_transfer {
    kvf_engine *engine;
    kvf_tier *src, *dst;
    const kvf_layout *src_layout, *dst_layout;
    atomic_size_t holds; /* references: caller, engine until retired, due callback, completions */
    kvf_move *move;

    /* Its place in the order. Set once, in submit. */
    unsigned lane;
    uint64_t sequence;
    uint64_t after[KVF__LANES];
    bool background;
    unsigned priority;
    unsigned strategy; /* requested; 0: the engine chooses */
    uint32_t first_layer, layer_count;
    void *const *events; /* the caller's; during submit only */
    size_t event_count;
    const kvf_plan *given; /* the caller's; during submit only */

    /* Under `lock`. */
    kvf_transfer *next_open, **link_open;
    bool begun;
    atomic_bool cancelled;     /* requested */
    _Atomic kvf_status status; /* PENDING until it ends */
    kvf_error error;
    kvf_error known; /* the error it will end with, once a corrupt block is found */
    size_t plan_count;
    size_t *plan_blocks; /* blocks of each plan */
    size_t *landed;      /* how many of them are valid when it has ended */
    size_t *layer_left;  /* bytes of each layer still to land; NULL unless by_layer */
    kvf__kept_plans plans;

    uint64_t submit_time, submitted_time, begin_time, end_time;
    bool imitated;
    bool accepted, refused; /* already counted; under `lock` */
    uint64_t *direction;    /* the engine's counter for its bytes */
    kvf__note note;

    kvf__delivery delivery;
    kvf_completion *completion;
    void (*listener)(kvf_completion *, kvf_engine *, const kvf_error *); /* called when it ends */
    max_align_t job[]; /* the engine's own bytes, zeroed */
};

/* With `lock` held. */

/* Nothing can make submit fail any more. `now`: the current time. */
KVF__MODULES void kvf__transfer_accepted(kvf_transfer *transfer, uint64_t now);

/* The first byte is about to move. */
KVF__MODULES void kvf__transfer_begin(kvf_transfer *transfer);

/* `bytes` of a layer have landed. */
KVF__MODULES void kvf__transfer_layer_landed(kvf_transfer *transfer, uint32_t layer, size_t bytes);

/* The transfer has ended. `error` NULL: it succeeded. */
KVF__MODULES void kvf__transfer_over(kvf_transfer *transfer, const kvf_error *error);

/* Nothing touches its blocks any more. The engine then releases its reference, without the lock. */
KVF__MODULES void kvf__transfer_retire(kvf_transfer *transfer);

/* Without the lock. Cancels all open transfers, or those that touch `tier` unless it is NULL. */
void kvf__transfers_cancel(kvf_engine *engine, const kvf_tier *tier);

static inline bool kvf__transfer_is_over(const kvf_transfer *transfer) {
    return atomic_load_explicit(&transfer->status, memory_order_acquire) != KVF_PENDING;
}

/* Lowers plans for this transfer. layer_count 0: all layers from first_layer on. */
kvf_status kvf__transfer_lower(kvf_transfer *transfer, const kvf_plan *plans, size_t plan_count,
                               bool by_layer, kvf_move **move, kvf_error *error);

/* Sets layer_left, unless NULL, from the move. */
void kvf__transfer_count_layer_bytes(kvf_transfer *transfer);

/* Replaces the move by one of the first landed[p] blocks of each plan p. `corrupt`: the first block
 * left out. Without any lock held, before copying starts. Errors: NO_MEMORY; the move is unchanged.
 */
kvf_status kvf__transfer_shorten(kvf_transfer *transfer, const kvf_error *corrupt,
                                 kvf_error *error);

/* Adds index and position to an error that names a pair of blocks (destination in `id`, source in
 * `other_id`): which plan has the pair, and where. During submit, and for transfers that keep their
 * plans. */
KVF__MODULES void kvf__transfer_locate(const kvf_transfer *transfer, kvf_error *error);

KVF__MODULES void kvf__transfer_hold(kvf_transfer *transfer);

#endif
