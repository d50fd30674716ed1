/* Collectives: a rank says what it calls, waits until all have, and then sends and receives parts.
 *
 *     broadcast       root: all of `from` to each      others: `to` from the root
 *     all-gather      all of `from` to each            `to` in parts, one from each
 *     all-reduce      all of `from` to each            scratch from each, and reduced
 *     reduce-scatter  part i of `from` to rank i       scratch from each, and reduced
 *
 * Reductions begin with rank 0's, so that all ranks have the same result to the last bit. Sources
 * are copied first, since the destination may be the same memory. */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reduces(const nfake_task *task) {
    return task->kind == FAKENCCL_ALL_REDUCE || task->kind == FAKENCCL_REDUCE_SCATTER;
}

/* ---- saying and comparing ---- */

static void post(nfake_launch *launch) {
    ncclComm_t comm = launch->comm;
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_seat *seat = &shared->seats[comm->rank];
    nfake_shared_lock(shared);
    launch->turn = ++seat->collectives;
    seat->collective[launch->turn % 2] = launch->collective->call;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
}

/* The first rank that has not come this far, or -1; *differs the first that says something else. */
static int missing(const nfake_launch *launch, int *differs) {
    nfake_shared *shared = nfake_shared_of(launch->comm);
    int absent = -1;
    *differs = -1;
    nfake_shared_lock(shared);
    for (int i = launch->comm->ranks - 1; i >= 0; i--) {
        const nfake_seat *seat = &shared->seats[i];
        if (seat->collectives < launch->turn)
            absent = i;
        else if (memcmp(&seat->collective[launch->turn % 2], &launch->collective->call,
                        sizeof(nfake_call)) != 0)
            *differs = i;
    }
    nfake_shared_unlock(shared);
    return absent;
}

static void describe_call(const nfake_call *call, char *out, size_t room) {
    snprintf(out, room, "%s of %llu elements of type %d, root %d, operation %d",
             nfake_kind_name((fakenccl_kind)call->kind), (unsigned long long)call->count,
             call->type, call->root, call->op);
}

static void complain(const nfake_launch *launch, int peer) {
    char here[112], there[112];
    const nfake_seat *seat = &nfake_shared_of(launch->comm)->seats[peer];
    describe_call(&launch->collective->call, here, sizeof here);
    describe_call(&seat->collective[launch->turn % 2], there, sizeof there);
    nfake_disagree(launch->comm, "its collective %llu is %s; rank %d's is %s",
                   (unsigned long long)launch->turn, here, peer, there);
}

/* ---- the parts ---- */

static void add(nfake_launch *launch, nfake_way way, int peer, const nfake_memory *memory) {
    const nfake_task *task = launch->collective;
    nfake_flow_add(launch, NFAKE_COLLECTIVES, way, peer,
                   &(nfake_flow){.memory = *memory, .call = task->call, .kind = task->kind});
}

/* Bytes that each rank reduces. */
static size_t reduced(const nfake_task *task) {
    return task->bytes;
}

/* Scratch: what each rank puts into this rank's result, by rank; then this rank's source. */
static nfake_memory scratch(const nfake_launch *launch, int slot) {
    size_t bytes = reduced(launch->collective);
    return (nfake_memory){.raw = launch->scratch + (size_t)slot * bytes, .bytes = bytes};
}

static void begin_reduction(nfake_launch *launch) {
    const nfake_task *task = launch->collective;
    int ranks = launch->comm->ranks, rank = launch->comm->rank;
    bool scatters = task->kind == FAKENCCL_REDUCE_SCATTER;
    launch->scratch = malloc((size_t)ranks * task->bytes + task->from.bytes);
    if (!launch->scratch)
        abort();
    nfake_memory source = scratch(launch, ranks);
    source.bytes = task->from.bytes;
    nfake_read(&task->from, 0, source.raw, source.bytes);
    for (int i = 0; i < ranks; i++) {
        nfake_memory out = nfake_part(&source, scatters ? (size_t)i * task->bytes : 0, task->bytes);
        nfake_memory in = scratch(launch, i);
        if (i == rank) {
            nfake_copy(&in, &out, task->bytes);
            continue;
        }
        add(launch, NFAKE_OUT, i, &out);
        add(launch, NFAKE_IN, i, &in);
    }
}

