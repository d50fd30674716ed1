/* A CUDA runtime for machines without a GPU, and the functions by which a test controls it.
 *
 * The library has the name of the real one, libcudart.so, so a program linked with either runs on
 * both. All functions below are weak symbols: on the real runtime they are NULL and FAKECUDA is
 * false. tests/README.md shows how to run a program of your own on it.
 *
 * How it behaves, as seen through cuda_runtime_api.h:
 * - A stream is a thread. When an asynchronous call returns, its copy or kernel has not happened.
 * - A stream's queue has about as many entries as a real one. A call that finds it full waits for
 *   room; calls of other threads go on.
 * - Host code cannot touch device memory: the program dies. An address is handed out only once.
 * - Misuse that a GPU would ignore or answer with garbage is recorded as a violation.
 * - ThreadSanitizer sees only the order that CUDA promises: enqueuing comes before execution,
 *   execution before a successful wait or query, and an event's work before what waits for it.
 * - A device's context is created by cudaSetDevice, or by the first call that needs one while the
 *   device is the thread's current device (0 until set).
 * - The first launch of a kernel on a device loads it there.
 * - A query that returns cudaErrorNotReady does not change the thread's last error.
 * - A call that frees, destroys or unregisters does so whatever error it returns, unless it is
 *   refused (inside a host function, or because of a capture).
 *
 * An error that CUDA calls sticky (illegal address, uncorrectable ECC error, ...) ends the device's
 * context: queued work is dropped, events fire and holds end. Every later call on that device waits
 * until nothing runs there and then returns the error, until fakecuda_reset.
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

/* True on the fake runtime, false on a real one. */
#define FAKECUDA (fakecuda_reset != NULL)

#define FAKECUDA_DEVICES 8

/* The simulated machine. Zero selects each field's default. */
typedef struct fakecuda_config {
    int devices;            /* number of GPUs, at most FAKECUDA_DEVICES; default 1 */
    cudaError_t no_device;  /* every call returns it: cudaErrorNoDevice or
                               cudaErrorInsufficientDriver */
    int driver_version;     /* 12080 is 12.8; default CUDART_VERSION. With an older major version
                               every call returns cudaErrorInsufficientDriver */
    int runtime_version;    /* result of cudaRuntimeGetVersion; default CUDART_VERSION */
    size_t device_bytes;    /* memory of each device; default 1 GiB */
    size_t pinned_bytes;    /* limit for all pinned memory together; default none */
    size_t register_bytes;  /* limit for a single cudaHostRegister; default none */
    size_t queue_entries;   /* length of a stream's queue; default 1024, SIZE_MAX: no limit */
    bool full_is_violation; /* a call that finds the queue full records a violation and does not
                               block */
    size_t batch_copies;    /* a batch call with more copies is a violation; default no limit */
    bool forbid_legacy;     /* work on the legacy stream is a violation */
    bool any_early;         /* sources of copies with order Any are read during the call */
    uint64_t shuffle;       /* seed that reorders the copies of a batch and a kernel's blocks and
                               threads; 0: in order */
    unsigned patience_s;    /* a call that blocks for longer ends the program; default 60 */
} fakecuda_config;

/* Applies from the next call on and may be called at any time, but the number of devices and their
 * memory must be set before the first call that uses a device. NULL restores the defaults. */
FAKECUDA_API void fakecuda_configure(const fakecuda_config *config);

/* Sets what cudaDeviceGetAttribute returns for every device. After
 * cudaDevAttrCanUseHostPointerForRegisteredMem is set to 0, newly registered memory has a different
 * address on the device. */
FAKECUDA_API void fakecuda_set_attribute(enum cudaDeviceAttr attribute, int value);

/* Makes cudaGetDriverEntryPoint not find a driver function, "cuMemcpyBatchAsync" for example. */
FAKECUDA_API void fakecuda_hide_symbol(const char *symbol);

