/* Communicators: their list, the threads that use them, failures, the end, and queries. */
#include "fake_nccl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ncclComm_t comms; /* newest first, ended ones too */
static uint64_t numbers;

nfake_shared *nfake_shared_of(ncclComm_t comm) {
    return comm->segment->shared;
}

ncclComm_t nfake_comm_find(ncclComm_t handle, bool ended_too) {
    ncclComm_t comm = comms;
    while (comm && comm != handle)
        comm = comm->next;
    return comm && (ended_too || !comm->ended) ? comm : NULL;
}

nfake_name nfake_comm_name(const struct ncclComm *comm) {
    nfake_name name;
    snprintf(name.text, sizeof name.text, "rank %d of %d in communicator %llu", comm->rank,
             comm->ranks, (unsigned long long)comm->number);
    return name;
}

ncclComm_t nfake_comm_make(const ncclConfig_t *config, int rank, int ranks, int device) {
    ncclComm_t made = fake_must(calloc(1, sizeof *made));
    made->references = 1;
    made->number = ++numbers;
    made->call = nfake_call_number();
    made->rank = rank;
    made->ranks = ranks;
    made->device = device;
    made->config = *config;
    made->blocking = config->blocking != 0;
    made->next = comms;
    comms = made;
    return made;
}

void nfake_comm_keep(ncclComm_t comm) {
    comm->references++;
}

void nfake_ranges_free(nfake_range *list) {
    while (list) {
        nfake_range *gone = list;
        list = gone->next;
        free(gone);
    }
}

void nfake_comm_drop(ncclComm_t comm) {
    if (--comm->references > 0)
        return;
    nfake_ranges_free(comm->windows);
    nfake_segment_drop(comm->segment);
    free(comm);
}

ncclComm_t nfake_comm_windowed(const char *address, size_t size) {
    for (ncclComm_t comm = comms; comm; comm = comm->next) {
        for (nfake_range *w = comm->windows; w && !comm->ended; w = w->next)
            if (w->address >= address && w->address < address + size)
                return comm;
    }
    return NULL;
}

/* Marks the thread that uses it, from a call until the call or its group ends. */
void nfake_comm_claim(ncclComm_t comm) {
    comm->user = nfake_self()->number;
    comm->claims++;
}

void nfake_comm_unclaim(ncclComm_t comm) {
    comm->claims--;
}

/* ---- failing and waiting ---- */

ncclResult_t nfake_comm_state(ncclComm_t comm) {
    if (comm->async != ncclSuccess || !comm->segment)
        return comm->async;
    if (comm->revoked)
        return ncclInvalidUsage;
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_shared_lock(shared);
    ncclResult_t result = shared->failed;
    nfake_shared_unlock(shared);
    return result;
}

ncclResult_t nfake_comm_stopped(ncclComm_t comm) {
    nfake_lock();
    ncclResult_t result = comm->ended ? ncclInternalError : nfake_comm_state(comm);
    nfake_unlock();
    return result;
}

void nfake_comm_fail(ncclComm_t comm, ncclResult_t result) {
    nfake_lock();
    if (comm->async == ncclSuccess)
        comm->async = result;
    nfake_unlock();
}

void nfake_disagree(ncclComm_t comm, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_shared_lock(shared);
    bool first = shared->failed == ncclSuccess;
    shared->failed = ncclInternalError;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    if (!first)
        return;
    nfake_lock();
    fake_violation("%s: %s", nfake_comm_name(comm).text, text);
    nfake_unlock();
}

static ncclResult_t give_up(ncclComm_t comm, const char *function, const char *what) {
    nfake_lock();
    fake_violation("%s waits too long in %s for %s", nfake_comm_name(comm).text, function, what);
    nfake_unlock();
    return ncclRemoteError;
}

ncclResult_t nfake_await(const nfake_condition *condition, const char *function) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    uint64_t deadline = nfake_deadline_us();
    ncclResult_t result = ncclSuccess;
    char what[128] = "";
    fake_hide();
    uint32_t seen = nfake_seen(shared);
    while (!condition->holds(condition, what, sizeof what)) {
        result = nfake_comm_stopped(condition->comm);
        bool late = nfake_now_us() > deadline;
        if (result != ncclSuccess || late) {
            /* It may hold now: the other ranks may have arrived, gone on and failed. */
            if (condition->holds(condition, what, sizeof what))
                result = ncclSuccess;
            else if (result == ncclSuccess)
                result = give_up(condition->comm, function, what);
            break;
        }
        nfake_wait_change(shared, seen);
        seen = nfake_seen(shared);
    }
    fake_show();
    return result;
}

static bool quiet(const nfake_condition *condition, char *what, size_t room) {
    nfake_lock();
    uint64_t left = condition->comm->launched - condition->comm->finished;
    nfake_unlock();
    snprintf(what, room, "%llu launches of its own", (unsigned long long)left);
    return left == 0;
}

ncclResult_t nfake_comm_quiesce(ncclComm_t comm, const char *function) {
    return nfake_await(&(nfake_condition){.holds = quiet, .comm = comm}, function);
}

/* ---- ending ---- */

void nfake_comm_end(ncclComm_t comm) {
    comm->ended = true;
    if (comm->segment)
        nfake_changed(nfake_shared_of(comm));
}

/* Waits until nothing of it runs in a stream or in another thread's call, which see its end. */
static void wait_until_left(ncclComm_t comm) {
    uint64_t deadline = nfake_deadline_us();
    while (nfake_now_us() < deadline) {
        nfake_lock();
        bool left = comm->running == 0 && comm->pending == 0 &&
                    (comm->claims == 0 || comm->user == nfake_self()->number);
        nfake_unlock();
        if (left)
            return;
        usleep(100);
    }
}

