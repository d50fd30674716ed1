/* A CUDA runtime for tests, on a machine without a GPU: how a test steers it and asks it.
 *
 * The library stands in for libcudart.so under its own name, so one test program runs on either.
 * Everything below is weak: under the real library the functions are NULL, and FAKECUDA is false.
 *
 * What it does behind cuda_runtime_api.h:
 * - a stream is a thread: when a call returns, its copy or kernel has not happened;
 * - a stream takes so many entries, about as many as a real one; then a call waits for room, while
 *   those of other threads go on;
 * - device memory cannot be touched by host code (the program dies), its addresses come only once;
 * - misuse that a GPU would answer with silence or garbage is recorded as a violation;
 * - under ThreadSanitizer only the order that CUDA promises is an order: enqueuing before running,
 *   running before a successful wait or query, an event's work before those who wait for it;
 * - a device's context is made by cudaSetDevice, and by the first call that needs one while the
 *   device is the thread's current one, which is 0 until it is set;
 * - a kernel is loaded by its first launch on a device;
 * - a query that answers NotReady leaves the thread's last error alone;
 * - a call that gives something back (free, destroy, unregister) gives it back whatever error it
 *   returns, unless it is refused (inside a host function, or by a capture).
 *
 * A failure that CUDA calls sticky (an illegal address, an uncorrectable error, ...) ends a
 * device's context: all that is queued is dropped, events fire, holds end, and every later call on
 * that device answers with it, once nothing runs there any more. That lasts until fakecuda_reset.
 */
#ifndef KVF_TEST_FAKECUDA_H
#define KVF_TEST_FAKECUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef FAKECUDA_BUILD
#define FAKECUDA_API __attribute__((visibility("default")))
#else
#define FAKECUDA_API __attribute__((weak))
#endif

/* Whether this program runs on the fake. */
#define FAKECUDA (fakecuda_reset != NULL)

#define FAKECUDA_DEVICES 8

/* The machine. Zero is the usual value of everything. */
typedef struct fakecuda_config {
    int devices;            /* GPUs, 1 when 0 */
    cudaError_t no_device;  /* cudaErrorNoDevice or cudaErrorInsufficientDriver for all calls */
    int driver_version;     /* such as 12080; CUDART_VERSION when 0. One of an older major is too
                               old for this runtime: cudaErrorInsufficientDriver */
    int runtime_version;    /* what cudaRuntimeGetVersion says; CUDART_VERSION when 0 */
    size_t device_bytes;    /* memory of a device, 1 GiB when 0 */
    size_t pinned_bytes;    /* that can be pinned in all; 0 no limit */
    size_t register_bytes;  /* largest single registration; 0 no limit */
    size_t queue_entries;   /* a stream takes before calls block; 1024 when 0, SIZE_MAX no limit */
    bool full_is_violation; /* a full queue is a violation and does not block */
    size_t batch_copies;    /* more in one batch call is a violation; 0 no limit */
    bool forbid_legacy;     /* work on the legacy stream is a violation */
    bool any_early;         /* sources of order Any are read during the call */
    uint64_t shuffle;       /* seed: the order inside batches, of blocks and threads; 0 as listed */
    unsigned patience_s;    /* a call that blocks for longer ends the program; 60 when 0 */
} fakecuda_config;

/* From now on; may be called at any time. NULL is the usual machine. The number of devices and
 * their memory are to be set before the first call that uses a device. */
FAKECUDA_API void fakecuda_configure(const fakecuda_config *config);

/* What cudaDeviceGetAttribute says for every device. CanUseHostPointerForRegisteredMem set to 0
 * makes memory registered from now on have other addresses on the device. */
FAKECUDA_API void fakecuda_set_attribute(enum cudaDeviceAttr attribute, int value);

/* A driver function, such as "cuMemcpyBatchAsync", that cudaGetDriverEntryPoint does not find. */
FAKECUDA_API void fakecuda_hide_symbol(const char *symbol);

/* Ends a test: lets everything run, joins the threads, records what was not given back, prints all
 * violations on stderr, forgets everything and returns how many there were. A thread that a test
 * made starts anew too. Not while another thread is inside a CUDA call. */
FAKECUDA_API size_t fakecuda_reset(void);

/* Violations so far, the text of one (NULL behind the last; valid until forgiven or reset), and
 * forgetting them, in a test that provoked them. */
FAKECUDA_API size_t fakecuda_violations(void);
FAKECUDA_API const char *fakecuda_violation(size_t index);
FAKECUDA_API void fakecuda_forgive(void);

/* Calls so far of one function, or of all when NULL. All are those that can fail: cudaGetLastError,
 * cudaPeekAtLastError and the error texts are counted by name only. */
FAKECUDA_API uint64_t fakecuda_calls(const char *function);

/* The function of the call of that index among all, 0 the first; NULL behind the last. */
FAKECUDA_API const char *fakecuda_call(uint64_t index);

/* Of these calls, those that allocate, free or may wait for the device: cudaMalloc, cudaHostAlloc,
 * cudaMallocHost, cudaHostRegister, their opposites, making and destroying streams (not events),
 * the three kinds of Synchronize, cudaMemcpy and cudaMemset. */
FAKECUDA_API uint64_t fakecuda_heavy_calls(void);

/* Launches so far that had to load their kernel first, which may wait for the device too: the first
 * of a kernel on each device, unless cudaFuncGetAttributes has loaded it there. */
FAKECUDA_API uint64_t fakecuda_loads(void);

/* The nth call from now (1 the next) of a function, or of any when NULL, returns the error and does
 * nothing; all behind it too with `for_ever`. A sticky error ends the current device's context. */
FAKECUDA_API void fakecuda_fail_call(const char *function, uint64_t nth, cudaError_t error,
                                     bool for_ever);

