/*
 * NCCL behind a boundary: results translated in one place, calls that only begin told apart. There
 * are two of it, nccl_runtime.c and nccl_none.c for builds without NCCL.
 *
 * All calls come one at a time, and but for abort on the communicator's device.
 */
#ifndef KVF_CUDA_NCCL_RUNTIME_H
#define KVF_CUDA_NCCL_RUNTIME_H

#include <kvferry/nccl.h>

enum { KVF__NCCL_ID = 128 }; /* bytes of a unique id */

typedef struct kvf__nccl_config {
    int min_ctas, max_ctas, cta_policy; /* 0: NCCL's own */
} kvf__nccl_config;

/* One piece of an exchange. */
typedef struct kvf__nccl_hand {
    int peer;
    bool receives;
    void *memory;
    size_t bytes;
} kvf__nccl_hand;

/* UNSUPPORTED without NCCL. */
kvf_status kvf__nccl_is_there(kvf_error *error);

kvf_status kvf__nccl_id(unsigned char id[KVF__NCCL_ID], kvf_error *error);

/* Begins to make a communicator of one's own, from an id or split from `parent`. From an id, `*out`
 * is there at once, and `check` of it tells when it can be used. A split is under way as long as
 * `check` of the parent says so; NCCL sets `*out` at its end. */
kvf_status kvf__nccl_open(struct ncclComm *parent, const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error);

/* PENDING while what was begun is under way, OK, or what went wrong, also asynchronously. Nothing
 * else may be called while it is PENDING but abort. */
kvf_status kvf__nccl_check(struct ncclComm *comm, kvf_error *error);

/* Begin an operation in a stream, or answer with an error. */
kvf_status kvf__nccl_all_gather(struct ncclComm *comm, char *all, int rank, size_t bytes,
                                struct CUstream_st *stream, kvf_error *error);
kvf_status kvf__nccl_broadcast(struct ncclComm *comm, char *memory, size_t bytes,
                               struct CUstream_st *stream, kvf_error *error);
kvf_status kvf__nccl_exchange(struct ncclComm *comm, const kvf__nccl_hand *hands, size_t count,
                              struct CUstream_st *stream, kvf_error *error);

/* Lets go of a communicator on which nothing is under way; begins that, and `check` tells when
 * destroy may follow. */
kvf_status kvf__nccl_finalize(struct ncclComm *comm, kvf_error *error);
void kvf__nccl_destroy(struct ncclComm *comm);

/* Ends whatever is under way. NULL is fine. */
void kvf__nccl_abort(struct ncclComm *comm);

#endif
