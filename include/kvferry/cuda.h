/** @file
 * The CUDA module: pinned host memory, and an engine between it and device memory.
 *
 * No header of the toolkit is needed: a cudaStream_t is a `struct CUstream_st *`, a cudaEvent_t a
 * `struct CUevent_st *`. A NULL stream is the legacy default stream.
 *
 * @par Threads
 * Any thread, at any time. Do not destroy or free what another call still uses. Cost tables never
 * change and may be shared. Every call leaves the calling thread's current device as it was.
 *
 * @par Ownership
 * The caller destroys or frees the pinned memory, device memory, cost tables and engines that it
 * receives. Adopted memory, streams and events stay the caller's; engines copy their cost table.
 *
 * @par Lifetimes
 * Memory may be freed once no tier lies in it. Streams and events are used during the call only; an
 * event may be recorded again afterwards. Events that the engine makes a stream wait for fire
 * exactly once, even if a transfer fails, so that no stream hangs. They say that nothing moves any
 * more; only the transfer's status says that the data has arrived.
 *
 * @par Errors
 * As in status.h; `native_code` is the runtime's code, or errno for files and threads. Calls that
 * the runtime rejects return INVALID, RANGE, NO_MEMORY or UNSUPPORTED; failures of the runtime
 * return ENGINE. A transfer that has started ends as NO_MEMORY or ENGINE in either case. BROKEN
 * means that the runtime is unusable in this process, or that the engine is unusable: all its
 * transfers, marks and waits are then BROKEN. Functions that return a status answer INVALID for
 * NULL; the others treat NULL as an empty object.
 */
#ifndef KVFERRY_CUDA_H
#define KVFERRY_CUDA_H

#include "transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A stream of the CUDA runtime. */
struct CUstream_st;
/** An event of the CUDA runtime. */
struct CUevent_st;

/** @name Pinned host memory
 *  @{ */

/** Pinned host memory. */
typedef struct kvf_cuda_pinned kvf_cuda_pinned;

/** 64 GiB, in bytes. Pinned memory is registered in pieces that end at addresses divisible by this,
 *  because drivers refuse very large registrations. No copy crosses one of these addresses. */
#define KVF_CUDA_SEGMENT ((size_t)1 << 36)

/** Options of kvf_cuda_pinned_create: zero-initialise, then set what differs. */
typedef struct kvf_cuda_pinned_options {
    size_t bytes;     /**< Rounded up to whole huge pages. */
    int device;       /**< The device whose runtime registers it; every device can reach it then. */
    bool near_device; /**< On the device's NUMA node, if the driver reports it. */
    bool no_huge_pages; /**< Do not ask for huge pages. */
    unsigned threads;   /**< Threads that touch the pages first; 0: one per CPU that the calling
                             thread may run on, at most 16. */
    const kvf_allocator *allocator; /**< For the handle; NULL: malloc. */
} kvf_cuda_pinned_options;

/** What pinning obtained. */
typedef struct kvf_cuda_pinned_info {
    size_t bytes;            /**< Bytes, after rounding up. */
    size_t page_bytes;       /**< Page size of most of it, as far as the system reports. */
    size_t huge_bytes;       /**< Bytes in huge pages, as far as the system reports. */
    int numa_node;           /**< The node it is bound to; -1: none. */
    size_t segments;         /**< Number of registrations. */
    double touch_seconds;    /**< Time for mapping and first touch. */
    double register_seconds; /**< Time for page locking. */
} kvf_cuda_pinned_info;

/**
 * Maps, touches and registers host memory. `info` may be NULL. Errors: INVALID; RANGE for a device
 * that does not exist; NO_MEMORY if memory runs out or cannot be pinned (`native_code`);
 * UNSUPPORTED without a device or driver; ENGINE and BROKEN for other failures of the runtime.
 */
KVF_API kvf_status kvf_cuda_pinned_create(const kvf_cuda_pinned_options *options,
                                          kvf_cuda_pinned **out, kvf_cuda_pinned_info *info,
                                          kvf_error *error);

/**
 * Registers `bytes` of memory that the caller has mapped, such as memory shared by the ranks of a
 * node: each process registers its own mapping once. The memory must outlive the handle. Memory
 * that the caller has pinned needs no handle: tiers may lie in it. `info` may be NULL. Errors:
 * those of kvf_cuda_pinned_create; INVALID for memory that is registered already.
 */
KVF_API kvf_status kvf_cuda_pinned_adopt(void *base, size_t bytes, int device,
                                         const kvf_allocator *allocator, kvf_cuda_pinned **out,
                                         kvf_cuda_pinned_info *info, kvf_error *error);

/** The first byte; NULL for NULL. */
KVF_API void *kvf_cuda_pinned_base(const kvf_cuda_pinned *pinned);
/** The size in bytes; 0 for NULL. */
KVF_API size_t kvf_cuda_pinned_bytes(const kvf_cuda_pinned *pinned);

