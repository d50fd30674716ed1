/** @file
 * The NCCL module: blocks between GPUs.
 *
 * A group is one rank a process or thread, each with a CUDA engine of its own. Two jobs:
 *
 *  - replicated onboarding: all ranks need the same blocks. Each brings its share over its own link
 *    to the host, and the group shares the rest:
 *
 *        host tier of rank r --own share--> wire --allgather--> wire --all--> slots of rank r
 *
 *  - handing over: blocks of one rank go into slots of another:
 *
 *        slots --> wire --send, receive--> wire --> slots
 *
 * The wire is a tier of packed blocks on the device; what is on its way stands in it chunk by
 * chunk.
 *
 * Every operation is announced by all ranks that take part in it, from any thread; rank 0 compares
 * what they say, gives the operation its place in the order, and collects the votes that all went
 * well. Before that nothing counts as landed anywhere.
 *
 * What has landed on one rank is there on all. But the news of it may not reach a rank whose
 * channel or device fails just then: that one returns what the others have landed.
 *
 * @par Threads
 * Any thread, at any time, but for destroying an object that another call still uses, and for poll,
 * wait and release of an operation: these are calls on the trackers that it fills, see
 * assignments.h, and of one operation must not overlap even where it fills none. Trackers change in
 * submit and in these calls only. A group has threads of its own, which call its channel and its
 * engine's hooks, but no callback.
 *
 * @par Ownership
 * Whoever is given a channel, group, wire or operation destroys or releases it. Plans, hands and
 * options are copied, or read, during the call.
 *
 * @par Lifetimes
 * The engine, and what the channel stands for, outlive the group; the device tier outlives the
 * wire, and the host tier the operation, until it is over. Wires and operations may be let go of
 * after their group. The group's allocator is needed until they are gone, too.
 *
 * @par Errors
 * As in status.h. What a rank can see alone comes back from submit, and nothing has changed then;
 * what ranks disagree on, and later errors, come from poll, wait and through the callback. An
 * operation that ranks disagree on, or that one of them does not come to, is refused, and the group
 * goes on. When a rank dies, is late or in doubt once an operation has begun, the group is broken:
 * all its operations end with KVF_ERR_PEER, or with this rank's own error, in time, and only
 * destroying it is left. The error's `index` is the rank whose fault it is, or that has told of it
 * where nobody knows; `what` is the reason. Of two that disagree it is the higher one. Functions
 * that return a status answer INVALID for NULL; the others take NULL for something that is empty.
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

/** @name The control channel
 *  @{ */

/**
 * Small messages between the ranks of a group, in order from each rank to each other and never
 * lost, or an error. The group's own thread makes these calls, one at a time, but for `wake`.
 * Errors are the channel's own (KVF_ERR_ENGINE and the like); any but TIMEOUT breaks the group.
 */
typedef struct kvf_channel {
    void *user; /**< Given to every call. */
    /** Sends a message; the bytes may be reused on return. Does not wait for the receiver for
     * longer than the channel's own time limit. */
    kvf_status (*send)(void *user, int to, const void *message, size_t bytes, kvf_error *error);
    /** The next message of any rank, waiting up to `timeout_us`, negative for ever; `*from` gets
     * the rank, `*bytes` its length. Errors: TIMEOUT; RANGE for one above `capacity`, which stays
     * the next; ENGINE with `index` the rank whose connection ended, once, behind all that came
     * from it. */
    kvf_status (*receive)(void *user, int64_t timeout_us, int *from, void *message, size_t capacity,
                          size_t *bytes, kvf_error *error);
    /** From any thread: makes a receive that waits return TIMEOUT soon. NULL: receives are kept
     *  short instead. */
    void (*wake)(void *user);
} kvf_channel;

/** The largest message a group sends, in bytes. */
#define KVF_CHANNEL_BYTES ((size_t)1024)

