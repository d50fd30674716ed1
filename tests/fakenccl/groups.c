/* Groups: what calls add to them, and what happens at their end. Each call is in a group, its own
 * if the program has opened none. With non-blocking communicators the end happens behind the
 * program's back, a little later. */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct nfake_group {
    nfake_group *next; /* all open ones */
    uint64_t call;
    nfake_task *tasks, **tasks_tail;
    nfake_job *jobs, **jobs_tail;
    ncclComm_t *comms; /* each once */
    size_t comm_count;
    ncclResult_t error; /* of the first call that failed */
};

static nfake_group *groups;
static size_t behind; /* threads that end a group */

static void group_open(nfake_thread *self) {
    nfake_group *made = fake_must(calloc(1, sizeof *made));
    made->call = nfake_call_number();
    made->tasks_tail = &made->tasks;
    made->jobs_tail = &made->jobs;
    made->next = groups;
    groups = made;
    self->group = made;
}

void nfake_group_begin(void) {
    nfake_lock();
    nfake_thread *self = nfake_self();
    if (self->depth++ == 0)
        group_open(self);
    nfake_unlock();
}

static void add_comm(nfake_group *group, ncclComm_t comm) {
    for (size_t i = 0; i < group->comm_count; i++) {
        if (group->comms[i] == comm)
            return;
    }
    group->comms = fake_must(realloc(group->comms, (group->comm_count + 1) * sizeof(ncclComm_t)));
    group->comms[group->comm_count++] = comm;
    nfake_comm_claim(comm);
    nfake_comm_keep(comm);
}

void nfake_group_add_task(const nfake_task *task) {
    nfake_group *group = nfake_self()->group;
    nfake_task *made = fake_must(malloc(sizeof *made));
    *made = *task;
    made->next = NULL;
    *group->tasks_tail = made;
    group->tasks_tail = &made->next;
    add_comm(group, made->comm);
}

void nfake_group_add_job(const nfake_job *job) {
    nfake_group *group = nfake_self()->group;
    nfake_job *made = fake_must(malloc(sizeof *made));
    *made = *job;
    made->next = NULL;
    *group->jobs_tail = made;
    group->jobs_tail = &made->next;
    add_comm(group, made->comm);
}

/* Locked. What it still has does not happen. */
static void group_free(nfake_group *group) {
    nfake_tasks_free(group->tasks);
    while (group->jobs) {
        nfake_job *gone = group->jobs;
        group->jobs = gone->next;
        free(gone);
    }
    for (size_t i = 0; i < group->comm_count; i++)
        nfake_comm_drop(group->comms[i]);
    free((void *)group->comms);
    free(group);
}

static void unclaim(nfake_group *group) {
    for (size_t i = 0; i < group->comm_count; i++)
        nfake_comm_unclaim(group->comms[i]);
}

/* ---- jobs ---- */

static void *job_main(void *argument) {
    nfake_job *job = argument;
    job->result = job->run(job);
    return NULL;
}

/* Beside each other, since one may wait for what another does. */
static ncclResult_t run_jobs(nfake_job *jobs) {
    ncclResult_t result = ncclSuccess;
    for (nfake_job *job = jobs ? jobs->next : NULL; job; job = job->next) {
        if (pthread_create(&job->thread, NULL, job_main, job) != 0)
            abort();
        job->threaded = true;
    }
    if (jobs)
        (void)job_main(jobs);
    for (nfake_job *job = jobs; job; job = job->next) {
        if (job->threaded)
            pthread_join(job->thread, NULL);
        if (result == ncclSuccess)
            result = job->result;
    }
    return result;
}

/* ---- connections that the first operation makes ---- */

static uint32_t peers_of(const nfake_task *task) {
    uint32_t all = (1u << task->comm->ranks) - 1;
    uint32_t peers = task->kind <= FAKENCCL_RECV ? 1u << task->peer : all;
    return peers & ~(1u << task->comm->rank);
}

