/* What the fake counts, and what it proves: that a load is striped. */
#include <stdio.h>
#include <string.h>

#include "ranks.h"
#include "needs.h"

#define LINES 12
#define LINE  ((size_t)1024)

static void counted(rank *self) {
    int peer = 1 - self->rank;
    good(ncclGroupStart());
    good(ncclSend(self->device, 100, ncclInt32, peer, self->comm, self->stream));
    good(ncclRecv(self->other, 100, ncclInt32, peer, self->comm, self->stream));
    good(ncclSend(self->device, 7, ncclInt8, self->rank, self->comm, self->stream));
    good(ncclRecv(self->other + 500, 7, ncclInt8, self->rank, self->comm, self->stream));
    good(ncclGroupEnd());
    good(ncclBcast(self->device, 50, ncclInt8, 0, self->comm, self->stream));
    good(ncclAllGather(self->device, self->other, 30, ncclInt8, self->comm, self->stream));
    good(ncclAllReduce(self->device, self->other, 5, ncclInt64, ncclMin, self->comm, self->stream));
    good(ncclReduceScatter(self->device, self->other, 6, ncclInt8, ncclMax, self->comm,
                           self->stream));
    good(ncclAllGather(self->device, self->other, 0, ncclInt8, self->comm, self->stream));
    ok(cudaStreamSynchronize(self->stream));
}

static void expect(int rank, fakenccl_kind kind, uint64_t operations, uint64_t sent,
                   uint64_t received) {
    fakenccl_traffic found = fakenccl_traffic_of(rank, kind);
    same(found.operations, operations);
    same(found.sent, sent);
    same(found.received, received);
}

static void bytes_are_counted(void **state) {
    (void)state;
    ranks_run(2, counted, NULL);
    for (int i = 0; i < 2; i++) {
        expect(i, FAKENCCL_SEND, 2, 400, 0); /* nothing leaves a rank that sends to itself */
        expect(i, FAKENCCL_RECV, 2, 0, 400);
        expect(i, FAKENCCL_BROADCAST, 1, i == 0 ? 50 : 0, i == 0 ? 0 : 50);
        expect(i, FAKENCCL_ALL_GATHER, 1, 30, 30);
        expect(i, FAKENCCL_ALL_REDUCE, 1, 40, 40);
        expect(i, FAKENCCL_REDUCE_SCATTER, 1, 12, 6);
    }
    expect(2, FAKENCCL_SEND, 0, 0, 0);
    expect(-1, FAKENCCL_SEND, 0, 0, 0);
    expect(0, FAKENCCL_KINDS, 0, 0, 0);
}

/* Every rank loads each third line over its own link and hands it to the others. */
static void stripe(rank *self) {
    memset(self->host, 0, LINES * LINE);
    for (int line = 0; line < LINES; line++) {
        if (line % self->ranks == self->rank)
            check_fill(self->host + (size_t)line * LINE, LINE, 100 + (unsigned)line);
    }
    ranks_upload(self, self->device, LINES * LINE);
    good(ncclGroupStart());
    for (int line = 0; line < LINES; line++)
        good(ncclBcast(self->device + (size_t)line * LINE, LINE, ncclInt8, line % self->ranks,
                       self->comm, self->stream));
    good(ncclGroupEnd());
    ranks_download(self, self->device, LINES * LINE);
    for (int line = 0; line < LINES; line++)
        holds(check_filled(self->host + (size_t)line * LINE, LINE, 100 + (unsigned)line));
    fakenccl_traffic found = fakenccl_comm_traffic(self->comm, FAKENCCL_BROADCAST);
    same(found.operations, LINES);
    same(found.sent, LINES * LINE / (size_t)self->ranks);
    same(found.received, LINES * LINE - LINES * LINE / (size_t)self->ranks);
}

static void striping_shows_in_the_bytes(void **state) {
    (void)state;
    ranks_run(3, stripe, NULL);
    for (int i = 0; i < 3; i++)
        expect(i, FAKENCCL_BROADCAST, LINES, 4 * LINE, 8 * LINE);
}

static void in_part(rank *self) {
    ncclComm_t part = NULL;
    good(ncclCommSplit(self->comm, self->rank / 2, 0, &part, NULL));
    good(ncclBcast(self->device, 10 + (size_t)self->rank / 2, ncclInt8, 1, part, self->stream));
    ok(cudaStreamSynchronize(self->stream));
    good(ncclCommDestroy(part));
    same(fakenccl_comm_traffic(part, FAKENCCL_BROADCAST).operations, 1); /* still known */
    same(fakenccl_comm_traffic(self->comm, FAKENCCL_BROADCAST).operations, 0);
}

static void communicators_count_apart(void **state) {
    (void)state;
    ranks_run(4, in_part, NULL);
    expect(1, FAKENCCL_BROADCAST, 2, 10 + 11, 0);
    expect(0, FAKENCCL_BROADCAST, 2, 0, 10 + 11);
    same(fakenccl_comm_traffic(NULL, FAKENCCL_SEND).operations, 0);
}

static void calls_are_counted(void **state) {
    (void)state;
    ranks_run(2, counted, NULL);
    same(fakenccl_calls("ncclSend"), 4);
    same(fakenccl_calls("ncclGroupEnd"), 2); /* those of the program only */
    same(fakenccl_calls("ncclAllGather"), 4);
    same(fakenccl_calls("ncclNothing"), 0);
    same(fakenccl_calls(NULL), 1 + 2 * 13);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(bytes_are_counted),
        RANKS(striping_shows_in_the_bytes),
        RANKS(communicators_count_apart),
        RANKS(calls_are_counted),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
