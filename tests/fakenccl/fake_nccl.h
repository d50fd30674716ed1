/* Shared by the files of the fake NCCL.
 *
 * There are two locks. The fake's own guards all state of this process. A segment's guards the
 * state that its ranks share; it may be taken under the fake's lock, but not the other way round.
 * The fake CUDA runtime's lock may be taken under the fake's, so callbacks of that runtime take
 * neither lock before the runtime has released its own. "Locked" below means: called with the
 * fake's lock held. ThreadSanitizer ignores accesses inside the fake (../fakecuda/hide.h). */
#ifndef KVF_TEST_FAKE_NCCL_H
#define KVF_TEST_FAKE_NCCL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fakecuda.h"
#include "fakenccl.h"
#include "hide.h"
#include "control/script.h"

#define NFAKE_EXPORT __attribute__((visibility("default")))

/* ---- segment.c: state that the ranks of a communicator share, also across processes ---- */

#define NFAKE_RING ((size_t)16 << 10)
#define NFAKE_PATH 112 /* bytes of a file's name; a unique id has room for it */

/* An operation, which must be equal on all ranks that take part. */
typedef struct nfake_call {
    int32_t kind, root;
    uint64_t bytes;
    uint64_t window; /* a collective's: 1 + its offset in a window; 0: in no window */
} nfake_call;

/* From one rank to another, in order. Sends and receives are numbered, and each send writes its
 * bytes into the ring once the receive of its number has started.
 *
 *     written ──> [ ring of NFAKE_RING bytes ] ──> taken */
typedef struct nfake_wire {
    uint64_t sends, receives; /* started so far */
    uint64_t done;            /* receives that have ended, and so their sends */
    uint64_t written, taken;  /* bytes so far */
    nfake_call what;          /* the send under way */
    char edge;                /* for ThreadSanitizer: a send happens before its receive */
    char ring[NFAKE_RING];
} nfake_wire;

/* A rank's seat. Two entries are enough for posts, since no rank is two turns ahead. */
typedef struct nfake_seat {
    bool present;
    int32_t device;
    uint32_t called; /* bit set of ranks it has called an operation with */
    uint64_t collectives, windows;
    uint64_t window[2]; /* bytes */
    nfake_call collective[2];
} nfake_seat;

typedef struct nfake_shared {
    pthread_mutex_t mutex;
    _Atomic uint32_t change; /* counts changes that a thread may wait for */
    int32_t ranks;
    ncclResult_t failed; /* for all ranks */
    nfake_seat seats[FAKENCCL_RANKS];
    nfake_wire wires[FAKENCCL_RANKS][FAKENCCL_RANKS]; /* from, to */
} nfake_shared;

typedef struct nfake_segment {
    struct nfake_segment *next;
    unsigned references;
    bool complete; /* all ranks have connected, and the file is unlinked */
    char path[NFAKE_PATH];
    nfake_shared *shared;
} nfake_segment;

/* Makes a file for a communicator; writes its name. */
bool nfake_segment_make(char path[NFAKE_PATH]);

/* The segment of that name, from this process or from the file; NULL: none. Locked. */
nfake_segment *nfake_segment_open(const char *path);
void nfake_segment_complete(nfake_segment *segment);
void nfake_segment_drop(nfake_segment *segment);
void nfake_segments_reset(void);

void nfake_shared_lock(nfake_shared *shared);
void nfake_shared_unlock(nfake_shared *shared);

/* Wakes all waiting threads; and waits for a wake-up after `seen`, at most 10 ms. */
void nfake_changed(nfake_shared *shared);
uint32_t nfake_seen(const nfake_shared *shared);
void nfake_wait_change(nfake_shared *shared, uint32_t seen);

/* ---- state.c: the lock, threads, calls ---- */

void nfake_lock(void);
void nfake_unlock(void);
const fakenccl_config *nfake_config(void);
uint64_t nfake_now_us(void);
uint64_t nfake_deadline_us(void);

typedef struct nfake_group nfake_group;

typedef struct nfake_thread {
    uint64_t generation, number;
    unsigned depth; /* of open groups */
    nfake_group *group;
} nfake_thread;

nfake_thread *nfake_self(void);

/* Starts a call: takes the lock, counts the call, and returns the result it has to fail with. The
 * rank may be FAKE_ANY. */
ncclResult_t nfake_enter(const char *function, int rank);

