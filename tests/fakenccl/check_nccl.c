/* What the fake NCCL shares with the real one: these tests run on either, and are skipped on a real
 * one with fewer than two devices. What only the fake can do is tested in the files beside it. */
#include <stdio.h>
#include <string.h>

#include "ranks.h"
#include "needs.h"

#define PART (CHECK_BYTES / 8)

static void expect(rank *self, const char *device, size_t bytes, unsigned seed) {
    ranks_download(self, device, bytes);
    holds(check_filled(self->host, bytes, seed));
}

/* ---- sends and receives ---- */

static void ring(rank *self) {
    int next = (self->rank + 1) % self->ranks, last = (self->rank + self->ranks - 1) % self->ranks;
    good(ncclGroupStart());
    good(ncclSend(self->device, CHECK_BYTES, ncclInt8, next, self->comm, self->stream));
    good(ncclRecv(self->other, CHECK_BYTES, ncclInt8, last, self->comm, self->stream));
    good(ncclGroupEnd());
    expect(self, self->other, CHECK_BYTES, (unsigned)last);
}

static void sends_go_round(void **state) {
    (void)state;
    ranks_run(ranks_available(), ring, NULL);
}

/* Of several sizes, more than fit into any buffer on the way, one of them empty. */
static void several(rank *self) {
    static const size_t sizes[] = {1, 3000, 0, 17, 30001, 5};
    size_t offset = 0;
    good(ncclGroupStart());
    for (size_t i = 0; i < 6; offset += sizes[i++]) {
        if (self->rank == 0)
            good(ncclSend(self->device + offset, sizes[i], ncclUint8, 1, self->comm, self->stream));
        else
            good(ncclRecv(self->other + offset, sizes[i], ncclUint8, 0, self->comm, self->stream));
    }
    good(ncclGroupEnd());
    if (self->rank == 1)
        expect(self, self->other, offset, 0);
}

static void several_sends_arrive_in_order(void **state) {
    (void)state;
    ranks_run(2, several, NULL);
}

static void large(rank *self) {
    const size_t bytes = ((size_t)5 << 20) + 3;
    char *device = NULL, *host = NULL;
    ok(cudaMalloc((void **)&device, bytes));
    ok(cudaHostAlloc((void **)&host, bytes, 0));
    check_fill(host, bytes, 7 + (unsigned)self->rank);
    ok(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, self->stream));
    if (self->rank == 0)
        good(ncclSend(device, bytes, ncclUint8, 1, self->comm, self->stream));
    else
        good(ncclRecv(device, bytes, ncclUint8, 0, self->comm, self->stream));
    ok(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    holds(check_filled(host, bytes, 7));
    ok(cudaFreeHost(host));
    ok(cudaFree(device));
}

static void large_sends_arrive_whole(void **state) {
    (void)state;
    ranks_run(2, large, NULL);
}

static void to_self(rank *self) {
    good(ncclGroupStart());
    good(ncclSend(self->device, 1000, ncclFloat32, self->rank, self->comm, self->stream));
    good(ncclRecv(self->other, 1000, ncclFloat32, self->rank, self->comm, self->stream));
    good(ncclGroupEnd());
    expect(self, self->other, 4000, (unsigned)self->rank);
}

static void a_rank_sends_to_itself(void **state) {
    (void)state;
    ranks_run(2, to_self, NULL);
}

