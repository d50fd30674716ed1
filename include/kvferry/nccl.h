/** @file
 * The NCCL module: blocks between GPUs.
 *
 * A group has one rank per process or thread, each with its own CUDA engine. It has three
 * operations:
 *
 *  - onboarding of blocks that all ranks need: each rank reads its share over its own link to the
 *    host, and the ranks exchange their shares:
 *
 *        host tier of rank r --own share--> wire --all-gather--> wire --all--> slots of rank r
 *
 *  - offloading once per group: each rank stores its share of the blocks that all ranks have;
 *  - handing over: blocks of one rank go into slots of another:
 *
 *        slots --> wire --send, receive--> wire --> slots
 *
 * The wire is a small tier of packed blocks on the device, which blocks cross chunk by chunk.
 *
 * The contract is NCCL's own: all ranks of a group make the same sequence of calls of create,
 * wire_create, onboard, offload, hand_over, refuse, wire_destroy and destroy. Each of these calls
 * takes a turn, even if it fails on one rank. Before anything moves, the ranks gather what each of
 * them has submitted; after everything has moved, they gather their votes. Blocks land only if all
 * ranks vote for it.
 *
 * If ranks disagree, or one of them fails to submit, nothing lands, all ranks get PEER with the
 * same `index`, and the group continues. A rank that does not arrive, or makes no progress, within
 * the timeout breaks the group: all operations on all ranks end as BROKEN, without an `index`,
 * because the rank at fault is unknown, and a new group has to be made. Even then, blocks that have
 * landed on one rank have their bytes on all ranks. But if the group breaks during a vote, some
 * ranks may have received its result and others not: at most one operation is in doubt. Compare the
 * assignments of the ranks, or start with new ones.
 *
 * From submit on, an NCCL kernel on this rank's device waits for the other ranks. Submit at the
 * same point of every rank's step, before anything that waits for another rank. Until all ranks
 * have submitted, none of them may be held up by a call that waits for the whole device: cudaFree,
 * cudaFreeHost, cudaDeviceSynchronize, or the first use of another communicator.
 *
 * Two communicators that are used at the same time on one device need the same order on all ranks.
 * If both kernels cannot run at once, rank 0 may be waiting in the first for rank 1, which waits in
 * the second for rank 0. So use `stream` to order the group's calls with the runtime's own
 * collectives, or leave room for both (`max_ctas`).
 *
 * @par Threads
 * Any thread, at any time. Do not destroy what another call still uses. The caller keeps the order
 * of the calls. Poll, wait and release of an operation are also calls on the assignments that it
 * fills, see assignments.h; for one operation they must not overlap. Assignments change only in
 * submit and in these calls. A group has threads of its own unless `no_thread` or `stream` is set;
 * they call the engine's hooks, but no callback.
 *
 * @par Ownership
 * The caller destroys or releases every group, wire and operation that it receives. Plans,
 * hand-overs and options are copied or read during the call.
 *
 * @par Lifetimes
 * The engine and `stream` must outlive the group, the device tier must outlive the wire, and the
 * host tier must exist until the operation has ended. Wires and operations may be released after
 * their group. The group's allocator must outlive its wires and operations, too.
 *
 * @par Errors
 * As in status.h. Errors that a rank finds alone come from submit, and nothing has changed on that
 * rank; disagreement and later errors come from poll, wait and the callback. Functions that return
 * a status answer INVALID for NULL, without taking a turn if the group or wire is NULL; the others
 * treat NULL as an empty object.
 */
#ifndef KVFERRY_NCCL_H
#define KVFERRY_NCCL_H

#include "assignments.h"
#include "cuda.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A communicator of NCCL; ncclComm_t points to one. */
struct ncclComm;

/** @name Groups
 *  @{ */

/** One rank's side of a group. */
typedef struct kvf_group kvf_group;

/** Size of a group's id in bytes. */
#define KVF_GROUP_ID_BYTES ((size_t)128)

/** Makes a new id, NCCL's own. One rank calls it, and the caller carries the id to all ranks. An id
 *  makes one group only. Errors: INVALID; UNSUPPORTED if the module was built without NCCL;
 *  ENGINE. */
KVF_API kvf_status kvf_group_id_create(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error);