/** Unregisters the memory, and unmaps what kvf_cuda_pinned_create mapped. Does nothing for NULL. */
KVF_API void kvf_cuda_pinned_destroy(kvf_cuda_pinned *pinned);

/** @}
 *  @name Device memory
 *  @{ */

/** Allocates device memory. Optional: a tier may also lie in memory that the caller has allocated.
 *  Errors: INVALID for NULL or 0 bytes; RANGE for a device that does not exist; NO_MEMORY;
 *  UNSUPPORTED without a device or driver; ENGINE, BROKEN. */
KVF_API kvf_status kvf_cuda_device_alloc(int device, size_t bytes, void **out, kvf_error *error);

/** Frees device memory. Does nothing for NULL. */
KVF_API void kvf_cuda_device_free(int device, void *memory);

/** @}
 *  @name What a move costs
 *
 *  A cost table predicts how long each strategy takes for a move. The built-in table is made of
 *  published figures, chosen conservatively; calibration measures one on the machine.
 *  @{ */

/** How bytes are copied. */
typedef enum kvf_cuda_strategy {
    KVF_CUDA_AUTO,  /**< The strategy that the cost table predicts to be fastest. KERNEL and STAGED
                         occupy thread blocks and are chosen only if they save 10 % over the best of
                         the others, or 25 % while the transfer waits for compute or compute is
                         marked. */
    KVF_CUDA_LOOP,  /**< One cudaMemcpyAsync, 2DAsync or 3DAsync per box. */
    KVF_CUDA_BATCH, /**< cuMemcpyBatchAsync or cuMemcpy3DBatchAsync, up to 4,096 pieces per call. */
    KVF_CUDA_KERNEL, /**< A few thread blocks read or write pinned host memory themselves. */
    KVF_CUDA_STAGED, /**< A kernel packs on the device, then few large copies; or the reverse. */
} kvf_cuda_strategy;

/** Number of strategies, including AUTO. */
#define KVF_CUDA_STRATEGIES 5

/** The strategy's name: "auto", "loop", ... Static text; NULL past the last. */
KVF_API const char *kvf_cuda_strategy_name(kvf_cuda_strategy strategy);

/** The direction of a move. */
typedef enum kvf_cuda_direction {
    KVF_CUDA_TO_DEVICE,   /**< From pinned memory to device memory. */
    KVF_CUDA_FROM_DEVICE, /**< From device memory to pinned memory. */
    KVF_CUDA_ON_DEVICE,   /**< From device memory to device memory. */
} kvf_cuda_direction;

/** Number of directions. */
#define KVF_CUDA_DIRECTIONS 3

/** A cost table. Never changes. */
typedef struct kvf_cuda_costs kvf_cuda_costs;

/** Makes the built-in cost table. `allocator` NULL: malloc. Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_cuda_costs_builtin(const kvf_allocator *allocator, kvf_cuda_costs **out,
                                          kvf_error *error);

/** Options of kvf_cuda_costs_calibrate: zero-initialise, then set what differs. */
typedef struct kvf_cuda_calibrate_options {
    int device; /**< The device's index in the runtime. */
    /** Bytes of device memory, and as many of pinned memory, to use while calibrating, in addition
     *  to what an engine takes. 0 means 256 MiB, which is also the most that is used; the largest
     *  transfer is half of it. With less, down to 1 MiB, the largest sizes are extrapolated and the
     *  warm-up is shorter. */
    size_t scratch_bytes;
    const kvf_allocator *allocator; /**< NULL: malloc. */
    const kvf_log *log; /**< Receives the result, and warnings about noise and about strategies that
                             are not available; NULL: no log. */
} kvf_cuda_calibrate_options;

/** A calibrated cost table with more noise than this is unreliable. See kvf_cuda_costs_noise. */
#define KVF_CUDA_NOISY 0.1

/**
 * Measures every strategy on a device, with its own engines and memory, and makes a cost table of
 * the result. Warms up for 0.3 s, then runs a fixed number of transfers: an estimated one to two
 * seconds on an H100's link, longer on a slower one. Other work on the device or the link spoils
 * the result: check kvf_cuda_costs_noise before storing the cost table. The table marks strategies
 * that are not available. Errors: INVALID; RANGE for a device that does not exist; NO_MEMORY;
 * UNSUPPORTED; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_costs_calibrate(const kvf_cuda_calibrate_options *options,
                                            kvf_cuda_costs **out, kvf_error *error);

/** The relative difference between repeated measurements of a calibration: 0.02 is quiet; above
 *  KVF_CUDA_NOISY other work disturbed it. NaN for the built-in cost table and for NULL. */
KVF_API double kvf_cuda_costs_noise(const kvf_cuda_costs *costs);

