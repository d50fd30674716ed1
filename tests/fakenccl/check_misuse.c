/* What a real NCCL answers with a hang or with garbage, and the fake with a violation. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ranks.h"
#include "needs.h"

/* The communicator fails by and by, and can only be aborted. */
static void expect_failure(rank *self, ncclResult_t expected) {
    ncclResult_t state = ncclSuccess;
    ok(cudaStreamSynchronize(self->stream));
    while (state == ncclSuccess)
        good(ncclCommGetAsyncError(self->comm, &state));
    same(state, expected);
    same(ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream), expected);
    good(ncclCommAbort(self->comm));
    self->comm = NULL;
}

/* Nobody may believe what is in the memory of an operation that failed. */
static void expect_garbage(rank *self, size_t bytes) {
    ranks_download(self, self->other, bytes);
    for (size_t i = 0; i < bytes; i++)
        same((unsigned char)self->host[i], 0xbd);
}

/* ---- ranks that do not agree ---- */

typedef struct disagreement {
    size_t counts[2];
    ncclDataType_t types[2];
    int roots[2];
} disagreement;

static void pair(rank *self) {
    const disagreement *test = self->shared;
    int i = self->rank;
    if (i == 0)
        good(ncclSend(self->device, test->counts[0], test->types[0], 1, self->comm, self->stream));
    else
        good(ncclRecv(self->other, test->counts[1], test->types[1], 0, self->comm, self->stream));
    expect_failure(self, ncclInternalError);
    if (i == 1)
        expect_garbage(self, 8);
}

static void sends_and_receives_must_agree(void **state) {
    (void)state;
    ranks_run(2, pair, &(disagreement){{100, 101}, {ncclInt8, ncclInt8}, {0}});
    ranks_violation("expects ncclSend of 101 elements of type 0, but gets ncclSend of 100");
    ranks_run(2, pair, &(disagreement){{100, 25}, {ncclInt8, ncclFloat32}, {0}});
    ranks_violation("rank 1 of 2");
    ranks_run(2, pair, &(disagreement){{0, 8}, {ncclInt8, ncclInt8}, {0}});
    ranks_violation("receive 1 from rank 0");
}

static void spread(rank *self) {
    const disagreement *test = self->shared;
    int i = self->rank % 2;
    ncclResult_t result = ncclBroadcast(self->device, self->other, test->counts[i], test->types[i],
                                        test->roots[i], self->comm, self->stream);
    holds(result == ncclSuccess || result == ncclInternalError); /* others may have met already */
    expect_failure(self, ncclInternalError);
}

static void collectives_must_agree(void **state) {
    (void)state;
    ranks_run(4, spread, &(disagreement){{10, 10}, {ncclInt8, ncclInt8}, {0, 1}});
    ranks_violation("root 1");
    ranks_run(3, spread, &(disagreement){{10, 11}, {ncclInt8, ncclInt8}, {2, 2}});
    ranks_violation("of 11 elements");
    ranks_run(2, spread, &(disagreement){{12, 3}, {ncclInt8, ncclInt32}, {0, 0}});
    ranks_violation("of type 2");
}

static void other_order(rank *self) {
    for (int i = 0; i < 2; i++) {
        if ((self->rank + i) % 2 == 0)
            (void)ncclBroadcast(self->device, self->other, 10, ncclInt8, 0, self->comm,
                                self->stream);
        else
            (void)ncclAllReduce(self->device, self->other, 10, ncclInt8, ncclSum, self->comm,
                                self->stream);
    }
    expect_failure(self, ncclInternalError);
}

static void collectives_come_in_one_order(void **state) {
    (void)state;
    ranks_run(2, other_order, NULL);
    ranks_violation("its collective 1 is nccl");
}

/* Both send first, in turn: nothing says that a send may end before its receive begins. */
static void both_send_first(rank *self) {
    int peer = 1 - self->rank;
    (void)ncclSend(self->device, 10, ncclInt8, peer, self->comm, self->stream);
    (void)ncclRecv(self->other, 10, ncclInt8, peer, self->comm, self->stream);
    expect_failure(self, ncclRemoteError);
}

static void sends_in_turn_wait_for_each_other(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.patience_ms = RANKS_PATIENCE_MS});
    ranks_run(2, both_send_first, NULL);
    ranks_violations("waits too long for rank");
}

