/** @file
 * The CUDA module: pinned host memory, and an engine between it and device memory.
 *
 * No header of the toolkit is needed here: a cudaStream_t is a `struct CUstream_st *`, a
 * cudaEvent_t a `struct CUevent_st *`. A NULL stream is the legacy default stream.
 *
 * @par Threads
 * Any thread, at any time, but for destroying or freeing what another call still uses. cost tables
 * never change and may be shared. Every call leaves the calling thread's current device as it was.
 *
 * @par Ownership
 * Whoever is given pinned memory, device memory, a cost table or an engine destroys or frees it.
 * Memory that was adopted, streams and events stay the caller's; engines copy their cost table.
 *
 * @par Lifetimes
 * Memory may be freed once no tier lies in it any more. Streams and events are used during the call
 * only: afterwards an event may be recorded anew. Events that the engine promises to a stream fire
 * exactly once, also when a transfer fails, so that no stream hangs: they say that nothing moves
 * any more, and only the transfer's status says that the data is there.
 *
 * @par Errors
 * As in status.h; `native_code` is the runtime's, or errno for files and threads. What the runtime
 * refuses is INVALID, RANGE, NO_MEMORY or UNSUPPORTED, and what it fails at is ENGINE; a transfer
 * that has begun ends as NO_MEMORY or ENGINE, whichever it was. BROKEN means that the runtime is
 * beyond use in this process, or that the engine is: then its transfers, marks and waits are all
 * BROKEN. Functions that return a status answer INVALID for NULL; the others take NULL for
 * something that is empty.
 */
#ifndef KVFERRY_CUDA_H
#define KVFERRY_CUDA_H

#include "transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A stream of the runtime's. */
struct CUstream_st;
/** An event of the runtime's. */
struct CUevent_st;

/** @name Pinned host memory
 *  @{ */

/** Pinned memory. */
typedef struct kvf_cuda_pinned kvf_cuda_pinned;

/** Pinned memory is registered in pieces that end at multiples of this address, since drivers
 * refuse very large ones; no copy crosses one. 64 GiB. */
#define KVF_CUDA_SEGMENT ((size_t)1 << 36)

/** Options of kvf_cuda_pinned_create: zero-initialise, then set what differs. */
typedef struct kvf_cuda_pinned_options {
    size_t bytes;       /**< Rounded up to whole huge pages. */
    int device;         /**< Whose runtime registers it; every device can reach it then. */
    bool near_device;   /**< On the device's NUMA node, when the driver tells which that is. */
    bool no_huge_pages; /**< Do not ask for huge pages. */
    unsigned threads;   /**< That touch the pages first; 0: one for each CPU that the calling thread
                             may run on, 16 at most. */
    const kvf_allocator *allocator; /**< For the handle; NULL: malloc. */
} kvf_cuda_pinned_options;

/** What was obtained. */
typedef struct kvf_cuda_pinned_info {
    size_t bytes;            /**< With what was rounded up. */
    size_t page_bytes;       /**< Of most of it, as far as the system tells. */
    size_t huge_bytes;       /**< How much lies in huge pages, as far as the system tells. */
    int numa_node;           /**< -1 when not bound to one. */
    size_t segments;         /**< Registrations. */
    double touch_seconds;    /**< Mapping and first touch. */
    double register_seconds; /**< Page locking. */
} kvf_cuda_pinned_info;

/**
 * Maps, touches and registers host memory. `info` may be NULL.
 * Errors: INVALID; RANGE for a device that does not exist; NO_MEMORY when there is none or it
 * cannot be pinned (`native_code`); UNSUPPORTED when there is no device or driver; ENGINE, BROKEN
 * for other failures of the runtime.
 */
KVF_API kvf_status kvf_cuda_pinned_create(const kvf_cuda_pinned_options *options,
                                          kvf_cuda_pinned **out, kvf_cuda_pinned_info *info,
                                          kvf_error *error);

/**
 * Registers memory that the caller has mapped, such as memory shared by the ranks of a node, of
 * which each process registers its own mapping once. The memory outlives the handle. Memory that
 * the caller has pinned himself needs no handle: tiers may lie in it. Errors: as
 * kvf_cuda_pinned_create; INVALID for memory that is registered already.
 */
