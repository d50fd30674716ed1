/* Failures that a test requests, late ranks, what ends a wait, and counts. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ranks.h"
#include "needs.h"

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void abort_comm(rank *self) {
    good(ncclCommAbort(self->comm));
    self->comm = NULL;
}

static void impatient(void) {
    fakenccl_configure(&(fakenccl_config){.patience_ms = RANKS_PATIENCE_MS});
}

static ncclResult_t state_of(ncclComm_t comm) {
    ncclResult_t state = ncclInProgress;
    good(ncclCommGetAsyncError(comm, &state));
    return state;
}

/* ---- calls ---- */

static void the_nth_call_fails(rank *self) {
    fakenccl_fail_call("ncclAllGather", 2, ncclSystemError, false);
    good(ranks_gather(self, 16));
    same(ranks_gather(self, 16), ncclSystemError);
    ranks_garbage(self, self->other, 16); /* the old content must not survive */
    good(ranks_gather(self, 16));
    fakenccl_fail_call(NULL, 1, ncclInternalError, true);
    for (int i = 0; i < 3; i++)
        same(ranks_gather(self, 16), ncclInternalError);
    same(ncclGetVersion(&(int){0}), ncclInternalError);
    fakenccl_fail_nothing();
    good(ranks_gather(self, 16));
    same(fakenccl_calls("ncclAllGather"), 7);
}

static void one_rank_fails(rank *self) {
    ncclResult_t expected = self->rank == 1 ? ncclInvalidUsage : ncclSuccess;
    same(ranks_cast(self, 10, 0), expected);
    ranks_meet(self);
    if (self->rank == 1)
        good(ranks_cast(self, 10, 0));
}

static void the_call_of_one_rank_fails(void **state) {
    (void)state;
    fakenccl_fail_call_of(1, "ncclBroadcast", 1, ncclInvalidUsage, false);
    ranks_run(3, one_rank_fails, NULL);
}

/* The group is closed, and none of its operations happens. */
static void end_fails(rank *self) {
    good(ncclGroupStart());
    good(ranks_receive(self, 1, 1 - self->rank));
    same(ncclGroupEnd(), ncclSystemError);
    ok(cudaStreamSynchronize(self->stream));
    same(fakenccl_traffic_of(self->rank, FAKENCCL_RECV).operations, 0);
}

static void a_group_whose_end_fails_is_closed(void **state) {
    (void)state;
    fakenccl_fail_call("ncclGroupEnd", 1, ncclSystemError, true);
    ranks_run(2, end_fails, NULL);
    fakenccl_fail_nothing();
    same(ncclGroupEnd(), ncclInvalidUsage);
    ranks_violation("without ncclGroupStart");
}

/* Calls that free still do so when they fail. */
static void calls_that_end_can_fail(rank *self) {
    same(ncclCommInitRank(&self->comm, 1, self->id, 0), ncclSystemError);
    holds(!self->comm);
    for (int aborts = 0; aborts < 2; aborts++) {
        good(ncclGetUniqueId(&self->id));
        good(ncclCommInitRank(&self->comm, 1, self->id, 0));
        fakenccl_fail_call(aborts ? "ncclCommAbort" : "ncclCommDestroy", 1, ncclSystemError, false);
        same(aborts ? ncclCommAbort(self->comm) : ncclCommDestroy(self->comm), ncclSystemError);
    }
}

static void giving_back_gives_back(void **state) {
    (void)state;
    fakenccl_fail_call("ncclCommInitRank", 1, ncclSystemError, false);
    ranks_run_bare(1, calls_that_end_can_fail, NULL);
}

/* ---- operations ---- */

/* The second rank's second operation fails; the first rank does not learn of it. */
static void one_operation(rank *self) {
    for (int i = 0; i < 2; i++) {
        if (self->rank == 0)
            good(ranks_send(self, 64, 1));
        else
            good(ranks_receive(self, 64, 0));
        if (self->rank == 1 || i == 0)
            ok(cudaStreamSynchronize(self->stream));
    }
    if (self->rank == 1) {
        same(state_of(self->comm), ncclSystemError);
        ranks_garbage(self, self->other, 64);
    }
    ranks_meet(self);
    if (self->rank == 0) {
        same(cudaStreamQuery(self->stream), cudaErrorNotReady);
        good(state_of(self->comm));
    }
    abort_comm(self);
}

