#include "nccl_runtime.h"

#include "memory.h"

#include <nccl.h>
#include <string.h>

_Static_assert((int)KVF__NCCL_ID == (int)NCCL_UNIQUE_ID_BYTES, "an id's size");

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

kvf_status kvf__nccl_id(unsigned char id[KVF__NCCL_ID], kvf_error *error) {
    ncclUniqueId made;
    kvf_status status = begun(ncclGetUniqueId(&made), "ncclGetUniqueId", error);
    if (status == KVF_OK)
        memcpy(id, made.internal, KVF__NCCL_ID);
    return status;
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

kvf_status kvf__nccl_open(struct ncclComm *parent, const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error) {
    ncclConfig_t c = config_of(config);
    if (parent)
        return begun(ncclCommSplit(parent, 0, rank, out, &c), "ncclCommSplit", error);
    ncclUniqueId unique;
    memcpy(unique.internal, id, KVF__NCCL_ID);
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

static ncclResult_t begin_hand(struct ncclComm *comm, const kvf__nccl_hand *h,
                               struct CUstream_st *stream) {
    return h->receives ? ncclRecv(h->memory, h->bytes, ncclChar, h->peer, comm, stream)
                       : ncclSend(h->memory, h->bytes, ncclChar, h->peer, comm, stream);
}

/* The group is ended whatever came of its calls. */
kvf_status kvf__nccl_exchange(struct ncclComm *comm, const kvf__nccl_hand *hands, size_t count,
                              struct CUstream_st *stream, kvf_error *error) {
    kvf_status status = begun(ncclGroupStart(), "ncclGroupStart", error);
    if (status != KVF_OK)
        return status;
    for (size_t i = 0; status == KVF_OK && i < count; i++)
        status = begun(begin_hand(comm, &hands[i], stream),
                       hands[i].receives ? "ncclRecv" : "ncclSend", error);
    ncclResult_t ended = ncclGroupEnd();
    return status == KVF_OK ? begun(ended, "ncclGroupEnd", error) : status;
}

kvf_status kvf__nccl_finalize(struct ncclComm *comm, kvf_error *error) {
    return begun(ncclCommFinalize(comm), "ncclCommFinalize", error);
}

void kvf__nccl_destroy(struct ncclComm *comm) {
    (void)ncclCommDestroy(comm);
}

void kvf__nccl_abort(struct ncclComm *comm) {
    if (comm)
        (void)ncclCommAbort(comm);
}