/** Options of kvf_group_create: zero-initialise, then set what differs. */
typedef struct kvf_group_options {
    kvf_engine *engine; /**< A CUDA engine. */
    int rank;           /**< This rank, from 0 on. Ignored with `parent`. */
    int ranks;          /**< Number of ranks; 0 means 1. Ignored with `parent`. */
    /** [KVF_GROUP_ID_BYTES] The same on all ranks. Not needed for a group of one. */
    const unsigned char *id;
    /** Instead of an id: a communicator of the caller's, whose ranks become those of the group. A
     *  new id is broadcast over it; the group's own communicator shares nothing with it. During
     *  create nothing may be outstanding on it, and nothing else may use it. If a rank does not
     *  arrive, the broadcast stays outstanding: abort the communicator then. A blocking
     *  communicator must have been used before, or NCCL connects its ranks inside the call and
     *  waits there without limit. Memory that NCCL might still write to, some kilobytes, is left
     *  allocated. */
    struct ncclComm *parent;
    /** The ordered form: all of the group's NCCL calls go into this stream, during submit. A submit
     *  returns when all ranks have arrived at it and the whole operation is enqueued: work enqueued
     *  in the stream afterwards runs after the operation, on every rank. Work enqueued before must
     *  finish, even for a broken group to end. Implies `no_thread`. */
    struct CUstream_st *stream;
    /** How long a rank may take to arrive, or to make progress, in microseconds. In a long
     *  operation the time restarts with each chunk, or with every 16 chunks if not every rank takes
     *  part in each. 0: 5 seconds. The same on all ranks. */
    int64_t timeout_us;
    int min_ctas;   /**< Fewest thread blocks of NCCL's kernels; 0: NCCL's choice. */
    int max_ctas;   /**< Most thread blocks of NCCL's kernels; 0: NCCL's choice. */
    int cta_policy; /**< As CTAPolicy in ncclConfig_t; no effect before NCCL 2.27. */
    /** No thread: everything happens in the caller's submit, poll, wait, progress and destroy, so
     *  the thread that calls them launches NCCL's kernels. A rank that stops calling them is late
     *  for the others, and if CUDA blocks such a call, no timeout ends it. */
    bool no_thread;
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
} kvf_group_options;

/**
 * Makes the group's communicator, and returns when all ranks have arrived and agree. Errors:
 * INVALID; UNSUPPORTED if the module was built without NCCL (a group of one needs none) or the
 * engine is of another kind; TIMEOUT if a rank has not arrived; PEER (`index`) for a rank that
 * disagrees; ENGINE (`native_code` is NCCL's), BROKEN; NO_MEMORY.
 */
KVF_API kvf_status kvf_group_create(const kvf_group_options *options, kvf_group **out,
                                    kvf_error *error);

/** Takes the last turn: returns when the operations submitted before have ended and all ranks have
 *  arrived at it, or when the group breaks. Ranks that do something else instead get PEER, "has
 *  left", and their group is broken. Waits for no rank if the group is broken. Does nothing for
 *  NULL. */
KVF_API void kvf_group_destroy(kvf_group *group);

/** This rank; -1 for NULL. */
KVF_API int kvf_group_rank(const kvf_group *group);
/** Number of ranks; 0 for NULL. */
KVF_API int kvf_group_ranks(const kvf_group *group);

/** Returns OK, or BROKEN with the reason in `what` and, if NCCL or CUDA failed, the code in
 *  `native_code`. */
KVF_API kvf_status kvf_group_check(kvf_group *group, kvf_error *error);

/** For a group without a thread, does what can be done without waiting for a rank. Returns the
 *  number of turns that have not ended, for any group. */
KVF_API size_t kvf_group_progress(kvf_group *group);

/**
 * What a group has done since it was created. No number ever decreases. Operations submitted are
 * those that succeeded, failed or have not ended. The engine's counters include the transfers of
 * operations. Names ending in _ns are nanoseconds.
 */
typedef struct kvf_group_counters {
    uint64_t operations_submitted; /**< Operations that were accepted. */
    uint64_t operations_succeeded; /**< Operations that ended as OK. */
    uint64_t operations_failed;    /**< Operations that ended with an error. */
    uint64_t operations_refused;   /**< Of the failed, those refused before anything moved. */
    uint64_t votes_lost; /**< Operations that this rank voted for and another rank voted down. */

    uint64_t blocks;     /**< Blocks that landed in this rank's slots or host tier. */
    uint64_t chunks;     /**< Chunks of operations that have ended. */
    uint64_t host_bytes; /**< Bytes over this rank's link to the host. */
    uint64_t wire_bytes; /**< Bytes that NCCL was asked to send and receive, including padding. */
    uint64_t gathers;    /**< Gathers of announcements and votes. */

    uint64_t wait_ns; /**< Time until all ranks had arrived, of operations that began and ended. */
    uint64_t run_ns;  /**< Time from then until all had voted, of the same operations. */

    uint64_t broken; /**< 1 once the group is unusable. */
} kvf_group_counters;

