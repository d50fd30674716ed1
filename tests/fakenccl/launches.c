/* Launches: the operations of one communicator in one group, on the threads of their streams. */
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

/* Locked. */
static void launch_drop(nfake_launch *launch) {
    if (--launch->references > 0)
        return;
    nfake_flows_free(launch);
    nfake_tasks_free(launch->tasks);
    nfake_comm_drop(launch->comm);
    free(launch->scratch);
    free(launch->entries);
    free(launch);
}

/* ---- waiting ---- */

/* What ends the launch before its time, or ncclSuccess. */
static ncclResult_t stopped(const nfake_launch *launch) {
    if (fakecuda_dead(launch->comm->device))
        nfake_comm_fail(launch->comm, ncclUnhandledCudaError);
    return nfake_comm_stopped(launch->comm);
}

/* Until something has changed; meanwhile it is stuck. */
static void pause_launch(nfake_launch *launch, uint32_t seen) {
    atomic_store(&launch->seen, seen);
    atomic_store(&launch->waiting, true);
    nfake_wait_change(nfake_shared_of(launch->comm), seen);
    atomic_store(&launch->waiting, false);
}

/* Called by the fake CUDA runtime with its lock held. */
static bool stuck(void *user) {
    const nfake_launch *launch = ((nfake_entry *)user)->launch;
    return atomic_load(&launch->waiting) &&
           atomic_load(&launch->seen) == nfake_seen(nfake_shared_of(launch->comm));
}