/* Ends a test: lets all queued work run, joins the streams' threads, records leaks as violations,
 * prints all violations on stderr, clears all state and returns the number of violations. The state
 * that the fake keeps for the program's threads (current device, last error) is cleared too. Must
 * not run while another thread is inside a CUDA call. */
FAKECUDA_API size_t fakecuda_reset(void);

/* The number of violations so far; the text of one of them, NULL past the last, valid until forgive
 * or reset. A test that provokes violations clears them with forgive. */
FAKECUDA_API size_t fakecuda_violations(void);
FAKECUDA_API const char *fakecuda_violation(size_t index);
FAKECUDA_API void fakecuda_forgive(void);

/* The number of calls of a function so far; with NULL, of all functions that can fail. These do not
 * include cudaGetLastError, cudaPeekAtLastError and the error texts, which are counted by name. */
FAKECUDA_API uint64_t fakecuda_calls(const char *function);

/* The name of the function of the index-th call, from 0, of those that can fail; or NULL. */
FAKECUDA_API const char *fakecuda_call(uint64_t index);

/* The number of calls so far that allocate, free or may wait for the device: cudaMalloc,
 * cudaHostAlloc, cudaMallocHost, cudaHostRegister and their counterparts, creating and destroying
 * streams (not events), the three Synchronize functions, cudaMemcpy and cudaMemset. */
FAKECUDA_API uint64_t fakecuda_heavy_calls(void);

/* The number of launches so far that loaded their kernel, which may wait for the device too: a
 * kernel's first launch on each device, unless cudaFuncGetAttributes has loaded it there. */
FAKECUDA_API uint64_t fakecuda_loads(void);

/* Makes the nth call from now (1: the next) of a function, or of any function with NULL, return the
 * error and do nothing; with `for_ever`, all later ones too. A sticky error ends the current
 * device's context. */
FAKECUDA_API void fakecuda_fail_call(const char *function, uint64_t nth, cudaError_t error,
                                     bool for_ever);

typedef enum fakecuda_kind {
    FAKECUDA_COPY, /* each copy of a batch counts */
    FAKECUDA_MEMSET,
    FAKECUDA_KERNEL,
    FAKECUDA_HOST_FUNCTION,
    FAKECUDA_RECORD,
    FAKECUDA_WAIT,
    FAKECUDA_EXTERNAL, /* work of another fake, see fakecuda_enqueue */
    FAKECUDA_KINDS
} fakecuda_kind;

/* Makes the nth operation of the kind to execute from now (1: the next) do nothing and end its
 * device's context with the error. */
FAKECUDA_API void fakecuda_fail_operation(fakecuda_kind kind, uint64_t nth, cudaError_t error);

/* Cancels all failures that have not happened yet. */
FAKECUDA_API void fakecuda_fail_nothing(void);

/* Ends the device's context at once, with this error. */
FAKECUDA_API void fakecuda_lose_device(int device, cudaError_t error);

/* The number of operations of the kind executed so far. */
FAKECUDA_API uint64_t fakecuda_operations(fakecuda_kind kind);

/* Makes every operation of the kind take that much longer. */
FAKECUDA_API void fakecuda_delay(fakecuda_kind kind, unsigned microseconds);

/* A held stream executes nothing; `step` makes it execute that many operations and then stop again.
 * One call makes one operation, plus some where the legacy stream has to be ordered against others.
 * Destroying a stream releases it. As in CUDA, NULL is the current device's legacy stream. */
FAKECUDA_API void fakecuda_hold(cudaStream_t stream);
FAKECUDA_API void fakecuda_release(cudaStream_t stream);
FAKECUDA_API void fakecuda_step(cudaStream_t stream, size_t operations);

/* Holds or releases all streams, including those created later. */
FAKECUDA_API void fakecuda_hold_all(bool hold);

/* The number of the stream's operations that have not completed. */
FAKECUDA_API size_t fakecuda_pending(cudaStream_t stream);

/* Writes the first `capacity` of the live streams that the program created, oldest first, and
 * returns how many there are. */