static void begin_broadcast(nfake_launch *launch) {
    const nfake_task *task = launch->collective;
    if (task->peer != launch->comm->rank) {
        add(launch, NFAKE_IN, task->peer, &task->to);
        return;
    }
    for (int i = 0; i < launch->comm->ranks; i++) {
        if (i != task->peer)
            add(launch, NFAKE_OUT, i, &task->from);
    }
    nfake_copy(&task->to, &task->from, task->bytes);
}

static void begin_gather(nfake_launch *launch) {
    const nfake_task *task = launch->collective;
    for (int i = 0; i < launch->comm->ranks; i++) {
        nfake_memory part = nfake_part(&task->to, (size_t)i * task->bytes, task->bytes);
        if (i == launch->comm->rank) {
            nfake_copy(&part, &task->from, task->bytes);
            continue;
        }
        add(launch, NFAKE_OUT, i, &task->from);
        add(launch, NFAKE_IN, i, &part);
    }
}

static void begin_parts(nfake_launch *launch) {
    if (reduces(launch->collective))
        begin_reduction(launch);
    else if (launch->collective->kind == FAKENCCL_BROADCAST)
        begin_broadcast(launch);
    else
        begin_gather(launch);
}

/* ---- the end ---- */

static void end_reduction(nfake_launch *launch) {
    const nfake_task *task = launch->collective;
    nfake_memory result = scratch(launch, 0);
    for (int i = 1; i < launch->comm->ranks; i++) {
        nfake_reduce(result.raw, scratch(launch, i).raw, (size_t)task->call.count,
                     (ncclDataType_t)task->call.type, (ncclRedOp_t)task->call.op);
    }
    nfake_write(&task->to, 0, result.raw, task->bytes);
    free(launch->scratch);
    launch->scratch = NULL;
}

/* What a rank puts in, and gets that is not its own. */
static void count(ncclComm_t comm, const nfake_task *task) {
    uint64_t others = (uint64_t)comm->ranks - 1;
    bool gathers = task->kind == FAKENCCL_ALL_GATHER;
    bool silent = task->kind == FAKENCCL_BROADCAST && task->peer != comm->rank;
    bool speaks = task->kind == FAKENCCL_BROADCAST && task->peer == comm->rank;
    uint64_t received = others == 0 || speaks ? 0 : gathers ? others * task->bytes : task->bytes;
    nfake_lock();
    nfake_count_traffic(comm, task->kind, others == 0 || silent ? 0 : task->from.bytes, received);
    nfake_unlock();
}

static void end(nfake_launch *launch) {
    nfake_task *task = launch->collective;
    if (reduces(task))
        end_reduction(launch);
    count(launch->comm, task);
    launch->turn = 0;
    launch->flowing = false;
    do
        task = task->next;
    while (task && task->kind <= FAKENCCL_RECV);
    launch->collective = task;
}

bool nfake_collective_step(nfake_launch *launch) {
    if (!launch->collective)
        return false;
    if (launch->turn == 0) {
        post(launch);
        return true;
    }
    if (!launch->flowing) {
        int differs = -1, absent = missing(launch, &differs);
        if (differs >= 0)
            complain(launch, differs);
        if (differs >= 0 || absent >= 0)
            return false;
        begin_parts(launch);
        launch->flowing = true;
        return true;
    }
    if (!nfake_lane_empty(launch, NFAKE_COLLECTIVES))
        return false;
    end(launch);
    return true;
}

bool nfake_collective_describe(const nfake_launch *launch, char *what, size_t room) {
    int differs = -1;
    if (!launch->collective || launch->flowing)
        return false;
    snprintf(what, room, "rank %d, which has not come to collective %llu, %s",
             missing(launch, &differs), (unsigned long long)launch->turn,
             nfake_kind_name(launch->collective->kind));
    return true;
}
