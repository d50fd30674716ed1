/*
 * The strategies: how one transfer's copies get into its streams.
 *
 * A copier walks over the move, layer by layer, and enqueues as much at a time as it is told to.
 * Everything here runs with `order` held, on the engine's device.
 *
 *     loop, batch      boxes or pieces, in the order of kvf__move_next
 *     kernel           all strips of a layer times some pairs a launch
 *     staged           the same, between the device and a buffer; copies between that and the host
 */
#ifndef KVF_CUDA_COPIER_H
#define KVF_CUDA_COPIER_H

#include "copy/kernels.h"
#include "move/move.h"
#include "runtime/runtime.h"

enum {
    KVF__CUDA_BATCH = 4096, /* pieces a call; drivers misbehave with very many */
    KVF__CUDA_BUFFERS = 4,  /* of one ring that is not beside compute; each a fourth of it */
    KVF__CUDA_MOST_BUFFERS = 64,
    KVF__CUDA_UPLOADS = 512, /* lists on their way at a time */
};

typedef struct kvf__cuda kvf__cuda;

/* Lists for one batch call; under `order`. */
typedef struct kvf__cuda_lists {
    CUdeviceptr dsts[KVF__CUDA_BATCH], srcs[KVF__CUDA_BATCH];
    size_t sizes[KVF__CUDA_BATCH];
    size_t strips[KVF__CUDA_BATCH]; /* which of the move's each piece belongs to */
    size_t count;
} kvf__cuda_lists;

/*
 * Lists for kernels that do not fit a launch: pinned memory and as much on the device, in the same
 * places. What a list takes is free once the transfer it was for has retired.
 *
 *     | free | list | list | list | free |
 *            tail                 head
 */
typedef struct kvf__cuda_upload_ring {
    char *host, *device; /* NULL: not made yet */
    size_t head, tail;
    struct {
        size_t end;
        unsigned lane;
        uint64_t sequence;
    } lists[KVF__CUDA_UPLOADS];
    size_t first, count; /* of `lists`, a ring too */
} kvf__cuda_upload_ring;

/* Where a chunk is packed. */
typedef struct kvf__cuda_buffer {
    char *memory;
    cudaEvent_t filled, drained;
    bool is_drained; /* recorded: `drained` is behind the last use */
    unsigned lane;   /* of the last use; no use yet at sequence 0 */
    uint64_t sequence;
    uint64_t turn; /* when it was taken last */
} kvf__cuda_buffer;

typedef struct kvf__cuda_buffers {
    kvf__cuda_buffer items[KVF__CUDA_MOST_BUFFERS];
    size_t count;
    uint64_t turns;
} kvf__cuda_buffers;

/* Spans that are packed together, and what they are on the host's side. */
typedef struct kvf__cuda_band {
    size_t first, end;           /* of the packing's order */
    size_t first_host, end_host; /* of its hosts */
    size_t end_strip;            /* of the move, as far as it is through with this band */
    size_t bytes;                /* of one block */
} kvf__cuda_band;

/* One strip's place when packed. */
typedef struct kvf__cuda_slot {
    size_t host;   /* which of the hosts it is part of */
    size_t offset; /* from that one's packed block */
} kvf__cuda_slot;

typedef struct kvf__cuda_packing {
    size_t *order;         /* the move's strips, by layer and address on the host */
    kvf__cuda_slot *slots; /* beside it */
    kvf__strip *hosts;     /* joined on the host's side: address and stride in dst and src alike */
    size_t *offsets;       /* beside it: bytes of the band's hosts before it */
    kvf__cuda_band *bands;
    size_t strip_count, band_count, host_count;
} kvf__cuda_packing;

