/* Groups of sends and receives, and the second half of every call that waits for other ranks or
 * enqueues. On a blocking communicator it runs before the call returns, on a non-blocking one a
 * little later in a thread of its own. */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct nfake_group {
    nfake_group *next; /* all open ones */
    uint64_t call;
    nfake_task *tasks, **tail;
    ncclResult_t error; /* of the first call that failed */
};

static nfake_group *groups;
static size_t finishing; /* threads that finish a call */

/* ---- jobs ---- */

static void *finish(void *argument) {
    nfake_job *job = argument;
    usleep(nfake_config()->lag_us);
    ncclResult_t result = job->run(job);
    if (result != ncclSuccess)
        nfake_comm_fail(job->comm, result);
    nfake_lock();
    job->comm->pending--;
    finishing--;
    nfake_unlock();
    free(job);
    return NULL;
}

static void finish_later(const nfake_job *wanted) {
    pthread_t thread;
    nfake_job *job = fake_must(malloc(sizeof *job));
    *job = *wanted;
    if (pthread_create(&thread, NULL, finish, job) != 0)
        abort();
    pthread_detach(thread);
}

ncclResult_t nfake_do(nfake_job *job) {
    ncclComm_t comm = job->comm;
    if (!comm->blocking) {
        comm->pending++;
        finishing++;
        nfake_unlock();
        finish_later(job);
        return ncclInProgress;
    }
    nfake_comm_claim(comm);
    nfake_unlock();
    ncclResult_t result = job->run(job);
    nfake_lock();
    nfake_comm_unclaim(comm);
    return nfake_leave(result);
}

void nfake_jobs_drain(void) {
    while (finishing > 0) {
        nfake_unlock();
        usleep(100);
        nfake_lock();
    }
}

/* ---- connections made by the first operation ---- */

static uint32_t new_peers(const nfake_job *job) {
    uint32_t all = (1u << job->comm->ranks) - 1, peers = 0;
    for (const nfake_task *task = job->tasks; task; task = task->next)
        peers |= task->kind <= FAKENCCL_RECV ? 1u << task->peer : all;
    return peers & ~(1u << job->comm->rank) & ~job->comm->called;
}

static bool all_called(const nfake_condition *condition, char *what, size_t room) {
    ncclComm_t comm = condition->comm;
    nfake_shared *shared = nfake_shared_of(comm);
    int missing = -1;
    nfake_shared_lock(shared);
    for (int i = comm->ranks - 1; i >= 0; i--) {
        bool wanted = (condition->number >> i & 1) != 0;
        if (wanted && (shared->seats[i].called >> comm->rank & 1) == 0)
            missing = i;
    }
    nfake_shared_unlock(shared);
    snprintf(what, room, "a connection to rank %d, which has called nothing with it", missing);
    return missing < 0;
}

static ncclResult_t meet(const nfake_job *job) {
    nfake_shared *shared = nfake_shared_of(job->comm);
    nfake_lock();
    uint32_t peers = new_peers(job);
    nfake_unlock();
    nfake_shared_lock(shared);
    shared->seats[job->comm->rank].called |= peers;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    ncclResult_t result = nfake_await(
        &(nfake_condition){.holds = all_called, .comm = job->comm, .number = peers}, "a call");
    nfake_lock();
    if (result == ncclSuccess)
        job->comm->called |= peers;
    nfake_unlock();
    return result;
}

/* ---- enqueuing operations ---- */

/* A send to the own rank needs a receive in the same group. */
static ncclResult_t check_self(const nfake_job *job) {
    size_t sends = 0, receives = 0;
    for (const nfake_task *task = job->tasks; task; task = task->next) {
        bool self = task->peer == job->comm->rank;
        sends += self && task->kind == FAKENCCL_SEND;
        receives += self && task->kind == FAKENCCL_RECV;
    }
    if (sends == receives)
        return ncclSuccess;
    nfake_lock();
    fake_violation("%s sends to itself %zu times and receives %zu times in one group",
                   nfake_comm_name(job->comm).text, sends, receives);
    nfake_unlock();
    return ncclInvalidUsage;
}

static ncclResult_t launch(nfake_job *job) {
    ncclResult_t result = check_self(job);
    if (result == ncclSuccess && nfake_config()->meet)
        result = meet(job);
    if (result == ncclSuccess)
        return nfake_launch_tasks(job->comm, job->tasks);
    nfake_tasks_free(job->tasks);
    return result;
}

static ncclResult_t launch_soon(nfake_task *tasks) {
    return nfake_do(&(nfake_job){.run = launch, .comm = tasks->comm, .tasks = tasks});
}

static ncclResult_t check(const nfake_group *group, const nfake_task *task) {
    const nfake_task *first = group->tasks;
    if (task->kind <= FAKENCCL_RECV &&
        (!first || (first->comm == task->comm && first->stream == task->stream)))
        return ncclSuccess;
    fake_violation("%s: the fake's groups are sends and receives of one communicator and stream",
                   nfake_function());
    return ncclInvalidUsage;
}

ncclResult_t nfake_operate(ncclResult_t result, const nfake_task *task) {
    nfake_group *group = nfake_self()->group;
    if (!group)
        return result == ncclSuccess ? launch_soon(nfake_task_copy(task)) : nfake_leave(result);
    if (result == ncclSuccess)
        result = check(group, task);
    if (group->error == ncclSuccess)
        group->error = result;
    if (result == ncclSuccess) {
        if (!group->tasks)
            nfake_comm_claim(task->comm);
        *group->tail = nfake_task_copy(task);
        group->tail = &(*group->tail)->next;
    }
    return nfake_leave(result);
}

/* ---- groups ---- */

static void group_open(nfake_thread *self) {
    nfake_group *made = fake_must(calloc(1, sizeof *made));
    made->call = nfake_call_number();
    made->tail = &made->tasks;
    made->next = groups;
    groups = made;
    self->group = made;
}

/* Locked. Releases its communicator; returns its tasks. */
static nfake_task *group_close(nfake_group *group) {
    nfake_task *tasks = group->tasks;
    nfake_group **at = &groups;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    if (tasks)
        nfake_comm_unclaim(tasks->comm);
    free(group);
    return tasks;
}

NFAKE_EXPORT ncclResult_t ncclGroupStart(void) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    nfake_thread *self = nfake_self();
    if (result == ncclSuccess && self->depth++ == 0)
        group_open(self);
    return nfake_leave(result);
}

/* A requested failure also closes the group. */
NFAKE_EXPORT ncclResult_t ncclGroupEnd(void) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    nfake_thread *self = nfake_self();
    nfake_group *group = self->group;
    if (!group) {
        fake_violation("ncclGroupEnd without ncclGroupStart");
        return nfake_leave(ncclInvalidUsage);
    }
    if (group->error == ncclSuccess)
        group->error = result;
    if (--self->depth > 0)
        return nfake_leave(result);
    result = group->error;
    self->group = NULL;
    nfake_task *tasks = group_close(group);
    if (result == ncclSuccess && tasks)
        return launch_soon(tasks);
    nfake_tasks_free(tasks);
    return nfake_leave(result);
}

void nfake_groups_reset(void) {
    while (groups) {
        fake_violation("leaked: a group, opened after call %llu", (unsigned long long)groups->call);
        nfake_tasks_free(group_close(groups));
    }
}