typedef enum fakecuda_kind {
    FAKECUDA_COPY, /* each copy of a batch is one */
    FAKECUDA_MEMSET,
    FAKECUDA_KERNEL,
    FAKECUDA_HOST_FUNCTION,
    FAKECUDA_RECORD,
    FAKECUDA_WAIT,
    FAKECUDA_EXTERNAL, /* of another library's fake, by fakecuda_enqueue */
    FAKECUDA_KINDS
} fakecuda_kind;

/* The nth operation of the kind to be executed from now does not happen, and ends its device's
 * context with the error. */
FAKECUDA_API void fakecuda_fail_operation(fakecuda_kind kind, uint64_t nth, cudaError_t error);

/* Forgets faults that have not come yet. */
FAKECUDA_API void fakecuda_fail_nothing(void);

/* The device is lost at once, with this error. */
FAKECUDA_API void fakecuda_lose_device(int device, cudaError_t error);

/* Operations of the kind executed so far. */
FAKECUDA_API uint64_t fakecuda_operations(fakecuda_kind kind);

/* Every operation of the kind takes that much longer. */
FAKECUDA_API void fakecuda_delay(fakecuda_kind kind, unsigned microseconds);

/* A held stream executes nothing. `step` lets it execute that many operations nevertheless; a call
 * makes one operation, and ordering behind or before the legacy stream some more. Destroying a
 * stream releases it. Handles as for CUDA: NULL is the current device's legacy stream. */
FAKECUDA_API void fakecuda_hold(cudaStream_t stream);
FAKECUDA_API void fakecuda_release(cudaStream_t stream);
FAKECUDA_API void fakecuda_step(cudaStream_t stream, size_t operations);

/* The same for all streams, those not made yet included. */
FAKECUDA_API void fakecuda_hold_all(bool hold);

/* Operations that have not completed. */
FAKECUDA_API size_t fakecuda_pending(cudaStream_t stream);

/* The live streams that were created, oldest first: how many; `out` gets at most `capacity`. */
FAKECUDA_API size_t fakecuda_streams(cudaStream_t *out, size_t capacity);

/* Waits until all streams that are not held have executed what they can, and does not tell
 * ThreadSanitizer: what a program sees that sleeps instead of synchronising. */
FAKECUDA_API void fakecuda_settle(void);

/* Calls that found a stream's queue full, and waits for events that were never recorded, which
 * wait for nothing. */
FAKECUDA_API uint64_t fakecuda_full_queues(void);
FAKECUDA_API uint64_t fakecuda_empty_waits(void);

/* Live objects: allocations and registrations, streams that were created, events. */
FAKECUDA_API size_t fakecuda_live(void);

/* Whether anything has made the device's context, which takes much memory on a real GPU. Asking
 * about devices, versions and last errors does not make one. */
FAKECUDA_API bool fakecuda_has_context(int device);

/* Where the bytes of device memory really are, for a test to look at; NULL when they are not all
 * in live memory. No order goes with it. */
FAKECUDA_API void *fakecuda_shadow(const void *device, size_t size);

/* A range of addresses on the current device, as frameworks reserve for segments that grow: it
 * begins with `count` mappings side by side, of these sizes in bytes (multiples of 4096), and ends
 * unmapped behind them; `reserved` is the whole. NULL when it does not fit. */
FAKECUDA_API void *fakecuda_map_segments(size_t reserved, const size_t *sizes, size_t count);
FAKECUDA_API void fakecuda_unmap_segments(void *range);

/* Kernels: what runs when `function` is launched. A name joins it to the host stub that nvcc made
 * of the same kernel. `sizes` are those of the arguments. Kept by fakecuda_reset. */
typedef struct fakecuda_launch {
    dim3 grid, block;
    size_t shared_bytes;
    uint64_t shuffle; /* seed for the order of blocks and threads; 0 as numbered */
} fakecuda_launch;

typedef void (*fakecuda_body)(const fakecuda_launch *launch, void **arguments);

FAKECUDA_API void fakecuda_kernel(const void *function, const char *name, fakecuda_body body,
                                  const size_t *sizes, size_t count);

/* For the fake of another library that uses devices. The real one has a CUDA runtime of its own, so
 * nothing below counts as a call, fails on demand or leaves a last error. */
typedef struct fakecuda_span { /* device memory */
    const void *address;
    size_t size;
} fakecuda_span;

typedef struct fakecuda_work {
    /* Called once, on the stream's thread, with no lock held; `dead` when the device's context is,
     * and nothing may be done. It may block. */
    void (*run)(void *user, bool dead);
    /* Whether the running work can go on only once somebody else does something; NULL never. It is
     * called with the fake locked. */
    bool (*stuck)(void *user);
    /* Called last, with no lock held: `user` may go. NULL nothing. */
    void (*done)(void *user);
    void *user;
    const fakecuda_span *spans; /* live memory that it uses until it is done */
    size_t span_count;
} fakecuda_work;

/* Enqueues the work in a stream of that device. Handles as for CUDA; NULL and the legacy stream are
 * the device's, whatever the current one is. Errors: of the context, of a stream that is not there
 * or another device's, cudaErrorStreamCaptureUnsupported in a capture; then nothing runs. */
FAKECUDA_API cudaError_t fakecuda_enqueue(int device, cudaStream_t stream,
                                          const fakecuda_work *work);

/* The calling thread's device. */
FAKECUDA_API int fakecuda_device(void);

/* The device in whose live memory the address is, or -1. */
FAKECUDA_API int fakecuda_device_of(const void *address);

/* Whether the device's context has died; work that runs there should end. */
FAKECUDA_API bool fakecuda_dead(int device);

#ifdef __cplusplus
}
#endif

#endif