/* Everything before a group in any of its streams is before it, and all behind it behind. */
static void two_streams(rank *self) {
    int peer = 1 - self->rank;
    cudaStream_t second;
    ok(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
    ok(cudaMemsetAsync(self->device, 0x11 + self->rank, 100, second));
    good(ncclGroupStart());
    good(ncclSend(self->device, 100, ncclInt8, peer, self->comm, self->stream));
    good(ncclRecv(self->other, 100, ncclInt8, peer, self->comm, second));
    good(ncclGroupEnd());
    ok(cudaMemcpyAsync(self->host, self->other, 100, cudaMemcpyDeviceToHost, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    for (size_t i = 0; i < 100; i++)
        same(self->host[i], 0x11 + peer);
    ok(cudaStreamSynchronize(second));
    ok(cudaStreamDestroy(second));
}

static void a_group_is_in_all_its_streams(void **state) {
    (void)state;
    ranks_run(2, two_streams, NULL);
}

/* ---- collectives ---- */

static void broadcasts(rank *self) {
    for (int root = 0; root < self->ranks; root++) {
        good(ncclBroadcast(self->device, self->other, CHECK_BYTES / 2, ncclBfloat16, root,
                           self->comm, self->stream));
        expect(self, self->other, CHECK_BYTES, (unsigned)root);
    }
    good(ncclBcast(self->device, CHECK_BYTES, ncclUint8, 1, self->comm, self->stream));
    expect(self, self->device, CHECK_BYTES, 1);
    good(ncclBcast(self->device, 0, ncclUint8, 0, self->comm, self->stream));
}

static void broadcasts_come_from_their_root(void **state) {
    (void)state;
    ranks_run(ranks_available(), broadcasts, NULL);
}

static void gathers(rank *self) {
    size_t own = (size_t)self->rank * PART;
    good(ncclAllGather(self->device, self->other, PART, ncclInt8, self->comm, self->stream));
    for (int i = 0; i < self->ranks; i++)
        expect(self, self->other + (size_t)i * PART, PART, (unsigned)i);
    check_fill(self->host, PART, 50 + (unsigned)self->rank);
    ranks_upload(self, self->other + own, PART);
    good(ncclAllGather(self->other + own, self->other, PART / 8, ncclInt64, self->comm,
                       self->stream));
    for (int i = 0; i < self->ranks; i++)
        expect(self, self->other + (size_t)i * PART, PART, 50 + (unsigned)i);
}

static void all_gathers_collect_the_parts(void **state) {
    (void)state;
    ranks_run(ranks_available(), gathers, NULL);
}

static void reductions(rank *self) {
    int32_t *values = (int32_t *)(void *)self->host;
    int sum = self->ranks * (self->ranks - 1) / 2;
    for (int i = 0; i < 256; i++)
        values[i] = self->rank * 1000 - i;
    ranks_upload(self, self->device, 1024);
    good(ncclAllReduce(self->device, self->other, 256, ncclInt32, ncclSum, self->comm,
                       self->stream));
    good(ncclAllReduce(self->device, self->device, 256, ncclInt32, ncclMax, self->comm,
                       self->stream));
    ranks_download(self, self->other, 1024);
    for (int i = 0; i < 256; i++)
        same(values[i], sum * 1000 - self->ranks * i);
    ranks_download(self, self->device, 1024);
    for (int i = 0; i < 256; i++)
        same(values[i], (self->ranks - 1) * 1000 - i);
}

static void reductions_combine_all_ranks(void **state) {
    (void)state;
    ranks_run(ranks_available(), reductions, NULL);
}

/* An element of each type, as a number; unsigned ones are below 0 by wrapping around. */
static void put(char *at, ncclDataType_t type, int value) {
    float single = (float)value;
    double twice = value;
    int64_t wide = value;
    if (type == ncclFloat32)
        memcpy(at, &single, sizeof single);
    else if (type == ncclFloat64)
        memcpy(at, &twice, sizeof twice);
    else
        memcpy(at, &wide, sizeof wide); /* the low bytes are any narrower integer */
}

typedef struct reducible {
    ncclDataType_t type;
    size_t size;
    bool is_signed;
} reducible;

static void reduce_type(rank *self, const reducible *each, ncclRedOp_t op, int expected) {
    char wanted[8];
    memset(self->host, 0, 16);
    put(self->host, each->type, self->rank == 0 ? -3 : 7);
    ranks_upload(self, self->device, 8);
    good(ncclAllReduce(self->device, self->other, 1, each->type, op, self->comm, self->stream));
    ranks_download(self, self->other, 8);
    put(wanted, each->type, expected);
    same(memcmp(self->host, wanted, each->size), 0);
}

static void reduce_types(rank *self) {
    static const reducible types[] = {{ncclInt8, 1, true},    {ncclUint8, 1, false},
                                      {ncclInt32, 4, true},   {ncclUint32, 4, false},
                                      {ncclInt64, 8, true},   {ncclUint64, 8, false},
                                      {ncclFloat32, 4, true}, {ncclFloat64, 8, true}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        reduce_type(self, &types[i], ncclSum, 4);
        reduce_type(self, &types[i], ncclMax, types[i].is_signed ? 7 : -3);
        reduce_type(self, &types[i], ncclMin, types[i].is_signed ? -3 : 7);
    }
}

static void reductions_know_their_types(void **state) {
    (void)state;
    ranks_run(2, reduce_types, NULL);
}

static void scatters(rank *self) {
    float *values = (float *)(void *)self->host;
    for (int i = 0; i < 64 * self->ranks; i++)
        values[i] = (float)(i + self->rank);
    ranks_upload(self, self->device, 256 * (size_t)self->ranks);
    good(ncclReduceScatter(self->device, self->other, 64, ncclFloat32, ncclSum, self->comm,
                           self->stream));
    ranks_download(self, self->other, 256);
    int ranks = self->ranks, offset = ranks * (ranks - 1) / 2;
    for (int i = 0; i < 64; i++)
        same((int)values[i], ranks * (64 * self->rank + i) + offset);
}

static void reductions_can_be_scattered(void **state) {
    (void)state;
    ranks_run(ranks_available(), scatters, NULL);
}

static void mixed(rank *self) {
    int peer = 1 - self->rank;
    char *quarter = self->other + CHECK_BYTES / 2;
    good(ncclGroupStart());
    good(ncclBroadcast(self->device, self->other, 100, ncclInt8, 0, self->comm, self->stream));
    good(ncclSend(self->device, 200, ncclInt8, peer, self->comm, self->stream));
    good(
        ncclBroadcast(self->device, self->other + 100, 100, ncclInt8, 1, self->comm, self->stream));
    good(ncclRecv(quarter, 200, ncclInt8, peer, self->comm, self->stream));
    good(ncclGroupEnd());
    expect(self, self->other, 100, 0);
    expect(self, self->other + 100, 100, 1);
    expect(self, quarter, 200, (unsigned)peer);
}

static void a_group_holds_all_kinds(void **state) {
    (void)state;
    ranks_run(2, mixed, NULL);
}

/* ---- communicators ---- */

static void questions(rank *self) {
    int count = -1, rank_number = -1, device = -1;
    ncclResult_t state = ncclInternalError;
    good(ncclCommCount(self->comm, &count));
    good(ncclCommUserRank(self->comm, &rank_number));
    good(ncclCommCuDevice(self->comm, &device));
    good(ncclCommGetAsyncError(self->comm, &state));
    same(count, self->ranks);
    same(rank_number, self->rank);
    same(device, self->rank);
    same(state, ncclSuccess);
}

static void communicators_know_themselves(void **state) {
    (void)state;
    int version = 0;
    ranks_run(ranks_available(), questions, NULL);
    good(ncclGetVersion(&version));
    holds(version >= 22700);
    assert_string_equal(ncclGetErrorString(ncclSuccess), "no error");
    holds(ncclGetErrorString(ncclInvalidUsage));
}

static void arguments(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t comm = NULL;
    config.minCTAs = 4;
    config.maxCTAs = 2;
    same(ncclCommInitRankConfig(&comm, 2, self->id, self->rank, &config), ncclInvalidArgument);
    same(ncclCommInitRank(&comm, 2, self->id, 2), ncclInvalidArgument);
    same(ncclCommInitRank(&comm, 0, self->id, 0), ncclInvalidArgument);
    same(ncclCommInitRank(NULL, 2, self->id, 0), ncclInvalidArgument);
}

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    ranks_run_bare(1, arguments, NULL);
}

static void wrong_operations(rank *self) {
    same(ncclSend(self->device, 1, ncclInt8, 2, self->comm, self->stream), ncclInvalidArgument);
    same(ncclBcast(self->device, 1, ncclNumTypes, 0, self->comm, self->stream),
         ncclInvalidArgument);
    good(ncclGroupStart());
    good(ncclSend(self->device, 1, ncclInt8, 1 - self->rank, self->comm, self->stream));
    same(ncclRecv(self->other, 1, ncclInt8, -1, self->comm, self->stream), ncclInvalidArgument);
    same(ncclGroupEnd(), ncclInvalidArgument); /* and nothing of it happens */
    ring(self);
}

static void a_wrong_call_fails_its_group(void **state) {
    (void)state;
    ranks_run(2, wrong_operations, NULL);
}

/* Every call may be in progress, and what it enqueues may not be there before that is over. */
static void without_blocking(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    int peer = 1 - self->rank;
    ncclResult_t result =
        ncclCommInitRankConfig(&self->comm, self->ranks, self->id, self->rank, &config);
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    good(ncclGroupStart());
    result = ncclSend(self->device, 5000, ncclInt8, peer, self->comm, self->stream);
    holds(result == ncclSuccess || result == ncclInProgress);
    result = ncclRecv(self->other, 5000, ncclInt8, peer, self->comm, self->stream);
    holds(result == ncclSuccess || result == ncclInProgress);
    result = ncclGroupEnd();
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    expect(self, self->other, 5000, (unsigned)peer);
    ncclComm_t part = NULL;
    result = ncclCommSplit(self->comm, 0, 0, &part, NULL);
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm)); /* the parent's state; the part is there from then */
    holds(part);
    ncclComm_t both[] = {part, self->comm};
    for (int i = 0; i < 2; i++) {
        result = ncclCommFinalize(both[i]);
        holds(result == ncclSuccess || result == ncclInProgress);
        good(ranks_settled(both[i]));
        good(ncclCommDestroy(both[i]));
    }
}

