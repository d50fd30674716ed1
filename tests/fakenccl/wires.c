/* Sends and receives: moves the bytes of a launch through the wires. Only the head of each queue
 * moves, so that transfers from one rank to another keep their order. */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nfake_wire *wire_of(ncclComm_t comm, nfake_way way, int peer) {
    nfake_shared *shared = nfake_shared_of(comm);
    return way == NFAKE_OUT ? &shared->wires[comm->rank][peer] : &shared->wires[peer][comm->rank];
}

void nfake_flow_add(nfake_launch *launch, nfake_way way, int peer, const nfake_flow *flow) {
    nfake_queue *queue = &launch->queues[way][peer];
    nfake_flow *made = fake_must(malloc(sizeof *made));
    *made = *flow;
    made->next = NULL;
    if (!queue->head)
        queue->tail = &queue->head;
    *queue->tail = made;
    queue->tail = &made->next;
}

/* ---- one flow ---- */

typedef struct step {
    bool moved, ended;
    size_t bytes; /* that can go through the ring now */
} step;

/* A send has started once it is posted with its number. */
static void begin_send(nfake_flow *flow, nfake_wire *wire, nfake_shared *shared) {
    fake_release(&wire->edge);
    nfake_shared_lock(shared);
    wire->what = flow->call;
    flow->number = ++wire->sends;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
}

static void begin_receive(nfake_flow *flow, nfake_wire *wire, nfake_shared *shared) {
    nfake_shared_lock(shared);
    flow->number = ++wire->receives;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
}

static size_t least(size_t a, size_t b, size_t c) {
    size_t two = a < b ? a : b;
    return two < c ? two : c;
}

/* Contiguous bytes of the ring that are free, or filled. */
static step look_at_send(const nfake_flow *flow, const nfake_wire *wire) {
    size_t room = NFAKE_RING - (size_t)(wire->written - wire->taken);
    size_t straight = NFAKE_RING - (size_t)(wire->written % NFAKE_RING);
    bool met = wire->receives >= flow->number;
    return (step){.ended = wire->done >= flow->number,
                  .bytes = met ? least(room, straight, flow->memory.bytes - flow->moved) : 0};
}

static bool step_send(nfake_flow *flow, nfake_wire *wire, nfake_shared *shared, bool *ended) {
    nfake_shared_lock(shared);
    step now = look_at_send(flow, wire);
    char *at = wire->ring + wire->written % NFAKE_RING;
    nfake_shared_unlock(shared);
    *ended = now.ended;
    if (now.bytes == 0)
        return now.ended;
    nfake_read(&flow->memory, flow->moved, at, now.bytes);
    flow->moved += now.bytes;
    nfake_shared_lock(shared);
    wire->written += now.bytes;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    return true;
}

/* Sender and receiver have met: whether their calls agree. */
static bool agree(nfake_launch *launch, const nfake_flow *flow, int peer, const nfake_call *what) {
    if (memcmp(&flow->call, what, sizeof *what) == 0)
        return true;
    nfake_disagree(
        launch->comm, "receive %llu from rank %d expects %s of %llu bytes, but gets %s of %llu",
        (unsigned long long)flow->number, peer, nfake_kind_name((fakenccl_kind)flow->call.kind),
        (unsigned long long)flow->call.bytes, nfake_kind_name((fakenccl_kind)what->kind),
        (unsigned long long)what->bytes);
    return false;
}