/* ---- memory ---- */

static void wrong_memory(rank *self) {
    ncclComm_t comm = self->comm;
    same(ncclBcast(self->host, 10, ncclInt8, 0, comm, self->stream), ncclInvalidArgument);
    ranks_violation("is not device memory");
    same(ncclBcast(NULL, 10, ncclInt8, 0, comm, self->stream), ncclInvalidArgument);
    ranks_violation("is not device memory");
    same(ncclBcast(self->device + 1, CHECK_BYTES, ncclInt8, 0, comm, self->stream),
         ncclInvalidArgument);
    ranks_violation("crosses the end");
    same(ncclSend(self->device, CHECK_BYTES / 4 + 1, ncclInt32, 0, comm, self->stream),
         ncclInvalidArgument);
    ranks_violation("crosses the end");
    same(ncclAllGather(self->device, self->device + 1, 100, ncclInt8, comm, self->stream),
         ncclInvalidArgument);
    ranks_violation("overlap");
    same(ncclBcast(self->device, SIZE_MAX / 4, ncclInt32, 0, comm, self->stream),
         ncclInvalidArgument);
    same(ncclAllReduce(self->device, self->other, 1, ncclFloat16, ncclSum, comm, self->stream),
         ncclInvalidArgument);
    ranks_violation("the fake does not reduce");
    char *elsewhere = NULL;
    ok(cudaSetDevice(1));
    ok(cudaMalloc((void **)&elsewhere, 16));
    same(ncclBcast(elsewhere, 16, ncclInt8, 0, comm, self->stream), ncclInvalidArgument);
    ranks_violation("is on device 1, the communicator on 0");
    ok(cudaFree(elsewhere));
    ok(cudaSetDevice(0));
}

static void memory_is_the_devices(void **state) {
    (void)state;
    ranks_run(1, wrong_memory, NULL);
}

static void free_too_early(rank *self) {
    char *block = NULL;
    if (self->rank == 0) {
        ok(cudaMalloc((void **)&block, 64));
        good(ncclRecv(block, 64, ncclInt8, 1, self->comm, self->stream));
    }
    ranks_meet(self);
    if (self->rank == 0)
        ok(cudaFree(block)); /* waits for the stream, which waits for the peer */
    while (fakecuda_calls("cudaFree") == 0)
        usleep(100);
    if (self->rank == 1)
        good(ncclSend(self->device, 64, ncclInt8, 0, self->comm, self->stream));
}

static void memory_lives_until_the_end(void **state) {
    (void)state;
    ranks_run(2, free_too_early, NULL);
    check_violation("which an operation that has not completed uses");
}

static void free_registered(rank *self) {
    void *block = NULL, *handle = NULL;
    good(ncclMemAlloc(&block, 100));
    good(ncclCommRegister(self->comm, block, 100, &handle));
    good(ncclMemFree(block));
    good(ncclCommDeregister(self->comm, handle));
    ranks_violation("was freed before");
    same(ncclCommDeregister(self->comm, handle), ncclInvalidArgument);
    ranks_violation("which is no registration");
    same(ncclCommRegister(self->comm, self->host, 8, &handle), ncclInvalidArgument);
    ranks_violation("is not device memory");
}

static void registered_memory_lives_until_it_is_deregistered(void **state) {
    (void)state;
    ranks_run(1, free_registered, NULL);
}

static void windows(rank *self) {
    char *block = NULL;
    ncclWindow_t win = NULL;
    ncclComm_t comm = self->comm;
    good(ncclMemAlloc((void **)&block, 8192));
    good(ncclCommWindowRegister(comm, block, 4096, &win, NCCL_WIN_COLL_SYMMETRIC));
    holds(win);
    ranks_meet(self);
    if (self->rank == 0) {
        ncclWindow_t other = NULL;
        same(ncclCommWindowRegister(comm, self->device, 64, &other, NCCL_WIN_COLL_SYMMETRIC),
             ncclInvalidArgument);
        ranks_violation("is not ncclMemAlloc's");
        good(ncclMemFree(block));
        ranks_violation("has a window");
        good(ncclCommDestroy(comm));
        ranks_violation("which has windows");
        self->comm = NULL;
    }
    ranks_meet(self);
    if (self->rank == 0)
        return;
    good(ncclCommWindowDeregister(comm, win));
    same(ncclCommWindowDeregister(comm, win), ncclInvalidArgument);
    ranks_violation("which is no window");
    fakenccl_configure(&(fakenccl_config){.no_windows = true, .version = 22700});
    good(ncclCommWindowRegister(comm, block, 64, &win, NCCL_WIN_COLL_SYMMETRIC));
    holds(!win);
    ranks_violation("is not in version");
    good(ncclMemFree(block));
}

