/* Misuse that makes a real NCCL hang or produce garbage, and the fake record a violation. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ranks.h"
#include "needs.h"

/* The communicator fails sooner or later, and can only be aborted. */
static void expect_failure(rank *self, ncclResult_t expected) {
    ncclResult_t state = ncclSuccess;
    ok(cudaStreamSynchronize(self->stream));
    while (state == ncclSuccess)
        good(ncclCommGetAsyncError(self->comm, &state));
    same(state, expected);
    same(ranks_cast(self, 1, 0), expected);
    good(ncclCommAbort(self->comm));
    self->comm = NULL;
}

/* ---- ranks that do not agree ---- */

typedef struct disagreement {
    size_t counts[2];
    int roots[2];
} disagreement;

static void pair(rank *self) {
    const disagreement *test = self->shared;
    good(self->rank == 0 ? ranks_send(self, test->counts[0], 1)
                         : ranks_receive(self, test->counts[1], 0));
    expect_failure(self, ncclInternalError);
    if (self->rank == 1)
        ranks_garbage(self, self->other, 8);
}

static void sends_and_receives_must_agree(void **state) {
    (void)state;
    ranks_run(2, pair, &(disagreement){{100, 101}, {0}});
    ranks_violation("expects ncclSend of 101 bytes, but gets ncclSend of 100");
    ranks_run(2, pair, &(disagreement){{0, 8}, {0}});
    ranks_violation("receive 1 from rank 0");
}

static void spread(rank *self) {
    const disagreement *test = self->shared;
    int i = self->rank % 2;
    ncclResult_t result = ranks_cast(self, test->counts[i], test->roots[i]);
    /* Other ranks may have failed the communicator before the call. */
    holds(result == ncclSuccess || result == ncclInternalError);
    expect_failure(self, ncclInternalError);
}

static void collectives_must_agree(void **state) {
    (void)state;
    ranks_run(4, spread, &(disagreement){{10, 10}, {0, 1}});
    ranks_violation("root 1");
    ranks_run(3, spread, &(disagreement){{10, 11}, {2, 2}});
    ranks_violation("of 11 bytes");
}

static void other_order(rank *self) {
    for (int i = 0; i < 2; i++)
        (void)((self->rank + i) % 2 == 0 ? ranks_cast(self, 10, 0) : ranks_gather(self, 10));
    expect_failure(self, ncclInternalError);
}

static void collectives_come_in_one_order(void **state) {
    (void)state;
    ranks_run(2, other_order, NULL);
    ranks_violation("its collective 1 is nccl");
}

/* Both send first: NCCL does not promise that a send ends before its receive starts. */
static void both_send_first(rank *self) {
    int peer = 1 - self->rank;
    (void)ranks_send(self, 10, peer);
    (void)ranks_receive(self, 10, peer);
    expect_failure(self, ncclRemoteError);
}

static void sends_in_turn_wait_for_each_other(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.patience_ms = RANKS_PATIENCE_MS});
    ranks_run(2, both_send_first, NULL);
    ranks_violations("waits too long for rank");
}

/* ---- memory ---- */

static void memory_is_the_devices(rank *self) {
    static const char *const texts[] = {"is not device memory", "is not device memory",
                                        "crosses the end", "crosses the end"};
    const void *const addresses[] = {self->host, NULL, self->device + 1, self->device};
    const size_t bytes[] = {10, 10, CHECK_BYTES, CHECK_BYTES + 1};
    ncclComm_t comm = self->comm;
    for (size_t i = 0; i < 4; i++) {
        same(ncclSend(addresses[i], bytes[i], ncclInt8, 0, comm, self->stream),
             ncclInvalidArgument);
        ranks_violation(texts[i]);
    }
    same(ncclAllGather(self->device, self->device + 1, 100, ncclInt8, comm, self->stream),
         ncclInvalidArgument);
    ranks_violation("overlap");
    same(ranks_cast(self, SIZE_MAX / 8, 0), ncclInvalidArgument);
    same(ncclSend(self->device, 1, ncclFloat16, 0, comm, self->stream), ncclInvalidArgument);
    ranks_violation("the fake has no types but bytes");
    char *elsewhere = NULL;
    ok(cudaSetDevice(1));
    ok(cudaMalloc((void **)&elsewhere, 16));
    same(ncclSend(elsewhere, 16, ncclInt8, 0, comm, self->stream), ncclInvalidArgument);
    ranks_violation("is on device 1, the communicator on 0");
    ok(cudaFree(elsewhere));
    ok(cudaSetDevice(0));
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
        good(ranks_send(self, 64, 0));
}