enum {
    NFAKE_READY = 1, /* the communicator must be neither in progress nor failed */
    NFAKE_OWN = 2,   /* no other thread may be using it */
    NFAKE_ALONE = 4  /* not inside a group, where the fake allows only operations */
};

/* The same for a call on a communicator; *out is NULL when the handle is invalid. */
ncclResult_t nfake_enter_comm(const char *function, ncclComm_t handle, unsigned traits,
                              ncclComm_t *out);
ncclResult_t nfake_leave(ncclResult_t result);

/* The call under way; the calls so far. Locked. */
const char *nfake_function(void);
uint64_t nfake_call_number(void);

/* ---- faults.c: counts and scripted failures, on ../fakecuda/control/script.h; all locked ---- */

#define NFAKE_DEATH ncclNumResults /* instead of an operation's result */

ncclResult_t nfake_call_fault(const char *function, int rank);
ncclResult_t nfake_operation_fault(int rank);
unsigned nfake_rank_delay(int rank);
void nfake_count_traffic(const struct ncclComm *comm, fakenccl_kind kind, uint64_t sent,
                         uint64_t received);
void nfake_faults_reset(void);

/* ---- comms.c: communicators ---- */

typedef struct nfake_range {
    struct nfake_range *next;
    char *address;
    size_t size;
} nfake_range;

struct ncclComm {
    struct ncclComm *next;
    unsigned references; /* one of the list, and one of each launch */
    uint64_t number, call;
    bool finalized, revoked, ended;
    int rank, ranks, device;
    bool blocking;
    ncclConfig_t config;
    ncclResult_t async;
    unsigned pending; /* calls that other threads finish */
    uint64_t user;    /* the thread inside a call or with it in a group */
    unsigned claims;
    uint64_t launched, finished, progress;
    unsigned running;
    uint64_t window_turns;
    uint32_t called;
    nfake_segment *segment;
    nfake_range *windows;
    char touched; /* written by each call, for ThreadSanitizer */
};

nfake_shared *nfake_shared_of(ncclComm_t comm);

/* Locked. */
ncclComm_t nfake_comm_find(ncclComm_t handle, bool ended_too);
void nfake_comm_keep(ncclComm_t comm);
void nfake_comm_drop(ncclComm_t comm);
void nfake_comm_claim(ncclComm_t comm);
void nfake_comm_unclaim(ncclComm_t comm);
ncclComm_t nfake_comm_make(const ncclConfig_t *config, int rank, int ranks, int device);
void nfake_comm_end(ncclComm_t comm);

/* A live communicator with a window that starts in these bytes, or NULL. Locked. */
ncclComm_t nfake_comm_windowed(const char *address, size_t size);

/* Records leaked communicators and ends everything on them; then frees all. */
void nfake_comms_end(void);
void nfake_comms_reset(void);

/* "rank 1 of 4 in communicator 3" */
typedef struct nfake_name {
    char text[64];
} nfake_name;
nfake_name nfake_comm_name(const struct ncclComm *comm);

/* Its failure, or ncclSuccess. Locked. */
ncclResult_t nfake_comm_state(ncclComm_t comm);

/* The result that ends everything on it, or ncclSuccess. Not locked. */
ncclResult_t nfake_comm_stopped(ncclComm_t comm);
void nfake_comm_fail(ncclComm_t comm, ncclResult_t result);

/* Waits on the host until the condition holds, up to the patience. The condition describes in
 * `what` what it waits for. Not locked. */
typedef struct nfake_condition {
    bool (*holds)(const struct nfake_condition *condition, char *what, size_t room);
    ncclComm_t comm;
    uint64_t number;
} nfake_condition;

ncclResult_t nfake_await(const nfake_condition *condition, const char *function);

/* Waits until all its launches have ended. Not locked. */
ncclResult_t nfake_comm_quiesce(ncclComm_t comm, const char *function);

/* ---- config.c ---- */

/* Copies the configuration; NULL: the defaults. Locked. */
ncclResult_t nfake_config_read(const ncclConfig_t *config, ncclConfig_t *out);

/* ---- groups.c ---- */

/* Memory of an operation. */
typedef struct nfake_memory {
    char *raw, *seen; /* as the fake accesses it, and as the program knows it; NULL: none */
    size_t bytes;
} nfake_memory;

