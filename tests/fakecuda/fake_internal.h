/* Declarations that the fake's files share. One lock guards everything; functions are called with
 * it held unless they say otherwise. ThreadSanitizer sees nothing while it is held (hide.h). */
#ifndef KVF_TEST_FAKE_INTERNAL_H
#define KVF_TEST_FAKE_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include "fakecuda.h"
#include "hide.h"
#include "control/script.h"

/* Exported, whatever visibility the file is compiled with. */
#define FAKE_EXPORT __attribute__((visibility("default")))

/* ---- state.c: the lock, threads, start and end of a call ---- */

void fake_lock(void);
void fake_unlock(void);

/* Takes the lock for a function that is not CUDA's but can be named in a violation. */
void fake_begin(const char *function);

/* Blocks a caller of the API, with the lock released. After fakecuda_config's patience it prints
 * `what` it waits for and ends the program. */
void fake_wait(pthread_cond_t *condition, const char *what);

/* Blocks a worker, without limit. */
void fake_idle(pthread_cond_t *condition);

const fakecuda_config *fake_config(void);
int fake_driver_version(void);
int fake_devices(void);

typedef struct fake_thread {
    uint64_t generation; /* counts resets; an older one marks the state as stale */
    uint64_t number;
    int device;
    cudaError_t last;
    enum cudaStreamCaptureMode mode;
    bool in_host_function;
    bool refused; /* the current call must not even free */
} fake_thread;

fake_thread *fake_self(void);

enum {
    FAKE_UNSAFE = 1,     /* prohibited during certain captures */
    FAKE_NO_CONTEXT = 2, /* creates no context, and works when the context is dead */
    FAKE_NO_DEVICE = 4   /* works without any device */
};

/* Starts a call of the API: takes the lock, counts the call and returns the error it must fail
 * with. `function` is a string literal, the same one for each call of a function. */
cudaError_t fake_enter(const char *function, unsigned traits);

/* Ends the call: stores the error as the thread's last one and releases the lock. */
cudaError_t fake_leave(cudaError_t error);

/* The same for the driver's functions, which have no last error. */
cudaError_t fake_leave_driver(cudaError_t error);

/* The same for a query, for which cudaErrorNotReady is not an error. */
cudaError_t fake_leave_query(cudaError_t error);

/* Whether a call that frees still does so, despite the error that fake_enter returned. */
bool fake_gives_back(void);

cudaError_t fake_first(cudaError_t first, cudaError_t second);

/* The name of the current call. */
const char *fake_function(void);
uint64_t fake_call_number(void);

/* ---- faults.c: counts and scripted failures, on top of script.h ---- */

/* Counts a call that can fail, and keeps its name for fakecuda_call. */
void fake_log_call(const char *function);
cudaError_t fake_call_fault(const char *function);
bool fake_calls_have_failed(void);
cudaError_t fake_operation_fault(fakecuda_kind kind);
unsigned fake_operation_delay(fakecuda_kind kind);
bool fake_is_sticky(cudaError_t error);
void fake_faults_reset(void);

/* ---- devices.c ---- */

int fake_attribute(enum cudaDeviceAttr name);
bool fake_device_valid(int device);

void fake_context_make(int device);

/* The error of a dead context, or success. First waits until nothing runs there, since the caller
 * may then reuse memory. */
cudaError_t fake_context_error(int device);
bool fake_context_dead(int device);
void fake_context_kill(int device, cudaError_t error);

/* busy and idle enclose what touches memory for a device; executed follows every operation. */
void fake_context_busy(int device);
void fake_context_idle(int device);
void fake_context_executed(int device);
void fake_devices_reset(void);

/* ---- arena.c: addresses that are handed out once, and the memory they map ---- */

#define FAKE_PAGE ((size_t)4096)
#define FAKE_ALIASES                                                                               \
    FAKECUDA_DEVICES /* the arena of device addresses of registered host memory                    \
                      */

/* A fresh range of whole pages, or NULL. A device's arena backs the first `mapped` bytes of it; in
 * the arena of aliases nothing is backed yet. */