/** Writes a cost table as JSON, with its GPU, driver and link. A file of that name is replaced as a
 *  whole or not at all. Errors: INVALID; ENGINE (`native_code` is errno); NO_MEMORY. */
KVF_API kvf_status kvf_cuda_costs_save(const kvf_cuda_costs *costs, const char *path,
                                       kvf_error *error);

/**
 * Reads a file that kvf_cuda_costs_save wrote. With a `device`, the table must be for that kind of
 * GPU, with that link and driver; -1 accepts any. jansson, which reads and writes the JSON,
 * allocates its own memory. Errors: INVALID for NULL or a file that is not a cost table;
 * UNSUPPORTED for a table of another GPU, driver or link (`what`); RANGE for a device that does not
 * exist; ENGINE if the file cannot be read (`native_code` is errno); NO_MEMORY.
 */
KVF_API kvf_status kvf_cuda_costs_load(const char *path, int device, const kvf_allocator *allocator,
                                       kvf_cuda_costs **out, kvf_error *error);

/** Frees the cost table. Does nothing for NULL. */
KVF_API void kvf_cuda_costs_destroy(kvf_cuda_costs *costs);

/** Why a strategy was chosen. */
typedef enum kvf_cuda_reason {
    KVF_CUDA_CHEAPEST,  /**< The cost table predicts it to be fastest. */
    KVF_CUDA_FORCED,    /**< The submit or the engine's options asked for it. */
    KVF_CUDA_ONLY,      /**< No other strategy can do this move. */
    KVF_CUDA_FELL_BACK, /**< The strategy asked for cannot do this move. */
    KVF_CUDA_SPARING, /**< A strategy that occupies thread blocks is predicted to be faster, but by
                           too little. */
} kvf_cuda_reason;

/** What a cost table predicts for a move. Times are microseconds from submit to the last byte, with
 *  nothing ahead of the move. */
typedef struct kvf_cuda_explanation {
    kvf_cuda_strategy chosen;       /**< Never AUTO. */
    kvf_cuda_reason reason;         /**< Why. */
    bool calibrated;                /**< false: predicted by the built-in cost table. */
    double us[KVF_CUDA_STRATEGIES]; /**< NaN for strategies that cannot do this move; AUTO: as the
                                         chosen one. */
    double wire_us;                 /**< Time for all bytes at the link's best speed. */
    uint64_t bytes;                 /**< Total bytes. */
    uint64_t boxes;                 /**< Copies that `loop` makes. */
    uint64_t fragments;             /**< Pieces contiguous on both sides: copies of `batch`. */
    uint64_t host_boxes;            /**< Large copies that `staged` makes. */
    double measured_us; /**< Time taken by an ordered transfer that has ended, had nothing
                             ahead of it and was polled or waited for; else NaN. */
} kvf_cuda_explanation;

/** What one copy of the CUDA engine can do. Create moves with these limits before passing them to
 *  kvf_cuda_costs_explain. */
KVF_API const kvf_box_limits *kvf_cuda_limits(void);

/** Predicts what a move in a direction costs. Assumes that every strategy is available, except
 *  STAGED on the device, and that no compute runs. `host_boxes` is an estimate. Errors: INVALID. */
KVF_API kvf_status kvf_cuda_costs_explain(const kvf_cuda_costs *costs, const kvf_move *move,
                                          kvf_cuda_direction direction, kvf_cuda_explanation *out,
                                          kvf_error *error);

/** @}
 *  @name The engine
 *  @{ */

/** Options of kvf_engine_cuda_create: zero-initialise, then set what differs. */
typedef struct kvf_cuda_options {
    int device;                  /**< The device's index in the runtime. */
    unsigned lanes;              /**< Streams each way; 0 means 4, at most 8. */
    size_t max_transfers;        /**< Most open transfers; then AGAIN. 0 means 1024. */
    kvf_cuda_strategy strategy;  /**< For transfers that do not ask for one. */
    const kvf_cuda_costs *costs; /**< Copied; NULL: the built-in cost table. */
    bool no_thread; /**< Background transfers advance only in poll, wait and kvf_engine_progress. */
    double background_to_gbps;   /**< Cap on background transfers to the device in 10^9 bytes/s, at
                                      least 0.001; 0: no cap. */
    double background_from_gbps; /**< The same, from the device. */
    unsigned ctas; /**< Thread blocks of a kernel that copies over the link; 0: as many as the
                        link needs, at most 1024. */
    size_t packing_bytes; /**< Bytes of device memory for the packing buffers of the strategy
                               `staged`, each way, at least 16 KiB; 0 means 32 MiB. */
    size_t packing_limit; /**< Bytes to which they may grow, each way, while transfers wait for
                               compute or for one another; 0 means 128 MiB. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
    const kvf_log *log;             /**< Copied; NULL: none. */
    const kvf_ranges *ranges;       /**< Copied; NULL: NVTX's if a tool is attached, else none. */
} kvf_cuda_options;

