/*
 * NCCL as a table of functions. nccl_runtime.c fills it, and is the one place that translates
 * NCCL's results and tells started calls from finished ones. nccl_none.c replaces it in builds
 * without NCCL and leaves the table out.
 *
 * Calls come one at a time and, except abort, with the communicator's device current.
 */
#ifndef KVF_NCCL_RUNTIME_H
#define KVF_NCCL_RUNTIME_H

#include <kvferry/nccl.h>

typedef struct kvf__nccl_config {
    int min_ctas, max_ctas, cta_policy; /* 0: NCCL's default */
} kvf__nccl_config;

typedef struct kvf__nccl_functions {
    /* The version of the loaded library, such as 22809; 0 when it does not say. */
    int (*version)(void);
    kvf_status (*make_id)(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error);

    /* Starts to make a communicator. `*out` is set at once and usable once `check` is OK. */
    kvf_status (*open)(const unsigned char *id, int rank, int ranks, const kvf__nccl_config *config,
                       struct ncclComm **out, kvf_error *error);
    /* This process's rank in a communicator of the caller's, and its number of ranks. */
    kvf_status (*get_rank)(struct ncclComm *comm, int *rank, int *ranks, kvf_error *error);
    /* PENDING while a started call is under way, then OK or what went wrong, including asynchronous
     * errors. While it is PENDING, only abort may be called. */
    kvf_status (*check)(struct ncclComm *comm, kvf_error *error);

    /* These start an operation in a stream. */
    kvf_status (*all_gather)(struct ncclComm *comm, char *all, int rank, size_t bytes,
                             struct CUstream_st *stream, kvf_error *error);
    kvf_status (*broadcast)(struct ncclComm *comm, char *memory, size_t bytes,
                            struct CUstream_st *stream, kvf_error *error);
    kvf_status (*send)(struct ncclComm *comm, const void *memory, size_t bytes, int to,
                       struct CUstream_st *stream, kvf_error *error);
    kvf_status (*receive)(struct ncclComm *comm, void *memory, size_t bytes, int from,
                          struct CUstream_st *stream, kvf_error *error);
    /* Around sends and receives. `end` ends NCCL's group even if a call in it has failed with
     * `status`, and returns that status then. */
    kvf_status (*begin)(kvf_error *error);
    kvf_status (*end)(kvf_status status, kvf_error *error);

    /* Whether both the header and a library of this version have ncclMemAlloc, and windows. */
    bool (*can_alloc)(int version);
    bool (*can_register)(int version);
    /* Device memory that NCCL can register. */
    kvf_status (*alloc)(size_t bytes, void **out, kvf_error *error);
    void (*free)(void *memory);
    /* Starts to make a symmetric window, on all ranks. NCCL may write `*window` until `check` is no
     * longer PENDING; it stays NULL where NCCL has no windows. */
    kvf_status (*register_window)(struct ncclComm *comm, void *memory, size_t bytes, void **window,
                                  kvf_error *error);
    /* Does nothing but reset `*window` when it is NULL. */
    void (*deregister_window)(struct ncclComm *comm, void **window);

    /* Starts to close a communicator on which nothing is under way; destroy follows once `check` is
     * OK. */
    kvf_status (*finalize)(struct ncclComm *comm, kvf_error *error);
    void (*destroy)(struct ncclComm *comm);
    /* Ends everything under way and frees nothing. UNSUPPORTED where this NCCL cannot. */
    kvf_status (*revoke)(struct ncclComm *comm, int version);
    /* Ends everything under way and frees the communicator. */
    void (*abort)(struct ncclComm *comm);
} kvf__nccl_functions;

/* NULL in a build without NCCL. Only groups with an id or a parent use it, and their creation fails
 * without it. */
extern const kvf__nccl_functions *const kvf__nccl;

#endif