static uint32_t new_peers(const nfake_group *group, ncclComm_t comm) {
    uint32_t peers = 0;
    for (const nfake_task *task = group->tasks; task; task = task->next)
        peers |= task->comm == comm ? peers_of(task) : 0;
    return peers & ~comm->called;
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

/* All say that they call before any waits: one thread may have several ranks. */
static ncclResult_t meet(nfake_group *group) {
    for (size_t i = 0; i < group->comm_count; i++) {
        ncclComm_t comm = group->comms[i];
        nfake_shared *shared = nfake_shared_of(comm);
        nfake_shared_lock(shared);
        shared->seats[comm->rank].called |= new_peers(group, comm);
        nfake_shared_unlock(shared);
        nfake_changed(shared);
    }
    ncclResult_t result = ncclSuccess;
    for (size_t i = 0; i < group->comm_count && result == ncclSuccess; i++) {
        ncclComm_t comm = group->comms[i];
        uint32_t peers = new_peers(group, comm);
        result = nfake_await(&(nfake_condition){.holds = all_called, .comm = comm, .number = peers},
                             "ncclGroupEnd");
        if (result == ncclSuccess)
            comm->called |= peers;
    }
    return result;
}

/* ---- the end ---- */

/* The tasks of one communicator, in their order. */
static nfake_task *take_tasks(nfake_group *group, ncclComm_t comm) {
    nfake_task *taken = NULL, **tail = &taken;
    for (nfake_task **at = &group->tasks; *at;) {
        nfake_task *task = *at;
        if (task->comm != comm) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        task->next = NULL;
        *tail = task;
        tail = &task->next;
    }
    return taken;
}

/* Every send to oneself has a receive in the same group. */
static ncclResult_t check_self(const nfake_group *group) {
    for (size_t i = 0; i < group->comm_count; i++) {
        ncclComm_t comm = group->comms[i];
        size_t sends = 0, receives = 0;
        for (const nfake_task *task = group->tasks; task; task = task->next) {
            bool self = task->comm == comm && task->peer == comm->rank;
            sends += self && task->kind == FAKENCCL_SEND;
            receives += self && task->kind == FAKENCCL_RECV;
        }
        if (sends == receives)
            continue;
        nfake_lock();
        fake_violation("%s sends to itself %zu times and receives %zu times in one group",
                       nfake_comm_name(comm).text, sends, receives);
        nfake_unlock();
        return nfake_fail(ncclInvalidUsage, "send or receive to self without its match");
    }
    return ncclSuccess;
}

static ncclResult_t finish(nfake_group *group) {
    ncclResult_t result = run_jobs(group->jobs);
    if (result == ncclSuccess)
        result = check_self(group);
    if (result == ncclSuccess && group->tasks && nfake_config()->meet)
        result = meet(group);
    for (size_t i = 0; i < group->comm_count && result == ncclSuccess; i++) {
        nfake_task *tasks = take_tasks(group, group->comms[i]);
        if (tasks)
            result = nfake_launch_tasks(group->comms[i], tasks);
    }
    return result;
}

static void *finish_behind(void *argument) {
    nfake_group *group = argument;
    usleep(nfake_config()->lag_us);
    ncclResult_t result = finish(group);
    for (size_t i = 0; i < group->comm_count && result != ncclSuccess; i++)
        nfake_comm_fail(group->comms[i], result);
    nfake_lock();
    for (size_t i = 0; i < group->comm_count; i++)
        group->comms[i]->pending--;
    group_free(group);
    behind--;
    nfake_unlock();
    return NULL;
}

static ncclResult_t start_behind(nfake_group *group) {
    pthread_t thread;
    nfake_lock();
    unclaim(group);
    for (size_t i = 0; i < group->comm_count; i++)
        group->comms[i]->pending++;
    behind++;
    nfake_unlock();
    if (pthread_create(&thread, NULL, finish_behind, group) != 0)
        abort();
    pthread_detach(thread);
    return ncclInProgress;
}

static void discard(nfake_group *group) {
    nfake_lock();
    unclaim(group);
    for (nfake_job *job = group->jobs; job; job = job->next) {
        bool made = job->out && *job->out == job->comm; /* by this group */
        if (!made || job->comm->end != NFAKE_LIVE)
            continue;
        nfake_comm_end(job->comm, NFAKE_DEAD);
        *job->out = NULL;
    }
    group_free(group);
    nfake_unlock();
}

/* Whether its communicators block; false when only some do. */
static bool agree(const nfake_group *group, bool *blocking) {
    *blocking = group->comm_count == 0 || group->comms[0]->blocking;
    for (size_t i = 1; i < group->comm_count; i++) {
        if (group->comms[i]->blocking != *blocking)
            return false;
    }
    return true;
}

static ncclResult_t group_close(nfake_group *group) {
    bool blocking = true;
    ncclResult_t result = group->error;
    if (result == ncclSuccess && !agree(group, &blocking))
        result = nfake_fail(ncclInvalidArgument, "blocking and non-blocking in one group");
    if (result != ncclSuccess) {
        discard(group);
        return result;
    }
    if (!blocking)
        return start_behind(group);
    result = finish(group);
    nfake_lock();
    unclaim(group);
    group_free(group);
    nfake_unlock();
    return result;
}

ncclResult_t nfake_group_end(ncclResult_t result) {
    nfake_lock();
    nfake_thread *self = nfake_self();
    nfake_group *group = self->group;
    if (group->error == ncclSuccess)
        group->error = result;
    bool last = --self->depth == 0;
    if (last) {
        nfake_group **at = &groups;
        while (*at != group)
            at = &(*at)->next;
        *at = group->next;
        self->group = NULL;
    }
    nfake_unlock();
    return last ? group_close(group) : result;
}

/* ---- the calls ---- */

NFAKE_EXPORT ncclResult_t ncclGroupStart(void) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    nfake_unlock();
    if (result == ncclSuccess)
        nfake_group_begin();
    return result;
}

/* A failure that the test asked for closes the group as well. */
NFAKE_EXPORT ncclResult_t ncclGroupEnd(void) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    bool open = nfake_self()->depth > 0;
    if (!open) {
        fake_violation("ncclGroupEnd without ncclGroupStart");
        result = nfake_fail(ncclInvalidUsage, "no group is open");
    }
    nfake_unlock();
    return open ? nfake_group_end(result) : result;
}

void nfake_groups_reset(void) {
    while (groups) {
        nfake_group *gone = groups;
        groups = gone->next;
        fake_violation("left behind: a group, opened behind call %llu",
                       (unsigned long long)gone->call);
        unclaim(gone);
        group_free(gone);
    }
}

void nfake_groups_drain(void) {
    while (behind > 0) {
        nfake_unlock();
        usleep(100);
        nfake_lock();
    }
}
