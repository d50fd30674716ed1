/* The operations a program calls: what they want, checked, into the group. */
#include "fake_nccl.h"

#include <stdlib.h>

typedef struct request {
    const char *function;
    fakenccl_kind kind;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    ncclRedOp_t op;
    int peer; /* or the root */
    ncclComm_t comm;
    cudaStream_t stream;
} request;

static bool collective(const request *wanted) {
    return wanted->kind > FAKENCCL_RECV;
}

static bool reduction(const request *wanted) {
    return wanted->kind == FAKENCCL_ALL_REDUCE || wanted->kind == FAKENCCL_REDUCE_SCATTER;
}

static ncclResult_t check_arguments(ncclComm_t comm, const request *wanted) {
    if (wanted->peer < 0 || wanted->peer >= comm->ranks)
        return nfake_fail(ncclInvalidArgument, "rank %d of %d", wanted->peer, comm->ranks);
    size_t size = nfake_type_size(wanted->type);
    if (size == 0 || wanted->count > SIZE_MAX / size / FAKENCCL_RANKS)
        return nfake_fail(ncclInvalidArgument, "%zu elements of type %d", wanted->count,
                          (int)wanted->type);
    if (reduction(wanted) && !nfake_reduces(wanted->type, wanted->op)) {
        fake_violation("%s: the fake does not reduce type %d by operation %d", wanted->function,
                       (int)wanted->type, (int)wanted->op);
        return nfake_fail(ncclInvalidArgument, "not by the fake");
    }
    if (comm->finalized) {
        fake_violation("%s on %s, which was finalized", wanted->function,
                       nfake_comm_name(comm).text);
        return nfake_fail(ncclInvalidUsage, "the communicator was finalized");
    }
    if (!comm->blocking && wanted->stream == cudaStreamPerThread) {
        fake_violation("%s: the fake has no thread's stream on a non-blocking communicator",
                       wanted->function);
        return nfake_fail(ncclInvalidArgument, "not by the fake");
    }
    return ncclSuccess;
}

/* How much of each buffer there is, in parts of the request's count. */
static size_t parts_from(ncclComm_t comm, const request *wanted) {
    if (wanted->kind == FAKENCCL_RECV)
        return 0;
    if (wanted->kind == FAKENCCL_BROADCAST)
        return wanted->peer == comm->rank;
    return wanted->kind == FAKENCCL_REDUCE_SCATTER ? (size_t)comm->ranks : 1;
}

static size_t parts_to(ncclComm_t comm, const request *wanted) {
    if (wanted->kind == FAKENCCL_SEND)
        return 0;
    return wanted->kind == FAKENCCL_ALL_GATHER ? (size_t)comm->ranks : 1;
}

static bool find(ncclComm_t comm, const char *role, const void *address, size_t bytes,
                 nfake_memory *out) {
    return bytes == 0 || nfake_memory_find(comm, role, address, bytes, out);
}

/* Where buffers overlap, they must be the same, in the operation's own sense. */
static bool overlaps_badly(ncclComm_t comm, const nfake_task *task) {
    const nfake_memory *from = &task->from, *to = &task->to;
    if (!from->raw || !to->raw || from->raw >= to->raw + to->bytes ||
        to->raw >= from->raw + from->bytes)
        return false;
    size_t own = (size_t)comm->rank * task->bytes;
    bool fits = from->raw == to->raw;
    if (task->kind == FAKENCCL_ALL_GATHER)
        fits = from->raw == to->raw + own;
    if (task->kind == FAKENCCL_REDUCE_SCATTER)
        fits = to->raw == from->raw + own;
    if (!fits)
        fake_violation("%s, %s: sendbuff and recvbuff overlap, but not in place",
                       nfake_kind_name(task->kind), nfake_comm_name(comm).text);
    return !fits;
}

static ncclResult_t find_memory(ncclComm_t comm, const request *wanted, nfake_task *task) {
    size_t from = parts_from(comm, wanted) * task->bytes;
    size_t to = parts_to(comm, wanted) * task->bytes;
    if (!find(comm, "sendbuff", wanted->from, from, &task->from) ||
        !find(comm, "recvbuff", wanted->to, to, &task->to) || overlaps_badly(comm, task))
        return nfake_fail(ncclInvalidArgument, "%s: wrong memory", wanted->function);
    return ncclSuccess;
}

