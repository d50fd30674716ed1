#include "nccl/nccl_runtime.h"

#include "base/allocator.h"

#include <nccl.h>
#include <string.h>

_Static_assert(KVF_GROUP_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "an id is NCCL's own");

/* Functions that an older library lacks; its version is checked before they are called. */
#define HAS_ALLOC   (NCCL_VERSION_CODE >= NCCL_VERSION(2, 19, 0))
#define HAS_WINDOWS (NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 3))
#define HAS_REVOKE  (NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 7))
#if HAS_ALLOC
#pragma weak ncclMemAlloc
#pragma weak ncclMemFree
#endif
#if HAS_WINDOWS
#pragma weak ncclCommWindowRegister
#pragma weak ncclCommWindowDeregister
#endif
#if HAS_REVOKE
#pragma weak ncclCommRevoke
#endif

static kvf_status status_of(ncclResult_t result) {
    switch (result) {
    case ncclSuccess:
        return KVF_OK;
    case ncclInProgress:
        return KVF_PENDING;
    case ncclRemoteError:
        return KVF_ERR_PEER;
    default:
        return KVF_ERR_ENGINE;
    }
}

/* A call that NCCL has only started counts as OK; `check` tells its result. */
static kvf_status started(ncclResult_t result, const char *what, kvf_error *error) {
    kvf_status status = status_of(result);
    if (status == KVF_OK || status == KVF_PENDING)
        return KVF_OK;
    return KVF__FAIL(error, .status = status, .fields = KVF_ERROR_NATIVE_CODE,
                     .native_code = (int)result,
                     .what = status == KVF_ERR_PEER ? "NCCL: another rank has failed" : what);
}

static kvf_status make_id(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error) {
    ncclUniqueId made;
    kvf_status status = started(ncclGetUniqueId(&made), "ncclGetUniqueId", error);
    if (status == KVF_OK)
        memcpy(id, made.internal, KVF_GROUP_ID_BYTES);
    return status;
}

