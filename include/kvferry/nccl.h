/** @file
 * The NCCL module: blocks between GPUs.
 *
 * A group is one rank a process or thread, each with a CUDA engine of its own. Three jobs:
 *
 *  - onboarding what all ranks need. Each reads its share over its own link to the host, and the
 *    group shares the rest:
 *
 *        host tier of rank r --own share--> wire --all-gather--> wire --all--> slots of rank r
 *
 *  - offloading once in the group: each rank stores its share of what all of them have;
 *  - handing over: blocks of one rank go into slots of another:
 *
 *        slots --> wire --send, receive--> wire --> slots
 *
 * The wire is a small tier of packed blocks on the device, which blocks cross chunk by chunk.
 *
 * The contract is NCCL's own: all ranks of a group make the same calls in the same order: create,
 * wire_create, onboard, offload, hand_over, refuse, wire_destroy, destroy. Each call takes a turn,
 * and takes it even if it fails on one rank. Before anything moves, the ranks gather what each has
 * submitted; after everything has moved, they gather their votes. Blocks land only if all ranks
 * have voted so.
 *
 * If ranks disagree, or one of them failed to submit, nothing lands, all ranks get PEER with the
 * same `index`, and the group goes on. A rank that does not come, or makes no progress, within the
 * timeout breaks the group: all operations on all ranks end as BROKEN, without an `index` because
 * nobody knows whose fault it was, and a new group has to be made. What has landed anywhere has its
 * bytes on all ranks even then. But if the group breaks during a vote, some ranks may have heard
 * the result and others not: at most one operation is in doubt. Compare trackers, or start with new
 * ones.
 *
 * From submit on, an NCCL kernel on this rank's device waits for the other ranks. Submit at the
 * same point of every rank's step, before anything that waits for another rank. Until all ranks
 * have submitted, none of them may be kept from it by a call that waits for the whole device:
 * cudaFree, cudaFreeHost, cudaDeviceSynchronize, or the first use of another communicator.
 *
 * Two communicators that are used at the same time on one device need the same order on all ranks:
 * if both kernels cannot run at once, rank 0 may be waiting in the first for a rank 1 that waits in
 * the second for rank 0. So use `stream` to put the group's calls into a stream in order with the
 * runtime's own collectives, or leave room for both (`max_ctas`).
 *
 * @par Threads
 * Any thread, at any time, except for destroying what another call still uses; the order of the
 * calls is the caller's to keep. Poll, wait and release of an operation are also calls on the
 * trackers that it fills, see assignments.h; of one operation they must not overlap. Trackers
 * change in submit and in these calls only. A group has threads of its own unless `no_thread` or
 * `stream` is set. They call the engine's hooks, but no callback.
 *
 * @par Ownership
 * Whoever is given a group, wire or operation destroys or releases it. Plans, hands and options are
 * copied, or read, during the call.
 *
 * @par Lifetimes
 * The engine and `stream` outlive the group; the device tier outlives the wire, and the host tier
 * the operation, until it is over. Wires and operations may be released after their group. The
 * group's allocator is needed until they are gone, too.
 *
 * @par Errors
 * As in status.h. What a rank can see alone comes back from submit, and nothing has changed on it;
 * disagreement and later errors come from poll, wait and the callback. Functions that return a
 * status answer INVALID for NULL, without a turn where the group or wire is NULL; the others take
 * NULL for something that is empty.
 */
#ifndef KVFERRY_NCCL_H
#define KVFERRY_NCCL_H

#include "assignments.h"
#include "cuda.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A communicator of NCCL's: ncclComm_t points to one. */
struct ncclComm;

/** @name Groups
 *  @{ */

/** A rank of a group. */
typedef struct kvf_group kvf_group;

/** Bytes of a group's id. */
#define KVF_GROUP_ID_BYTES ((size_t)128)

/** Makes a new id, NCCL's own. One rank calls it and the caller carries it to all ranks; one group
 * is made from it. Errors: INVALID; UNSUPPORTED when the module was built without NCCL; ENGINE. */
KVF_API kvf_status kvf_group_id_create(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error);

