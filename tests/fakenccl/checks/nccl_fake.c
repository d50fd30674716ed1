/* Behaviour that the fake NCCL shares with the real one. These tests run on either, and are skipped
 * on a real one with fewer than two devices. The other files test what only the fake can do. */
#include <stdio.h>
#include <string.h>

#include "ranks.h"
#include "needs.h"

#define PART (CHECK_BYTES / 8)

/* ---- sends and receives ---- */

static void ring(rank *self) {
    int next = (self->rank + 1) % self->ranks, last = (self->rank + self->ranks - 1) % self->ranks;
    good(ncclGroupStart());
    good(ranks_send(self, CHECK_BYTES, next));
    good(ranks_receive(self, CHECK_BYTES, last));
    good(ncclGroupEnd());
    ranks_expect(self, self->other, CHECK_BYTES, (unsigned)last);
}

static void sends_go_round(void **state) {
    (void)state;
    ranks_run(ranks_available(), ring, NULL);
}

/* Several sizes, one of them 0. */
static void several(rank *self) {
    static const size_t sizes[] = {1, 3000, 0, 17, 30001, 5};
    size_t offset = 0;
    good(ncclGroupStart());
    for (size_t i = 0; i < 6; offset += sizes[i++])
        if (self->rank == 0)
            good(ncclSend(self->device + offset, sizes[i], ncclInt8, 1, self->comm, self->stream));
        else
            good(ncclRecv(self->other + offset, sizes[i], ncclInt8, 0, self->comm, self->stream));
    good(ncclGroupEnd());
    if (self->rank == 1)
        ranks_expect(self, self->other, offset, 0);
}

static void several_sends_arrive_in_order(void **state) {
    (void)state;
    ranks_run(2, several, NULL);
}

static void a_rank_sends_to_itself(rank *self) {
    good(ncclGroupStart());
    good(ranks_send(self, 4000, self->rank));
    good(ranks_receive(self, 4000, self->rank));
    good(ncclGroupEnd());
    ranks_expect(self, self->other, 4000, (unsigned)self->rank);
}

/* ---- collectives ---- */

static void broadcasts_come_from_their_root(rank *self) {
    for (int root = 0; root < self->ranks; root++) {
        good(ncclBroadcast(self->device, self->other, CHECK_BYTES, ncclInt8, root, self->comm,
                           self->stream));
        ranks_expect(self, self->other, CHECK_BYTES, (unsigned)root);
    }
    good(ranks_cast(self, CHECK_BYTES, 1));
    ranks_expect(self, self->device, CHECK_BYTES, 1);
    good(ranks_cast(self, 0, 0));
}

static void all_gathers_collect_the_parts(rank *self) {
    size_t own = (size_t)self->rank * PART;
    good(ranks_gather(self, PART));
    for (int i = 0; i < self->ranks; i++)
        ranks_expect(self, self->other + (size_t)i * PART, PART, (unsigned)i);
    check_fill(self->host, PART, 50 + (unsigned)self->rank);
    ranks_upload(self, self->other + own, PART);
    good(ncclAllGather(self->other + own, self->other, PART, ncclInt8, self->comm, self->stream));
    for (int i = 0; i < self->ranks; i++)
        ranks_expect(self, self->other + (size_t)i * PART, PART, 50 + (unsigned)i);
}

/* ---- communicators ---- */

static void questions(rank *self) {
    int count = -1, rank_number = -1;
    ncclResult_t state = ncclInternalError;
    good(ncclCommCount(self->comm, &count));
    good(ncclCommUserRank(self->comm, &rank_number));
    good(ncclCommGetAsyncError(self->comm, &state));
    same(count, self->ranks);
    same(rank_number, self->rank);
    same(state, ncclSuccess);
}

static void communicators_know_themselves(void **state) {
    (void)state;
    int version = 0;
    ranks_run(ranks_available(), questions, NULL);
    good(ncclGetVersion(&version));
    holds(version >= 22700);
}

static void wrong_arguments_are_refused(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t comm = NULL;
    config.minCTAs = 4;
    config.maxCTAs = 2;
    same(ncclCommInitRankConfig(&comm, 2, self->id, self->rank, &config), ncclInvalidArgument);
    same(ncclCommInitRank(&comm, 2, self->id, 2), ncclInvalidArgument);
    same(ncclCommInitRank(&comm, 0, self->id, 0), ncclInvalidArgument);
}

static void a_wrong_call_fails_its_group(rank *self) {
    same(ranks_send(self, 1, 2), ncclInvalidArgument);
    good(ncclGroupStart());
    good(ranks_send(self, 1, 1 - self->rank));
    same(ranks_receive(self, 1, -1), ncclInvalidArgument);
    same(ncclGroupEnd(), ncclInvalidArgument); /* and none of its operations happens */
    ring(self);
}

/* Calls may stay in progress, and may enqueue their operations only later. */
static void calls_need_not_block(rank *self) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    int peer = 1 - self->rank;
    ncclResult_t result =
        ncclCommInitRankConfig(&self->comm, self->ranks, self->id, self->rank, &config);
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    good(ncclGroupStart());
    result = ranks_send(self, 5000, peer);
    holds(result == ncclSuccess || result == ncclInProgress);
    result = ranks_receive(self, 5000, peer);
    holds(result == ncclSuccess || result == ncclInProgress);
    result = ncclGroupEnd();
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    ranks_expect(self, self->other, 5000, (unsigned)peer);
    result = ncclCommFinalize(self->comm);
    holds(result == ncclSuccess || result == ncclInProgress);
    good(ranks_settled(self->comm));
    good(ncclCommDestroy(self->comm));
}

static void one_rank_is_a_communicator(rank *self) {
    good(ranks_gather(self, 100));
    ranks_expect(self, self->other, 100, 0);
    good(ranks_cast(self, 100, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(sends_go_round),
        RANKS(several_sends_arrive_in_order),
        RANKS_OF(2, a_rank_sends_to_itself),
        RANKS_OF(0, broadcasts_come_from_their_root),
        RANKS_OF(0, all_gathers_collect_the_parts),
        RANKS(communicators_know_themselves),
        RANKS_BARE(1, wrong_arguments_are_refused),
        RANKS_OF(2, a_wrong_call_fails_its_group),
        RANKS_BARE(2, calls_need_not_block),
        RANKS_OF(1, one_rank_is_a_communicator),
    };
    if (!needs_device() || !needs(ranks_available() > 1, "two devices") ||
        !needs(FAKECUDA == FAKENCCL, "both fakes or both real libraries"))
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
