/* Splitting communicators. Every rank says its color and key; the first of each color makes the
 * new segment, and says its name in its old seat. */
#include "fake_nccl.h"

#include <stdio.h>
#include <string.h>

static const nfake_split *split_of(const nfake_shared *shared, int rank, uint64_t number) {
    return &shared->seats[rank].split[number % 2];
}

static void post(ncclComm_t parent, uint64_t number, int color, int key) {
    nfake_shared *shared = nfake_shared_of(parent);
    nfake_seat *seat = &shared->seats[parent->rank];
    nfake_shared_lock(shared);
    seat->split[number % 2] = (nfake_split){.color = color, .key = key};
    seat->splits = number;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
}

static bool all_posted(const nfake_condition *condition, char *what, size_t room) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    nfake_shared_lock(shared);
    int absent = -1;
    for (int i = condition->comm->ranks - 1; i >= 0; i--)
        absent = shared->seats[i].splits < condition->number ? i : absent;
    nfake_shared_unlock(shared);
    snprintf(what, room, "rank %d, which has not split", absent);
    return absent < 0;
}

static bool opened(const nfake_condition *condition, char *what, size_t room) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    nfake_shared_lock(shared);
    bool is = shared->seats[condition->peer].opened >= condition->number;
    nfake_shared_unlock(shared);
    snprintf(what, room, "rank %d, the first of its color", condition->peer);
    return is;
}

typedef struct part {
    int rank, ranks, first; /* in the new one; the old rank of its first */
} part;

static bool before(const nfake_split *a, int a_rank, const nfake_split *b, int b_rank) {
    return a->key != b->key ? a->key < b->key : a_rank < b_rank;
}

/* By key, then by old rank. */
static part find_part(ncclComm_t parent, uint64_t number) {
    const nfake_shared *shared = nfake_shared_of(parent); /* settled once all have posted */
    const nfake_split *mine = split_of(shared, parent->rank, number);
    part found = {.first = parent->rank};
    for (int i = 0; i < parent->ranks; i++) {
        const nfake_split *each = split_of(shared, i, number);
        if (each->color != mine->color)
            continue;
        found.ranks++;
        found.rank += before(each, i, mine, parent->rank);
        if (before(each, i, split_of(shared, found.first, number), found.first))
            found.first = i;
    }
    return found;
}

static ncclResult_t open_segment(ncclComm_t parent, uint64_t number) {
    char path[NFAKE_PATH];
    if (!nfake_segment_make(path))
        return nfake_fail(ncclSystemError, "no file in the temporary folder");
    nfake_shared *shared = nfake_shared_of(parent);
    nfake_seat *seat = &shared->seats[parent->rank];
    nfake_shared_lock(shared);
    memcpy(seat->split[number % 2].path, path, sizeof path);
    seat->opened = number;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    return ncclSuccess;
}

/* The new communicator is the program's once it is whole. */
static ncclResult_t enter_part(nfake_job *job, uint64_t number, const part *place) {
    ncclComm_t parent = job->comm;
    nfake_lock();
    ncclComm_t made = nfake_comm_make(&job->config, place->rank, place->ranks, parent->device);
    ncclResult_t result =
        nfake_comm_join(made, split_of(nfake_shared_of(parent), place->first, number)->path);
    nfake_unlock();
    if (result == ncclSuccess)
        result = nfake_comm_assemble(made, parent, job->function);
    nfake_lock();
    if (result != ncclSuccess)
        nfake_comm_end(made, NFAKE_DEAD);
    else
        *job->out = made;
    nfake_unlock();
    return result;
}

static ncclResult_t split(nfake_job *job) {
    ncclComm_t parent = job->comm;
    uint64_t number = job->number;
    nfake_condition condition = {.holds = all_posted, .comm = parent, .number = number};
    fake_hide();
    post(parent, number, job->color, job->key);
    ncclResult_t result = nfake_await(&condition, job->function);
    if (result != ncclSuccess || job->color == NCCL_SPLIT_NOCOLOR) {
        fake_show();
        return result;
    }
    part place = find_part(parent, number);
    if (place.first == parent->rank)
        result = open_segment(parent, number);
    condition.holds = opened;
    condition.peer = place.first;
    if (result == ncclSuccess)
        result = nfake_await(&condition, job->function);
    fake_show();
    return result != ncclSuccess ? result : enter_part(job, number, &place);
}

/* What is not said is as in the parent. */
static ncclResult_t inherit(ncclComm_t parent, const ncclConfig_t *wanted, ncclConfig_t *out) {
    if (!wanted) {
        *out = parent->config;
        return ncclSuccess;
    }
    return nfake_config_read(wanted, out);
}

NFAKE_EXPORT ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t *newcomm,
                                        ncclConfig_t *config) {
    nfake_group_begin();
    ncclComm_t self = NULL;
    nfake_job job = {
        .run = split, .out = newcomm, .function = __func__, .color = color, .key = key};
    ncclResult_t result = nfake_enter_comm(__func__, comm, NFAKE_READY | NFAKE_OWN, &self);
    if (newcomm)
        *newcomm = NULL;
    if (result == ncclSuccess && (!newcomm || (color < 0 && color != NCCL_SPLIT_NOCOLOR)))
        result = nfake_fail(ncclInvalidArgument, "color %d", color);
    if (result == ncclSuccess)
        result = inherit(self, config, &job.config);
    if (result == ncclSuccess) {
        job.comm = self;
        job.number = ++self->splits;
        nfake_group_add_job(&job);
    }
    nfake_unlock();
    return nfake_group_end(result);
}