KVF_API kvf_status kvf_cuda_pinned_adopt(void *base, size_t bytes, int device,
                                         const kvf_allocator *allocator, kvf_cuda_pinned **out,
                                         kvf_cuda_pinned_info *info, kvf_error *error);

/** Where it begins. */
KVF_API void *kvf_cuda_pinned_base(const kvf_cuda_pinned *pinned);
/** How long it is. */
KVF_API size_t kvf_cuda_pinned_bytes(const kvf_cuda_pinned *pinned);

/** Unregisters, and unmaps what kvf_cuda_pinned_create mapped. NULL is fine. */
KVF_API void kvf_cuda_pinned_destroy(kvf_cuda_pinned *pinned);

/** @}
 *  @name Device memory
 *  @{ */

/** Allocates on a device; a tier may just as well lie in memory of the caller's own. Errors:
 *  INVALID for NULL or no bytes; RANGE for a device that does not exist; NO_MEMORY; UNSUPPORTED
 *  without a device or driver; ENGINE, BROKEN. */
KVF_API kvf_status kvf_cuda_device_alloc(int device, size_t bytes, void **out, kvf_error *error);

/** Frees it. NULL is fine. */
KVF_API void kvf_cuda_device_free(int device, void *memory);

/** @}
 *  @name What a move costs
 *
 *  A cost table says how long each strategy takes for a move. The built-in one is made of other
 * people's published figures and kept conservative; calibrate measures one on the machine.
 *  @{ */

/** How bytes are moved. */
typedef enum kvf_cuda_strategy {
    KVF_CUDA_AUTO,  /**< The strategy that the cost table predicts to be fastest. KERNEL and STAGED
                       occupy  thread blocks and are chosen only if they save 10 % over the best of
                       the  others, or 25 % while the transfer waits for compute or compute is
                       marked.
                     */
    KVF_CUDA_LOOP,  /**< A cudaMemcpyAsync, 2DAsync or 3DAsync for every box. */
    KVF_CUDA_BATCH, /**< cuMemcpyBatchAsync or cuMemcpy3DBatchAsync, some thousand copies a call. */
    KVF_CUDA_KERNEL, /**< A few thread blocks read or write pinned host memory themselves. */
    KVF_CUDA_STAGED, /**< Packed on the device by a kernel, then few large copies; or the reverse.
                      */
} kvf_cuda_strategy;

/** Strategies, AUTO among them. */
#define KVF_CUDA_STRATEGIES 5

/** A strategy's name: "auto", "loop", ... Static text; NULL past the last. */
KVF_API const char *kvf_cuda_strategy_name(kvf_cuda_strategy strategy);

/** Where a move goes. */
typedef enum kvf_cuda_direction {
    KVF_CUDA_TO_DEVICE,   /**< From pinned memory to the device's. */
    KVF_CUDA_FROM_DEVICE, /**< From the device's memory to pinned memory. */
    KVF_CUDA_ON_DEVICE,   /**< From the device's memory to the device's. */
} kvf_cuda_direction;

/** Directions. */
#define KVF_CUDA_DIRECTIONS 3

/** A cost table. */
typedef struct kvf_cuda_costs kvf_cuda_costs;

/** The built-in cost table. `allocator` NULL: malloc. Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_cuda_costs_builtin(const kvf_allocator *allocator, kvf_cuda_costs **out,
                                          kvf_error *error);

/** Options of kvf_cuda_costs_calibrate: zero-initialise, then set what differs. */
typedef struct kvf_cuda_calibrate_options {
    int device; /**< The device's index in the runtime. */
    /** Bytes of device memory, and as many of pinned memory, to use while calibrating, on top of
     * what an engine takes. 0 means 256 MiB, which is also the most that is used; the largest
     * transfer is half of it. With less, down to 1 MiB, the largest sizes are extrapolated and the
     * warm-up is shorter. */
    size_t scratch_bytes;
    const kvf_allocator *allocator; /**< NULL: malloc. */
    const kvf_log *log; /**< Gets the result, and warnings of noise and of strategies that
                             are not available; NULL: no log. */
} kvf_cuda_calibrate_options;

/** A calibrated cost table with more noise than this is unreliable. */
#define KVF_CUDA_NOISY 0.1

