/* Creating communicators: unique ids, and waiting for all ranks. */
#include "fake_nccl.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "fakenccl:"

_Static_assert(sizeof PREFIX + NFAKE_PATH <= NCCL_UNIQUE_ID_BYTES, "a file's name fits into an id");

NFAKE_EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    char path[NFAKE_PATH];
    if (result == ncclSuccess && !nfake_segment_make(path))
        result = ncclSystemError;
    if (result == ncclSuccess) {
        memset(uniqueId, 0, sizeof *uniqueId);
        snprintf(uniqueId->internal, sizeof uniqueId->internal, "%s%s", PREFIX, path);
    }
    return nfake_leave(result);
}

/* ---- a rank takes its seat ---- */

static ncclResult_t take_seat(ncclComm_t comm, nfake_shared *shared) {
    nfake_seat *seat = &shared->seats[comm->rank];
    if (shared->ranks != 0 && shared->ranks != comm->ranks) {
        fake_violation("%s: %d ranks here, %d elsewhere", nfake_function(), comm->ranks,
                       shared->ranks);
        return ncclInvalidUsage;
    }
    if (seat->present) {
        fake_violation("%s: rank %d comes twice", nfake_function(), comm->rank);
        return ncclInvalidUsage;
    }
    shared->ranks = comm->ranks;
    seat->present = true;
    seat->device = comm->device;
    return ncclSuccess;
}

static ncclResult_t join(ncclComm_t comm, const char *path) {
    comm->segment = nfake_segment_open(path);
    if (!comm->segment) {
        fake_violation("%s: the unique id was used already, or the process that made it has ended",
                       nfake_function());
        return ncclSystemError;
    }
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_shared_lock(shared);
    ncclResult_t result = take_seat(comm, shared);
    nfake_shared_unlock(shared);
    if (result == ncclSuccess)
        nfake_changed(shared);
    return result;
}

/* ---- and waits for the other ranks ---- */

static bool all_present(const nfake_condition *condition, char *what, size_t room) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    nfake_shared_lock(shared);
    int absent = -1;
    for (int i = condition->comm->ranks - 1; i >= 0; i--)
        absent = shared->seats[i].present ? absent : i;
    nfake_shared_unlock(shared);
    snprintf(what, room, "rank %d, which has not come", absent);
    return absent < 0;
}

/* Whether two ranks are on one device; all ranks see the same. */
static bool crowded(ncclComm_t comm) {
    const nfake_shared *shared = nfake_shared_of(comm); /* fixed once all ranks have arrived */
    for (int one = 0; one < comm->ranks; one++) {
        for (int other = one + 1; other < comm->ranks; other++)
            if (shared->seats[one].device == shared->seats[other].device)
                return true;
    }
    return false;
}

static ncclResult_t assemble(nfake_job *job) {
    ncclComm_t comm = job->comm;
    ncclResult_t result =
        nfake_await(&(nfake_condition){.holds = all_present, .comm = comm}, job->function);
    if (result != ncclSuccess)
        return result;
    nfake_lock();
    nfake_segment_complete(comm->segment);
    bool bad = crowded(comm);
    nfake_unlock();
    return bad ? ncclInvalidUsage : ncclSuccess;
}

/* ---- the calls ---- */

static ncclResult_t check(int ranks, const ncclUniqueId *id, int rank) {
    if (ranks < 1 || rank < 0 || rank >= ranks)
        return ncclInvalidArgument;
    if (ranks > FAKENCCL_RANKS) {
        fake_violation("%s: the fake has room for %d ranks", nfake_function(), FAKENCCL_RANKS);
        return ncclInvalidArgument;
    }
    if (nfake_self()->group) {
        fake_violation("%s inside a group", nfake_function());
        return ncclInvalidUsage;
    }
    if (strncmp(id->internal, PREFIX, strlen(PREFIX)) != 0) {
        fake_violation("%s: no unique id", nfake_function());
        return ncclInvalidArgument;
    }
    return ncclSuccess;
}

static ncclResult_t come(ncclComm_t *out, int ranks, const ncclUniqueId *id, int rank,
                         const ncclConfig_t *wanted) {
    ncclConfig_t config;
    ncclResult_t result = nfake_config_read(wanted, &config);
    if (result != ncclSuccess)
        return result;
    *out = nfake_comm_make(&config, rank, ranks, fakecuda_device());
    return join(*out, id->internal + strlen(PREFIX));
}

/* A call that fails leaves no communicator. A non-blocking one that fails later remains. */
static ncclResult_t init(const char *function, ncclComm_t *out, int ranks, const ncclUniqueId *id,
                         int rank, const ncclConfig_t *config) {
    ncclResult_t result = nfake_enter(function, rank);
    *out = NULL;
    if (result == ncclSuccess)
        result = check(ranks, id, rank);
    if (result == ncclSuccess)
        result = come(out, ranks, id, rank, config);
    if (result == ncclSuccess) {
        result = nfake_do(&(nfake_job){.run = assemble, .comm = *out, .function = function});
        nfake_lock();
    }
    if (result != ncclSuccess && result != ncclInProgress) {
        if (*out)
            nfake_comm_end(*out);
        *out = NULL;
    }
    return nfake_leave(result);
}

NFAKE_EXPORT ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId,
                                           int rank) {
    return init(__func__, comm, nranks, &commId, rank, NULL);
}

NFAKE_EXPORT ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId,
                                                 int rank, ncclConfig_t *config) {
    return init(__func__, comm, nranks, &commId, rank, config);
}
