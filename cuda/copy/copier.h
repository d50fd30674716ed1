/*
 * The strategies: how the copies of one transfer get into its streams.
 *
 * A copier walks over its move, layer by layer, and enqueues as many bytes at a time as the engine
 * asks for. All functions here run with `order` held, on the engine's device.
 *
 *     loop, batch      boxes or pieces, in the order of kvf__move_next
 *     kernel           all strips of a layer times some pairs a launch
 *     staged           the same between the device and a packing buffer, and large copies between
 *                      the buffer and the host
 */
#ifndef KVF_CUDA_COPIER_H
#define KVF_CUDA_COPIER_H

#include "copy/kernels.h"
#include "move/move.h"
#include "runtime/runtime.h"

enum {
    KVF__CUDA_BATCH = 4096, /* pieces a call; drivers misbehave with very many */
    KVF__CUDA_BUFFERS = 4,  /* that share packing_bytes, each way */
    KVF__CUDA_MOST_BUFFERS = 64,
    KVF__CUDA_UPLOADS = 512, /* lists in the upload ring at a time */
};

/* The arrays of one batch call. */
typedef struct kvf__cuda_lists {
    CUdeviceptr dsts[KVF__CUDA_BATCH], srcs[KVF__CUDA_BATCH];
    size_t sizes[KVF__CUDA_BATCH];
    size_t strips[KVF__CUDA_BATCH]; /* the move's strip that each piece belongs to */
    size_t count;
} kvf__cuda_lists;

/* A transfer by its place in the order. */
typedef struct kvf__cuda_user {
    unsigned lane;
    uint64_t sequence; /* 0: none */
} kvf__cuda_user;

/*
 * Lists for kernels that do not fit into a launch: pinned memory and as much device memory, used
 * at the same offsets. A list's room is free once its transfer has retired.
 *
 *     | free | list | list | list | free |
 *            tail                 head
 */
typedef struct kvf__cuda_upload_ring {
    char *host, *device; /* NULL until the first use */
    size_t head, tail;
    struct {
        size_t end;
        kvf__cuda_user user;
    } lists[KVF__CUDA_UPLOADS];
    size_t first, count; /* of `lists`, itself a ring */
} kvf__cuda_upload_ring;

/* Device memory for one packed chunk. */
typedef struct kvf__cuda_buffer {
    char *memory;
    cudaEvent_t filled, drained;
    bool is_drained; /* `drained` is recorded after the last use */
    kvf__cuda_user user;
    uint64_t turn; /* when it was taken last */
} kvf__cuda_buffer;

typedef struct kvf__cuda_buffers {
    kvf__cuda_buffer items[KVF__CUDA_MOST_BUFFERS];
    size_t count;
    uint64_t turns;
} kvf__cuda_buffers;

/* What all copiers of an engine share. */
typedef struct kvf__cuda_copy_context {
    const kvf_allocator *allocator;
    const kvf__cuda_driver *driver;
    const kvf_cuda_options *options; /* ctas, packing_bytes and packing_limit */
    const _Atomic uint64_t *retired; /* by lane: the last sequence number that has retired */
    int processors;                  /* of the device */
    kvf__cuda_lists *lists;
    kvf__cuda_upload_ring uploads;
    kvf__cuda_buffers buffers[KVF_CUDA_DIRECTIONS];
} kvf__cuda_copy_context;

/* Strips that are packed together, and their host strips. */
typedef struct kvf__cuda_band {
    size_t first, end;           /* of the packing's order */
    size_t first_host, end_host; /* of its host strips */
    size_t end_strip;            /* of the move, where this band completes a layer; else 0 */
    size_t bytes;                /* of one block */
} kvf__cuda_band;

/* Where a strip lies once packed. */
typedef struct kvf__cuda_packed_strip {
    size_t host;   /* its host strip */
    size_t offset; /* in that one's packed block */
} kvf__cuda_packed_strip;

typedef struct kvf__cuda_packing {
    size_t *order;                  /* the move's strips, by layer and host address */
    kvf__cuda_packed_strip *packed; /* [strip_count], in that order */
    kvf__strip *host_strips;        /* joined on the host side, whose address is both dst and src */
    size_t *offsets; /* [host_strip_count]: bytes of the band's host strips before it */
    kvf__cuda_band *bands;
    size_t strip_count, band_count, host_strip_count;
} kvf__cuda_packing;