/**
 * Makes an engine between KVF_MEMORY_DEVICE tiers of one device and KVF_MEMORY_PINNED tiers, both
 * ways, and from device to device memory. `options` NULL: all zero.
 *
 * Ordered transfers are in their streams when submit returns. Background transfers are enqueued in
 * windows of 4 MiB, at most two each way, by a thread of the engine or, with `no_thread`, in the
 * caller's calls. A background transfer that ordered work or a stream has to wait for is enqueued
 * at once and whole, beyond its cap. Background transfers may also wait for the caller's events.
 * Integrity, and transfers between two pinned tiers, are UNSUPPORTED.
 *
 * kvf_submit_options.strategy is a kvf_cuda_strategy. If that strategy cannot do the move, the
 * engine takes one that can (see kvf_cuda_explain).
 *
 * A wait naps for 1/64 of the time waited so far, at least 10 and at most 50 us. Near the predicted
 * end it polls without sleeping: from 20 us and 1/8 of the predicted duration before it, to 50 us
 * and 1/8 after it. A predicted end is therefore noticed at once, any other after one nap.
 * Background transfers, transfers after the caller's events or marks, and lanes that share a link
 * are not predicted. The prediction is that of the cost table, scaled by how the last two transfers
 * of similar length that ran alone compared with their predictions. During a nap the thread's timer
 * slack (prctl) is at most 1 us.
 *
 * kvf_tier_create checks the regions: UNSUPPORTED for pageable memory; INVALID for memory of
 * another kind or device, for memory that is not mapped throughout, and for host regions that cross
 * registrations other than at multiples of KVF_CUDA_SEGMENT (`index` is the region).
 *
 * Errors: INVALID; RANGE for a device that does not exist; UNSUPPORTED without a device or driver,
 * or if `strategy` is not available there; NO_MEMORY; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                          kvf_error *error);

/** What was predicted for a transfer, which strategy it took, and why. PENDING for a background
 *  transfer that is not enqueued as a whole; `chosen` is AUTO for a transfer that never started.
 *  Errors: INVALID for NULL or a transfer of another kind of engine. */
KVF_API kvf_status kvf_cuda_explain(const kvf_transfer *transfer, kvf_cuda_explanation *out,
                                    kvf_error *error);

/** What an engine has done with one strategy. */
typedef struct kvf_cuda_strategy_stats {
    uint64_t transfers;  /**< Transfers that succeeded. */
    uint64_t bytes;      /**< Their bytes. */
    uint64_t compared;   /**< Of these, transfers that had nothing ahead of them. */
    double median_error; /**< Median of |measured / predicted - 1| over the compared transfers, to
                              within some percent; NaN while there are none. */
} kvf_cuda_strategy_stats;

/** What an engine has done. */
typedef struct kvf_cuda_stats {
    kvf_cuda_strategy_stats by[KVF_CUDA_STRATEGIES]; /**< By strategy; AUTO: the total. */
    size_t packing_bytes[KVF_CUDA_DIRECTIONS];       /**< Current size of the packing buffers. */
} kvf_cuda_stats;

/** Statistics so far. Errors: INVALID for NULL or another kind of engine. */
KVF_API kvf_status kvf_cuda_stats_get(kvf_engine *engine, kvf_cuda_stats *out, kvf_error *error);

/**
 * Makes `stream` wait until one layer of a by_layer transfer has landed, or until all layers of any
 * other transfer have. May be called as soon as submit has returned. Adds no wait if they have
 * landed already. Errors: INVALID for NULL or a transfer of another kind of engine; RANGE for a
 * layer that the transfer does not move; UNSUPPORTED for a background transfer and for a stream
 * under capture; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_wait_layer(kvf_transfer *transfer, uint32_t layer,
                                       struct CUstream_st *stream, kvf_error *error);

/**
 * Makes `stream` wait for the transfers and marks that use these blocks: for writers if the stream
 * will only read the blocks; for writers and readers if it `writes` them. Errors: INVALID; RANGE
 * for an id past the tier's blocks; UNSUPPORTED for a stream under capture; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_wait_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool writes, struct CUstream_st *stream, kvf_error *error);

/**
 * Declares that the blocks are being read, or `written`, up to an event that the caller has
 * recorded: later transfers and waits are ordered after that event. An event that has never been
 * recorded counts as complete, so record it before this call. Errors, after which nothing is
 * marked: INVALID; RANGE for an id past the tier's blocks; AGAIN if very many marks are
 * outstanding; UNSUPPORTED for an event under capture (the query invalidates that capture);
 * NO_MEMORY; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_mark_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool written, struct CUevent_st *event, kvf_error *error);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