/** Options of kvf_group_create: zero-initialise, then set what differs. */
typedef struct kvf_group_options {
    kvf_engine *engine; /**< A CUDA engine. */
    int rank;           /**< Which rank this is, from 0 on. Not read with a parent. */
    int ranks;          /**< How many there are; 0 means 1. Not read with a parent. */
    /** [KVF_GROUP_ID_BYTES], the same on all ranks. Not needed for a group of one. */
    const unsigned char *id;
    /** Instead of an id: the caller's communicator, whose ranks are the group's. A new id is
     * broadcast over it; the group's own communicator shares nothing with it. Nothing may be
     * outstanding on it and nobody else may use it during create. If a rank does not come, the
     * broadcast stays outstanding: abort the communicator then. A blocking one has been used
     * before, or NCCL connects its ranks inside the call and waits there without end. What NCCL
     * might still write to, some kilobytes, is left behind. */
    struct ncclComm *parent;
    /** The ordered form: all of the group's NCCL calls go into this stream, during submit. A submit
     * returns when all ranks have come to it and all of the operation is enqueued: work that is put
     * into the stream afterwards runs after the operation, on every rank. What stands in it before
     * has to end, also for a broken group to end. Implies `no_thread`. */
    struct CUstream_st *stream;
    /** For a rank to come, and to get on: each chunk of a long operation, or 16 of them where not
     * every rank has to do with each, start it anew. 0: 5 s. The same on all ranks. */
    int64_t timeout_us;
    int min_ctas;   /**< Thread blocks of NCCL's kernels, at least; 0: as NCCL likes. */
    int max_ctas;   /**< ... and at most. */
    int cta_policy; /**< NCCL's number for it, see ncclConfig_t; no effect before NCCL 2.27. */
    /** No thread: everything happens in the caller's submit, poll, wait, progress and destroy, so
     * that the thread that calls them is the one that launches NCCL's kernels. A rank that stops
     * calling them is late to the others, and nobody frees this one if CUDA holds it up. */
    bool no_thread;
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
} kvf_group_options;

/**
 * Makes the group's communicator and returns when all ranks have come and fit together. Errors:
 * INVALID; UNSUPPORTED when the module was built without NCCL (a group of one needs none) or the
 * engine is of another kind; TIMEOUT when a rank has not come; PEER (`index`) for one that does not
 * fit; ENGINE (`native_code` NCCL's), BROKEN; NO_MEMORY.
 */
KVF_API kvf_status kvf_group_create(const kvf_group_options *options, kvf_group **out,
                                    kvf_error *error);

/** The last turn: returns when the operations submitted before are over and all ranks have come to
 * it, or when the group breaks. Ranks that do something else instead get PEER, "has left", and
 * their group is broken. Local for a broken group. NULL is fine. */
KVF_API void kvf_group_destroy(kvf_group *group);

/** Which rank this is; -1 for NULL. */
KVF_API int kvf_group_rank(const kvf_group *group);
/** How many there are; 0 for NULL. */
KVF_API int kvf_group_ranks(const kvf_group *group);

/** OK, or why the group is broken: BROKEN, with the reason in `what` and NCCL's or CUDA's code in
 *  `native_code` where one of them failed. */
KVF_API kvf_status kvf_group_check(kvf_group *group, kvf_error *error);

/** Without a thread: does what can be done now, waits for no rank; returns how many turns are not
 * over. With a thread it only returns that. */
KVF_API size_t kvf_group_progress(kvf_group *group);

/**
 * What a group has done since it was created. No number ever decreases, and operations submitted
 * are those succeeded, failed and not over. The transfers that operations are made of are in the
 * engine's counters, too. Names ending in _ns are nanoseconds.
 */
typedef struct kvf_group_counters {
    uint64_t operations_submitted; /**< Operations that were accepted. */
    uint64_t operations_succeeded; /**< Operations that ended as OK. */
    uint64_t operations_failed;    /**< Operations that ended with an error. */
    uint64_t operations_refused;   /**< Of those, the ones refused before anything moved. */
    uint64_t votes_lost; /**< Operations that went well here and failed by another rank's vote. */

    uint64_t blocks;     /**< Blocks that have come to this rank's slots or host tier. */
    uint64_t chunks;     /**< Chunks of operations that are over. */
    uint64_t host_bytes; /**< Bytes over this rank's link to the host. */
    uint64_t wire_bytes; /**< Bytes that NCCL was asked to send and receive, padding included. */
    uint64_t gathers;    /**< Of announcements and votes. */

    uint64_t wait_ns; /**< Time until all ranks had come, of operations begun and over. */
    uint64_t run_ns;  /**< Time from then until all had voted, of the same operations. */

    uint64_t broken; /**< 1 once the group can no longer be used. */
} kvf_group_counters;

