/* Launches: one communicator's operations of one group, run by the thread of their stream. */
#include "fake_nccl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void nfake_tasks_free(nfake_task *tasks) {
    while (tasks) {
        nfake_task *gone = tasks;
        tasks = gone->next;
        free(gone);
    }
}

nfake_task *nfake_task_copy(const nfake_task *task) {
    nfake_task *made = fake_must(malloc(sizeof *made));
    *made = *task;
    made->next = NULL;
    return made;
}

static void launch_free(nfake_launch *launch) {
    nfake_flows_free(launch);
    nfake_tasks_free(launch->tasks);
    nfake_lock();
    nfake_comm_drop(launch->comm);
    nfake_unlock();
    free(launch);
}

/* ---- waiting ---- */

/* The result that ends the launch early, or ncclSuccess. */
static ncclResult_t stopped(const nfake_launch *launch) {
    if (fakecuda_dead(launch->comm->device))
        nfake_comm_fail(launch->comm, ncclUnhandledCudaError);
    return nfake_comm_stopped(launch->comm);
}

/* Waits for a change; the launch counts as stuck during that time. */
static void pause_launch(nfake_launch *launch, uint32_t seen) {
    atomic_store(&launch->seen, seen);
    atomic_store(&launch->waiting, true);
    nfake_wait_change(nfake_shared_of(launch->comm), seen);
    atomic_store(&launch->waiting, false);
}

/* Called by the fake CUDA runtime with its lock held. */
static bool stuck(void *user) {
    const nfake_launch *launch = user;
    return atomic_load(&launch->waiting) &&
           atomic_load(&launch->seen) == nfake_seen(nfake_shared_of(launch->comm));
}

typedef struct watch { /* over something that must make progress */
    uint64_t deadline, progress;
} watch;

static uint64_t progress_of(const nfake_launch *launch) {
    nfake_lock();
    uint64_t progress = launch->comm->progress;
    nfake_unlock();
    return progress;
}

static watch watch_begin(const nfake_launch *launch) {
    return (watch){nfake_deadline_us(), progress_of(launch)};
}

static ncclResult_t give_up(nfake_launch *launch, const char *what) {
    nfake_name name = nfake_comm_name(launch->comm);
    nfake_lock();
    fake_violation("%s waits too long for %s", name.text, what);
    nfake_unlock();
    return ncclRemoteError;
}

/* Progress of the communicator in another launch counts, too. */
static bool too_long(const nfake_launch *launch, watch *over) {
    uint64_t progress = progress_of(launch);
    if (progress != over->progress)
        *over = (watch){nfake_deadline_us(), progress};
    return nfake_now_us() > over->deadline;
}

/* Whether all earlier launches have ended, in whatever streams. */
static bool its_turn(const nfake_launch *launch) {
    nfake_lock();
    bool is = launch->comm->finished == launch->number;
    nfake_unlock();
    return is;
}

static ncclResult_t wait_for_turn(nfake_launch *launch) {
    watch over = watch_begin(launch);
    uint32_t seen = nfake_seen(nfake_shared_of(launch->comm));
    while (!its_turn(launch)) {
        ncclResult_t result = stopped(launch);
        if (result == ncclSuccess && too_long(launch, &over))
            result = give_up(launch, "an earlier launch of its own");
        if (result != ncclSuccess)
            return result;
        pause_launch(launch, seen);
        seen = nfake_seen(nfake_shared_of(launch->comm));
    }
    return ncclSuccess;
}

static ncclResult_t be_late(nfake_launch *launch) {
    nfake_lock();
    uint64_t until = nfake_now_us() + nfake_rank_delay(launch->comm->rank);
    nfake_unlock();
    ncclResult_t result = stopped(launch);
    while (result == ncclSuccess && nfake_now_us() < until) {
        uint64_t left = until - nfake_now_us();
        usleep(left < 1000 ? (useconds_t)left : 1000);
        result = stopped(launch);
    }
    return result;
}