static void window_sizes_differ(rank *self) {
    ncclWindow_t win = NULL;
    size_t bytes = 64 + (size_t)self->rank;
    same(ncclCommWindowRegister(self->comm, self->device, bytes, &win, NCCL_WIN_DEFAULT),
         ncclInternalError);
    holds(!win);
    good(ncclCommAbort(self->comm));
    self->comm = NULL;
}

static void windows_are_registered_together(void **state) {
    (void)state;
    ranks_run(2, windows, NULL);
    fakenccl_configure(NULL);
    ranks_run(2, window_sizes_differ, NULL);
    ranks_violation("its window has");
}

/* ---- groups ---- */

static void lone_self(rank *self) {
    same(ncclSend(self->device, 1, ncclInt8, 0, self->comm, self->stream), ncclInvalidUsage);
    ranks_violation("sends to itself 1 times and receives 0 times");
    good(ncclGroupStart());
    good(ncclSend(self->device, 9, ncclInt8, 0, self->comm, self->stream));
    good(ncclRecv(self->other, 8, ncclInt8, 0, self->comm, self->stream));
    good(ncclGroupEnd());
    expect_failure(self, ncclInternalError);
    ranks_violation("a send to itself of 9 bytes meets a receive of 8");
}

static void a_send_to_oneself_needs_its_receive(void **state) {
    (void)state;
    ranks_run(1, lone_self, NULL);
}

static void *leave_open(void *argument) {
    rank *self = argument;
    good(ncclGroupStart());
    good(ncclGroupStart());
    good(ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream));
    good(ncclGroupEnd());
    return NULL;
}

/* Only the last end of several ends the group; a communicator in it is its thread's. */
static void open_group(rank *self) {
    pthread_t thread;
    good(ncclGroupStart());
    good(ncclSend(self->device, 1, ncclInt8, 0, self->comm, self->stream));
    good(ncclRecv(self->other, 1, ncclInt8, 0, self->comm, self->stream));
    good(ncclGroupEnd());
    ok(cudaStreamSynchronize(self->stream));
    self->comm = NULL;
    good(ncclGetUniqueId(&self->id));
    ncclUniqueId id = self->id;
    ncclComm_t pair[2];
    good(ncclGroupStart());
    for (int i = 0; i < 2; i++) {
        ok(cudaSetDevice(i));
        good(ncclCommInitRank(&pair[i], 2, id, i));
    }
    good(ncclGroupEnd());
    ok(cudaSetDevice(0));
    self->comm = pair[0];
    same(pthread_create(&thread, NULL, leave_open, self), 0);
    same(pthread_join(thread, NULL), 0);
    same(ncclCommCount(pair[0], &(int){0}), ncclSuccess); /* a question is harmless */
    same(ncclBcast(self->device, 1, ncclInt8, 0, pair[0], self->stream), ncclInvalidUsage);
    ranks_violation("which another thread is using");
    same(fakecuda_pending(self->stream), 0);
    good(ncclCommAbort(pair[1]));
    self->comm = NULL;
}

static void groups_are_closed(void **state) {
    (void)state;
    same(ncclGroupEnd(), ncclInvalidUsage);
    ranks_violation("ncclGroupEnd without ncclGroupStart");
    ranks_run(1, open_group, NULL);
    same(fakenccl_reset(), 3); /* the group, and two communicators */
}

/* ---- communicators ---- */