char *fake_arena_take(int number, size_t bytes, size_t mapped);
void fake_arena_drop(int number, char *address, size_t bytes);

/* Maps the pages at `host` at an alias, as far as possible. */
void fake_arena_alias(char *alias, char *host, size_t bytes);

/* Allows access to [address, address + size) only, of these whole pages. */
void fake_arena_bound(int number, char *address, size_t size);
bool fake_arena_overrun(int number, char *address, size_t size);

/* The arena that holds an address, or -1; the raw address of a device's address. */
int fake_arena_of(const void *address);
char *fake_arena_raw(const void *address);

/* Device addresses are accessible from open to close. */
void fake_window_open(void);
void fake_window_close(void);
void fake_arenas_reset(void);

/* ---- ranges.c: live memory by address; memory.c: allocations and registrations ---- */

typedef enum fake_memory { FAKE_DEVICE, FAKE_PINNED, FAKE_REGISTERED, FAKE_PAGEABLE } fake_memory;

typedef struct fake_range {
    fake_memory memory;
    char *base; /* the program's address */
    size_t size;
    char *alias; /* its address on the device, often `base` */
    int device;
    unsigned flags;
    char *span; /* the reserved range that it maps a part of */
    size_t span_size;
    uint64_t call; /* the call that made it */
} fake_range;

/* The live range that holds an address, host's or device's; or NULL. */
fake_range *fake_range_find(const void *address);

/* Stores a copy; `alias` and `span` default to the range itself. */
fake_range *fake_range_add(const fake_range *wanted);
void fake_range_remove(fake_range *range);
bool fake_range_overlaps(const char *base, size_t size);
fake_range *fake_range_any(void);
/* Whether the address is in the range's alias. */
bool fake_range_has_alias(const fake_range *range, const char *address);
const char *fake_range_name(const fake_range *range);

typedef struct fake_operand { /* memory that an operation works on */
    fake_memory memory;
    char *raw;  /* the address that the fake touches */
    char *seen; /* the address that ThreadSanitizer is told */
    int device;
    bool host_name; /* a host address that the device cannot use */
} fake_operand;

/* Records a violation and returns false unless all bytes are in one allocation or registration, or
 * all are pageable. */
bool fake_operand_find(const char *role, const void *address, size_t size, fake_operand *out);
size_t fake_memory_live(void);
size_t fake_device_bytes(void);
size_t fake_device_live(int device);
void fake_memory_reset(void);

/* ---- operations and streams ---- */

typedef struct fake_ticket { /* a point in a stream that others can wait for */
    unsigned references;
    bool done;
    struct timespec at;
    pthread_cond_t changed;
} fake_ticket;

fake_ticket *fake_ticket_make(void);
fake_ticket *fake_ticket_keep(fake_ticket *ticket);
void fake_ticket_drop(fake_ticket *ticket);

typedef struct fake_side {
    fake_operand operand;
    size_t pitch, slice; /* bytes between the starts of rows, of slices */
} fake_side;

typedef struct fake_copy { /* `depth` slices of `height` rows of `width` bytes */
    fake_side dst, src;
    size_t width, height, depth;
    char *staged; /* the source's bytes, read early and packed; or NULL */
    int value;    /* fills the destination when there is no source */
} fake_copy;

typedef struct fake_op {
    struct fake_op *next;
    fakecuda_kind kind;
    bool internal; /* the fake's own, for order with the legacy stream */
    fake_copy *copies;
    size_t copy_count;
    fake_ticket *ticket;
    cudaHostFn_t function;
    void *user;
    fakecuda_launch launch;
    fakecuda_body body;
    void **arguments;
    fakecuda_work external;
} fake_op;

typedef struct fake_capture fake_capture;