/** A snapshot, all taken at the same moment. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_group_counters_get(kvf_group *group, kvf_group_counters *out,
                                          kvf_error *error);

/** One group's counters, and the labels that distinguish it from other groups. */
typedef struct kvf_labelled_group_counters {
    const kvf_group_counters *counters; /**< A snapshot. */
    const kvf_label *labels;            /**< [label_count] The labels. */
    size_t label_count;                 /**< 0: none. */
} kvf_labelled_group_counters;

/** Writes the counters of one or more groups, otherwise as kvf_counters_print. */
KVF_API int kvf_group_counters_print(const kvf_labelled_group_counters *groups, size_t count,
                                     char *text, size_t size);

/** @}
 *  @name Wires
 *  @{ */

/** The packed blocks through which operations pass. */
typedef struct kvf_wire kvf_wire;

/** Options of kvf_wire_create: zero-initialise, then set what differs. The same on all ranks. */
typedef struct kvf_wire_options {
    kvf_tier *device;     /**< A device tier of the group's engine. */
    size_t device_layout; /**< Index of its layout. */
    /** Bytes of one rank's part of a chunk; 0: 8 MiB. Less than a block means one block. */
    size_t chunk_bytes;
    size_t chunks; /**< Chunks in progress at a time, at most 64; 0: 3. */
} kvf_wire_options;

/** Makes a tier of chunks x ranks x chunk_bytes of device memory, of packed blocks of one layout.
 *  Takes a turn. Errors: INVALID; RANGE for an unknown layout; NO_MEMORY; PEER (`index`) if ranks
 *  disagree; ENGINE, BROKEN. */
KVF_API kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options,
                                   kvf_wire **out, kvf_error *error);

/** Takes a turn: returns when the operations submitted before have ended and all ranks have arrived
 *  at it, or when the group breaks. Waits for no rank after kvf_group_destroy or if the group is
 *  broken. If other ranks did something else, the group keeps the wire's memory and frees it later.
 *  Does nothing for NULL. */
KVF_API void kvf_wire_destroy(kvf_wire *wire);

/** The memory of a wire. */
typedef enum kvf_wire_memory {
    KVF_WIRE_PLAIN,  /**< Ordinary device memory. */
    KVF_WIRE_NCCL,   /**< Memory from ncclMemAlloc that NCCL did not register. */
    KVF_WIRE_WINDOW, /**< A symmetric window: all-gather can use copy engines and no SM (see
                          `cta_policy`). */
} kvf_wire_memory;

/** What a wire obtained. */
typedef struct kvf_wire_explanation {
    kvf_wire_memory memory; /**< The best kind that all ranks support. */
    const char *reason;     /**< Why it is not a window; static text, NULL for a window. */
    size_t bytes;           /**< Device memory on this rank. */
    size_t chunk_blocks;    /**< Blocks of a chunk, all ranks' parts together. */
    size_t chunks;          /**< Chunks in progress at a time. */
    int nccl_version;       /**< Version of the loaded library, such as 22809; 0: none. */
} kvf_wire_explanation;

/** What the wire obtained. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_wire_explain(const kvf_wire *wire, kvf_wire_explanation *out,
                                    kvf_error *error);

/** @}
 *  @name Operations
 *  @{ */

/** A submitted onboard, offload or hand-over, on this rank. */
typedef struct kvf_wire_op kvf_wire_op;

/** Which rank's host tier has which blocks. */
typedef enum kvf_share {
    KVF_SHARE_STRIPED, /**< Rank p % ranks has the block at position p. */
    KVF_SHARE_RANK_0,  /**< Rank 0 has all blocks. */
} kvf_share;

/** Options of an operation: zero-initialise, then set what differs. */
typedef struct kvf_wire_submit_options {
    size_t host_layout;          /**< Index of the host tier's layout. */
    kvf_share share;             /**< Which rank's host tier has which blocks. */
    kvf_assignments *const *dst; /**< [plan_count] What plans fill; NULL, or NULL in it: none. */
    /** Called once, within the poll, wait or release that finds the operation ended; NULL: none. */
    kvf_callback callback;
    void *user; /**< Passed to the callback. */
} kvf_wire_submit_options;