static void memory_lives_until_the_end(void **state) {
    (void)state;
    ranks_run(2, free_too_early, NULL);
    check_violation("which an operation that has not completed uses");
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

static void a_send_to_oneself_needs_its_receive(rank *self) {
    same(ranks_send(self, 1, 0), ncclInvalidUsage);
    ranks_violation("sends to itself 1 times and receives 0 times");
    good(ncclGroupStart());
    good(ranks_send(self, 9, 0));
    good(ranks_receive(self, 8, 0));
    good(ncclGroupEnd());
    expect_failure(self, ncclInternalError);
    ranks_violation("from rank 0 expects ncclSend of 8 bytes, but gets ncclSend of 9");
}

/* Legal, but not supported by the fake. */
static void groups_have_limits(rank *self) {
    ncclComm_t comm = self->comm;
    ncclWindow_t win = NULL;
    good(ncclGroupStart());
    same(ranks_cast(self, 1, 0), ncclInvalidUsage);
    ranks_violation("ncclBroadcast: the fake's groups are sends and receives");
    good(ranks_send(self, 1, 0));
    same(ncclRecv(self->other, 1, ncclInt8, 0, comm, NULL), ncclInvalidUsage);
    ranks_violation("of one communicator and stream");
    same(ncclCommWindowRegister(comm, self->device, 8, &win, NCCL_WIN_DEFAULT), ncclInvalidUsage);
    ranks_violation("ncclCommWindowRegister on rank 0 of 1 in communicator 1, inside a group");
    same(ncclCommInitRank(&comm, 1, self->id, 0), ncclInvalidUsage);
    ranks_violation("ncclCommInitRank inside a group");
    same(ncclGroupEnd(), ncclInvalidUsage);
    same(fakecuda_pending(self->stream), 0);
}

static void *leave_open(void *argument) {
    good(ncclGroupStart());
    good(ncclGroupStart());
    good(ranks_send(argument, 1, 0));
    good(ncclGroupEnd());
    return NULL;
}

/* Only the last of nested ends ends the group; its communicator belongs to its thread. */
static void open_group(rank *self) {
    pthread_t thread;
    same(pthread_create(&thread, NULL, leave_open, self), 0);
    same(pthread_join(thread, NULL), 0);
    same(ncclCommCount(self->comm, &(int){0}), ncclSuccess); /* queries are allowed */
    same(ranks_send(self, 1, 0), ncclInvalidUsage);
    ranks_violation("which another thread is using");
    same(fakecuda_pending(self->stream), 0);
    self->comm = NULL;
}

static void groups_are_closed(void **state) {
    (void)state;
    same(ncclGroupEnd(), ncclInvalidUsage);
    ranks_violation("ncclGroupEnd without ncclGroupStart");
    ranks_run(1, open_group, NULL);
    same(fakenccl_reset(), 2); /* the group, and its communicator */
}

/* ---- communicators ---- */

static void communicators_end_once(rank *self) {
    ncclComm_t gone = self->comm;
    int count = 0;
    good(ncclCommDestroy(gone));
    self->comm = NULL;
    same(ncclCommCount(gone, &count), ncclInvalidArgument);
    ranks_violation("ncclCommCount on communicator");
    same(ncclSend(self->device, 1, ncclInt8, 0, gone, self->stream), ncclInvalidArgument);
    ranks_violation("which was destroyed or aborted");
    same(ncclCommAbort(gone), ncclInvalidArgument);
    ranks_violation("which was destroyed or aborted");
    same(ncclCommDestroy((ncclComm_t)(void *)self), ncclInvalidArgument);
    ranks_violation("which never was");
    good(ncclCommDestroy(NULL));
}

static void too_soon(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    same(ncclCommInitRankConfig(&self->comm, 2, self->id, self->rank, &config), ncclInProgress);
    same(ranks_cast(self, 1, 0), ncclInvalidArgument);
    good(ranks_settled(self->comm));
    good(ncclCommAbort(self->comm));
}

static void what_is_in_progress_is_not_used(void **state) {
    (void)state;
    fakenccl_configure(&(fakenccl_config){.lag_us = 50000});
    ranks_run_bare(2, too_soon, NULL);
    same(fakenccl_violations(), 2);
    ranks_violations("which is still in progress");
}

static void what_has_failed_is_aborted(rank *self) {
    fakenccl_async_error(0, 1, ncclSystemError);
    good(ranks_gather(self, 1));
    ok(cudaStreamSynchronize(self->stream));
    same(ncclCommDestroy(self->comm), ncclSystemError);
    self->comm = NULL;
    ranks_violation("which has failed and must be aborted");
}

static void finalizing_is_the_end_of_operations(rank *self) {
    good(ncclCommFinalize(self->comm));
    same(ranks_cast(self, 1, 0), ncclInvalidUsage);
    ranks_violation("which was finalized");
    same(ncclCommFinalize(self->comm), ncclInvalidArgument);
    ranks_violation("for the second time");
}

static void revoked(rank *self) {
    good(ncclCommRevoke(self->comm, 0));
    same(ranks_cast(self, 1, 0), ncclInvalidUsage);
    ranks_violation("ncclBroadcast on rank 0 of 1 in communicator 1, which was revoked");
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
    good(ranks_cast(self, 1, 0));
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

/* ---- joining ---- */

static void ids_are_used_once(rank *self) {
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

static void ranks_have_a_device_each(rank *self) {
    ok(cudaSetDevice(0));
    same(ncclCommInitRank(&self->comm, 3, self->id, self->rank), ncclInvalidUsage);
    holds(!self->comm);
    ok(cudaSetDevice(self->rank));
}

/* One of the two is refused at once; the other waits for a rank that never arrives. */
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

static void captures_are_refused(rank *self) {
    cudaGraph_t graph = NULL;
    ok(cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal));
    same(ranks_gather(self, 1), ncclInvalidUsage);
    ok(cudaStreamEndCapture(self->stream, &graph));
    ok(cudaGraphDestroy(graph));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(sends_and_receives_must_agree),
        RANKS(collectives_must_agree),
        RANKS(collectives_come_in_one_order),
        RANKS(sends_in_turn_wait_for_each_other),
        RANKS_OF(1, memory_is_the_devices),
        RANKS(memory_lives_until_the_end),
        RANKS(windows_are_registered_together),
        RANKS_OF(1, a_send_to_oneself_needs_its_receive),
        RANKS_OF(1, groups_have_limits),
        RANKS(groups_are_closed),
        RANKS_OF(1, communicators_end_once),
        RANKS(what_is_in_progress_is_not_used),
        RANKS_OF(1, what_has_failed_is_aborted),
        RANKS_OF(1, finalizing_is_the_end_of_operations),
        RANKS(revoking_is_the_end_of_all_but_the_end),
        RANKS_BARE(1, ids_are_used_once),
        RANKS_BARE(3, ranks_have_a_device_each),
        RANKS(ranks_come_once),
        RANKS_OF(1, captures_are_refused),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
