/* The failures a test can ask for, late ranks, and what ends a wait. */
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

static ncclResult_t reduce(rank *self) {
    return ncclAllReduce(self->device, self->other, 16, ncclInt8, ncclSum, self->comm,
                         self->stream);
}

static void nth_call(rank *self) {
    fakenccl_fail_call("ncclAllReduce", 2, ncclSystemError, false);
    good(reduce(self));
    same(reduce(self), ncclSystemError);
    good(reduce(self));
    fakenccl_fail_call(NULL, 1, ncclInternalError, true);
    for (int i = 0; i < 3; i++)
        same(reduce(self), ncclInternalError);
    same(ncclGetVersion(&(int){0}), ncclInternalError);
    fakenccl_fail_nothing();
    good(reduce(self));
    same(fakenccl_calls("ncclAllReduce"), 7);
    holds(strlen(ncclGetLastError(NULL)) > 0);
}

static void the_nth_call_fails(void **state) {
    (void)state;
    ranks_run(1, nth_call, NULL);
}

static void one_rank_fails(rank *self) {
    ncclResult_t expected = self->rank == 1 ? ncclInvalidUsage : ncclSuccess;
    same(ncclBcast(self->device, 10, ncclInt8, 0, self->comm, self->stream), expected);
    ranks_meet(self);
    if (self->rank == 1)
        good(ncclBcast(self->device, 10, ncclInt8, 0, self->comm, self->stream));
}

static void the_call_of_one_rank_fails(void **state) {
    (void)state;
    fakenccl_fail_call_of(1, "ncclBcast", 1, ncclInvalidUsage, false);
    ranks_run(3, one_rank_fails, NULL);
}