static void operations_fail_later(void **state) {
    (void)state;
    fakenccl_async_error(1, 2, ncclSystemError);
    ranks_run(2, one_operation, NULL);
    (void)cudaGetLastError();
    same(fakenccl_traffic_of(0, FAKENCCL_SEND).operations, 1);
    same(fakenccl_traffic_of(1, FAKENCCL_RECV).received, 64);
}

static void late(rank *self) {
    double start = now_ms();
    good(ranks_gather(self, 16));
    ok(cudaStreamSynchronize(self->stream));
    holds(now_ms() - start >= 50);
}

static void ranks_can_be_late(void **state) {
    (void)state;
    fakenccl_delay(2, 50000);
    ranks_run(3, late, NULL);
}

/* A rank aborts in the middle; the others' streams go on once they have aborted, too. */
static void aborting_leaves_garbage(rank *self) {
    good(ranks_gather(self, 16));
    ok(cudaStreamSynchronize(self->stream));
    if (self->rank == 2) {
        abort_comm(self);
        return;
    }
    good(ranks_gather(self, 16));
    ok(cudaMemsetAsync(self->other + 100, 1, 1, self->stream));
    fakecuda_settle();
    same(cudaStreamQuery(self->stream), cudaErrorNotReady);
    good(state_of(self->comm));
    abort_comm(self);
    ranks_garbage(self, self->other, 48);
    ranks_download(self, self->other, 101);
    same(self->host[100], 1);
}

/* One rank revokes an operation that waits; the other does not learn of it. */
static void revoke_late(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    same(ncclCommInitRankConfig(&self->comm, 2, self->id, self->rank, &config), ncclInProgress);
    good(ranks_settled(self->comm));
    ranks_meet(self);
    same(ranks_receive(self, 8, 1 - self->rank), ncclInProgress);
    if (self->rank == 0) { /* before it is enqueued, or while it runs */
        usleep(self->shared ? 5000 : 0);
        same(ncclCommRevoke(self->comm, 0), ncclInProgress);
        same(ranks_settled(self->comm), ncclInvalidUsage);
        ranks_garbage(self, self->other, 8);
    }
    ranks_meet(self);
    if (self->rank == 1) {
        good(ranks_settled(self->comm));
        same(cudaStreamQuery(self->stream), cudaErrorNotReady);
        (void)cudaGetLastError();
    }
    abort_comm(self);
}

static void revoking_ends_what_is_under_way(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.version = 22807});
    ranks_run_bare(2, revoke_late, NULL);
    ranks_run_bare(2, revoke_late, state);
}

/* In place, a rank's own part is not written. */
static void aborting_leaves_what_was_not_to_be_written(rank *self) {
    char *own = self->device + (size_t)self->rank * 16;
    if (self->rank == 1) {
        good(ncclAllGather(own, self->device, 16, ncclInt8, self->comm, self->stream));
        fakecuda_settle();
        abort_comm(self);
        ranks_download(self, self->device, 49);
        for (size_t i = 0; i < 48; i++)
            same((unsigned char)self->host[i] == 0xbd, i < 16 || i >= 32);
    }
    ranks_meet(self);
    if (self->comm)
        abort_comm(self);
}

/* ---- patience ---- */

static void wait_for_peer(rank *self) {
    if (self->rank == 0)
        good(ranks_send(self, 77, 1));
    else if (self->rank == 1)
        good(ranks_receive(self, 77, 2));
    else
        return;
    ok(cudaStreamSynchronize(self->stream));
    same(state_of(self->comm), ncclRemoteError);
    abort_comm(self);
}

static void who_waits_for_whom_is_told(void **state) {
    (void)state;
    impatient();
    ranks_run(3, wait_for_peer, NULL);
    same(fakenccl_violations(), 2);
    for (size_t i = 0; i < 2; i++) {
        const char *text = fakenccl_violation(i);
        bool first = strstr(text, "rank 0 of 3") != NULL;
        holds(strstr(text, first ? "waits too long for rank 1: 0 of 77 bytes of its ncclSend 1 to"
                                 : "waits too long for rank 2: 0 of 77 bytes of its ncclRecv 1"));
    }
    fakenccl_forgive();
}

static void wait_for_all(rank *self) {
    if (self->rank != 1) {
        good(ranks_gather(self, 16));
        ok(cudaStreamSynchronize(self->stream));
        same(state_of(self->comm), ncclRemoteError);
    }
    ranks_meet(self);
    abort_comm(self);
}