static int get_version(void) {
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

static kvf_status get_rank(struct ncclComm *comm, int *rank, int *ranks, kvf_error *error) {
    kvf_status status = started(ncclCommCount(comm, ranks), "ncclCommCount", error);
    return status == KVF_OK ? started(ncclCommUserRank(comm, rank), "ncclCommUserRank", error)
                            : status;
}

static ncclConfig_t config_of(const kvf__nccl_config *config) {
    ncclConfig_t c = NCCL_CONFIG_INITIALIZER;
    c.blocking = 0;
    if (config->min_ctas > 0)
        c.minCTAs = config->min_ctas;
    if (config->max_ctas > 0)
        c.maxCTAs = config->max_ctas;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    if (config->cta_policy > 0)
        c.CTAPolicy = config->cta_policy;
#endif
    return c;
}

static kvf_status open_comm(const unsigned char *id, int rank, int ranks,
                            const kvf__nccl_config *config, struct ncclComm **out,
                            kvf_error *error) {
    ncclConfig_t c = config_of(config);
    ncclUniqueId unique;
    memcpy(unique.internal, id, KVF_GROUP_ID_BYTES);
    return started(ncclCommInitRankConfig(out, ranks, unique, rank, &c), "ncclCommInitRankConfig",
                   error);
}

static kvf_status check(struct ncclComm *comm, kvf_error *error) {
    ncclResult_t state = ncclSuccess;
    kvf_status status =
        started(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", error);
    if (status != KVF_OK)
        return status;
    return state == ncclInProgress ? KVF_PENDING
                                   : started(state, "NCCL: asynchronous error", error);
}

static kvf_status all_gather(struct ncclComm *comm, char *all, int rank, size_t bytes,
                             struct CUstream_st *stream, kvf_error *error) {
    return started(ncclAllGather(all + (size_t)rank * bytes, all, bytes, ncclChar, comm, stream),
                   "ncclAllGather", error);
}

static kvf_status broadcast(struct ncclComm *comm, char *memory, size_t bytes,
                            struct CUstream_st *stream, kvf_error *error) {
    return started(ncclBroadcast(memory, memory, bytes, ncclChar, 0, comm, stream), "ncclBroadcast",
                   error);
}

static kvf_status begin_group(kvf_error *error) {
    return started(ncclGroupStart(), "ncclGroupStart", error);
}

static kvf_status send_to(struct ncclComm *comm, const void *memory, size_t bytes, int to,
                          struct CUstream_st *stream, kvf_error *error) {
    return started(ncclSend(memory, bytes, ncclChar, to, comm, stream), "ncclSend", error);
}

static kvf_status receive_from(struct ncclComm *comm, void *memory, size_t bytes, int from,
                               struct CUstream_st *stream, kvf_error *error) {
    return started(ncclRecv(memory, bytes, ncclChar, from, comm, stream), "ncclRecv", error);
}

static kvf_status end_group(kvf_status status, kvf_error *error) {
    ncclResult_t ended = ncclGroupEnd();
    return status == KVF_OK ? started(ended, "ncclGroupEnd", error) : status;
}

static kvf_status lacks(kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "not in this version of NCCL");
}

static bool can_alloc(int version) {
#if HAS_ALLOC
    return version >= NCCL_VERSION(2, 19, 0) && ncclMemAlloc && ncclMemFree;
#else
    (void)version;
    return false;
#endif
}

static bool can_register(int version) {
#if HAS_WINDOWS
    return version >= NCCL_VERSION(2, 27, 3) && ncclCommWindowRegister && ncclCommWindowDeregister;
#else
    (void)version;
    return false;
#endif
}

static kvf_status alloc_memory(size_t bytes, void **out, kvf_error *error) {
#if HAS_ALLOC
    return started(ncclMemAlloc(out, bytes), "ncclMemAlloc", error);
#else
    (void)bytes;
    (void)out;
    return lacks(error);
#endif
}

static void free_memory(void *memory) {
#if HAS_ALLOC
    (void)ncclMemFree(memory);
#else
    (void)memory;
#endif
}

static kvf_status register_window(struct ncclComm *comm, void *memory, size_t bytes, void **window,
                                  kvf_error *error) {
#if HAS_WINDOWS
    return started(ncclCommWindowRegister(comm, memory, bytes, (ncclWindow_t *)window,
                                          NCCL_WIN_COLL_SYMMETRIC),
                   "ncclCommWindowRegister", error);
#else
    (void)comm;
    (void)memory;
    (void)bytes;
    (void)window;
    return lacks(error);
#endif
}

static void deregister_window(struct ncclComm *comm, void **window) {
#if HAS_WINDOWS
    if (*window)
        (void)ncclCommWindowDeregister(comm, (ncclWindow_t)*window);
#else
    (void)comm;
#endif
    *window = NULL;
}

static kvf_status finalize(struct ncclComm *comm, kvf_error *error) {
    return started(ncclCommFinalize(comm), "ncclCommFinalize", error);
}

static void destroy(struct ncclComm *comm) {
    (void)ncclCommDestroy(comm);
}

static kvf_status revoke(struct ncclComm *comm, int version) {
#if HAS_REVOKE
    if (version >= NCCL_VERSION(2, 28, 7) && ncclCommRevoke)
        return started(ncclCommRevoke(comm, 0), "ncclCommRevoke", NULL);
#else
    (void)comm;
    (void)version;
#endif
    return lacks(NULL);
}

static void abort_comm(struct ncclComm *comm) {
    (void)ncclCommAbort(comm);
}

static const kvf__nccl_functions functions = {
    .version = get_version,
    .make_id = make_id,
    .open = open_comm,
    .get_rank = get_rank,
    .check = check,
    .all_gather = all_gather,
    .broadcast = broadcast,
    .send = send_to,
    .receive = receive_from,
    .begin = begin_group,
    .end = end_group,
    .can_alloc = can_alloc,
    .can_register = can_register,
    .alloc = alloc_memory,
    .free = free_memory,
    .register_window = register_window,
    .deregister_window = deregister_window,
    .finalize = finalize,
    .destroy = destroy,
    .revoke = revoke,
    .abort = abort_comm,
};

const kvf__nccl_functions *const kvf__nccl = &functions;
