/*
 * NCCL behind a boundary: results translated in one place, calls that only begin told apart. There
 * are two of it, nccl_runtime.c and nccl_none.c for builds without NCCL.
 *
 * All calls come one at a time, and but for abort on the communicator's device.
 */
#ifndef KVF_NCCL_RUNTIME_H
#define KVF_NCCL_RUNTIME_H

#include <kvferry/nccl.h>

typedef struct kvf__nccl_config {
    int min_ctas, max_ctas, cta_policy; /* 0: NCCL's own */
} kvf__nccl_config;

/* UNSUPPORTED without NCCL. */
kvf_status kvf__nccl_is_there(kvf_error *error);

kvf_status kvf__nccl_id(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error);

/* Of the library that is loaded, such as 22809. */
int kvf__nccl_version(void);

/* Begins to make a communicator: `*out` is there at once, and `check` tells when it can be used. */
kvf_status kvf__nccl_open(const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error);

/* Which rank of how many the caller's communicator has here. */
kvf_status kvf__nccl_who(struct ncclComm *comm, int *rank, int *ranks, kvf_error *error);

/* PENDING while what was begun is under way, OK, or what went wrong, also asynchronously. Nothing
 * else may be called while it is PENDING but abort. */
kvf_status kvf__nccl_check(struct ncclComm *comm, kvf_error *error);

/* Begin an operation in a stream, or answer with an error. */
kvf_status kvf__nccl_all_gather(struct ncclComm *comm, char *all, int rank, size_t bytes,
                                struct CUstream_st *stream, kvf_error *error);
kvf_status kvf__nccl_broadcast(struct ncclComm *comm, char *memory, size_t bytes,
                               struct CUstream_st *stream, kvf_error *error);
/* Between begin and end, which ends the group whatever `status` came of the calls and returns that.
 */
kvf_status kvf__nccl_begin(kvf_error *error);
kvf_status kvf__nccl_send(struct ncclComm *comm, const void *memory, size_t bytes, int to,
                          struct CUstream_st *stream, kvf_error *error);
kvf_status kvf__nccl_receive(struct ncclComm *comm, void *memory, size_t bytes, int from,
                             struct CUstream_st *stream, kvf_error *error);
kvf_status kvf__nccl_end(kvf_status status, kvf_error *error);

/* Whether the library that is loaded, and the header, have memory of NCCL's, and windows. */
bool kvf__nccl_can_alloc(int version);
bool kvf__nccl_can_register(int version);

/* Device memory that NCCL can register. */
kvf_status kvf__nccl_alloc(size_t bytes, void **out, kvf_error *error);
void kvf__nccl_free(void *memory);

/* Begins to make a symmetric window; all ranks do. `*window` is written until `check` is no longer
 * PENDING, and stays NULL where NCCL has no such windows. */
kvf_status kvf__nccl_register(struct ncclComm *comm, void *memory, size_t bytes, void **window,
                              kvf_error *error);
void kvf__nccl_deregister(struct ncclComm *comm, void **window);

/* Lets go of a communicator on which nothing is under way; begins that, and `check` tells when
 * destroy may follow. */
kvf_status kvf__nccl_finalize(struct ncclComm *comm, kvf_error *error);
void kvf__nccl_destroy(struct ncclComm *comm);

/* Ends whatever is under way, and frees nothing; UNSUPPORTED where that NCCL cannot. */
kvf_status kvf__nccl_revoke(struct ncclComm *comm, int version);

/* Ends whatever is under way, and frees all. NULL is fine. */
void kvf__nccl_abort(struct ncclComm *comm);

#endif
