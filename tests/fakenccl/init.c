/* Making communicators: unique ids, and ranks that come together. */
#include "fake_nccl.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "fakenccl:"

_Static_assert(sizeof PREFIX + NFAKE_PATH <= NCCL_UNIQUE_ID_BYTES, "a file's name fits into an id");

NFAKE_EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    char path[NFAKE_PATH];
    if (result == ncclSuccess && !uniqueId)
        result = nfake_fail(ncclInvalidArgument, "uniqueId is NULL");
    if (result == ncclSuccess && !nfake_segment_make(path))
        result = nfake_fail(ncclSystemError, "no file in the temporary folder");
    if (result == ncclSuccess) {
        memset(uniqueId, 0, sizeof *uniqueId);
        snprintf(uniqueId->internal, sizeof uniqueId->internal, "%s%s", PREFIX, path);
    }
    return nfake_leave(result);
}

/* ---- a rank takes its place ---- */

static ncclResult_t take_seat(ncclComm_t comm, nfake_shared *shared) {
    nfake_seat *seat = &shared->seats[comm->rank];
    if (shared->ranks != 0 && shared->ranks != comm->ranks) {
        fake_violation("%s: %d ranks here, %d elsewhere", nfake_function(), comm->ranks,
                       shared->ranks);
        return nfake_fail(ncclInvalidUsage, "the number of ranks differs");
    }
    if (seat->presence != NFAKE_ABSENT) {
        fake_violation("%s: rank %d comes twice", nfake_function(), comm->rank);
        return nfake_fail(ncclInvalidUsage, "rank %d comes twice", comm->rank);
    }
    shared->ranks = comm->ranks;
    shared->present++;
    seat->presence = NFAKE_PRESENT;
    seat->device = comm->device;
    return ncclSuccess;
}

ncclResult_t nfake_comm_join(ncclComm_t comm, const char *path) {
    comm->segment = nfake_segment_open(path);
    if (!comm->segment) {
        fake_violation("%s: the unique id was used already, or who made it has ended",
                       nfake_function());
        return nfake_fail(ncclSystemError, "nobody listens at the unique id");
    }
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_shared_lock(shared);
    ncclResult_t result = take_seat(comm, shared);
    nfake_shared_unlock(shared);
    if (result == ncclSuccess)
        nfake_changed(shared);
    return result;
}

/* ---- and waits for the others ---- */

static bool all_present(const nfake_condition *condition, char *what, size_t room) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    nfake_shared_lock(shared);
    int absent = -1;
    for (int i = condition->comm->ranks - 1; i >= 0; i--)
        absent = shared->seats[i].presence == NFAKE_ABSENT ? i : absent;
    nfake_shared_unlock(shared);
    snprintf(what, room, "rank %d, which has not come", absent);
    return absent < 0;
}

/* Two ranks on one device, which all ranks see. */
static bool crowded(ncclComm_t comm, int *one, int *other) {
    const nfake_shared *shared = nfake_shared_of(comm); /* settled once all have come */
    for (*one = 0; *one < comm->ranks; (*one)++) {
        for (*other = *one + 1; *other < comm->ranks; (*other)++) {
            if (shared->seats[*one].device == shared->seats[*other].device)
                return true;
        }
    }
    return false;
}

ncclResult_t nfake_comm_assemble(ncclComm_t comm, ncclComm_t parent, const char *function) {
    ncclResult_t result = nfake_await(
        &(nfake_condition){.holds = all_present, .comm = comm, .parent = parent}, function);
    if (result != ncclSuccess)
        return result;
    int one = 0, other = 0;
    nfake_lock();
    nfake_segment_complete(comm->segment);
    bool bad = crowded(comm, &one, &other);
    nfake_unlock();
    return bad ? nfake_fail(ncclInvalidUsage, "ranks %d and %d are on one device", one, other)
               : ncclSuccess;
}

/* A communicator that was not made is nobody's; one in progress stays, and has failed. */
static ncclResult_t assemble(nfake_job *job) {
    ncclComm_t comm = job->comm;
    ncclResult_t result = nfake_comm_assemble(comm, NULL, job->function);
    if (result == ncclSuccess || !comm->blocking)
        return result;
    nfake_lock();
    if (comm->end == NFAKE_LIVE)
        nfake_comm_end(comm, NFAKE_DEAD);
    *job->out = NULL;
    nfake_unlock();
    return result;
}

/* ---- the calls ---- */

static ncclResult_t check(ncclComm_t *out, int ranks, const ncclUniqueId *id, int rank) {
    if (!out || ranks < 1 || rank < 0 || rank >= ranks)
        return nfake_fail(ncclInvalidArgument, "rank %d of %d", rank, ranks);
    if (ranks > FAKENCCL_RANKS) {
        fake_violation("%s: the fake has room for %d ranks", nfake_function(), FAKENCCL_RANKS);
        return nfake_fail(ncclInvalidArgument, "%d ranks", ranks);
    }
    if (strncmp(id->internal, PREFIX, strlen(PREFIX)) != 0) {
        fake_violation("%s: no unique id", nfake_function());
        return nfake_fail(ncclInvalidArgument, "no unique id");
    }
    return ncclSuccess;
}

static ncclResult_t come(ncclComm_t *out, int ranks, const ncclUniqueId *id, int rank,
                         const ncclConfig_t *wanted, const char *function) {
    ncclConfig_t config;
    ncclResult_t result = nfake_config_read(wanted, &config);
    if (result != ncclSuccess)
        return result;
    ncclComm_t comm = nfake_comm_make(&config, rank, ranks, fakecuda_device());
    result = nfake_comm_join(comm, id->internal + strlen(PREFIX));
    if (result != ncclSuccess) {
        comm->end = NFAKE_DEAD;
        return result;
    }
    *out = comm;
    nfake_group_add_job(
        &(nfake_job){.run = assemble, .comm = comm, .out = out, .function = function});
    return ncclSuccess;
}

static ncclResult_t init(const char *function, ncclComm_t *out, int ranks, const ncclUniqueId *id,
                         int rank, const ncclConfig_t *config) {
    nfake_group_begin();
    ncclResult_t result = nfake_enter(function, rank);
    if (out)
        *out = NULL;
    if (result == ncclSuccess)
        result = check(out, ranks, id, rank);
    if (result == ncclSuccess)
        result = come(out, ranks, id, rank, config, function);
    nfake_unlock();
    return nfake_group_end(result);
}

NFAKE_EXPORT ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId,
                                           int rank) {
    return init(__func__, comm, nranks, &commId, rank, NULL);
}

NFAKE_EXPORT ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId,
                                                 int rank, ncclConfig_t *config) {
    return init(__func__, comm, nranks, &commId, rank, config);
}
