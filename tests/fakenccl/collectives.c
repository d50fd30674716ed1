/* Collectives: a rank posts its call, waits until all have posted, and then sends and receives
 * parts.
 *
 *     broadcast    root: all of `from` to each      others: `to` from the root
 *     all-gather   all of `from` to each            `to` in parts, one from each
 *
 * Sources are copied first, since the destination may be the same memory. */
#include "fake_nccl.h"

#include <stdio.h>
#include <string.h>

/* ---- posting and comparing ---- */

static void post(nfake_launch *launch) {
    ncclComm_t comm = launch->comm;
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_seat *seat = &shared->seats[comm->rank];
    nfake_shared_lock(shared);
    launch->turn = ++seat->collectives;
    seat->collective[launch->turn % 2] = launch->tasks->call;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
}

/* The first rank that has not posted yet, or -1; *differs: the first with another call, or -1. */
static int missing(const nfake_launch *launch, int *differs) {
    nfake_shared *shared = nfake_shared_of(launch->comm);
    int absent = -1;
    *differs = -1;
    nfake_shared_lock(shared);
    for (int i = launch->comm->ranks - 1; i >= 0; i--) {
        const nfake_seat *seat = &shared->seats[i];
        if (seat->collectives < launch->turn)
            absent = i;
        else if (memcmp(&seat->collective[launch->turn % 2], &launch->tasks->call,
                        sizeof(nfake_call)) != 0)
            *differs = i;
    }
    nfake_shared_unlock(shared);
    return absent;
}

static void complain(const nfake_launch *launch, int peer) {
    const nfake_seat *seat = &nfake_shared_of(launch->comm)->seats[peer];
    const nfake_call *here = &launch->tasks->call, *there = &seat->collective[launch->turn % 2];
    nfake_disagree(launch->comm,
                   "its collective %llu is %s of %llu bytes, root %d; rank %d's is %s of %llu "
                   "bytes, root %d (places in a window, from 1 on: %llu and %llu)",
                   (unsigned long long)launch->turn, nfake_kind_name((fakenccl_kind)here->kind),
                   (unsigned long long)here->bytes, here->root, peer,
                   nfake_kind_name((fakenccl_kind)there->kind), (unsigned long long)there->bytes,
                   there->root, (unsigned long long)here->window,
                   (unsigned long long)there->window);
}

/* ---- the parts ---- */

static void add(nfake_launch *launch, nfake_way way, int peer, const nfake_memory *memory) {
    nfake_flow_add(
        launch, way, peer,
        &(nfake_flow){.memory = *memory, .call = launch->tasks->call, .kind = launch->tasks->kind});
}

static void begin_broadcast(nfake_launch *launch) {
    const nfake_task *task = launch->tasks;
    if (task->peer != launch->comm->rank) {
        add(launch, NFAKE_IN, task->peer, &task->to);
        return;
    }
    for (int i = 0; i < launch->comm->ranks; i++)
        if (i != task->peer)
            add(launch, NFAKE_OUT, i, &task->from);
    nfake_copy(&task->to, &task->from, task->bytes);
}

static void begin_gather(nfake_launch *launch) {
    const nfake_task *task = launch->tasks;
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

bool nfake_collective_step(nfake_launch *launch) {
    if (launch->flowing)
        return false;
    if (launch->turn == 0) {
        post(launch);
        return true;
    }
    int differs = -1, absent = missing(launch, &differs);
    if (differs >= 0)
        complain(launch, differs);
    if (differs >= 0 || absent >= 0)
        return false;
    if (launch->tasks->kind == FAKENCCL_BROADCAST)
        begin_broadcast(launch);
    else
        begin_gather(launch);
    launch->flowing = true;
    return true;
}

void nfake_collective_describe(const nfake_launch *launch, char *what, size_t room) {
    int differs = -1;
    snprintf(what, room, "rank %d, which has not come to collective %llu, %s",
             missing(launch, &differs), (unsigned long long)launch->turn,
             nfake_kind_name(launch->tasks->kind));
}