static void leave_behind(rank *self) {
    ncclComm_t gone = self->comm;
    int count = 0;
    good(ncclCommDestroy(gone));
    self->comm = NULL;
    same(ncclCommCount(gone, &count), ncclInvalidArgument);
    ranks_violation("ncclCommCount on communicator");
    same(ncclBcast(self->device, 1, ncclInt8, 0, gone, self->stream), ncclInvalidArgument);
    ranks_violation("which was destroyed or aborted");
    same(ncclCommAbort(gone), ncclInvalidArgument);
    ranks_violation("which was destroyed or aborted");
    same(ncclCommDestroy((ncclComm_t)(void *)self), ncclInvalidArgument);
    ranks_violation("which never was");
    good(ncclCommDestroy(NULL));
}

static void communicators_end_once(void **state) {
    (void)state;
    ranks_run(1, leave_behind, NULL);
}

static void keep(rank *self) {
    self->comm = NULL;
}

static void communicators_are_not_left_behind(void **state) {
    (void)state;
    ranks_run(2, keep, NULL);
    same(fakenccl_live(), 2);
    same(fakenccl_reset(), 2);
    same(fakenccl_live(), 0);
}

static void too_soon(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    same(ncclCommInitRankConfig(&self->comm, 2, self->id, self->rank, &config), ncclInProgress);
    ncclResult_t early = ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream);
    same(early, ncclInvalidArgument);
    good(ranks_settled(self->comm));
    ncclComm_t part = self->comm; /* not there before the parent is ready */
    same(ncclCommSplit(self->comm, 0, 0, &part, NULL), ncclInProgress);
    holds(!part);
    good(ranks_settled(self->comm));
    holds(part);
    good(ncclCommAbort(part));
    good(ncclCommAbort(self->comm));
}

static void what_is_in_progress_is_not_used(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.lag_us = 50000});
    ranks_run_bare(2, too_soon, NULL);
    same(fakenccl_violations(), 2);
    ranks_violations("which is still in progress");
}

static void destroy_failed(rank *self) {
    fakenccl_async_error(0, 1, ncclSystemError);
    good(ncclAllReduce(self->device, self->other, 1, ncclInt8, ncclSum, self->comm, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    same(ncclCommDestroy(self->comm), ncclSystemError);
    self->comm = NULL;
    ranks_violation("which has failed and must be aborted");
}

static void what_has_failed_is_aborted(void **state) {
    (void)state;
    ranks_run(1, destroy_failed, NULL);
}

static void finalize_twice(rank *self) {
    good(ncclCommFinalize(self->comm));
    same(ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream), ncclInvalidUsage);
    ranks_violation("which was finalized");
    same(ncclCommFinalize(self->comm), ncclInvalidArgument);
    ranks_violation("for the second time");
}

static void finalizing_is_the_end_of_operations(void **state) {
    (void)state;
    ranks_run(1, finalize_twice, NULL);
}

static void revoked(rank *self) {
    good(ncclCommRevoke(self->comm, 0));
    same(ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream), ncclInvalidUsage);
    ranks_violation("ncclBcast on rank 0 of 1 in communicator 1, which was revoked");
    same(ncclCommFinalize(self->comm), ncclInvalidUsage);
    ranks_violation("which was revoked");
    same(ncclCommRevoke(self->comm, 0), ncclInvalidUsage);
    ranks_violation("which was revoked before");
    good(ncclCommDestroy(self->comm));
    same(ncclCommRevoke(self->comm, 0), ncclInvalidArgument);
    ranks_violation("which was destroyed or aborted");
    good(ncclGetUniqueId(&self->id));
    good(ncclCommInitRank(&self->comm, 1, self->id, 0));
    good(ncclCommFinalize(self->comm));
    same(ncclCommRevoke(self->comm, 0), ncclInvalidUsage);
    ranks_violation("which was finalized");
    good(ncclCommDestroy(self->comm));
    good(ncclGetUniqueId(&self->id));
    good(ncclCommInitRank(&self->comm, 1, self->id, 0));
    fakenccl_configure(&(fakenccl_config){.no_revoke = true, .version = 22807});
    same(ncclCommRevoke(self->comm, 0), ncclInvalidUsage);
    good(ncclBcast(self->device, 1, ncclInt8, 0, self->comm, self->stream));
    fakenccl_configure(&(fakenccl_config){.version = 22806});
    good(ncclCommRevoke(self->comm, 0));
    ranks_violation("ncclCommRevoke is not in version 22806");
    self->comm = NULL;
}