static void who_is_missing_from_a_collective_is_told(void **state) {
    (void)state;
    impatient();
    ranks_run(3, wait_for_all, NULL);
    same(fakenccl_violations(), 2);
    ranks_violations("for rank 1, which has not come to collective 1, ncclAllGather");
}

/* An operation that makes progress may take longer than the patience. */
static void slow_but_sure(rank *self) {
    for (int i = 0; i < 3; i++)
        good(ranks_gather(self, 16));
    ok(cudaStreamSynchronize(self->stream));
    good(state_of(self->comm));
}

static void patience_begins_anew_with_progress(void **state) {
    (void)state;
    impatient();
    fakenccl_delay(0, RANKS_PATIENCE_MS * 1000 / 2);
    ranks_run(2, slow_but_sure, NULL);
}

static void alone(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    same(ncclCommInitRank(&self->comm, 2, self->id, 0), ncclRemoteError);
    holds(!self->comm);
    ranks_violation("waits too long in ncclCommInitRank for rank 1, which has not come");
    good(ncclGetUniqueId(&self->id));
    config.blocking = 0;
    same(ncclCommInitRankConfig(&self->comm, 2, self->id, 0, &config), ncclInProgress);
    usleep(5000);
    same(state_of(self->comm), ncclInProgress);
    abort_comm(self);
}

static void a_rank_that_never_comes_is_missed(void **state) {
    (void)state;
    impatient();
    ranks_run_bare(1, alone, NULL);
}

static void *abort_soon(void *argument) {
    usleep(10000);
    good(ncclCommAbort(*(ncclComm_t *)argument));
    return NULL;
}

/* A blocking call ends when another thread aborts its communicator. */
static void another_thread_can_abort(rank *self) {
    pthread_t thread;
    ncclWindow_t win = NULL;
    if (self->rank == 0) {
        same(pthread_create(&thread, NULL, abort_soon, &self->comm), 0);
        same(ncclCommWindowRegister(self->comm, self->device, 8, &win, NCCL_WIN_DEFAULT),
             ncclInternalError);
        holds(!win);
        same(pthread_join(thread, NULL), 0);
        self->comm = NULL;
    }
    ranks_meet(self);
}

static void connect(rank *self) {
    atomic_int *called = self->shared;
    if (self->rank == 0) {
        good(ranks_send(self, 8, 1));
        same(atomic_load(called), 1);
        good(ranks_send(self, 8, 1)); /* at once */
        ranks_meet(self);
    } else {
        usleep(20000);
        atomic_store(called, 1);
        good(ranks_receive(self, 8, 0));
        ranks_meet(self);
        good(ranks_receive(self, 8, 0));
    }
}

static void unconnected(rank *self) {
    if (self->rank == 0) {
        same(ranks_send(self, 8, 1), ncclRemoteError);
        ranks_violation("for a connection to rank 1, which has called nothing with it");
    }
    ranks_meet(self);
    abort_comm(self);
}

static void a_first_call_can_wait_for_the_peers(void **state) {
    (void)state;
    atomic_int called = 0;
    fakenccl_configure(&(fakenccl_config){.meet = true});
    ranks_run(2, connect, &called);
    fakenccl_configure(&(fakenccl_config){.meet = true, .patience_ms = RANKS_PATIENCE_MS});
    ranks_run(2, unconnected, NULL);
}

/* ---- streams and devices ---- */