static void calls_need_not_block(void **state) {
    (void)state;
    ranks_run_bare(2, without_blocking, NULL);
}

static void splits(rank *self) {
    ncclComm_t part = NULL;
    int color = self->rank == self->ranks - 1 ? NCCL_SPLIT_NOCOLOR : 5;
    int count = 0, number = -1, members = self->ranks - 1;
    good(ncclCommSplit(self->comm, color, -self->rank, &part, NULL));
    if (color == NCCL_SPLIT_NOCOLOR) {
        holds(!part);
        return;
    }
    good(ncclCommCount(part, &count));
    good(ncclCommUserRank(part, &number));
    same(count, members);
    same(number, members - 1 - self->rank); /* keys fall as ranks rise */
    good(ncclBroadcast(self->device, self->other, 300, ncclInt8, 0, part, self->stream));
    expect(self, self->other, 300, (unsigned)members - 1);
    good(ncclCommDestroy(part));
}

static void communicators_can_be_split(void **state) {
    (void)state;
    ranks_run(ranks_available(), splits, NULL);
}

static void one_rank(rank *self) {
    good(ncclAllGather(self->device, self->other, 100, ncclInt8, self->comm, self->stream));
    expect(self, self->other, 100, 0);
    good(ncclAllReduce(self->device, self->other, 100, ncclUint8, ncclSum, self->comm,
                       self->stream));
    good(ncclBcast(self->device, 100, ncclInt8, 0, self->comm, self->stream));
}