typedef struct kvf__cuda_copier {
    kvf__cuda *engine;
    const kvf_move *move;
    kvf_cuda_strategy strategy;
    unsigned excluded; /* 1 << strategy for those that turned out not to do */
    kvf_cuda_direction direction;
    unsigned lane;
    uint64_t sequence;
    ptrdiff_t src_shift, dst_shift; /* from an address to the device's name for it */
    bool reachable;                 /* by kernels and batches, on both sides */
    bool beside_compute;            /* or behind what may take as long */
    bool computing;                 /* compute is waited for, or marked */
    bool settled;                   /* nobody writes the sources any more */
    bool enqueued;                  /* at least one operation on memory was accepted */
    bool in_boxes;                  /* batch: rows stay together */
    bool forked;                    /* the side has work that the stream does not wait for yet */
    cudaStream_t stream, side;
    cudaStream_t last; /* what is enqueued so far is over when this one is */

    kvf_box_cursor cursor;   /* the next strip; for loop and batch the place in it */
    uint64_t copied;         /* bytes so far */
    size_t pair, band;       /* the next ones; for kernel and staged */
    kvf__cuda_pair *pairs;   /* [move->runs.pairs]; for kernel and staged */
    kvf__cuda_piece *pieces; /* [span_count]; for staged in the packing's order */
    kvf__cuda_packing packing;
} kvf__cuda_copier;

/* Readies what a strategy needs of its own. UNSUPPORTED: it cannot do this move. */
kvf_status kvf__cuda_copier_prepare(kvf__cuda_copier *copier, kvf_error *error);
/* Frees that. */
void kvf__cuda_copier_finish(kvf__cuda_copier *copier);

/* Enqueues copies from where the copier stands, up to a strip, of about `budget` bytes. Part of
 * them may be enqueued when it fails. */
typedef kvf_status kvf__cuda_copy_fn(kvf__cuda_copier *copier, size_t end_strip, size_t budget,
                                     kvf_error *error);
kvf__cuda_copy_fn kvf__cuda_loop, kvf__cuda_batch, kvf__cuda_kernel, kvf__cuda_staged;

extern const kvf_box_limits kvf__cuda_loop_limits, kvf__cuda_batch_limits;

/* loop.c: one box by one call. */
kvf_status kvf__cuda_copy_box(kvf__cuda_copier *copier, const kvf_box *box, kvf_error *error);

/* batch.c: the lists by one call, or one each where there is no such call or they are large. They
 * are empty then. */
kvf_status kvf__cuda_flush(kvf__cuda_copier *copier, kvf_error *error);

/* kernel.c: what a strip is to kernels. false: nothing they can do. */
bool kvf__cuda_make_piece(const kvf__strip *strip, kvf__cuda_piece *piece);
bool kvf__cuda_kernel_fits(const kvf__cuda_copier *copier);
kvf_status kvf__cuda_kernel_prepare(kvf__cuda_copier *copier, kvf_error *error);
/* One launch for pieces x pairs, which are read before it returns. `most` thread blocks. */
kvf_status kvf__cuda_launch(kvf__cuda_copier *copier, cudaStream_t stream,
                            const kvf__cuda_piece *pieces, size_t piece_count,
                            const kvf__cuda_pair *pairs, size_t pair_count, unsigned most,
                            kvf_error *error);

/* staged.c */
bool kvf__cuda_staged_fits(const kvf__cuda_copier *copier);
kvf_status kvf__cuda_staged_prepare(kvf__cuda_copier *copier, kvf_error *error);

/* rings.c. Room for a list, or NULL when there is none now. */
char *kvf__cuda_upload_ring_take(kvf__cuda *engine, size_t bytes, unsigned lane, uint64_t sequence);
size_t kvf__cuda_buffer_bytes(const kvf__cuda *engine);
/* The buffer for the next chunk; the stream that is to fill it waits for its last use. */
kvf_status kvf__cuda_buffer_take(kvf__cuda_copier *copier, cudaStream_t filler,
                                 kvf__cuda_buffer **out, kvf_error *error);
void kvf__cuda_rings_free(kvf__cuda *engine);

#endif