/* The group is closed, and nothing of it happens. */
static void end_fails(rank *self) {
    good(ncclGroupStart());
    good(ncclRecv(self->other, 1, ncclInt8, 1 - self->rank, self->comm, self->stream));
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

/* A small scenario, of which every call can fail; whatever happens, it gives back what it has. */
static ncclResult_t scenario(rank *self) {
    ncclUniqueId id;
    ncclComm_t comm = NULL, part = NULL;
    ncclResult_t result = ncclGetUniqueId(&id);
    if (result == ncclSuccess)
        result = ncclCommInitRank(&comm, 1, id, 0);
    if (result == ncclSuccess)
        result = ncclCommSplit(comm, 0, 0, &part, NULL);
    if (result == ncclSuccess)
        result = ncclGroupStart();
    if (result == ncclSuccess) {
        result = ncclSend(self->device, 8, ncclInt8, 0, part, self->stream);
        if (result == ncclSuccess)
            result = ncclRecv(self->other, 8, ncclInt8, 0, part, self->stream);
        ncclResult_t end = ncclGroupEnd();
        result = result == ncclSuccess ? end : result;
    }
    if (result == ncclSuccess)
        result = ncclCommFinalize(part);
    ncclResult_t ends[] = {part ? ncclCommDestroy(part) : ncclSuccess,
                           comm ? ncclCommAbort(comm) : ncclSuccess};
    for (int i = 0; i < 2; i++)
        result = result == ncclSuccess ? ends[i] : result;
    return result;
}

static void each_call(rank *self) {
    static const char *const calls[] = {"ncclGetUniqueId", "ncclCommInitRank", "ncclCommSplit",
                                        "ncclGroupStart",  "ncclSend",         "ncclRecv",
                                        "ncclGroupEnd",    "ncclCommFinalize", "ncclCommDestroy",
                                        "ncclCommAbort"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fakenccl_fail_call(calls[i], 1, ncclSystemError, false);
        same(scenario(self), ncclSystemError);
        good(scenario(self));
        same(fakenccl_live(), 0);
    }
    for (uint64_t i = 1; i <= 10; i++) {
        fakenccl_fail_call(NULL, i, ncclSystemError, true);
        same(scenario(self), ncclSystemError);
        fakenccl_fail_nothing();
        same(fakenccl_live(), 0);
    }
}

static void every_call_can_be_failed_in_turn(void **state) {
    (void)state;
    ranks_run_bare(1, each_call, NULL);
}

/* ---- operations ---- */

/* The second rank's second operation fails; the first one is not told. */
static void one_operation(rank *self) {
    for (int i = 0; i < 2; i++) {
        if (self->rank == 0)
            good(ncclSend(self->device, 64, ncclInt8, 1, self->comm, self->stream));
        else
            good(ncclRecv(self->other, 64, ncclInt8, 0, self->comm, self->stream));
        if (self->rank == 1 || i == 0)
            ok(cudaStreamSynchronize(self->stream));
    }
    if (self->rank == 1) {
        same(state_of(self->comm), ncclSystemError);
        ranks_download(self, self->other, 64);
        for (int i = 0; i < 64; i++)
            same((unsigned char)self->host[i], 0xbd);
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
    good(reduce(self));
    ok(cudaStreamSynchronize(self->stream));
    holds(now_ms() - start >= 50);
}

static void ranks_can_be_late(void **state) {
    (void)state;
    fakenccl_delay(2, 50000);
    ranks_run(3, late, NULL);
}

/* A rank that leaves in the middle; the others' streams go on once they have aborted too. */
static void leave(rank *self) {
    good(ncclAllGather(self->device, self->other, 16, ncclInt8, self->comm, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    if (self->rank == 2) {
        abort_comm(self);
        return;
    }
    good(ncclAllGather(self->device, self->other, 16, ncclInt8, self->comm, self->stream));
    ok(cudaMemsetAsync(self->other + 100, 1, 1, self->stream));
    fakecuda_settle();
    same(cudaStreamQuery(self->stream), cudaErrorNotReady);
    good(state_of(self->comm));
    abort_comm(self);
    ranks_download(self, self->other, 101);
    for (size_t i = 0; i < 48; i++)
        same((unsigned char)self->host[i], 0xbd);
    same(self->host[100], 1);
}

static void aborting_leaves_garbage(void **state) {
    (void)state;
    ranks_run(3, leave, NULL);
}

/* One rank ends what it waits for and keeps its communicator; the other is not told. */
static void revoke_late(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    same(ncclCommInitRankConfig(&self->comm, 2, self->id, self->rank, &config), ncclInProgress);
    good(ranks_settled(self->comm));
    ranks_meet(self);
    same(ncclRecv(self->other, 8, ncclInt8, 1 - self->rank, self->comm, self->stream),
         ncclInProgress);
    if (self->rank == 0) { /* before it is enqueued, or when it runs already */
        usleep(self->shared ? 5000 : 0);
        same(ncclCommRevoke(self->comm, 0), ncclInProgress);
        same(ranks_settled(self->comm), ncclInvalidUsage);
        ranks_download(self, self->other, 8);
        for (size_t i = 0; i < 8; i++)
            same((unsigned char)self->host[i], 0xbd);
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

/* In place, what a rank brings itself is not written. */
static void abort_in_place(rank *self) {
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

static void aborting_leaves_what_was_not_to_be_written(void **state) {
    (void)state;
    ranks_run(3, abort_in_place, NULL);
}

/* ---- patience ---- */

static void wait_for_peer(rank *self) {
    if (self->rank == 0)
        good(ncclSend(self->device, 77, ncclInt8, 1, self->comm, self->stream));
    else if (self->rank == 1)
        good(ncclRecv(self->other, 77, ncclInt8, 2, self->comm, self->stream));
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
        holds(first || strstr(text, "has destroyed its communicator"));
    }
    fakenccl_forgive();
}

static void wait_for_all(rank *self) {
    if (self->rank != 1) {
        good(reduce(self));
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
    ranks_violations("for rank 1, which has not come to collective 1, ncclAllReduce");
}

/* What makes progress may take longer than the patience. */
static void slow_but_sure(rank *self) {
    for (int i = 0; i < 3; i++)
        good(reduce(self));
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

/* A call that blocks ends when another thread aborts its communicator. */
static void blocked(rank *self) {
    pthread_t thread;
    ncclComm_t part = NULL;
    if (self->rank == 0) {
        same(pthread_create(&thread, NULL, abort_soon, &self->comm), 0);
        same(ncclCommSplit(self->comm, 0, 0, &part, NULL), ncclInternalError);
        holds(!part);
        same(pthread_join(thread, NULL), 0);
        self->comm = NULL;
    }
    ranks_meet(self);
}

static void another_thread_can_abort(void **state) {
    (void)state;
    ranks_run(2, blocked, NULL);
}

static void connect(rank *self) {
    atomic_int *called = self->shared;
    if (self->rank == 0) {
        good(ncclSend(self->device, 8, ncclInt8, 1, self->comm, self->stream));
        same(atomic_load(called), 1);
        good(ncclSend(self->device, 8, ncclInt8, 1, self->comm, self->stream)); /* at once */
        ranks_meet(self);
    } else {
        usleep(20000);
        atomic_store(called, 1);
        good(ncclRecv(self->other, 8, ncclInt8, 0, self->comm, self->stream));
        ranks_meet(self);
        good(ncclRecv(self->other, 8, ncclInt8, 0, self->comm, self->stream));
    }
}

static void unconnected(rank *self) {
    if (self->rank == 0) {
        same(ncclSend(self->device, 8, ncclInt8, 1, self->comm, self->stream), ncclRemoteError);
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

/* Launches of one communicator begin in their order, whatever the stream. */
static void held(rank *self) {
    cudaStream_t second;
    ok(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    fakecuda_hold(self->stream);
    good(ncclBcast(self->device, 8, ncclInt8, 0, self->comm, self->stream));
    good(ncclBcast(self->other, 16, ncclInt8, 0, self->comm, second));
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

/* A group begins when it has come up in all its streams. */
static void half_held(rank *self) {
    int peer = 1 - self->rank;
    cudaStream_t second;
    ok(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    fakecuda_hold(second);
    good(ncclGroupStart());
    good(ncclSend(self->device, 8, ncclInt8, peer, self->comm, self->stream));
    good(ncclRecv(self->other, 8, ncclInt8, peer, self->comm, second));
    good(ncclGroupEnd());
    ranks_meet(self);
    fakecuda_settle();
    same(cudaStreamQuery(self->stream), cudaErrorNotReady);
    same(fakenccl_traffic_of(self->rank, FAKENCCL_SEND).operations, 0);
    ranks_meet(self);
    fakecuda_release(second);
    ok(cudaStreamSynchronize(self->stream));
    same(fakenccl_traffic_of(self->rank, FAKENCCL_SEND).operations, 1);
    ok(cudaStreamSynchronize(second));
    ok(cudaStreamDestroy(second));
}

static void a_group_waits_for_all_its_streams(void **state) {
    (void)state;
    ranks_run(2, half_held, NULL);
}

/* A launch on a held stream outlives its communicator, and does nothing then. */
static void held_and_aborted(rank *self) {
    fakecuda_hold(self->stream);
    good(ncclAllGather(self->device, self->other, 16, ncclInt8, self->comm, self->stream));
    abort_comm(self);
    same(fakenccl_reset(), 0);
    fakecuda_release(self->stream);
}

static void a_held_launch_can_be_aborted(void **state) {
    (void)state;
    ranks_run(1, held_and_aborted, NULL);
}

static void lose(rank *self) {
    good(ncclRecv(self->other, 8, ncclInt8, 1 - self->rank, self->comm, self->stream));
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

/* ---- configurations ---- */

static void configured(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER, seen, own = NCCL_CONFIG_INITIALIZER;
    ncclComm_t comm = NULL, heir = NULL, other = NULL;
    config.minCTAs = 2;
    config.maxCTAs = 4;
    config.CTAPolicy = NCCL_CTA_POLICY_ZERO;
    own.maxCTAs = 1;
    good(ncclCommInitRankConfig(&comm, 1, self->id, 0, &config));
    good(ncclCommSplit(comm, 0, 0, &heir, NULL));
    good(ncclCommSplit(comm, 0, 0, &other, &own));
    holds(fakenccl_comm_config(heir, &seen));
    same(seen.minCTAs, 2);
    same(seen.maxCTAs, 4);
    same(seen.CTAPolicy, NCCL_CTA_POLICY_ZERO);
    holds(fakenccl_comm_config(other, &seen));
    same(seen.minCTAs, NCCL_CONFIG_UNDEF_INT);
    same(seen.maxCTAs, 1);
    ncclComm_t all[] = {comm, heir, other};
    for (int i = 0; i < 3; i++)
        good(ncclCommDestroy(all[i]));
    holds(fakenccl_comm_config(comm, &seen));
    holds(!fakenccl_comm_config(NULL, &seen));
}

static void configurations_are_kept(void **state) {
    (void)state;
    ranks_run_bare(1, configured, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(the_nth_call_fails),
        RANKS(the_call_of_one_rank_fails),
        RANKS(a_group_whose_end_fails_is_closed),
        RANKS(every_call_can_be_failed_in_turn),
        RANKS(operations_fail_later),
        RANKS(ranks_can_be_late),
        RANKS(aborting_leaves_garbage),
        RANKS(revoking_ends_what_is_under_way),
        RANKS(aborting_leaves_what_was_not_to_be_written),
        RANKS(who_waits_for_whom_is_told),
        RANKS(who_is_missing_from_a_collective_is_told),
        RANKS(patience_begins_anew_with_progress),
        RANKS(a_rank_that_never_comes_is_missed),
        RANKS(another_thread_can_abort),
        RANKS(a_first_call_can_wait_for_the_peers),
        RANKS(launches_keep_their_order),
        RANKS(a_group_waits_for_all_its_streams),
        RANKS(a_held_launch_can_be_aborted),
        RANKS(a_lost_device_ends_its_operations),
        RANKS(configurations_are_kept),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