typedef struct nfake_task {
    struct nfake_task *next;
    ncclComm_t comm;
    cudaStream_t stream;
    fakenccl_kind kind;
    nfake_call call;
    int peer; /* or the root */
    size_t bytes;
    nfake_memory from, to;
} nfake_task;

/* The second half of a call: waits for other ranks on the host, or enqueues operations. */
typedef struct nfake_job {
    ncclResult_t (*run)(struct nfake_job *job); /* not locked */
    ncclComm_t comm;
    const char *function;
    nfake_task *tasks;
    uint64_t number; /* of the window, with its memory and where to store its handle */
    char *address;
    size_t size;
    ncclWindow_t *window;
} nfake_job;

/* Ends a call: unlocks, runs the job now or later, and returns the call's result. */
ncclResult_t nfake_do(nfake_job *job);

/* The same for an operation whose first half returned `result`: runs it, or adds it to the thread's
 * open group. */
ncclResult_t nfake_operate(ncclResult_t result, const nfake_task *task);

/* Records groups that were left open; waits for all jobs. Locked. */
void nfake_groups_reset(void);
void nfake_jobs_drain(void);

/* ---- launches.c, wires.c, collectives.c: execution in a stream ---- */

typedef struct nfake_flow { /* one send or receive of a launch */
    struct nfake_flow *next;
    nfake_memory memory; /* `seen` is NULL for the fake's own memory */
    nfake_call call;
    fakenccl_kind kind;
    size_t moved;
    uint64_t number; /* on its wire, from 1; 0: not started */
    bool met;        /* the other side has arrived */
} nfake_flow;

typedef struct nfake_queue {
    nfake_flow *head, **tail;
} nfake_queue;

typedef enum nfake_way { NFAKE_OUT, NFAKE_IN, NFAKE_WAYS } nfake_way;

/* A collective, or the sends and receives of a group. */
typedef struct nfake_launch {
    ncclComm_t comm;
    uint64_t number; /* among the communicator's */
    nfake_task *tasks;
    uint64_t turn; /* of a collective, from 1; 0: not started */
    bool flowing;
    nfake_queue queues[NFAKE_WAYS][FAKENCCL_RANKS];
    atomic_bool waiting;
    _Atomic uint32_t seen;
} nfake_launch;

/* Enqueues the tasks, all of one communicator, and owns them from then on. Not locked. */
ncclResult_t nfake_launch_tasks(ncclComm_t comm, nfake_task *tasks);
nfake_task *nfake_task_copy(const nfake_task *task);
void nfake_tasks_free(nfake_task *tasks);

/* Enqueues garbage for the memory that a refused operation would have written. Locked. */
void nfake_spoil(const nfake_task *task);

void nfake_flow_add(nfake_launch *launch, nfake_way way, int peer, const nfake_flow *flow);
/* Advances the heads of all queues. Returns whether anything moved; *empty: nothing is left. */
bool nfake_flows_step(nfake_launch *launch, bool *empty);
void nfake_flows_free(nfake_launch *launch);
/* Writes what the launch waits for. */
void nfake_flows_describe(const nfake_launch *launch, char *out, size_t room);

/* Advances a collective until its bytes flow; returns whether anything moved. */
bool nfake_collective_step(nfake_launch *launch);
void nfake_collective_describe(const nfake_launch *launch, char *what, size_t room);

/* Fails the communicator on all its ranks, once, with a violation. */
void nfake_disagree(ncclComm_t comm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory.c, operations.c ---- */

/* Whether `bytes` there are on the communicator's device; a violation if not. Locked. */
bool nfake_memory_find(ncclComm_t comm, const char *role, const void *address, size_t bytes,
                       nfake_memory *out);

void nfake_blocks_reset(void);
void nfake_ranges_free(nfake_range *list);

/* Records a violation when the configured version is older than that. Locked. */
void nfake_require_version(int least);

/* Accesses that ThreadSanitizer attributes to the program. */
void nfake_read(const nfake_memory *memory, size_t offset, char *to, size_t bytes);
void nfake_write(const nfake_memory *memory, size_t offset, const char *from, size_t bytes);
void nfake_copy(const nfake_memory *to, const nfake_memory *from, size_t bytes);
void nfake_scribble(const nfake_memory *memory);
nfake_memory nfake_part(const nfake_memory *memory, size_t offset, size_t bytes);

const char *nfake_kind_name(fakenccl_kind kind);

#endif