/* ---- running ---- */

static _Noreturn void die(const nfake_launch *launch) {
    nfake_shared_lock(nfake_shared_of(launch->comm));
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

/* The requested failure of one of its operations, or ncclSuccess. */
static ncclResult_t fault(const nfake_launch *launch) {
    ncclResult_t result = ncclSuccess;
    nfake_lock();
    for (const nfake_task *task = launch->tasks; task; task = task->next) {
        ncclResult_t own = nfake_operation_fault(launch->comm->rank);
        result = result == ncclSuccess ? own : result;
    }
    nfake_unlock();
    if (result == NFAKE_DEATH)
        die(launch);
    return result;
}

static void add_flows(nfake_launch *launch) {
    for (nfake_task *task = launch->tasks; task; task = task->next) {
        bool sends = task->kind == FAKENCCL_SEND;
        nfake_flow flow = {
            .memory = sends ? task->from : task->to, .call = task->call, .kind = task->kind};
        nfake_flow_add(launch, sends ? NFAKE_OUT : NFAKE_IN, task->peer, &flow);
    }
}

static ncclResult_t report(nfake_launch *launch, bool collective) {
    char what[256] = "nothing";
    if (collective && !launch->flowing)
        nfake_collective_describe(launch, what, sizeof what);
    else
        nfake_flows_describe(launch, what, sizeof what);
    return give_up(launch, what);
}

/* Counts the bytes that a rank sends, and receives from others. */
static void count(const nfake_launch *launch) {
    const struct ncclComm *comm = launch->comm;
    nfake_lock();
    for (const nfake_task *task = launch->tasks; task; task = task->next) {
        uint64_t others = (uint64_t)comm->ranks - 1, bytes = task->bytes;
        bool self = task->kind != FAKENCCL_ALL_GATHER && task->peer == comm->rank;
        bool alone = others == 0 || (self && task->kind <= FAKENCCL_RECV);
        uint64_t received = task->kind == FAKENCCL_ALL_GATHER ? others * bytes : bytes;
        if (task->kind == FAKENCCL_SEND || (self && task->kind == FAKENCCL_BROADCAST))
            received = 0;
        nfake_count_traffic(comm, task->kind, alone ? 0 : task->from.bytes, alone ? 0 : received);
    }
    nfake_unlock();
}

static void note_progress(const nfake_launch *launch) {
    nfake_lock();
    launch->comm->progress++;
    nfake_unlock();
}

static ncclResult_t transfer(nfake_launch *launch) {
    watch over = watch_begin(launch);
    bool collective = launch->tasks->kind > FAKENCCL_RECV;
    if (!collective)
        add_flows(launch);
    for (;;) {
        uint32_t seen = nfake_seen(nfake_shared_of(launch->comm));
        bool empty = false, moved = collective && nfake_collective_step(launch);
        moved = nfake_flows_step(launch, &empty) || moved;
        ncclResult_t result = stopped(launch);
        if (result != ncclSuccess)
            return result;
        if (empty && (!collective || launch->flowing))
            break;
        if (moved)
            note_progress(launch);
        else if (too_long(launch, &over))
            return report(launch, collective);
        else
            pause_launch(launch, seen);
    }
    count(launch);
    return ncclSuccess;
}

/* Spares memory that would not have been written: the root's buffer, and in-place own parts. */
static void scribble(const nfake_launch *launch) {
    for (const nfake_task *task = launch->tasks; task; task = task->next) {
        bool root = task->kind == FAKENCCL_BROADCAST && task->peer == launch->comm->rank;
        if (!task->to.raw || (root && task->to.raw == task->from.raw))
            continue;
        size_t own = (size_t)launch->comm->rank * task->bytes;
        bool in_place = task->kind == FAKENCCL_ALL_GATHER && task->to.raw + own == task->from.raw;
        if (!in_place) {
            nfake_scribble(&task->to);
            continue;
        }
        nfake_memory before = nfake_part(&task->to, 0, own);
        nfake_memory after =
            nfake_part(&task->to, own + task->bytes, task->to.bytes - own - task->bytes);
        nfake_scribble(&before);
        nfake_scribble(&after);
    }
}

/* On a stream's thread. */
static void run(void *user, bool dead) {
    nfake_launch *launch = user;
    ncclComm_t comm = launch->comm;
    fake_hide();
    if (dead)
        nfake_comm_fail(comm, ncclUnhandledCudaError);
    nfake_lock();
    comm->running++;
    nfake_unlock();
    ncclResult_t result = wait_for_turn(launch);
    if (result == ncclSuccess)
        result = be_late(launch);
    if (result == ncclSuccess)
        result = fault(launch);
    if (result == ncclSuccess)
        result = transfer(launch);
    if (result != ncclSuccess) {
        nfake_comm_fail(comm, result);
        if (!dead)
            scribble(launch);
    }
    nfake_lock();
    comm->finished++;
    comm->progress++;
    nfake_unlock();
    nfake_changed(nfake_shared_of(comm));
    fake_show();
}

static void spoil(void *user, bool dead) {
    nfake_launch *launch = user;
    fake_hide();
    if (!dead)
        scribble(launch);
    fake_show();
}

static void spoil_done(void *user) {
    launch_free(user);
}

static void run_done(void *user) {
    nfake_launch *launch = user;
    nfake_lock();
    launch->comm->running--;
    nfake_unlock();
    launch_free(launch);
}

/* ---- enqueuing ---- */

static fakecuda_span *find_spans(const nfake_task *tasks, size_t *count) {
    size_t most = 0;
    for (const nfake_task *task = tasks; task; task = task->next)
        most += 2;
    fakecuda_span *spans = fake_must(calloc(most, sizeof *spans));
    *count = 0;
    for (const nfake_task *task = tasks; task; task = task->next) {
        if (task->from.raw)
            spans[(*count)++] = (fakecuda_span){task->from.seen, task->from.bytes};
        if (task->to.raw)
            spans[(*count)++] = (fakecuda_span){task->to.seen, task->to.bytes};
    }
    return spans;
}

/* Locked. */
static nfake_launch *launch_make(ncclComm_t comm, nfake_task *tasks) {
    nfake_launch *made = fake_must(calloc(1, sizeof *made));
    made->comm = comm;
    made->tasks = tasks;
    nfake_comm_keep(comm);
    return made;
}

static cudaError_t enqueue(nfake_launch *launch, fakecuda_work *work) {
    fakecuda_span *spans = find_spans(launch->tasks, &work->span_count);
    work->spans = spans;
    work->user = launch;
    cudaError_t error = fakecuda_enqueue(launch->comm->device, launch->tasks->stream, work);
    free(spans);
    return error;
}

ncclResult_t nfake_launch_tasks(ncclComm_t comm, nfake_task *tasks) {
    nfake_lock();
    nfake_launch *launch = launch_make(comm, tasks);
    launch->number = comm->launched++;
    nfake_unlock();
    cudaError_t error =
        enqueue(launch, &(fakecuda_work){.run = run, .stuck = stuck, .done = run_done});
    if (error == cudaSuccess)
        return ncclSuccess;
    nfake_lock();
    comm->launched--;
    nfake_unlock();
    launch_free(launch);
    return error == cudaErrorStreamCaptureUnsupported ? ncclInvalidUsage : ncclUnhandledCudaError;
}

void nfake_spoil(const nfake_task *task) {
    nfake_launch *launch = launch_make(task->comm, nfake_task_copy(task));
    nfake_unlock();
    if (enqueue(launch, &(fakecuda_work){.run = spoil, .done = spoil_done}) != cudaSuccess)
        launch_free(launch);
    nfake_lock();
}