/**
 * Brings blocks from the ranks' host tiers into each rank's device tier. All ranks submit the same
 * positions, and hashes if any rank does. A rank reads only those src_ids of a plan that are at
 * positions which `share` gives to that rank: they are ids of its host tier. dst_ids are its own
 * slots. If a plan has assignments to fill, a flight departs at submit, lands when all ranks have
 * voted for it, and returns otherwise.
 *
 * Errors: INVALID; RANGE for ids past a tier's blocks (`id`; `index` is its plan, `other_index` its
 * place in the plan), positions that overflow or an unknown layout; LAYOUT; CONFLICT for a
 * destination that occurs twice; those of kvf_flight_depart (`index` is the plan); NO_MEMORY.
 * Nothing has changed on this rank then, and the turn is taken: the operation ends as PEER on the
 * other ranks, with this rank's index. BROKEN and CLOSED (after kvf_group_destroy) take no turn.
 * The ordered form never returns TIMEOUT, but the call may take as long as the timeout; poll or
 * wait then reports the error.
 */
KVF_API kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** The reverse: of the blocks that every rank has on its device, each rank stores its own share in
 *  its host tier, once per group. src_ids are slots of the device, dst_ids ids of the host tier;
 *  neither is read at positions of other ranks. The assignments to fill are the host's. Otherwise
 *  as kvf_wire_onboard. */
KVF_API kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** Blocks that go from one rank to another. */
typedef struct kvf_handover {
    int from;             /**< The rank whose blocks are read. */
    int to;               /**< The rank whose slots are written; may be the same. */
    kvf_plan plan;        /**< src_ids are read on `from`, dst_ids on `to`. */
    kvf_assignments *dst; /**< Filled on `to`: a flight departs at submit and lands when all ranks
                             have voted for it; NULL: none. */
} kvf_handover;

/**
 * Hands blocks over between ranks. All ranks submit the same list; a rank that is not named in it
 * only agrees and votes. If only two of many ranks are to be involved, make a group of the two.
 * `dst`, `share` and `host_layout` of the options are not read. Errors: those of kvf_wire_onboard,
 * with `index` naming the hand-over; RANGE for a rank that does not exist, and for more hand-overs
 * than a chunk of the wire has blocks (`expected`); CONFLICT for a slot that is both sent and
 * received.
 */
KVF_API kvf_status kvf_wire_hand_over(kvf_wire *wire, const kvf_handover *handovers, size_t count,
                                      const kvf_wire_submit_options *options, kvf_wire_op **out,
                                      kvf_error *error);

/** Takes the turn of an operation that this rank cannot submit, because a source is CORRUPT, for
 *  example. The operation ends as PEER on the other ranks, with this rank's index and the text of
 *  `why`. Errors: INVALID for a `why` that is not an error; those of kvf_group_check; CLOSED. */
KVF_API kvf_status kvf_wire_refuse(kvf_wire *wire, kvf_status why, kvf_error *error);

/** Returns PENDING or the operation's result: OK, PEER, BROKEN, or an error of this rank's engine.
 *  Does not wait for a rank. When the operation has ended, its flights have landed or returned,
 *  except those that their assignments returned or dropped before. */
KVF_API kvf_status kvf_wire_op_poll(kvf_wire_op *op, kvf_error *error);

/** As kvf_wire_op_poll, but waits up to `timeout_us` microseconds; negative: no limit. Errors:
 *  TIMEOUT, else as kvf_wire_op_poll. */
KVF_API kvf_status kvf_wire_op_wait(kvf_wire_op *op, int64_t timeout_us, kvf_error *error);

/** What an operation took on this rank. */
typedef struct kvf_wire_op_stats {
    uint64_t blocks;     /**< Blocks that landed in this rank's slots or host tier; 0 unless OK. */
    uint64_t host_bytes; /**< Bytes over this rank's link to the host. */
    uint64_t wire_bytes; /**< Bytes that NCCL was asked to send and receive, including padding. */
    uint64_t chunks;     /**< Chunks it took. */
    double wait_us;      /**< Time until all ranks had arrived. */
    double run_us;       /**< Time from then until all had voted. */
} kvf_wire_op_stats;

/** Statistics: the times so far, the rest once the operation has ended. */
KVF_API void kvf_wire_op_stats_get(const kvf_wire_op *op, kvf_wire_op_stats *stats);

/** Releases the operation. If it has not ended, it continues but its flights return, so poll or
 *  wait until it has ended if its blocks are to land. A released operation still writes its
 *  destinations; they may be reused once a later operation, or the wire's destruction, has ended.
 *  Does nothing for NULL. */
KVF_API void kvf_wire_op_release(kvf_wire_op *op);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