static void revoking_is_the_end_of_all_but_the_end(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.version = 22807});
    ranks_run(1, revoked, NULL);
    same(fakenccl_reset(), 1); /* nothing was freed */
}

/* ---- coming together ---- */

static void wrong_ids(rank *self) {
    ncclUniqueId nothing = {{0}};
    ncclConfig_t config = {0};
    ncclComm_t comm = NULL;
    same(ncclCommInitRank(&comm, 1, nothing, 0), ncclInvalidArgument);
    ranks_violation("no unique id");
    same(ncclCommInitRankConfig(&comm, 1, self->id, 0, &config), ncclInvalidArgument);
    ranks_violation("not initialised");
    good(ncclCommInitRank(&comm, 1, self->id, 0));
    good(ncclCommDestroy(comm));
    same(ncclCommInitRank(&comm, 1, self->id, 0), ncclSystemError);
    ranks_violation("was used already");
    same(ncclCommInitRank(&comm, FAKENCCL_RANKS + 1, self->id, 0), ncclInvalidArgument);
    ranks_violation("has room for");
    holds(!comm);
}

static void ids_are_used_once(void **state) {
    (void)state;
    ranks_run_bare(1, wrong_ids, NULL);
}

static void crowd(rank *self) {
    ok(cudaSetDevice(0));
    same(ncclCommInitRank(&self->comm, 3, self->id, self->rank), ncclInvalidUsage);
    holds(!self->comm);
    ok(cudaSetDevice(self->rank));
}

static void ranks_have_a_device_each(void **state) {
    (void)state;
    ranks_run_bare(3, crowd, NULL);
}

/* One of them is refused at once, the other waits for a rank that never comes. */
static void twins(rank *self) {
    ncclResult_t result = ncclCommInitRank(&self->comm, 2, self->id, 1);
    holds(result == ncclInvalidUsage || result == ncclRemoteError);
    holds(!self->comm);
}

static void ranks_come_once(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.patience_ms = RANKS_PATIENCE_MS});
    ranks_run_bare(2, twins, NULL);
    same(fakenccl_violations(), 2);
    holds(strstr(fakenccl_violation(0), "rank 1 comes twice"));
    holds(strstr(fakenccl_violation(1), "for rank 0, which has not come"));
    fakenccl_forgive();
}

static void capture(rank *self) {
    cudaGraph_t graph = NULL;
    ok(cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal));
    same(ncclAllReduce(self->device, self->other, 1, ncclInt8, ncclSum, self->comm, self->stream),
         ncclInvalidUsage);
    ok(cudaStreamEndCapture(self->stream, &graph));
    ok(cudaGraphDestroy(graph));
}

static void captures_are_refused(void **state) {
    (void)state;
    ranks_run(1, capture, NULL);
}

static void mixture(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t first = NULL, second = NULL;
    ncclUniqueId id;
    good(ncclGetUniqueId(&id));
    config.blocking = 0;
    good(ncclGroupStart());
    good(ncclCommInitRank(&first, 1, self->id, 0));
    good(ncclCommInitRankConfig(&second, 1, id, 0, &config));
    same(ncclGroupEnd(), ncclInvalidArgument);
    holds(!first);
    holds(!second);
}

static void a_group_blocks_or_does_not(void **state) {
    (void)state;
    ranks_run_bare(1, mixture, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(sends_and_receives_must_agree),
        RANKS(collectives_must_agree),
        RANKS(collectives_come_in_one_order),
        RANKS(sends_in_turn_wait_for_each_other),
        RANKS(memory_is_the_devices),
        RANKS(memory_lives_until_the_end),
        RANKS(registered_memory_lives_until_it_is_deregistered),
        RANKS(windows_are_registered_together),
        RANKS(a_send_to_oneself_needs_its_receive),
        RANKS(groups_are_closed),
        RANKS(communicators_end_once),
        RANKS(communicators_are_not_left_behind),
        RANKS(what_is_in_progress_is_not_used),
        RANKS(what_has_failed_is_aborted),
        RANKS(finalizing_is_the_end_of_operations),
        RANKS(revoking_is_the_end_of_all_but_the_end),
        RANKS(ids_are_used_once),
        RANKS(ranks_have_a_device_each),
        RANKS(ranks_come_once),
        RANKS(captures_are_refused),
        RANKS(a_group_blocks_or_does_not),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
