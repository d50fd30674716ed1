/* What the files of the fake NCCL share.
 *
 * Two locks. The fake's own guards everything of this process; a segment's guards what its ranks
 * share, and is taken with or without the former, never the other way round. The fake CUDA
 * runtime's lock may be taken under the fake's, so what that runtime calls back takes neither
 * before it has let go of its own. Functions below are called with the fake's lock held where they
 * say so. ThreadSanitizer looks away inside (../fakecuda/hide.h). */
#ifndef KVF_TEST_FAKE_NCCL_H
#define KVF_TEST_FAKE_NCCL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fakecuda.h"
#include "fakenccl.h"
#include "hide.h"
#include "control/script.h"

#define NFAKE_EXPORT __attribute__((visibility("default")))

/* ---- segment.c: what the ranks of a communicator share, maybe across processes ---- */

#define NFAKE_RING ((size_t)16 << 10)
#define NFAKE_PATH 112 /* bytes of a file's name; a unique id has room for it */

/* What an operation is: the ranks that take part must say the same. */
typedef struct nfake_call {
    int32_t kind, root;
    uint64_t bytes;
    uint64_t window; /* a collective's: 1 + where in a window it writes; 0: in none */
} nfake_call;

/* From one rank to another, in order: sends and receives are numbered, and each send writes its
 * bytes into the ring once the receive of its number has begun.
 *
 *     written ──> [ ring of NFAKE_RING bytes ] ──> taken */
typedef struct nfake_wire {
    uint64_t sends, receives; /* begun so far */
    uint64_t done;            /* receives that have ended, and their sends with them */
    uint64_t written, taken;  /* bytes so far */
    nfake_call what;          /* the send under way */
    char edge;                /* for ThreadSanitizer: sending is before receiving */
    char ring[NFAKE_RING];
} nfake_wire;

/* A rank's place. What is posted in turn has two places, since nobody is two turns ahead. */
typedef struct nfake_seat {
    bool present;
    int32_t device;
    uint32_t called; /* ranks it has called an operation with, a bit each */
    uint64_t collectives, windows;
    uint64_t window[2]; /* bytes */
    nfake_call collective[2];
} nfake_seat;

typedef struct nfake_shared {
    pthread_mutex_t mutex;
    _Atomic uint32_t change; /* counts what anybody might wait for */
    int32_t ranks;
    ncclResult_t failed; /* for all ranks */
    nfake_seat seats[FAKENCCL_RANKS];
    nfake_wire wires[FAKENCCL_RANKS][FAKENCCL_RANKS]; /* from, to */
} nfake_shared;

typedef struct nfake_segment {
    struct nfake_segment *next;
    unsigned references;
    bool complete; /* all ranks have come, and the file has no name any more */
    char path[NFAKE_PATH];
    nfake_shared *shared;
} nfake_segment;

/* Makes a file for a communicator and leaves its name. */
bool nfake_segment_make(char path[NFAKE_PATH]);

/* The segment of that name, from this process or from the file; NULL when there is none. Locked. */
nfake_segment *nfake_segment_open(const char *path);
void nfake_segment_complete(nfake_segment *segment);
void nfake_segment_drop(nfake_segment *segment);
void nfake_segments_reset(void);

void nfake_shared_lock(nfake_shared *shared);
void nfake_shared_unlock(nfake_shared *shared);

/* Wakes everybody who waits; and waits until somebody has since `seen`, or for 10 ms. */
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

/* Begins a call: takes the lock, counts, and returns what the call is to fail with. The rank may be
 * FAKE_ANY. */
ncclResult_t nfake_enter(const char *function, int rank);

enum {
    NFAKE_READY = 1, /* the communicator must be neither in progress nor failed */
    NFAKE_OWN = 2,   /* no other thread may be using it */
    NFAKE_ALONE = 4  /* not inside a group: the fake has only operations there */
};

/* The same for a call on a communicator; *out is NULL when it is none. */
ncclResult_t nfake_enter_comm(const char *function, ncclComm_t handle, unsigned traits,
                              ncclComm_t *out);
ncclResult_t nfake_leave(ncclResult_t result);

/* The call under way; the calls so far. Locked. */
const char *nfake_function(void);
uint64_t nfake_call_number(void);

/* ---- faults.c: counts, scripted failures, above ../fakecuda/script.h; all locked ---- */

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
    unsigned references; /* the list's, and one of each launch */
    uint64_t number, call;
    bool finalized, revoked, ended;
    int rank, ranks, device;
    bool blocking;
    ncclConfig_t config;
    ncclResult_t async;
    unsigned pending; /* calls that go on behind its back */
    uint64_t user;    /* the thread inside a call or with it in a group */
    unsigned claims;
    uint64_t launched, finished, progress;
    unsigned running;
    uint64_t window_turns;
    uint32_t called;
    nfake_segment *segment;
    nfake_range *windows;
    char touched; /* by each call, as ThreadSanitizer sees it */
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

/* Records what was left behind and lets everything on it end; then forgets all. */
void nfake_comms_end(void);
void nfake_comms_reset(void);