/* Launches of one communicator start in their order, whatever the stream. */
static void held(rank *self) {
    cudaStream_t second;
    ok(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    fakecuda_hold(self->stream);
    good(ranks_cast(self, 8, 0));
    good(ncclBroadcast(self->other, self->other, 16, ncclInt8, 0, self->comm, second));
    ranks_meet(self);
    fakecuda_settle();
    same(cudaStreamQuery(second), cudaErrorNotReady);
    ranks_meet(self);
    fakecuda_release(self->stream);
    ok(cudaStreamSynchronize(second));
    ok(cudaStreamDestroy(second));
}

static void launches_keep_their_order(void **state) {
    (void)state;
    ranks_run(2, held, NULL);
}

/* A launch in a held stream outlives its communicator, and then does nothing. */
static void a_held_launch_can_be_aborted(rank *self) {
    fakecuda_hold(self->stream);
    good(ranks_gather(self, 16));
    abort_comm(self);
    same(fakenccl_reset(), 0);
    fakecuda_release(self->stream);
}

static void lose(rank *self) {
    good(ranks_receive(self, 8, 1 - self->rank));
    fakecuda_settle();
    fakecuda_lose_device(self->rank, cudaErrorECCUncorrectable);
    same(cudaStreamSynchronize(self->stream), cudaErrorECCUncorrectable);
    same(state_of(self->comm), ncclUnhandledCudaError);
    abort_comm(self);
}

static void *lose_main(void *argument) {
    rank *self = argument;
    same(cudaSetDevice(self->rank), cudaSuccess);
    same(cudaMalloc((void **)&self->other, 8), cudaSuccess);
    same(cudaStreamCreate(&self->stream), cudaSuccess);
    good(ncclCommInitRank(&self->comm, 2, self->id, self->rank));
    lose(self);
    (void)cudaFree(self->other);
    (void)cudaStreamDestroy(self->stream);
    return NULL;
}

static void a_lost_device_ends_its_operations(void **state) {
    (void)state;
    rank both[2] = {{.rank = 0}, {.rank = 1}};
    pthread_t threads[2];
    good(ncclGetUniqueId(&both[0].id));
    both[1].id = both[0].id;
    for (int i = 0; i < 2; i++)
        same(pthread_create(&threads[i], NULL, lose_main, &both[i]), 0);
    for (int i = 0; i < 2; i++)
        same(pthread_join(threads[i], NULL), 0);
}

/* ---- counts ---- */

static void counted(rank *self) {
    good(ncclGroupStart());
    good(ranks_send(self, 400, 1 - self->rank));
    good(ranks_receive(self, 400, 1 - self->rank));
    good(ranks_send(self, 7, self->rank));
    good(ranks_receive(self, 7, self->rank));
    good(ncclGroupEnd());
    good(ranks_cast(self, 50, 0));
    good(ranks_gather(self, 30));
    good(ranks_gather(self, 0));
    ok(cudaStreamSynchronize(self->stream));
}

static void expect(int rank, fakenccl_kind kind, uint64_t operations, uint64_t sent,
                   uint64_t received) {
    fakenccl_traffic found = fakenccl_traffic_of(rank, kind);
    same(found.operations, operations);
    same(found.sent, sent);
    same(found.received, received);
}

static void calls_and_bytes_are_counted(void **state) {
    (void)state;
    ranks_run(2, counted, NULL);
    for (int i = 0; i < 2; i++) {
        expect(i, FAKENCCL_SEND, 2, 400, 0); /* 7 bytes stayed on the rank */
        expect(i, FAKENCCL_RECV, 2, 0, 400);
        expect(i, FAKENCCL_BROADCAST, 1, i == 0 ? 50 : 0, i == 0 ? 0 : 50);
        expect(i, FAKENCCL_ALL_GATHER, 1, 30, 30);
    }
    expect(2, FAKENCCL_SEND, 0, 0, 0);
    expect(-1, FAKENCCL_SEND, 0, 0, 0);
    expect(0, FAKENCCL_KINDS, 0, 0, 0);
    same(fakenccl_calls("ncclSend"), 4);
    same(fakenccl_calls("ncclGroupEnd"), 2); /* only the program's own */
    same(fakenccl_calls("ncclAllGather"), 4);
    same(fakenccl_calls("ncclNothing"), 0);
    same(fakenccl_calls(NULL), 1 + 2 * 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS_OF(1, the_nth_call_fails),
        RANKS(the_call_of_one_rank_fails),
        RANKS(a_group_whose_end_fails_is_closed),
        RANKS(giving_back_gives_back),
        RANKS(operations_fail_later),
        RANKS(ranks_can_be_late),
        RANKS_OF(3, aborting_leaves_garbage),
        RANKS(revoking_ends_what_is_under_way),
        RANKS_OF(3, aborting_leaves_what_was_not_to_be_written),
        RANKS(who_waits_for_whom_is_told),
        RANKS(who_is_missing_from_a_collective_is_told),
        RANKS(patience_begins_anew_with_progress),
        RANKS(a_rank_that_never_comes_is_missed),
        RANKS_OF(2, another_thread_can_abort),
        RANKS(a_first_call_can_wait_for_the_peers),
        RANKS(launches_keep_their_order),
        RANKS_OF(1, a_held_launch_can_be_aborted),
        RANKS(a_lost_device_ends_its_operations),
        RANKS(calls_and_bytes_are_counted),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