typedef struct watch { /* over something that ought to make progress */
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

/* Whatever the communicator gets done in another launch counts as well. */
static bool too_long(const nfake_launch *launch, watch *over) {
    uint64_t progress = progress_of(launch);
    if (progress != over->progress)
        *over = (watch){nfake_deadline_us(), progress};
    return nfake_now_us() > over->deadline;
}

/* Whether it has come up in all streams, and all earlier ones have ended. */
static bool its_turn(const nfake_launch *launch) {
    nfake_lock();
    bool is = launch->arrived == launch->stream_count && launch->comm->finished == launch->number;
    nfake_unlock();
    return is;
}

static ncclResult_t wait_for_turn(nfake_launch *launch) {
    watch over = watch_begin(launch);
    uint32_t seen = nfake_seen(nfake_shared_of(launch->comm));
    while (!its_turn(launch)) {
        ncclResult_t result = stopped(launch);
        if (result == ncclSuccess && too_long(launch, &over))
            result = give_up(launch, "its other streams or an earlier launch of its own");
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

/* ---- doing it ---- */

static _Noreturn void die(const nfake_launch *launch) {
    nfake_shared_lock(nfake_shared_of(launch->comm));
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

/* A failure that the test asked for, of one of its operations. */
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

static const nfake_task *next_to_self(const nfake_launch *launch, const nfake_task *behind,
                                      fakenccl_kind kind) {
    const nfake_task *task = behind ? behind->next : launch->tasks;
    while (task && (task->kind != kind || task->peer != launch->comm->rank))
        task = task->next;
    return task;
}

/* The nth send to itself goes to the nth receive. */
static void copy_to_self(nfake_launch *launch) {
    const nfake_task *send = next_to_self(launch, NULL, FAKENCCL_SEND);
    const nfake_task *receive = next_to_self(launch, NULL, FAKENCCL_RECV);
    while (send && receive) {
        if (memcmp(&send->call, &receive->call, sizeof send->call) != 0) {
            nfake_disagree(launch->comm, "a send to itself of %zu bytes meets a receive of %zu",
                           send->bytes, receive->bytes);
            return;
        }
        nfake_copy(&receive->to, &send->from, send->bytes);
        nfake_lock();
        nfake_count_traffic(launch->comm, FAKENCCL_SEND, 0, 0); /* nothing went to others */
        nfake_count_traffic(launch->comm, FAKENCCL_RECV, 0, 0);
        nfake_unlock();
        send = next_to_self(launch, send, FAKENCCL_SEND);
        receive = next_to_self(launch, receive, FAKENCCL_RECV);
    }
}

static void add_flows(nfake_launch *launch) {
    for (nfake_task *task = launch->tasks; task; task = task->next) {
        bool sends = task->kind == FAKENCCL_SEND;
        if (task->kind > FAKENCCL_RECV) {
            launch->collective = launch->collective ? launch->collective : task;
            continue;
        }
        nfake_flow flow = {
            .memory = sends ? task->from : task->to, .call = task->call, .kind = task->kind};
        if (task->peer != launch->comm->rank)
            nfake_flow_add(launch, NFAKE_PAIRS, sends ? NFAKE_OUT : NFAKE_IN, task->peer, &flow);
    }
}

static ncclResult_t report(nfake_launch *launch) {
    char what[256] = "nothing";
    if (!nfake_collective_describe(launch, what, sizeof what))
        (void)nfake_flows_describe(launch, what, sizeof what);
    return give_up(launch, what);
}

static void note_progress(const nfake_launch *launch) {
    nfake_lock();
    launch->comm->progress++;
    nfake_unlock();
}

static ncclResult_t transfer(nfake_launch *launch) {
    watch over = watch_begin(launch);
    copy_to_self(launch);
    add_flows(launch);
    for (;;) {
        uint32_t seen = nfake_seen(nfake_shared_of(launch->comm));
        bool empty = false, moved = nfake_collective_step(launch);
        moved = nfake_flows_step(launch, &empty) || moved;
        ncclResult_t result = stopped(launch);
        if (result != ncclSuccess)
            return result;
        if (empty && !launch->collective)
            return ncclSuccess;
        if (moved)
            note_progress(launch);
        else if (too_long(launch, &over))
            return report(launch);
        else
            pause_launch(launch, seen);
    }
}

/* What was not to be written stays: the root's own buffer, a rank's own part when in place. */
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
        nfake_memory behind =
            nfake_part(&task->to, own + task->bytes, task->to.bytes - own - task->bytes);
        nfake_scribble(&before);
        nfake_scribble(&behind);
    }
}

/* In the first of its streams. */
static void lead(nfake_launch *launch, bool dead) {
    ncclResult_t result = wait_for_turn(launch);
    fake_acquire(&launch->edge);
    if (result == ncclSuccess)
        result = be_late(launch);
    if (result == ncclSuccess)
        result = fault(launch);
    if (result == ncclSuccess)
        result = transfer(launch);
    if (result != ncclSuccess) {
        nfake_comm_fail(launch->comm, result);
        if (!dead)
            scribble(launch);
    }
    fake_release(&launch->edge);
    nfake_lock();
    launch->finished = true;
    launch->comm->finished++;
    launch->comm->progress++;
    nfake_unlock();
    nfake_changed(nfake_shared_of(launch->comm));
}

static bool finished(const nfake_launch *launch) {
    nfake_lock();
    bool is = launch->finished;
    nfake_unlock();
    return is;
}

static void follow(nfake_launch *launch) {
    uint32_t seen = nfake_seen(nfake_shared_of(launch->comm));
    while (!finished(launch)) {
        pause_launch(launch, seen);
        seen = nfake_seen(nfake_shared_of(launch->comm));
    }
    fake_acquire(&launch->edge);
}

/* On a stream's thread. */
static void run(void *user, bool dead) {
    nfake_entry *entry = user;
    nfake_launch *launch = entry->launch;
    ncclComm_t comm = launch->comm;
    fake_hide();
    if (dead)
        nfake_comm_fail(comm, ncclUnhandledCudaError);
    fake_release(&launch->edge);
    nfake_lock();
    launch->arrived++;
    comm->running++;
    nfake_unlock();
    nfake_changed(nfake_shared_of(comm));
    if (entry->leads)
        lead(launch, dead);
    else
        follow(launch);
    fake_show();
}

static void run_done(void *user) {
    nfake_launch *launch = ((nfake_entry *)user)->launch;
    nfake_lock();
    launch->comm->running--;
    launch_drop(launch);
    nfake_unlock();
}

/* ---- enqueuing ---- */

/* Streams that its operations name, each once. */
static cudaStream_t *find_streams(const nfake_task *tasks, size_t *count) {
    size_t most = 0;
    for (const nfake_task *task = tasks; task; task = task->next)
        most++;
    cudaStream_t *streams = calloc(most, sizeof(cudaStream_t));
    if (!streams)
        abort();
    *count = 0;
    for (const nfake_task *task = tasks; task; task = task->next) {
        size_t i = 0;
        while (i < *count && streams[i] != task->stream)
            i++;
        streams[i] = task->stream;
        *count += i == *count;
    }
    return streams;
}

static fakecuda_span *find_spans(const nfake_task *tasks, size_t *count) {
    size_t most = 0;
    for (const nfake_task *task = tasks; task; task = task->next)
        most += 2;
    fakecuda_span *spans = calloc(most, sizeof *spans);
    if (!spans)
        abort();
    *count = 0;
    for (const nfake_task *task = tasks; task; task = task->next) {
        if (task->from.raw)
            spans[(*count)++] = (fakecuda_span){task->from.seen, task->from.bytes};
        if (task->to.raw)
            spans[(*count)++] = (fakecuda_span){task->to.seen, task->to.bytes};
    }
    return spans;
}

static nfake_launch *launch_make(ncclComm_t comm, nfake_task *tasks, size_t streams) {
    nfake_launch *made = calloc(1, sizeof *made);
    nfake_entry *entries = calloc(streams, sizeof *entries);
    if (!made || !entries)
        abort();
    for (size_t i = 0; i < streams; i++)
        entries[i] = (nfake_entry){.launch = made, .leads = i == 0};
    made->comm = comm;
    made->references = (unsigned)streams + 1; /* and the caller */
    made->tasks = tasks;
    made->stream_count = streams;
    made->entries = entries;
    nfake_lock();
    nfake_comm_keep(comm);
    made->number = comm->launched++;
    nfake_unlock();
    return made;
}

/* Those streams that have it let it end; with none it never was. */
static ncclResult_t take_back(nfake_launch *launch, size_t enqueued, cudaError_t error) {
    if (enqueued > 0)
        nfake_comm_fail(launch->comm, ncclUnhandledCudaError);
    nfake_lock();
    launch->comm->launched -= enqueued == 0;
    launch->references -= (unsigned)(launch->stream_count - enqueued);
    nfake_unlock();
    bool captured = error == cudaErrorStreamCaptureUnsupported;
    return nfake_fail(captured ? ncclInvalidUsage : ncclUnhandledCudaError,
                      "the stream takes nothing (CUDA error %d)", (int)error);
}

ncclResult_t nfake_launch_tasks(ncclComm_t comm, nfake_task *tasks) {
    size_t stream_count = 0, span_count = 0, i = 0;
    cudaStream_t *streams = find_streams(tasks, &stream_count);
    fakecuda_span *spans = find_spans(tasks, &span_count);
    nfake_launch *launch = launch_make(comm, tasks, stream_count);
    cudaError_t error = cudaSuccess;
    while (i < stream_count && error == cudaSuccess) {
        fakecuda_work work = {
            .run = run, .stuck = stuck, .done = run_done, .user = &launch->entries[i]};
        work.spans = spans;
        work.span_count = i == 0 ? span_count : 0;
        error = fakecuda_enqueue(comm->device, streams[i], &work);
        i += error == cudaSuccess;
    }
    free(spans);
    free((void *)streams);
    ncclResult_t result = error == cudaSuccess ? ncclSuccess : take_back(launch, i, error);
    nfake_lock();
    launch_drop(launch);
    nfake_unlock();
    return result;
}