typedef struct kvf__cuda_copier {
    kvf__cuda_copy_context *context;
    const kvf_move *move;
    kvf_cuda_strategy strategy;
    unsigned excluded; /* 1 << strategy for each that was tried in vain */
    kvf_cuda_direction direction;
    kvf__cuda_user user;            /* the transfer itself */
    ptrdiff_t src_shift, dst_shift; /* from an address to the device's address of the same byte */
    bool reachable;                 /* by kernels and batches, on both sides */
    bool holds_long; /* may keep its buffers for long: compute runs, or the transfer still waits */
    bool computing;  /* compute is waited for, or marked */
    bool settled;    /* the last write to the sources has finished */
    bool enqueued;   /* at least one operation on memory was accepted */
    bool in_boxes;   /* batch: rows stay together */
    bool forked;     /* the side has work that the stream does not wait for yet */
    cudaStream_t stream;
    cudaStream_t side; /* staged: where kernels pack or unpack */
    cudaEvent_t fork;  /* staged: for making the side wait for the stream */
    cudaStream_t last; /* finishes last of all that was enqueued so far */

    kvf_box_cursor cursor;   /* the next strip; for loop and batch also the place in it */
    uint64_t copied;         /* bytes so far */
    size_t pair, band;       /* the next ones; for kernel and staged */
    kvf__cuda_pair *pairs;   /* [move->runs.pairs]; for kernel and staged */
    kvf__cuda_piece *pieces; /* [strip_count]; for staged in the packing's order */
    kvf__cuda_packing packing;

    /* After PENDING: `filler` must wait for the user of the next buffer. */
    struct {
        kvf__cuda_user user;
        cudaStream_t filler;
    } blocked;
} kvf__cuda_copier;

static inline bool kvf__cuda_to_device(const kvf__cuda_copier *copier) {
    return copier->direction == KVF_CUDA_TO_DEVICE;
}

/* Of one block. */
static inline size_t kvf__cuda_strip_bytes(const kvf__strip *strip) {
    return strip->width * strip->rows;
}

/* Allocates what the strategy needs. UNSUPPORTED: it cannot do this move. */
kvf_status kvf__cuda_copier_prepare(kvf__cuda_copier *copier, kvf_error *error);
/* Frees it. */
void kvf__cuda_copier_finish(kvf__cuda_copier *copier);

/* Enqueues the next copies of about `budget` bytes, up to a strip. On failure part of them may be
 * enqueued. PENDING, from staged only: the caller makes blocked.filler wait for blocked.user, then
 * calls again. */
typedef kvf_status kvf__cuda_copy_fn(kvf__cuda_copier *copier, size_t end_strip, size_t budget,
                                     kvf_error *error);
kvf__cuda_copy_fn kvf__cuda_loop, kvf__cuda_batch, kvf__cuda_kernel, kvf__cuda_staged;

/* loop.c: copies one box by one call. */
kvf_status kvf__cuda_copy_box(kvf__cuda_copier *copier, const kvf_box *box, kvf_error *error);

/* batch.c: copies the lists by one call, or piece by piece where the driver has no batches or the
 * pieces are large. Empties the lists. */
kvf_status kvf__cuda_flush(kvf__cuda_copier *copier, kvf_error *error);

/* kernel.c: a strip as kernels see it. false: they cannot copy it. */
bool kvf__cuda_make_piece(const kvf__strip *strip, kvf__cuda_piece *piece);
bool kvf__cuda_kernel_fits(const kvf__cuda_copier *copier);
kvf_status kvf__cuda_kernel_prepare(kvf__cuda_copier *copier, kvf_error *error);
/* Launches kernels of at most `most` thread blocks for pieces x pairs; reads both lists before it
 * returns. */
kvf_status kvf__cuda_launch(kvf__cuda_copier *copier, cudaStream_t stream,
                            const kvf__cuda_piece *pieces, size_t piece_count,
                            const kvf__cuda_pair *pairs, size_t pair_count, unsigned most,
                            kvf_error *error);

/* packing.c */
bool kvf__cuda_staged_fits(const kvf__cuda_copier *copier);
kvf_status kvf__cuda_staged_prepare(kvf__cuda_copier *copier, kvf_error *error);

/* upload_ring.c: room for a list, in pinned memory; NULL when there is none now. */
char *kvf__cuda_upload_ring_take(kvf__cuda_copy_context *context, size_t bytes,
                                 kvf__cuda_user user);
void kvf__cuda_upload_ring_free(kvf__cuda_upload_ring *ring);

/* packing_buffers.c: bytes of one buffer. */
size_t kvf__cuda_buffer_bytes(const kvf__cuda_copy_context *context);
/* Takes a buffer for the next chunk and makes `filler` wait for its last use. PENDING as
 * kvf__cuda_copy_fn: this use has no event of its own. */
kvf_status kvf__cuda_buffer_take(kvf__cuda_copier *copier, cudaStream_t filler,
                                 kvf__cuda_buffer **out, kvf_error *error);
void kvf__cuda_buffers_free(kvf__cuda_copy_context *context);

#endif