/* "rank 1 of 4 in communicator 3" */
typedef struct nfake_name {
    char text[64];
} nfake_name;
nfake_name nfake_comm_name(const struct ncclComm *comm);

/* How it has failed, or ncclSuccess. Locked. */
ncclResult_t nfake_comm_state(ncclComm_t comm);

/* What ends everything on it, or ncclSuccess. Not locked. */
ncclResult_t nfake_comm_stopped(ncclComm_t comm);
void nfake_comm_fail(ncclComm_t comm, ncclResult_t result);

/* Waits on the host until the condition holds, for as long as the patience goes; it says in `what`
 * what is missing. Not locked. */
typedef struct nfake_condition {
    bool (*holds)(const struct nfake_condition *condition, char *what, size_t room);
    ncclComm_t comm;
    uint64_t number;
} nfake_condition;

ncclResult_t nfake_await(const nfake_condition *condition, const char *function);

/* Waits until all its launches have ended. Not locked. */
ncclResult_t nfake_comm_quiesce(ncclComm_t comm, const char *function);

/* ---- config.c ---- */

/* Takes over what was passed; the defaults when NULL. Locked. */
ncclResult_t nfake_config_read(const ncclConfig_t *config, ncclConfig_t *out);

/* ---- groups.c ---- */

/* Of an operation. */
typedef struct nfake_memory {
    char *raw, *seen; /* for the fake to touch, and as the program knows it; NULL when none */
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

/* The second half of a call, which waits for other ranks on the host or enqueues operations. */
typedef struct nfake_job {
    ncclResult_t (*run)(struct nfake_job *job); /* not locked */
    ncclComm_t comm;
    const char *function;
    nfake_task *tasks;
    uint64_t number; /* of the window, its memory, and where its handle goes */
    char *address;
    size_t size;
    ncclWindow_t *window;
} nfake_job;

/* Ends a call: unlocks, does the job now or later, and returns what the call answers. */
ncclResult_t nfake_do(nfake_job *job);

/* The same for an operation whose first half came to `result`: alone, or added to the group that
 * the thread has open. */
ncclResult_t nfake_operate(ncclResult_t result, const nfake_task *task);

/* Records the groups that were left open; waits for all jobs. Locked. */
void nfake_groups_reset(void);
void nfake_jobs_drain(void);

/* ---- launches.c, wires.c, collectives.c: what happens in a stream ---- */

typedef struct nfake_flow { /* one send or receive of a launch */
    struct nfake_flow *next;
    nfake_memory memory; /* `seen` NULL for memory of the fake's own */
    nfake_call call;
    fakenccl_kind kind;
    size_t moved;
    uint64_t number; /* on its wire, from 1; 0 when it has not begun */
    bool met;        /* the other side has come */
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
    uint64_t turn; /* of a collective, from 1; 0 when it has not begun */
    bool flowing;
    nfake_queue queues[NFAKE_WAYS][FAKENCCL_RANKS];
    atomic_bool waiting;
    _Atomic uint32_t seen;
} nfake_launch;

/* Enqueues the tasks, all of one communicator, and takes them over. Not locked. */
ncclResult_t nfake_launch_tasks(ncclComm_t comm, nfake_task *tasks);
nfake_task *nfake_task_copy(const nfake_task *task);
void nfake_tasks_free(nfake_task *tasks);

/* What an operation that was refused would have written is garbage, in its stream's turn. Locked.
 */
void nfake_spoil(const nfake_task *task);

void nfake_flow_add(nfake_launch *launch, nfake_way way, int peer, const nfake_flow *flow);
/* Goes on with the heads of all queues: whether anything moved, and whether nothing is left. */
bool nfake_flows_step(nfake_launch *launch, bool *empty);
void nfake_flows_free(nfake_launch *launch);
/* What the launch waits for. */
void nfake_flows_describe(const nfake_launch *launch, char *out, size_t room);

/* Goes on with a collective until it flows: whether anything moved. */
bool nfake_collective_step(nfake_launch *launch);
void nfake_collective_describe(const nfake_launch *launch, char *what, size_t room);

/* Fails the communicator for all its ranks, once, with a violation. */
void nfake_disagree(ncclComm_t comm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory.c, operations.c ---- */

/* Whether `bytes` there are a device's, and that of the communicator; if not, a violation. Locked.
 */
bool nfake_memory_find(ncclComm_t comm, const char *role, const void *address, size_t bytes,
                       nfake_memory *out);

void nfake_blocks_reset(void);
void nfake_ranges_free(nfake_range *list);

/* The call under way is a violation in an older version than that. Locked. */
void nfake_require_version(int least);

/* Touch it, in the program's name, from where ThreadSanitizer looks away. */
void nfake_read(const nfake_memory *memory, size_t offset, char *to, size_t bytes);
void nfake_write(const nfake_memory *memory, size_t offset, const char *from, size_t bytes);
void nfake_copy(const nfake_memory *to, const nfake_memory *from, size_t bytes);
void nfake_scribble(const nfake_memory *memory);
nfake_memory nfake_part(const nfake_memory *memory, size_t offset, size_t bytes);

const char *nfake_kind_name(fakenccl_kind kind);

#endif