/** A snapshot, all of the same moment. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_group_counters_get(kvf_group *group, kvf_group_counters *out,
                                          kvf_error *error);

/** One group's counters, and the labels that tell it from others. */
typedef struct kvf_labelled_group_counters {
    const kvf_group_counters *counters; /**< A snapshot. */
    const kvf_label *labels;            /**< [label_count] */
    size_t label_count;                 /**< 0: none. */
} kvf_labelled_group_counters;

/** As kvf_counters_print. */
KVF_API int kvf_group_counters_print(const kvf_labelled_group_counters *groups, size_t count,
                                     char *text, size_t size);

/** @}
 *  @name Wires
 *  @{ */

/** A wire. */
typedef struct kvf_wire kvf_wire;

/** Options of kvf_wire_create: zero-initialise, then set what differs. The same on all ranks. */
typedef struct kvf_wire_options {
    kvf_tier *device;     /**< Of the group's engine. */
    size_t device_layout; /**< Which of its layouts. */
    size_t chunk_bytes;   /**< Of one rank's part of a collective; 0: 8 MiB. At least a block. */
    size_t chunks;        /**< On their way at a time; 0: 3, at most 64. */
} kvf_wire_options;

/** Makes a tier of chunks x ranks x chunk_bytes of device memory, packed blocks of one layout. A
 * turn. Errors: INVALID; RANGE for a layout that does not exist; NO_MEMORY; PEER (`index`) where
 * ranks disagree; ENGINE, BROKEN. */
KVF_API kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options,
                                   kvf_wire **out, kvf_error *error);

/** A turn: returns when the operations submitted before are over and all ranks have come to it, or
 * when the group breaks. After kvf_group_destroy, and for a broken group, it is local. Where other
 * ranks did something else, its memory is kept for the group, which frees it. NULL is fine. */
KVF_API void kvf_wire_destroy(kvf_wire *wire);

/** What a wire lies in. */
typedef enum kvf_wire_memory {
    KVF_WIRE_PLAIN,  /**< Device memory like any other. */
    KVF_WIRE_NCCL,   /**< Memory of ncclMemAlloc, which NCCL did not register. */
    KVF_WIRE_WINDOW, /**< A symmetric window: all-gather can use copy engines and no SM (see
                          `cta_policy`). */
} kvf_wire_memory;

/** What was obtained. */
typedef struct kvf_wire_explanation {
    kvf_wire_memory memory; /**< The least that all ranks could have. */
    const char *reason;     /**< Why it is not more; static text, NULL for a window. */
    size_t bytes;           /**< Device memory on this rank. */
    size_t chunk_blocks;    /**< Blocks of a chunk, all ranks' parts together. */
    size_t chunks;          /**< On their way at a time. */
    int nccl_version;       /**< Of the library that is loaded, such as 22809; 0: none. */
} kvf_wire_explanation;

/** What the wire is. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_wire_explain(const kvf_wire *wire, kvf_wire_explanation *out,
                                    kvf_error *error);

/** @}
 *  @name Operations
 *  @{ */

/** An operation. */
typedef struct kvf_wire_op kvf_wire_op;

/** Whose host tier has which blocks. */
typedef enum kvf_share {
    KVF_SHARE_STRIPED, /**< The block at position p is rank p % ranks's. */
    KVF_SHARE_RANK_0,  /**< All blocks are rank 0's. */
} kvf_share;

/** Options of an operation: zero-initialise, then set what differs. */
typedef struct kvf_wire_submit_options {
    size_t host_layout;          /**< Which of the host tier's layouts. */
    kvf_share share;             /**< Whose host tier has which blocks. */
    kvf_assignments *const *dst; /**< [plan_count]; NULL, or NULL in it: no tracker. */
    kvf_callback callback; /**< Called once, within the poll, wait or release that finds it over;
                                NULL. */
    void *user;            /**< Given to it. */
} kvf_wire_submit_options;