/**
 * Measures every strategy on a device, with its own engines and memory. Warms up for 0.3 s, then
 * runs a fixed number of transfers: an estimated one to two seconds on an H100's link, longer on a
 * slower one. Other work on the device or the link spoils the result: check kvf_cuda_costs_noise
 * before storing a cost table. Strategies that are not available are marked as such.
 * Errors: INVALID; RANGE for a device that does not exist; NO_MEMORY; UNSUPPORTED; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_cuda_costs_calibrate(const kvf_cuda_calibrate_options *options,
                                            kvf_cuda_costs **out, kvf_error *error);

/** The relative difference between repeated measurements of a calibration: 0.02 is quiet; above
 *  KVF_CUDA_NOISY something disturbed it. NaN for the built-in cost table and for NULL. */
KVF_API double kvf_cuda_costs_noise(const kvf_cuda_costs *costs);

/** Writes a cost table as JSON, keyed by GPU, driver and link; another file of that name is
 * replaced whole or not at all. Errors: INVALID; ENGINE (`native_code` is errno); NO_MEMORY. */
KVF_API kvf_status kvf_cuda_costs_save(const kvf_cuda_costs *costs, const char *path,
                                       kvf_error *error);

/**
 * Reads a file that kvf_cuda_costs_save wrote. With a `device` it must be of that kind of GPU,
 * behind such a link and with that driver; -1 takes it as it is. jansson, which reads and writes
 * the JSON, has memory of its own. Errors: INVALID for NULL or a file that is no such cost table;
 * UNSUPPORTED for one of another GPU, driver or link (`what`); RANGE for a device that does not
 * exist; ENGINE when it cannot be read
 * (`native_code` is errno); NO_MEMORY.
 */
KVF_API kvf_status kvf_cuda_costs_load(const char *path, int device, const kvf_allocator *allocator,
                                       kvf_cuda_costs **out, kvf_error *error);

/** Frees the cost table. NULL is fine. */
KVF_API void kvf_cuda_costs_destroy(kvf_cuda_costs *costs);

/** Why a strategy was chosen. */
typedef enum kvf_cuda_reason {
    KVF_CUDA_CHEAPEST,  /**< The cost table expects it to be quickest. */
    KVF_CUDA_FORCED,    /**< The submit or the engine's options asked for it. */
    KVF_CUDA_ONLY,      /**< Nothing else can do this. */
    KVF_CUDA_FELL_BACK, /**< What was asked for cannot do this. */
    KVF_CUDA_SPARING, /**< A strategy that occupies thread blocks is predicted to be faster, but by
                         too little. */
} kvf_cuda_reason;

/** What a cost table says of a move. Times are microseconds from submit to the last byte, with
 * nothing in the way. */
typedef struct kvf_cuda_explanation {
    kvf_cuda_strategy chosen;       /**< Never AUTO. */
    kvf_cuda_reason reason;         /**< Why. */
    bool calibrated;                /**< false: by the built-in cost table. */
    double us[KVF_CUDA_STRATEGIES]; /**< NaN for what cannot do this; AUTO: as the chosen one. */
    double wire_us;                 /**< All the bytes at the link's best. */
    uint64_t bytes;                 /**< In all. */
    uint64_t boxes;                 /**< Copies of `loop`. */
    uint64_t fragments;             /**< Pieces contiguous on both sides: copies of `batch`. */
    uint64_t host_boxes;            /**< Large copies of `staged`. */
    double measured_us; /**< Of an ordered transfer that is over, had nothing in its way and was
                             polled or waited for; else NaN. */
} kvf_cuda_explanation;

/** What a copy of the CUDA engine can do: moves to be explained are lowered for it. */
KVF_API const kvf_box_limits *kvf_cuda_limits(void);

/** What a cost table says of a move, of which `direction` tells where it goes. Assumes that
 *  every strategy is available, except STAGED on the device, and that no compute runs. `host_boxes`
 *  is an estimate. Errors: INVALID. */
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
    size_t max_transfers;        /**< Transfers at a time before AGAIN; 0 means 1024. */
    kvf_cuda_strategy strategy;  /**< Of transfers that do not ask for one themselves. */
    const kvf_cuda_costs *costs; /**< Copied; NULL: the built-in one. */
    bool no_thread; /**< Background transfers move on in poll, wait and kvf_engine_progress only. */
    double background_to_gbps;   /**< Cap on background transfers to the device, 10^9 bytes/s,
                                      0.001 at least; 0: none. */
    double background_from_gbps; /**< ... and from it. */
    unsigned ctas; /**< Thread blocks of a kernel that copies over the link; 0: as many as the
                        link needs, at most 1024. */
    size_t packing_bytes; /**< Device memory for packing, each way; 0 means 32 MiB. */
    size_t packing_limit; /**< ... to which it may grow beside compute; 0 means 128 MiB. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
    const kvf_log *log;             /**< Copied; NULL: none. */
    const kvf_ranges *ranges; /**< Copied; NULL: NVTX's where a tool is attached, else none. */
} kvf_cuda_options;