FAKECUDA_API size_t fakecuda_streams(cudaStream_t *out, size_t capacity);

/* Waits until every stream that is not held has executed all it can. ThreadSanitizer does not see
 * this as synchronisation: it stands in for a program that sleeps instead of synchronising. */
FAKECUDA_API void fakecuda_settle(void);

/* The number of calls that found a stream's queue full, and of waits for events that were never
 * recorded; these wait for nothing. */
FAKECUDA_API uint64_t fakecuda_full_queues(void);
FAKECUDA_API uint64_t fakecuda_empty_waits(void);

/* The number of live objects: allocations, registrations, streams the program created, events. */
FAKECUDA_API size_t fakecuda_live(void);

/* Whether the device has a context, which takes much memory on a real GPU. Queries of devices,
 * versions and last errors do not create one. */
FAKECUDA_API bool fakecuda_has_context(int device);

/* The host address at which a test can read the bytes of device memory; NULL unless all of them are
 * live. Does not synchronise with anything. */
FAKECUDA_API void *fakecuda_shadow(const void *device, size_t size);

/* Reserves a range of `reserved` bytes of the current device's addresses, as frameworks do for
 * segments that grow. Its start is mapped by `count` adjacent mappings of these sizes in bytes
 * (multiples of 4096), the rest is not mapped. NULL when the mappings do not fit. */
FAKECUDA_API void *fakecuda_map_segments(size_t reserved, const size_t *sizes, size_t count);
FAKECUDA_API void fakecuda_unmap_segments(void *range);

/* A launch, as a kernel's body receives it. */
typedef struct fakecuda_launch {
    dim3 grid, block;
    size_t shared_bytes;
    uint64_t shuffle; /* seed that reorders blocks and threads; 0: in order */
} fakecuda_launch;

typedef void (*fakecuda_body)(const fakecuda_launch *launch, void **arguments);

/* Sets what runs when `function` is launched; emulate.hpp does so for kernels compiled for the CPU.
 * `sizes` are those of the `count` arguments in bytes. Launches through the host stub that nvcc
 * made of the kernel called `name` run it too. Survives fakecuda_reset. */
FAKECUDA_API void fakecuda_kernel(const void *function, const char *name, fakecuda_body body,
                                  const size_t *sizes, size_t count);

/* ---- for the fake of another library that works on devices, as NCCL does ----
 *
 * Such a library brings its own CUDA runtime, so none of these functions counts as a call, fails on
 * demand or sets a last error. */

typedef struct fakecuda_span { /* device memory */
    const void *address;
    size_t size;
} fakecuda_span;

typedef struct fakecuda_work {
    /* Does the work. Called once, on the stream's thread, with no lock held; may block. With `dead`
     * the device's context has ended and it must do nothing. */
    void (*run)(void *user, bool dead);
    /* Whether the running work is waiting for something outside this stream; NULL: never. Called
     * with the fake locked. */
    bool (*stuck)(void *user);
    /* Called last, with no lock held, and may free `user`; or NULL. */
    void (*done)(void *user);
    void *user;
    const fakecuda_span *spans; /* live memory that the work uses until it is done */
    size_t span_count;
} fakecuda_work;

/* Enqueues the work in a stream of that device; NULL is that device's legacy stream, whatever the
 * current device. Errors, after which nothing runs: the context's own, those of a stream that does
 * not exist or belongs to another device, cudaErrorStreamCaptureUnsupported during a capture. */
FAKECUDA_API cudaError_t fakecuda_enqueue(int device, cudaStream_t stream,
                                          const fakecuda_work *work);

/* The calling thread's current device. */
FAKECUDA_API int fakecuda_device(void);

/* The device whose live memory holds the address, or -1. */
FAKECUDA_API int fakecuda_device_of(const void *address);

/* Whether the device's context has ended; work that runs there should then end too. */
FAKECUDA_API bool fakecuda_dead(int device);

#ifdef __cplusplus
}
#endif

#endif
