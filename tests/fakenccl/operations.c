/* The operations that a program calls, and the checks of their arguments. */
#include "fake_nccl.h"

#include <stdlib.h>

typedef struct request {
    const char *function;
    fakenccl_kind kind;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    int peer; /* or the root */
    ncclComm_t comm;
    cudaStream_t stream;
} request;

const char *nfake_kind_name(fakenccl_kind kind) {
    static const char *const names[FAKENCCL_KINDS] = {"ncclSend", "ncclRecv", "ncclBroadcast",
                                                      "ncclAllGather"};
    return names[kind];
}

static ncclResult_t check_arguments(ncclComm_t comm, const request *wanted) {
    if (wanted->peer < 0 || wanted->peer >= comm->ranks ||
        wanted->count > SIZE_MAX / FAKENCCL_RANKS)
        return ncclInvalidArgument;
    const char *lacks = NULL;
    if (wanted->type != ncclInt8)
        lacks = "types but bytes";
    else if (!comm->blocking && wanted->stream == cudaStreamPerThread)
        lacks = "thread's stream on a non-blocking communicator";
    if (lacks) {
        fake_violation("%s: the fake has no %s", wanted->function, lacks);
        return ncclInvalidArgument;
    }
    if (comm->finalized) {
        fake_violation("%s on %s, which was finalized", wanted->function,
                       nfake_comm_name(comm).text);
        return ncclInvalidUsage;
    }
    return ncclSuccess;
}

static bool find(ncclComm_t comm, const char *role, const void *address, size_t bytes,
                 nfake_memory *out) {
    return bytes == 0 || nfake_memory_find(comm, role, address, bytes, out);
}

/* Buffers may overlap only in place, as the operation defines it. */
static bool overlaps_badly(ncclComm_t comm, const nfake_task *task) {
    const nfake_memory *from = &task->from, *to = &task->to;
    if (!from->raw || !to->raw || from->raw >= to->raw + to->bytes ||
        to->raw >= from->raw + from->bytes)
        return false;
    size_t own = task->kind == FAKENCCL_ALL_GATHER ? (size_t)comm->rank * task->bytes : 0;
    if (from->raw == to->raw + own)
        return false;
    fake_violation("%s, %s: sendbuff and recvbuff overlap, but not in place",
                   nfake_kind_name(task->kind), nfake_comm_name(comm).text);
    return true;
}

static uint64_t place_in_window(ncclComm_t comm, const char *address) {
    for (const nfake_range *win = comm->windows; win; win = win->next)
        if (address >= win->address && address < win->address + win->size)
            return 1 + (uint64_t)(address - win->address);
    return 0;
}

static ncclResult_t make_task(ncclComm_t comm, const request *wanted, nfake_task *out) {
    ncclResult_t result = check_arguments(comm, wanted);
    if (result != ncclSuccess)
        return result;
    fakenccl_kind kind = wanted->kind;
    size_t bytes = wanted->count;
    bool reads =
        kind != FAKENCCL_RECV && (kind != FAKENCCL_BROADCAST || wanted->peer == comm->rank);
    size_t parts = kind == FAKENCCL_SEND         ? 0
                   : kind == FAKENCCL_ALL_GATHER ? (size_t)comm->ranks
                                                 : 1;
    *out = (nfake_task){
        .comm = comm,
        .stream = wanted->stream == cudaStreamLegacy ? NULL : wanted->stream,
        .kind = kind,
        .peer = wanted->peer,
        .bytes = bytes,
        .call = {/* what a receive gets is a send */
                 .kind = kind == FAKENCCL_RECV ? FAKENCCL_SEND : (int32_t)kind,
                 .root = kind == FAKENCCL_BROADCAST ? wanted->peer : 0,
                 .bytes = bytes,
                 .window = kind > FAKENCCL_RECV ? place_in_window(comm, wanted->to) : 0}};
    bool fits = find(comm, "sendbuff", wanted->from, reads ? bytes : 0, &out->from) &&
                find(comm, "recvbuff", wanted->to, parts * bytes, &out->to) &&
                !overlaps_badly(comm, out);
    return fits ? ncclSuccess : ncclInvalidArgument;
}

static ncclResult_t call(const request *wanted) {
    ncclComm_t comm = NULL;
    nfake_task task;
    ncclResult_t result =
        nfake_enter_comm(wanted->function, wanted->comm, NFAKE_READY | NFAKE_OWN, &comm);
    bool refused = result != ncclSuccess;
    if (!refused)
        result = make_task(comm, wanted, &task);
    else if (comm && wanted->kind > FAKENCCL_RECV && make_task(comm, wanted, &task) == ncclSuccess)
        nfake_spoil(&task);
    if (result == ncclSuccess && wanted->kind > FAKENCCL_RECV && wanted->count == 0)
        return nfake_leave(result);
    return nfake_operate(result, &task);
}

NFAKE_EXPORT ncclResult_t ncclSend(const void *sendbuff, size_t count, ncclDataType_t datatype,
                                   int peer, ncclComm_t comm, cudaStream_t stream) {
    return call(
        &(request){__func__, FAKENCCL_SEND, sendbuff, NULL, count, datatype, peer, comm, stream});
}

NFAKE_EXPORT ncclResult_t ncclRecv(void *recvbuff, size_t count, ncclDataType_t datatype, int peer,
                                   ncclComm_t comm, cudaStream_t stream) {
    return call(
        &(request){__func__, FAKENCCL_RECV, NULL, recvbuff, count, datatype, peer, comm, stream});
}

NFAKE_EXPORT ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count,
                                        ncclDataType_t datatype, int root, ncclComm_t comm,
                                        cudaStream_t stream) {
    return call(&(request){__func__, FAKENCCL_BROADCAST, sendbuff, recvbuff, count, datatype, root,
                           comm, stream});
}

NFAKE_EXPORT ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount,
                                        ncclDataType_t datatype, ncclComm_t comm,
                                        cudaStream_t stream) {
    return call(&(request){__func__, FAKENCCL_ALL_GATHER, sendbuff, recvbuff, sendcount, datatype,
                           0, comm, stream});
}