/**
 * An engine between KVF_MEMORY_DEVICE tiers of one device and KVF_MEMORY_PINNED tiers, both ways,
 * and from device to device memory.
 *
 * Ordered transfers are in their streams when submit returns. Background transfers are enqueued in
 * windows of some MiB, two each way at most, by a thread of the engine's or, with `no_thread`, in
 * the caller's calls; one that ordered work or a stream has to wait for is enqueued at once and
 * whole, past its cap. A background submit, too, may begin behind the caller's events. Integrity is
 * UNSUPPORTED.
 *
 * kvf_submit_options.strategy is a kvf_cuda_strategy; one that cannot do the move gives way to one
 * that can (see kvf_cuda_explain).
 *
 * A wait naps for 1/64 of the time waited so far, at least 10 and at most 50 us. Near the predicted
 * end it polls without sleeping: from 20 us and 1/8 of the predicted duration before it, to 50 us
 * and 1/8 after. An end that was predicted is therefore seen at once, any other after one nap.
 * Background transfers, transfers after events or marks of the caller's, and lanes that share a
 * link are not predicted. The prediction is the cost table's, scaled by how the last two transfers
 * of similar length that ran alone compared with theirs. While it naps, the thread's timer slack
 * (prctl) is at most 1 us.
 *
 * A tier's regions are checked when it is made: UNSUPPORTED for pageable memory, INVALID for memory
 * of another kind or device, for memory that is not mapped all through, and for host regions that
 * cross registrations elsewhere than at multiples of KVF_CUDA_SEGMENT (`index` the region).
 *
 * Errors: INVALID; RANGE for a device that does not exist; UNSUPPORTED without a device or driver,
 * or when `strategy` cannot be had there; NO_MEMORY; ENGINE, BROKEN.
 */
KVF_API kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                          kvf_error *error);

/** What was expected of a transfer, which strategy it took, and why. PENDING for a background
 *  transfer not enqueued whole; `chosen` is AUTO for one that never began. Errors: INVALID for NULL
 *  or a transfer of another kind of engine. */
KVF_API kvf_status kvf_cuda_explain(const kvf_transfer *transfer, kvf_cuda_explanation *out,
                                    kvf_error *error);

/** What an engine has done with one strategy. */
typedef struct kvf_cuda_strategy_stats {
    uint64_t transfers;  /**< That ended well. */
    uint64_t bytes;      /**< Of these. */
    uint64_t compared;   /**< Of them, those that had nothing in their way. */
    double median_error; /**< Of these, of |measured / predicted - 1|, within some percent;
                              NaN while there are none. */
} kvf_cuda_strategy_stats;

/** What an engine has done. */
typedef struct kvf_cuda_stats {
    kvf_cuda_strategy_stats by[KVF_CUDA_STRATEGIES]; /**< By strategy; AUTO: all. */
    size_t packing_bytes[KVF_CUDA_DIRECTIONS];       /**< Device memory for packing, now. */
} kvf_cuda_stats;

/** Statistics so far. Errors: INVALID for NULL or another kind of engine. */
KVF_API kvf_status kvf_cuda_stats_get(kvf_engine *engine, kvf_cuda_stats *out, kvf_error *error);

/**
 * Makes `stream` wait until a layer of a by_layer transfer has landed, or the whole of any
 * other; valid as soon as submit has returned. Nothing is waited for once it has.
 * Errors: INVALID for NULL or a transfer of another kind of engine; RANGE for a layer the transfer
 * does not move; UNSUPPORTED for a background transfer and for a stream under capture; ENGINE,
 * BROKEN.
 */
KVF_API kvf_status kvf_cuda_wait_layer(kvf_transfer *transfer, uint32_t layer,
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
 * transfers and waits are ordered behind it.
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