static ncclResult_t make_task(ncclComm_t comm, const request *wanted, nfake_task *out) {
    ncclResult_t result = check_arguments(comm, wanted);
    if (result != ncclSuccess)
        return result;
    bool receives = wanted->kind == FAKENCCL_RECV; /* what it gets is a send */
    *out = (nfake_task){.comm = comm,
                        .stream = wanted->stream == cudaStreamLegacy ? NULL : wanted->stream,
                        .kind = wanted->kind,
                        .peer = wanted->peer,
                        .bytes = wanted->count * nfake_type_size(wanted->type),
                        .call = {.kind = receives ? FAKENCCL_SEND : (int32_t)wanted->kind,
                                 .type = (int32_t)wanted->type,
                                 .root = collective(wanted) ? wanted->peer : 0,
                                 .op = (int32_t)wanted->op,
                                 .count = wanted->count}};
    return find_memory(comm, wanted, out);
}

/* With one rank a collective is a copy that does not wait for the group's end. */
static ncclResult_t launch_now(ncclComm_t comm, const nfake_task *task) {
    nfake_task *own = malloc(sizeof *own);
    if (!own)
        abort();
    *own = *task;
    return nfake_launch_tasks(comm, own);
}

static ncclResult_t add(const request *wanted) {
    ncclComm_t comm = NULL;
    nfake_task task;
    ncclResult_t result =
        nfake_enter_comm(wanted->function, wanted->comm, NFAKE_READY | NFAKE_OWN, &comm);
    if (result == ncclSuccess)
        result = make_task(comm, wanted, &task);
    bool empty = collective(wanted) && wanted->count == 0;
    bool alone = collective(wanted) && comm && comm->ranks == 1;
    if (result == ncclSuccess && !empty && !alone)
        nfake_group_add_task(&task);
    nfake_unlock();
    return result == ncclSuccess && !empty && alone ? launch_now(comm, &task) : result;
}

static ncclResult_t call(const request *wanted) {
    nfake_group_begin();
    return nfake_group_end(add(wanted));
}

NFAKE_EXPORT ncclResult_t ncclSend(const void *sendbuff, size_t count, ncclDataType_t datatype,
                                   int peer, ncclComm_t comm, cudaStream_t stream) {
    return call(&(request){.function = __func__,
                           .kind = FAKENCCL_SEND,
                           .from = sendbuff,
                           .count = count,
                           .type = datatype,
                           .peer = peer,
                           .comm = comm,
                           .stream = stream});
}

NFAKE_EXPORT ncclResult_t ncclRecv(void *recvbuff, size_t count, ncclDataType_t datatype, int peer,
                                   ncclComm_t comm, cudaStream_t stream) {
    return call(&(request){.function = __func__,
                           .kind = FAKENCCL_RECV,
                           .to = recvbuff,
                           .count = count,
                           .type = datatype,
                           .peer = peer,
                           .comm = comm,
                           .stream = stream});
}

static ncclResult_t broadcast(const char *function, const void *from, void *to, size_t count,
                              ncclDataType_t type, int root, ncclComm_t comm, cudaStream_t stream) {
    return call(&(request){.function = function,
                           .kind = FAKENCCL_BROADCAST,
                           .from = from,
                           .to = to,
                           .count = count,
                           .type = type,
                           .peer = root,
                           .comm = comm,
                           .stream = stream});
}

NFAKE_EXPORT ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count,
                                        ncclDataType_t datatype, int root, ncclComm_t comm,
                                        cudaStream_t stream) {
    return broadcast(__func__, sendbuff, recvbuff, count, datatype, root, comm, stream);
}

NFAKE_EXPORT ncclResult_t ncclBcast(void *buff, size_t count, ncclDataType_t datatype, int root,
                                    ncclComm_t comm, cudaStream_t stream) {
    return broadcast(__func__, buff, buff, count, datatype, root, comm, stream);
}

NFAKE_EXPORT ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount,
                                        ncclDataType_t datatype, ncclComm_t comm,
                                        cudaStream_t stream) {
    return call(&(request){.function = __func__,
                           .kind = FAKENCCL_ALL_GATHER,
                           .from = sendbuff,
                           .to = recvbuff,
                           .count = sendcount,
                           .type = datatype,
                           .comm = comm,
                           .stream = stream});
}

NFAKE_EXPORT ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count,
                                        ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                                        cudaStream_t stream) {
    return call(&(request){.function = __func__,
                           .kind = FAKENCCL_ALL_REDUCE,
                           .from = sendbuff,
                           .to = recvbuff,
                           .count = count,
                           .type = datatype,
                           .op = op,
                           .comm = comm,
                           .stream = stream});
}

NFAKE_EXPORT ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount,
                                            ncclDataType_t datatype, ncclRedOp_t op,
                                            ncclComm_t comm, cudaStream_t stream) {
    return call(&(request){.function = __func__,
                           .kind = FAKENCCL_REDUCE_SCATTER,
                           .from = sendbuff,
                           .to = recvbuff,
                           .count = recvcount,
                           .type = datatype,
                           .op = op,
                           .comm = comm,
                           .stream = stream});
}
