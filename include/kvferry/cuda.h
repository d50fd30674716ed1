/** @file
 * The CUDA module: pinned host memory, and an engine between it and device memory.
 *
 * No header of the toolkit is needed here: a cudaStream_t is a `struct CUstream_st *`, a
 * cudaEvent_t a `struct CUevent_st *`. A NULL stream is the legacy default stream.
 *
 * Every call leaves the calling thread's current device as it was. Events that the engine promises
 * to a stream fire exactly once, also when a transfer fails, so that no stream hangs: they say that
 * nothing moves any more, and only the transfer's status says that the data is there.
 */
#ifndef KVFERRY_CUDA_H
#define KVFERRY_CUDA_H

#include "transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;
struct CUevent_st;

/** @name Pinned host memory
 *  @{ */

typedef struct kvf_cuda_pinned kvf_cuda_pinned;

/** Pinned memory is registered in pieces that end at multiples of this address, since drivers
 * refuse very large ones; no copy crosses one. 64 GiB. */
#define KVF_CUDA_SEGMENT ((size_t)1 << 36)

/** Zero-initialise, then set what differs. */
typedef struct kvf_cuda_pinned_options {
    size_t bytes;       /**< Rounded up to whole huge pages. */
    int device;         /**< Whose runtime registers it; every device can reach it then. */
    bool near_device;   /**< On the device's NUMA node, when the driver tells which that is. */
    bool no_huge_pages; /**< Do not ask for huge pages. */
    unsigned threads;   /**< That touch the pages first; 0: one a processor, 16 at most. */
    const kvf_allocator *allocator; /**< For the handle; NULL: malloc. */
} kvf_cuda_pinned_options;

/** What was obtained. */
typedef struct kvf_cuda_pinned_report {
    size_t bytes;
    size_t page_bytes;       /**< Of most of it, as far as the system tells. */
    size_t huge_bytes;       /**< How much lies in huge pages, as far as the system tells. */
    int numa_node;           /**< -1 when not bound to one. */
    size_t segments;         /**< Registrations. */
    double touch_seconds;    /**< Mapping and first touch. */
    double register_seconds; /**< Page locking. */
} kvf_cuda_pinned_report;

/**
 * Maps, touches and registers host memory. `report` may be NULL.
 * Errors: INVALID; RANGE for a device that does not exist; NO_MEMORY when there is none or it
 * cannot be pinned (`native_code`); UNSUPPORTED when there is no device or driver; ENGINE, BROKEN
 * for other failures of the runtime.
 */
KVF_API kvf_status kvf_cuda_pinned_create(const kvf_cuda_pinned_options *options,
                                          kvf_cuda_pinned **out, kvf_cuda_pinned_report *report,
                                          kvf_error *error);

/**
 * Registers memory that the caller has mapped, such as memory shared by the ranks of a node, of
 * which each process registers its own mapping once. The memory stays the caller's and outlives
 * the handle. Memory that the caller has pinned himself needs no handle: tiers may lie in it.
 * Errors: as kvf_cuda_pinned_create; INVALID for memory that is registered already.
 */
KVF_API kvf_status kvf_cuda_pinned_adopt(void *base, size_t bytes, int device,
                                         const kvf_allocator *allocator, kvf_cuda_pinned **out,
                                         kvf_cuda_pinned_report *report, kvf_error *error);

KVF_API void *kvf_cuda_pinned_base(const kvf_cuda_pinned *pinned);
KVF_API size_t kvf_cuda_pinned_bytes(const kvf_cuda_pinned *pinned);

/** Unregisters, and unmaps what kvf_cuda_pinned_create mapped. No tier may lie in it any more. NULL
 *  is fine. */
KVF_API void kvf_cuda_pinned_destroy(kvf_cuda_pinned *pinned);

/** @}
 *  @name The engine
 *  @{ */

/** How bytes are moved. */
typedef enum kvf_cuda_strategy {
    KVF_CUDA_AUTO,  /**< Whichever is expected to take the driver less time. */
    KVF_CUDA_LOOP,  /**< A cudaMemcpyAsync, 2DAsync or 3DAsync for every box. */
    KVF_CUDA_BATCH, /**< cuMemcpyBatchAsync, some thousand pieces a call. */
} kvf_cuda_strategy;

/** Zero-initialise, then set what differs. */
typedef struct kvf_cuda_options {
    int device;                     /**< The device's index in the runtime. */
    unsigned lanes;                 /**< Streams each way; 0 means 4, at most 8. */
    size_t max_transfers;           /**< Transfers at a time before AGAIN; 0 means 1024. */
    kvf_cuda_strategy strategy;     /**< For all transfers. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
} kvf_cuda_options;

/**
 * An engine between KVF_MEMORY_DEVICE tiers of one device and KVF_MEMORY_PINNED tiers, both ways,
 * and from device to device memory. It has no thread: poll, wait and kvf_engine_progress find out
 * what has finished. Background transfers and integrity are UNSUPPORTED.
 *
 * A tier's regions are checked when it is made: UNSUPPORTED for pageable memory, INVALID for memory
 * of another kind or device, for memory that is not mapped all through, and for host regions that
 * cross registrations elsewhere than at multiples of KVF_CUDA_SEGMENT (`index` the region).
 *
 * Errors: INVALID; RANGE for a device that does not exist; UNSUPPORTED without a device or driver,
 * or for BATCH where the driver has none; NO_MEMORY; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                          kvf_error *error);

/**
 * Makes `stream` wait until a group (layer) of a by_group transfer has landed, or the whole of any
 * other; valid as soon as submit has returned. Nothing is waited for once it has.
 * Errors: INVALID for NULL or a transfer of another kind of engine; RANGE for a group the transfer
 * does not move; UNSUPPORTED for a stream under capture; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_wait_group(kvf_transfer *transfer, uint32_t group,
                                       struct CUstream_st *stream, kvf_error *error);

/**
 * Makes `stream` wait for the blocks' users: for who writes them, if the stream will only read
 * them, for who reads them too, if it will write. Errors: INVALID; RANGE for an id past the tier's
 * blocks; UNSUPPORTED for a stream under capture; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_wait_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool writes, struct CUstream_st *stream, kvf_error *error);

/**
 * Says that the blocks are read, or written, up to an event that the caller has recorded: later
 * transfers and waits are ordered behind it. The event may be recorded anew afterwards.
 * Errors: INVALID; RANGE for an id past the tier's blocks; AGAIN when very many marks are
 * outstanding; UNSUPPORTED for an event under capture (asking for it has spoilt that capture);
 * NO_MEMORY; ENGINE, BROKEN. Nothing is marked then.
 */
KVF_API kvf_status kvf_cuda_mark_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool written, struct CUevent_st *event, kvf_error *error);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