static void one_rank_is_a_communicator(void **state) {
    (void)state;
    ranks_run(1, one_rank, NULL);
}

/* One thread has all ranks, by groups. */
static void one_thread_has_several_ranks(void **state) {
    (void)state;
    ncclUniqueId id;
    ncclComm_t comms[2];
    char *devices[2], *host = NULL;
    good(ncclGetUniqueId(&id));
    ok(cudaHostAlloc((void **)&host, 1000, cudaHostAllocPortable));
    check_fill(host, 1000, 3);
    good(ncclGroupStart());
    for (int i = 0; i < 2; i++) {
        ok(cudaSetDevice(i));
        ok(cudaMalloc((void **)&devices[i], 1000));
        good(ncclCommInitRank(&comms[i], 2, id, i));
    }
    good(ncclGroupEnd());
    ok(cudaMemcpy(devices[1], host, 1000, cudaMemcpyHostToDevice));
    memset(host, 0, 1000);
    good(ncclGroupStart());
    for (int i = 0; i < 2; i++)
        good(ncclBcast(devices[i], 1000, ncclInt8, 1, comms[i], NULL));
    good(ncclGroupEnd());
    ok(cudaSetDevice(0));
    ok(cudaMemcpy(host, devices[0], 1000, cudaMemcpyDeviceToHost));
    holds(check_filled(host, 1000, 3));
    for (int i = 0; i < 2; i++) {
        ok(cudaSetDevice(i));
        ok(cudaDeviceSynchronize());
        good(ncclCommDestroy(comms[i]));
        ok(cudaFree(devices[i]));
    }
    ok(cudaFreeHost(host));
}