typedef struct CUstream_st {
    struct CUstream_st *next; /* all streams, newest first */
    bool created;             /* by the program, so it can be destroyed */
    bool destroyed;
    unsigned flags;
    int priority, device;
    uint64_t number, owner, call; /* owner: the thread, of a per-thread stream */
    pthread_t thread;
    pthread_cond_t work, done;
    fake_op *head, **tail, *running;
    uint64_t submitted, completed;
    bool held, closing;
    size_t steps;                   /* that a held stream may still execute */
    uint64_t legacy_seen, seen_end; /* how far ordering with the legacy stream has been queued */
    fake_capture *capture;
    size_t capture_slot;
    char edge;
} fake_stream;

/* ops.c */
fake_op *fake_op_make(fakecuda_kind kind);
void fake_op_free(fake_op *op);
size_t fake_copy_span(const fake_side *side, const fake_copy *copy);
void fake_copy_stage(fake_copy *copy);
bool fake_op_uses(const fake_op *op, const char *raw, size_t size);

/* Executes the operation for a stream of that device; releases the lock while it does. */
void fake_op_run(fake_op *op, int device);

/* streams.c */
extern bool fake_hold_all;
cudaError_t fake_stream_find(cudaStream_t handle, fake_stream **out);
bool fake_stream_is_legacy(const fake_stream *stream);
bool fake_stream_joins_legacy(const fake_stream *stream);
fake_stream *fake_streams_first(void);

/* Appends the operation to the stream, or to its capture. Takes ownership, even on failure. */
cudaError_t fake_submit(fake_stream *stream, fake_op *op);

/* Waits until everything on the streams of a device (-1: of all) has completed. */
void fake_synchronize(int device);
cudaError_t fake_stream_drain(fake_stream *stream);
bool fake_memory_in_use(const char *raw, size_t size);
size_t fake_streams_live(void);
void fake_streams_reset(void);

/* events.c */
size_t fake_events_live(void);
void fake_events_reset(void);

/* kernels.c */
void fake_kernels_reset(void);

/* ---- capture.c ---- */

typedef struct fake_captured fake_captured; /* an event's position in a capture */

/* Refuses a call that is unsafe during captures, and invalidates those. */
cudaError_t fake_capture_unsafe(void);

/* Refuses a use of a stream that its capture, or another one, forbids. */
cudaError_t fake_capture_use(fake_stream *stream);

/* The same for waits and queries, which cannot be captured. */
cudaError_t fake_capture_synchronize(fake_stream *stream);
cudaError_t fake_capture_synchronize_device(int device);

cudaError_t fake_capture_add(fake_stream *stream);
cudaError_t fake_capture_record(fake_stream *stream, fake_captured **out);
cudaError_t fake_capture_wait(fake_stream *stream, const fake_captured *captured);
cudaError_t fake_capture_foreign_event(fake_stream *stream);
void fake_captured_used(const fake_captured *captured);
void fake_captured_free(fake_captured *captured);
void fake_capture_leave(fake_stream *stream);
void fake_capture_reset(void);

/* ---- copies.c, batches.c, pointers.c, entries.c ---- */

typedef struct fake_request {
    void *dst;
    const void *src;
    enum cudaMemcpyKind kind;
    enum cudaMemcpySrcAccessOrder order;
    bool batch, synchronous;
} fake_request;

/* Finds the memory of a copy whose shape is set, and reads an early source. Sets *wait when the
 * call must wait for the copy. */
cudaError_t fake_copy_check(fake_copy *copy, const fake_request *request, bool *wait);

/* Enqueues checked copies as one operation; takes ownership of them. */
cudaError_t fake_copies_submit(fake_stream *stream, fake_copy *copies, size_t count, bool wait);
void fake_copies_free(fake_copy *copies, size_t count);

typedef void (*fake_function_pointer)(void);

typedef struct fake_entry { /* a driver function, and the version that introduced it */
    const char *symbol;
    int version;
    fake_function_pointer function;
} fake_entry;

/* The batch functions, newest first. */
extern const fake_entry fake_batch_entries[];
extern const size_t fake_batch_entry_count;
extern const fake_entry fake_pointer_entries[];
extern const size_t fake_pointer_entry_count;
void fake_entries_reset(void);

#endif