/**
 * Brings blocks from the ranks' host tiers into each rank's device tier. All ranks submit the same
 * positions, and hashes if any does. Of a plan's src_ids a rank's own are those at the positions it
 * has by `share`, and the others are not read; dst_ids are its own slots. With a tracker the plan
 * departs at submit, lands when all ranks have voted so, and returns otherwise.
 *
 * Errors: INVALID; RANGE for ids past a tier's blocks (`id`; `index` its plan, `other_index` its
 * place), positions that overflow or a layout that does not exist; LAYOUT; CONFLICT for a
 * destination twice; those of kvf_flight_depart (`index` the plan); NO_MEMORY. Nothing has changed
 * on this rank then, and the turn is taken: the operation of the other ranks ends as PEER with this
 * rank's index. BROKEN and CLOSED (after kvf_group_destroy) take no turn. In the ordered form:
 * TIMEOUT never, but the call may take as long as the timeout, and then the operation tells.
 */
KVF_API kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** The way back: of the same blocks on every rank's device each rank stores its own in its host
 *  tier, once in the group. src_ids are slots of the device, dst_ids ids of the host tier; neither
 * is read where others own. Trackers are the host's. Otherwise as kvf_wire_onboard. */
KVF_API kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** What goes from a rank to a rank. */
typedef struct kvf_handover {
    int from;             /**< Whose blocks. */
    int to;               /**< Whose slots; may be the same. */
    kvf_plan plan;        /**< src_ids are read on `from`, dst_ids on `to`. */
    kvf_assignments *dst; /**< Used on `to`: departs at submit, lands when all have voted so. */
} kvf_handover;

/**
 * Hands blocks over between ranks. All ranks submit the same list; one that is not named in it
 * takes part in agreeing and voting only, and where only two of many ranks should be involved, make
 * a group of the two. `dst`, `share` and `host_layout` of the options are not read. Errors: as
 * kvf_wire_onboard, `index` the hand-over; RANGE for a rank that does not exist, and for more
 * hand-overs than a chunk of the wire has blocks (`expected`); CONFLICT for a slot that is both
 * sent and received.
 */
KVF_API kvf_status kvf_wire_hand_over(kvf_wire *wire, const kvf_handover *handovers, size_t count,
                                      const kvf_wire_submit_options *options, kvf_wire_op **out,
                                      kvf_error *error);

/** Takes the turn of an operation that this rank cannot submit, such as for a source that is
 * CORRUPT: it ends as PEER on the other ranks, with this rank's index and `why` in words. Errors:
 * INVALID for a `why` that is no error; those of kvf_group_check; CLOSED. */
KVF_API kvf_status kvf_wire_refuse(kvf_wire *wire, kvf_status why, kvf_error *error);

/** PENDING, or how it ended: OK; PEER; BROKEN; or this rank's own error of the engine. Waits for
 * no rank. Once over, flights have landed or returned, except those that their tracker has returned
 * or dropped before. */
KVF_API kvf_status kvf_wire_op_poll(kvf_wire_op *op, kvf_error *error);

/** As poll, waiting up to `timeout_us`, negative for ever. Errors: TIMEOUT, else as poll. */
KVF_API kvf_status kvf_wire_op_wait(kvf_wire_op *op, int64_t timeout_us, kvf_error *error);

/** What an operation took on this rank. */
typedef struct kvf_wire_op_stats {
    uint64_t blocks;     /**< That have come to this rank's slots or host tier; 0 unless OK. */
    uint64_t host_bytes; /**< Over this rank's link to the host. */
    uint64_t wire_bytes; /**< Sent and received, padding included: what NCCL was asked for. */
    uint64_t chunks;     /**< It took so many. */
    double wait_us;      /**< Until all ranks had come. */
    double run_us;       /**< From then on until all had voted. */
} kvf_wire_op_stats;

/** Statistics: the times so far, the rest once the operation is over. */
KVF_API void kvf_wire_op_stats_get(const kvf_wire_op *op, kvf_wire_op_stats *stats);

/** Releases the operation. One that is not over goes on, and its flights return: poll or wait
 * before releasing what is to land. Its destinations are written all the same; they are free for
 * something else once a later operation, or the wire's destruction, is over. NULL is fine. */
KVF_API void kvf_wire_op_release(kvf_wire_op *op);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
