#include "nccl/nccl_runtime.h"

#include "base/allocator.h"

#include <nccl.h>
#include <string.h>

_Static_assert(KVF_GROUP_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "an id's size");

/* What an older library lacks; the version tells before they are called. */
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

/* What a call has begun is no failure; `check` tells what becomes of it. */
static kvf_status begun(ncclResult_t result, const char *what, kvf_error *error) {
    kvf_status status = status_of(result);
    if (status == KVF_OK || status == KVF_PENDING)
        return KVF_OK;
    return KVF__FAIL(error, .status = status, .fields = KVF_ERROR_NATIVE_CODE,
                     .native_code = (int)result,
                     .what = status == KVF_ERR_PEER ? "NCCL: another rank has failed" : what);
}

kvf_status kvf__nccl_is_there(kvf_error *error) {
    (void)error;
    return KVF_OK;
}

kvf_status kvf__nccl_id(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error) {
    ncclUniqueId made;
    kvf_status status = begun(ncclGetUniqueId(&made), "ncclGetUniqueId", error);
    if (status == KVF_OK)
        memcpy(id, made.internal, KVF_GROUP_ID_BYTES);
    return status;
}

int kvf__nccl_version(void) {
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

kvf_status kvf__nccl_who(struct ncclComm *comm, int *rank, int *ranks, kvf_error *error) {
    kvf_status status = begun(ncclCommCount(comm, ranks), "ncclCommCount", error);
    return status == KVF_OK ? begun(ncclCommUserRank(comm, rank), "ncclCommUserRank", error)
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

kvf_status kvf__nccl_open(const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error) {
    ncclConfig_t c = config_of(config);
    ncclUniqueId unique;
    memcpy(unique.internal, id, KVF_GROUP_ID_BYTES);
    return begun(ncclCommInitRankConfig(out, ranks, unique, rank, &c), "ncclCommInitRankConfig",
                 error);
}

kvf_status kvf__nccl_check(struct ncclComm *comm, kvf_error *error) {
    ncclResult_t state = ncclSuccess;
    kvf_status status = begun(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", error);
    if (status != KVF_OK)
        return status;
    return state == ncclInProgress ? KVF_PENDING : begun(state, "NCCL, asynchronously", error);
}

kvf_status kvf__nccl_all_gather(struct ncclComm *comm, char *all, int rank, size_t bytes,
                                struct CUstream_st *stream, kvf_error *error) {
    return begun(ncclAllGather(all + (size_t)rank * bytes, all, bytes, ncclChar, comm, stream),
                 "ncclAllGather", error);
}

kvf_status kvf__nccl_broadcast(struct ncclComm *comm, char *memory, size_t bytes,
                               struct CUstream_st *stream, kvf_error *error) {
    return begun(ncclBroadcast(memory, memory, bytes, ncclChar, 0, comm, stream), "ncclBroadcast",
                 error);
}

kvf_status kvf__nccl_begin(kvf_error *error) {
    return begun(ncclGroupStart(), "ncclGroupStart", error);
}

kvf_status kvf__nccl_send(struct ncclComm *comm, const void *memory, size_t bytes, int to,
                          struct CUstream_st *stream, kvf_error *error) {
    return begun(ncclSend(memory, bytes, ncclChar, to, comm, stream), "ncclSend", error);
}

kvf_status kvf__nccl_receive(struct ncclComm *comm, void *memory, size_t bytes, int from,
                             struct CUstream_st *stream, kvf_error *error) {
    return begun(ncclRecv(memory, bytes, ncclChar, from, comm, stream), "ncclRecv", error);
}

kvf_status kvf__nccl_end(kvf_status status, kvf_error *error) {
    ncclResult_t ended = ncclGroupEnd();
    return status == KVF_OK ? begun(ended, "ncclGroupEnd", error) : status;
}

static kvf_status lacks(kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "this NCCL cannot do it");
}

bool kvf__nccl_can_alloc(int version) {
#if HAS_ALLOC
    return version >= NCCL_VERSION(2, 19, 0) && ncclMemAlloc && ncclMemFree;
#else
    (void)version;
    return false;
#endif
}

bool kvf__nccl_can_register(int version) {
#if HAS_WINDOWS
    return version >= NCCL_VERSION(2, 27, 3) && ncclCommWindowRegister && ncclCommWindowDeregister;
#else
    (void)version;
    return false;
#endif
}

kvf_status kvf__nccl_alloc(size_t bytes, void **out, kvf_error *error) {
#if HAS_ALLOC
    return begun(ncclMemAlloc(out, bytes), "ncclMemAlloc", error);
#else
    (void)bytes;
    (void)out;
    return lacks(error);
#endif
}

void kvf__nccl_free(void *memory) {
#if HAS_ALLOC
    (void)ncclMemFree(memory);
#else
    (void)memory;
#endif
}

kvf_status kvf__nccl_register(struct ncclComm *comm, void *memory, size_t bytes, void **window,
                              kvf_error *error) {
#if HAS_WINDOWS
    return begun(ncclCommWindowRegister(comm, memory, bytes, (ncclWindow_t *)window,
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

void kvf__nccl_deregister(struct ncclComm *comm, void **window) {
#if HAS_WINDOWS
    if (*window)
        (void)ncclCommWindowDeregister(comm, (ncclWindow_t)*window);
#else
    (void)comm;
#endif
    *window = NULL;
}

kvf_status kvf__nccl_finalize(struct ncclComm *comm, kvf_error *error) {
    return begun(ncclCommFinalize(comm), "ncclCommFinalize", error);
}

void kvf__nccl_destroy(struct ncclComm *comm) {
    (void)ncclCommDestroy(comm);
}

kvf_status kvf__nccl_revoke(struct ncclComm *comm, int version) {
#if HAS_REVOKE
    if (version >= NCCL_VERSION(2, 28, 7) && ncclCommRevoke)
        return begun(ncclCommRevoke(comm, 0), "ncclCommRevoke", NULL);
#else
    (void)comm;
    (void)version;
#endif
    return lacks(NULL);
}

void kvf__nccl_abort(struct ncclComm *comm) {
    if (comm)
        (void)ncclCommAbort(comm);
}
