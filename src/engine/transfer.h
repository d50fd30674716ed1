/* A transfer as engines see it. See the duties in engine.h. */
#ifndef KVF_TRANSFER_H
#define KVF_TRANSFER_H

#include <kvferry/transfer.h>

#include "engine/engine.h"

/* The plans as they were given; kept only where something has to be found again by position. */
typedef struct kvf__kept_plans {
    kvf_plan *items; /* [plan_count]; their ids point into `ids`, hashes are NULL */
    uint64_t *ids;
    size_t id_count;
} kvf__kept_plans;

struct kvf_transfer {
    kvf_engine *engine;
    kvf_tier *src, *dst;
    const kvf_layout *src_layout, *dst_layout;
    atomic_size_t holds; /* the caller, the engine until retired, a due callback, completions */
    kvf_move *move;

    /* Its place in the order; set once, in submit. */
    unsigned lane;
    uint64_t sequence;
    uint64_t after[KVF__LANES];
    bool background;
    unsigned priority;
    unsigned strategy; /* asked for; 0: the engine's choice */
    uint32_t first_layer, layer_count;
    void *const *events; /* the caller's; during submit only */
    size_t event_count;
    const kvf_plan *given; /* the caller's; during submit only */

    /* Under `lock`. */
    kvf_transfer *next_open, **link_open;
    bool begun;
    atomic_bool cancelled;     /* asked for */
    _Atomic kvf_status status; /* PENDING until over */
    kvf_error error;
    kvf_error known; /* the corrupt block that it will end with, as soon as there is one */
    size_t plan_count;
    size_t *plan_blocks; /* how many blocks each plan has */
    size_t *landed;      /* how many of them may be believed once over */
    size_t *layer_left;  /* bytes of each layer that have not landed; NULL unless by layer */
    kvf__kept_plans plans;

    uint64_t submit_time, submitted_time, begin_time, end_time;
    bool imitated;
    bool accepted, refused; /* counted as such; under `lock` */
    uint64_t *direction;    /* the engine's counter of its bytes */
    kvf__note note;

    kvf__delivery delivery;
    kvf_completion *completion;
    void (*listener)(kvf_completion *, kvf_engine *, const kvf_error *); /* told once it is over */
    max_align_t job[]; /* the engine's own, zeroed */
};

/* All with `lock` held. */

/* Nothing can make submit fail any more; `now` is the time. */
KVF__MODULES void kvf__transfer_accepted(kvf_transfer *transfer, uint64_t now);

/* The first byte is about to move. */
KVF__MODULES void kvf__transfer_begin(kvf_transfer *transfer);

/* `bytes` of a layer have landed. */
KVF__MODULES void kvf__transfer_layer_landed(kvf_transfer *transfer, uint32_t layer, size_t bytes);

/* The transfer ended; `error` NULL for well. */
KVF__MODULES void kvf__transfer_over(kvf_transfer *transfer, const kvf_error *error);

/* Nothing touches its blocks any more. The engine's hold is to be released behind this, without
 * the lock. */
KVF__MODULES void kvf__transfer_retire(kvf_transfer *transfer);

/* Asks it to stop; over at once when it has not begun. */
void kvf__transfer_cancel(kvf_transfer *transfer);

/* Without the lock: cancels the open transfers that touch a tier; any tier for NULL. */
void kvf__transfers_cancel(kvf_engine *engine, const kvf_tier *tier);

static inline bool kvf__transfer_is_over(const kvf_transfer *transfer) {
    return atomic_load_explicit(&transfer->status, memory_order_acquire) != KVF_PENDING;
}

/* Lowers plans for this transfer; layer_count 0 means all from first_layer on. */
kvf_status kvf__transfer_lower(kvf_transfer *transfer, const kvf_plan *plans, size_t plan_count,
                               bool by_layer, kvf_move **move, kvf_error *error);

/* Fills in layer_left, if there is one, from the move. */
void kvf__transfer_count_layer_bytes(kvf_transfer *transfer);

/* Keeps only what the `landed` of each plan says, `corrupt` being the first block that does not
 * land: a move of those blocks replaces the move. Without any lock held, before the copying has
 * begun. Errors: NO_MEMORY; the move has not changed then. */
kvf_status kvf__transfer_shorten(kvf_transfer *transfer, const kvf_error *corrupt,
                                 kvf_error *error);

/* Adds to an error that names a pair of blocks, destination first, which plan has it and where:
 * index and position. For transfers that keep their plans, and during submit. */
KVF__MODULES void kvf__transfer_locate(const kvf_transfer *transfer, kvf_error *error);

KVF__MODULES void kvf__transfer_hold(kvf_transfer *transfer);

#endif