static bool step_receive(nfake_launch *launch, nfake_flow *flow, nfake_wire *wire, int peer,
                         bool *ended) {
    nfake_shared *shared = nfake_shared_of(launch->comm);
    nfake_shared_lock(shared);
    bool met = wire->sends >= flow->number;
    nfake_call what = wire->what;
    size_t filled = (size_t)(wire->written - wire->taken);
    size_t start = (size_t)(wire->taken % NFAKE_RING);
    nfake_shared_unlock(shared);
    if (!met || (!flow->met && !agree(launch, flow, peer, &what)))
        return false;
    flow->met = true;
    size_t bytes = least(filled, NFAKE_RING - start, flow->memory.bytes - flow->moved);
    *ended = flow->moved + bytes == flow->memory.bytes;
    if (bytes == 0 && !*ended)
        return false;
    if (bytes > 0)
        nfake_write(&flow->memory, flow->moved, wire->ring + start, bytes);
    flow->moved += bytes;
    nfake_shared_lock(shared);
    wire->taken += bytes;
    wire->done = *ended ? flow->number : wire->done;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    return true;
}

/* ---- all of a launch ---- */

static bool step_flow(nfake_launch *launch, nfake_way way, int peer, bool *ended) {
    nfake_flow *flow = launch->queues[way][peer].head;
    nfake_shared *shared = nfake_shared_of(launch->comm);
    nfake_wire *wire = wire_of(launch->comm, way, peer);
    bool begins = flow->number == 0;
    if (begins && way == NFAKE_OUT)
        begin_send(flow, wire, shared);
    else if (begins)
        begin_receive(flow, wire, shared);
    bool moved = way == NFAKE_OUT ? step_send(flow, wire, shared, ended)
                                  : step_receive(launch, flow, wire, peer, ended);
    return moved || begins;
}

static bool step_queue(nfake_launch *launch, nfake_way way, int peer) {
    nfake_queue *queue = &launch->queues[way][peer];
    bool moved = false, goes_on = queue->head != NULL;
    while (goes_on) {
        bool ended = false;
        bool stepped = step_flow(launch, way, peer, &ended);
        nfake_flow *flow = queue->head;
        moved = moved || stepped;
        goes_on = ended && flow->next;
        if (!ended)
            break;
        if (way == NFAKE_IN)
            fake_acquire(&wire_of(launch->comm, way, peer)->edge);
        queue->head = flow->next;
        free(flow);
    }
    return moved;
}

bool nfake_flows_step(nfake_launch *launch, bool *empty) {
    bool moved = false;
    *empty = true;
    for (int i = 0; i < launch->comm->ranks; i++) {
        moved = step_queue(launch, NFAKE_OUT, i) || moved;
        moved = step_queue(launch, NFAKE_IN, i) || moved;
        *empty = *empty && !launch->queues[NFAKE_OUT][i].head && !launch->queues[NFAKE_IN][i].head;
    }
    return moved;
}

void nfake_flows_free(nfake_launch *launch) {
    nfake_queue *queues = &launch->queues[0][0];
    for (size_t i = 0; i < sizeof launch->queues / sizeof *queues; i++) {
        while (queues[i].head) {
            nfake_flow *gone = queues[i].head;
            queues[i].head = gone->next;
            free(gone);
        }
    }
}

/* ---- describing what it waits for ---- */

static void describe_flow(const nfake_launch *launch, nfake_way way, int peer, char *out,
                          size_t room) {
    const nfake_flow *flow = launch->queues[way][peer].head;
    nfake_shared *shared = nfake_shared_of(launch->comm);
    const nfake_wire *wire = wire_of(launch->comm, way, peer);
    nfake_shared_lock(shared);
    uint64_t begun = way == NFAKE_OUT ? wire->receives : wire->sends;
    nfake_shared_unlock(shared);
    snprintf(out, room,
             "rank %d: %zu of %zu bytes of its %s %llu %s there are through; that rank has "
             "started %llu",
             peer, flow->moved, flow->memory.bytes, nfake_kind_name(flow->kind),
             (unsigned long long)flow->number, way == NFAKE_OUT ? "to" : "from",
             (unsigned long long)begun);
}

void nfake_flows_describe(const nfake_launch *launch, char *out, size_t room) {
    for (int i = launch->comm->ranks - 1; i >= 0; i--) {
        for (nfake_way way = 0; way < NFAKE_WAYS; way++)
            if (launch->queues[way][i].head)
                describe_flow(launch, way, i, out, room);
    }
}