/** Options of kvf_channel_tcp_create: zero-initialise, then set what differs. */
typedef struct kvf_channel_tcp_options {
    int rank;  /**< Which rank this is, from 0 on. */
    int ranks; /**< How many there are. */
    /** Where rank 0 listens: "host:port", "[address]:port". For rank 0 the host names the
     * interface, an empty one all of them; for others an empty one is this machine. Port 0 is not
     * one. Not read with one rank. */
    const char *address;
    int64_t timeout_us; /**< To come together, and for a message to get away; 0: 30 s. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_channel_tcp_options;

/**
 * A channel over TCP: the ranks connect to rank 0 and to nobody else, since all messages go to it
 * or come from it. Every rank calls it, in any order; returns when all are there. At most 4,096
 * ranks. No encryption and no password: for networks that are trusted; connections of something
 * else are ignored. Looking up a name may take longer than the timeout. Errors: INVALID; TIMEOUT
 * (`index` the first rank that is missing); ENGINE (`native_code` is errno); CONFLICT for two of
 * one rank, another number of ranks or another version (`index`); NO_MEMORY.
 */
KVF_API kvf_status kvf_channel_tcp_create(const kvf_channel_tcp_options *options, kvf_channel *out,
                                          kvf_error *error);

/** Closes the connections, once what was sent has arrived, waiting for that for a second at most.
 * No group may use it any more. Only for channels that kvf_channel_tcp_create made; NULL and zeros
 * are fine. */
KVF_API void kvf_channel_tcp_destroy(kvf_channel *channel);

/** @}
 *  @name Groups
 *  @{ */

/** A rank of a group. */
typedef struct kvf_group kvf_group;

/** Options of kvf_group_create: zero-initialise, then set what differs. */
typedef struct kvf_group_options {
    int rank;                   /**< Which rank this is, from 0 on. */
    int ranks;                  /**< How many there are. */
    kvf_engine *engine;         /**< A CUDA engine. */
    const kvf_channel *channel; /**< Not needed for a group of one. */
    struct ncclComm *parent;    /**< Split from this communicator, whose ranks are the group's, and
                                     which nobody else uses during create; NULL: a new one, whose id
                                     rank 0 sends over the channel, none for a group of one. With a
                                     parent that blocks, the split does, and waits for a rank that dies
                                     in it for as long as NCCL likes. Where one that does not block is
                                     never done with it, a few bytes stay allocated. */
    int64_t timeout_us;   /**< For a rank to come, to answer and to finish, and for NCCL to make
                               the communicator; 0: 30 s. */
    int64_t heartbeat_us; /**< Between signs of life; 0: a tenth of the timeout, 1 s at most. */
    int min_ctas;         /**< Thread blocks of the collectives, at least; 0: as NCCL likes. */
    int max_ctas;         /**< ... and at most. */
    int cta_policy;       /**< NCCL's number for it, see ncclConfig_t. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
} kvf_group_options;

/**
 * Makes a communicator of the group's own, and a thread that runs its operations. Every rank calls
 * it, with the same numbers. Errors: INVALID; UNSUPPORTED when the module was built without NCCL
 * (a group of one needs none) or the engine is of another kind; TIMEOUT, PEER when others are
 * missing or say otherwise (`index` the rank); ENGINE (`native_code` NCCL's), BROKEN; NO_MEMORY.
 */
KVF_API kvf_status kvf_group_create(const kvf_group_options *options, kvf_group **out,
                                    kvf_error *error);

/** Leaves: operations that have not started are CANCELLED, those that have go on to their end, and
 * once all ranks have left the communicator is let go of. When the others have not come to that
 * within the timeout, it is aborted; if something is open then, or this is rank 0, that breaks the
 * group. NULL is fine. */
KVF_API void kvf_group_destroy(kvf_group *group);

/** Which rank this is; -1 for NULL. */
KVF_API int kvf_group_rank(const kvf_group *group);
/** How many there are; 0 for NULL. */
KVF_API int kvf_group_ranks(const kvf_group *group);

/** OK, or why the group is broken: PEER, or this rank's own error. */
KVF_API kvf_status kvf_group_check(kvf_group *group, kvf_error *error);

/**
 * What a group has done since it was created. No number ever decreases, and operations submitted
 * are those succeeded, failed, cancelled and not over. The transfers that operations are made of
 * are in the engine's counters, too. Names ending in _ns are nanoseconds.
 */
typedef struct kvf_group_counters {
    uint64_t operations_submitted; /**< Operations that were accepted. */
    uint64_t operations_succeeded; /**< Operations that ended as OK. */
    uint64_t operations_failed;    /**< Operations that ended with another error than CANCELLED. */
    uint64_t operations_cancelled; /**< Operations that ended as CANCELLED. */
    uint64_t operations_refused;   /**< Those that failed before they began, since ranks disagreed
                                        or were missing. */
    uint64_t votes_lost; /**< Operations that went well here and failed by another rank's vote. */

    uint64_t blocks;     /**< Blocks that have come to this rank's slots or host tier. */
    uint64_t chunks;     /**< Chunks of operations that are over. */
    uint64_t host_bytes; /**< Bytes over this rank's link to the host. */
    uint64_t wire_bytes; /**< Bytes that NCCL was asked to send and receive, padding included. */

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

/** Options of kvf_wire_create: zero-initialise, then set what differs. */
typedef struct kvf_wire_options {
    kvf_tier *device;     /**< Of the group's engine. */
    size_t device_layout; /**< Which of its layouts. */
    size_t chunk_bytes;   /**< Of one rank's part of a collective; 0: 8 MiB. At least a block. */
    size_t chunks;        /**< On their way at a time; 0: 3. */
} kvf_wire_options;

/** A tier of chunks x ranks x chunk_bytes of device memory, packed blocks of one layout. Each rank
 *  makes its own; the numbers may differ but for those of chunk_bytes. Errors: INVALID; RANGE for a
 *  layout that does not exist; NO_MEMORY; ENGINE, BROKEN. */
KVF_API kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options,
                                   kvf_wire **out, kvf_error *error);

/** Lets go. With operations that are not over it breaks the group: they end as CANCELLED, and those
 * of other ranks with PEER. Frees device memory, for which CUDA may wait for all that runs on the
 * process's devices: where ranks are threads of one process, nothing of another may wait then for
 * what this one is to do behind it. NULL is fine. */
KVF_API void kvf_wire_destroy(kvf_wire *wire);

/** @}
 *  @name Operations
 *  @{ */

/** An operation. */
typedef struct kvf_wire_op kvf_wire_op;

/** Whose host tier has which blocks. */
typedef enum kvf_share {
    KVF_SHARE_STRIPED, /**< The block at position p is rank p % ranks's. */
    KVF_SHARE_FIRST,   /**< All are rank 0's. */
} kvf_share;

/** Options of an operation: zero-initialise, then set what differs. */
typedef struct kvf_wire_submit_options {
    uint64_t tag; /**< By which ranks know that they mean the same operation: those under one tag
                     are matched in each rank's order. A request's number, say. */
    size_t host_layout;          /**< Which of the host tier's layouts. */
    kvf_share share;             /**< Whose host tier has which blocks. */
    kvf_assignments *const *dst; /**< [plan_count]; NULL, or NULL in it: no tracker. */
    kvf_callback callback; /**< Called once, within the poll, wait or release that finds it over;
                                NULL. */
    void *user;            /**< Given to it. */
} kvf_wire_submit_options;

/**
 * Brings blocks from the ranks' host tiers into each rank's device tier. Every rank submits the
 * same positions, and hashes if any does. Of a plan's src_ids a rank's own are those at the
 * positions it has by `share`, and the others are not read; dst_ids are its own slots. With a
 * tracker the plan departs at submit, lands when all ranks have voted, and returns otherwise.
 *
 * Errors: INVALID; RANGE for ids past a
 * tier's blocks (`id`; `index` its plan, `other_index` its place), positions that overflow or a
 * layout that does not exist; LAYOUT; CONFLICT for a destination twice; those of kvf_flight_depart
 * (`index` the plan); AGAIN when very many are open; CLOSED behind kvf_group_destroy; NO_MEMORY;
 * that of kvf_group_check. Nothing has changed then. Disagreement is told by the operation.
 */
KVF_API kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** The way back: of the same blocks on every rank's device each rank stores its own in its host
 *  tier, once in the group. src_ids are slots of the device, dst_ids ids of the host tier, not read
 *  where others own. Trackers are the host's. Otherwise as kvf_wire_onboard. */
KVF_API kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);

/** What goes to a rank, or comes from it. */
typedef struct kvf_hand {
    int peer;      /**< May be this rank itself, when both sides are in one exchange. */
    bool receives; /**< dst_ids are its slots and src_ids are not read; else the other way round. */
    kvf_plan plan; /**< Positions and hashes agree on both sides; hashes on neither or both. */
    kvf_assignments *dst; /**< Receiving: departs at submit, lands once both sides have voted. */
} kvf_hand;

/**
 * Hands blocks over between ranks, many at once. Those named in it submit an exchange of their own
 * under the same tag; a hand pairs with the peer's of the other direction, in order. Positions,
 * hashes, layout digests and sizes are agreed on before a byte moves. `dst`, `share` and
 * `host_layout` of the options are not read. Errors: as kvf_wire_onboard, `index` the hand; RANGE
 * for a rank that does not exist, and for more hands than a chunk of the wire has blocks, or than
 * 32 (`expected`); CONFLICT for a slot that is both sent and received.
 */
KVF_API kvf_status kvf_wire_exchange(kvf_wire *wire, const kvf_hand *hands, size_t count,
                                     const kvf_wire_submit_options *options, kvf_wire_op **out,
                                     kvf_error *error);

/** PENDING, or how it ended: OK, PEER, CANCELLED, or this rank's own error of the engine, NCCL or
 *  the channel. Never blocks. Once over, flights have landed or returned, but for those that their
 *  tracker has returned or dropped before. */
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

/** Statistics so far. */
KVF_API void kvf_wire_op_stats_get(const kvf_wire_op *op, kvf_wire_op_stats *stats);

/** Gives the operation back. One that is not over goes on, and its flights return: poll or wait
 *  before releasing what is to land. Its destinations are written all the same, and nobody tells
 *  until when: they are free for something else once the wire is destroyed. NULL is fine. */
KVF_API void kvf_wire_op_release(kvf_wire_op *op);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