/* Nobody sends; the stream goes on, whatever is in the memory now. A blocking communicator might
 * wait for its peer on the host. */
static void give_up(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t result =
        ncclCommInitRankConfig(&self->comm, self->ranks, self->id, self->rank, &config);
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    if (self->rank == 0) {
        result = ncclRecv(self->other, 100, ncclInt8, 1, self->comm, self->stream);
        holds(result == ncclSuccess || result == ncclInProgress);
        good(ncclCommAbort(self->comm));
        ok(cudaStreamSynchronize(self->stream));
    }
    ranks_meet(self);
    if (self->rank == 1)
        good(ncclCommAbort(self->comm));
}

static void aborting_ends_what_waits(void **state) {
    (void)state;
    ranks_run_bare(2, give_up, NULL);
}

static void memory_of_nccl(rank *self) {
    void *block = NULL, *handle = NULL;
    good(ncclMemAlloc(&block, 4096));
    good(ncclCommRegister(self->comm, block, 4096, &handle));
    good(ncclBcast(block, 4096, ncclInt8, 0, self->comm, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    good(ncclCommDeregister(self->comm, handle));
    good(ncclMemFree(block));
}

static void buffers_can_be_registered(void **state) {
    (void)state;
    ranks_run(2, memory_of_nccl, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(sends_go_round),
        RANKS(several_sends_arrive_in_order),
        RANKS(large_sends_arrive_whole),
        RANKS(a_rank_sends_to_itself),
        RANKS(a_group_is_in_all_its_streams),
        RANKS(broadcasts_come_from_their_root),
        RANKS(all_gathers_collect_the_parts),
        RANKS(reductions_combine_all_ranks),
        RANKS(reductions_know_their_types),
        RANKS(reductions_can_be_scattered),
        RANKS(a_group_holds_all_kinds),
        RANKS(communicators_know_themselves),
        RANKS(wrong_arguments_are_refused),
        RANKS(a_wrong_call_fails_its_group),
        RANKS(calls_need_not_block),
        RANKS(communicators_can_be_split),
        RANKS(one_rank_is_a_communicator),
        RANKS(one_thread_has_several_ranks),
        RANKS(aborting_ends_what_waits),
        RANKS(buffers_can_be_registered),
    };
    if (!needs_device() || !needs(ranks_available() > 1, "two devices") ||
        !needs(FAKECUDA == FAKENCCL, "both fakes or both real libraries"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