NFAKE_EXPORT ncclResult_t ncclCommAbort(ncclComm_t comm) {
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, 0, &self);
    if (!self)
        return nfake_leave(result);
    nfake_comm_end(self);
    nfake_unlock();
    wait_until_left(self);
    return result;
}

/* Ends everything that runs on it; the other ranks do not learn of it. */
NFAKE_EXPORT ncclResult_t ncclCommRevoke(ncclComm_t comm, int revokeFlags) {
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, 0, &self);
    nfake_require_version(NCCL_VERSION(2, 28, 7));
    if (result == ncclSuccess && (nfake_config()->no_revoke || revokeFlags != 0))
        result = ncclInvalidUsage;
    if (result == ncclSuccess && (self->revoked || self->finalized)) {
        fake_violation("%s on %s, which was %s", __func__, nfake_comm_name(self).text,
                       self->revoked ? "revoked before" : "finalized");
        result = ncclInvalidUsage;
    }
    if (result != ncclSuccess)
        return nfake_leave(result);
    self->revoked = !nfake_config()->deaf;
    nfake_changed(nfake_shared_of(self));
    if (!self->blocking)
        return nfake_leave(ncclInProgress);
    nfake_unlock();
    wait_until_left(self);
    return ncclSuccess;
}

NFAKE_EXPORT ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    if (!comm)
        return ncclSuccess;
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, NFAKE_OWN, &self);
    if (!self)
        return nfake_leave(result);
    nfake_name name = nfake_comm_name(self);
    if (self->pending > 0)
        fake_violation("ncclCommDestroy on %s, which is still in progress", name.text);
    else if (nfake_comm_state(self) != ncclSuccess && !self->revoked)
        fake_violation("ncclCommDestroy on %s, which has failed and must be aborted", name.text);
    if (self->windows)
        fake_violation("ncclCommDestroy on %s, which has windows", name.text);
    nfake_comm_claim(self);
    nfake_unlock();
    ncclResult_t quiet = ncclSuccess;
    if (self->revoked)
        wait_until_left(self);
    else
        quiet = nfake_comm_quiesce(self, __func__);
    nfake_lock();
    if (quiet == ncclSuccess && !self->revoked)
        quiet = nfake_comm_state(self);
    nfake_comm_unclaim(self);
    nfake_comm_end(self);
    return nfake_leave(result != ncclSuccess ? result : quiet);
}

static ncclResult_t finalize(nfake_job *job) {
    return nfake_comm_quiesce(job->comm, job->function);
}

NFAKE_EXPORT ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    ncclComm_t self = NULL;
    ncclResult_t result =
        nfake_enter_comm(__func__, comm, NFAKE_READY | NFAKE_OWN | NFAKE_ALONE, &self);
    if (result == ncclSuccess && self->finalized) {
        fake_violation("%s on %s, for the second time", __func__, nfake_comm_name(self).text);
        result = ncclInvalidArgument;
    }
    if (result != ncclSuccess)
        return nfake_leave(result);
    self->finalized = true;
    return nfake_do(&(nfake_job){.run = finalize, .comm = self, .function = __func__});
}

static void leave_behind(ncclComm_t comm) {
    if (comm->ended)
        return;
    fake_violation("leaked: %s, made by call %llu", nfake_comm_name(comm).text,
                   (unsigned long long)comm->call);
    nfake_comm_end(comm);
}

void nfake_comms_end(void) {
    for (ncclComm_t comm = comms; comm; comm = comm->next)
        leave_behind(comm);
    for (ncclComm_t comm = comms; comm; comm = comm->next) {
        nfake_unlock();
        wait_until_left(comm);
        nfake_lock();
    }
}

/* A launch that waits in a held stream keeps its communicator. */
void nfake_comms_reset(void) {
    while (comms) {
        ncclComm_t gone = comms;
        comms = gone->next;
        nfake_comm_drop(gone);
    }
    numbers = 0;
}

/* ---- queries ---- */

NFAKE_EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError) {
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, 0, &self);
    if (result != ncclSuccess)
        return nfake_leave(result);
    bool busy = self->pending > 0 || (self->revoked && self->running > 0);
    *asyncError = busy ? ncclInProgress : nfake_comm_state(self);
    return nfake_leave(result);
}

static ncclResult_t ask(const char *function, ncclComm_t handle, int *out, ncclComm_t *comm) {
    ncclResult_t result = nfake_enter_comm(function, handle, NFAKE_READY, comm);
    return result == ncclSuccess && !out ? ncclInvalidArgument : result;
}

NFAKE_EXPORT ncclResult_t ncclCommCount(ncclComm_t comm, int *count) {
    ncclComm_t self = NULL;
    ncclResult_t result = ask(__func__, comm, count, &self);
    if (result == ncclSuccess)
        *count = self->ranks;
    return nfake_leave(result);
}

NFAKE_EXPORT ncclResult_t ncclCommUserRank(ncclComm_t comm, int *rank) {
    ncclComm_t self = NULL;
    ncclResult_t result = ask(__func__, comm, rank, &self);
    if (result == ncclSuccess)
        *rank = self->rank;
    return nfake_leave(result);
}

NFAKE_EXPORT bool fakenccl_comm_config(ncclComm_t handle, ncclConfig_t *out) {
    nfake_lock();
    const struct ncclComm *comm = nfake_comm_find(handle, true);
    if (comm)
        *out = comm->config;
    nfake_unlock();
    return comm != NULL;
}
