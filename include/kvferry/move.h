/** @file
 * Moves: plans and two layouts, checked and lowered to copies.
 *
 * A move is the product of strips (joined regions) and runs of ids, and is stored as that product.
 * Its copies, called boxes, are enumerated on request and never stored. Most programs never see a
 * move: kvferry/transfer.h makes them.
 *
 * @par Threads
 * Moves never change: any thread, at any time. Do not destroy a move that another call still uses.
 * A cursor belongs to one thread at a time.
 *
 * @par Ownership
 * The caller destroys every move it creates. Layouts, plans and limits are read during create.
 *
 * @par Lifetimes
 * A move needs neither its layouts nor its plans after create. It touches no byte itself: the
 * memory of its boxes has to exist only when they are copied.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; enumerating NULL gives no
 * boxes.
 */
#ifndef KVFERRY_MOVE_H
#define KVFERRY_MOVE_H

#include "layout.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A checked and lowered move. Never changes. */
typedef struct kvf_move kvf_move;

/** What to move. Zero-initialise, then set what differs. */
typedef struct kvf_move_spec {
    const kvf_layout *src; /**< Where blocks are read. */
    const kvf_layout *dst; /**< Where they are written. */
    const kvf_plan *plans; /**< [plan_count] Which blocks. */
    size_t plan_count;     /**< 0: nothing is moved. */
    uint32_t first_layer;  /**< The first layer to move, counted from the layout's first. */
    uint32_t layer_count;  /**< 0: all from first_layer on. */
    bool same_tier;        /**< An id names the same block as source and as destination. */
    bool by_layer;         /**< No copy spans two layers, and layers come in order. */
} kvf_move_spec;

/**
 * One copy: `slices` x `rows` pieces of `width` bytes. Row r of slice s starts at
 * base + s * slice_pitch + r * row_pitch.
 */
typedef struct kvf_box {
    char *dst;                 /**< The base in the destination. */
    const char *src;           /**< The base in the source. */
    size_t width;              /**< Bytes of a piece. */
    size_t rows;               /**< Pieces of a slice. */
    size_t slices;             /**< 1 or more. */
    ptrdiff_t dst_row_pitch;   /**< Bytes from one row to the next; may be negative. */
    ptrdiff_t src_row_pitch;   /**< The same, in the source. */
    ptrdiff_t dst_slice_pitch; /**< Bytes from one slice to the next; may be negative. */
    ptrdiff_t src_slice_pitch; /**< The same, in the source. */
} kvf_box;

/** What one copy of an engine can do. All zero: single pieces of any size only. */
typedef struct kvf_box_limits {
    size_t max_pitch;      /**< Largest row and slice pitch in bytes; 0: single pieces only. */
    bool negative_pitch;   /**< Pitches may be negative: ids descend on one side. */
    bool narrow_pitch;     /**< A pitch may be 0 or smaller than what it steps over. */
    bool slices;           /**< A box may have more than one slice. */
    bool free_slice_pitch; /**< A slice pitch need not be a multiple of the row pitch. */
    size_t src_segment;    /**< Copies are cut at addresses that are multiples of this; 0: never. */
    size_t dst_segment;    /**< As src_segment, for the destination. */
} kvf_box_limits;

/** What a move consists of. Sizes are bytes. */
typedef struct kvf_move_summary {
    uint64_t bytes;           /**< Total bytes. */
    uint64_t blocks;          /**< Distinct pairs of ids. */
    uint64_t boxes;           /**< Copies, before segments split any. */
    uint64_t fragments;       /**< Pieces of bytes that are contiguous on both sides. */
    size_t smallest_box;      /**< Bytes of the smallest box. */
    size_t median_box;        /**< Bytes of the median box. */
    size_t smallest_fragment; /**< Bytes of the smallest fragment. */
    size_t median_fragment;   /**< Bytes of the median fragment. */
    size_t strips;            /**< Strips: regions, and rows of tiles that change order,
                                   joined as far as both sides allow. */
    size_t runs;              /**< Runs of ids that advance by one step. */
} kvf_move_summary;

/**
 * Checks plans and layouts and lowers them. The result depends on the pairs, not on their order.
 *
 *  - Equal pairs count once (several sequences onboarding one shared block).
 *  - Neighbouring regions that touch on both sides are joined; regions of equal size at a constant
 *    distance become rows.
 *  - A tile whose other side has another order moves in pieces of one head, as rows: along its
 *    tokens for every head, or along its heads for every token, whichever takes fewer.
 *  - Ids that advance together by a constant step, up or down, become a run.
 *
 * No two neighbouring boxes of the result could be merged by these rules within `limits` (NULL: no
 * limits), unless the limits permit the merge for some strips only. Slices come from ids only; runs
 * are not joined to runs of runs.
 *
 * Errors: INVALID for NULL, including NULL ids in a plan that is not empty; LAYOUT if the layouts'
 * regions do not agree (`index` names the region); RANGE for an id past a layout's blocks (`id`;
 * `index` is its plan, `other_index` its place in the plan) or layers past the last; CONFLICT for
 * two sources of one destination (`id` is the destination, `other_id` one of the sources) or, with
 * same_tier, for an id that is both source and destination (`id`); NO_MEMORY.
 */
KVF_API kvf_status kvf_move_create(const kvf_move_spec *spec, const kvf_box_limits *limits,
                                   const kvf_allocator *allocator, kvf_move **out,
                                   kvf_error *error);

/** Frees the move. Does nothing for NULL. */
KVF_API void kvf_move_destroy(kvf_move *move);

/** The state of an enumeration. Zero-initialise to start. */
typedef struct kvf_box_cursor {
    size_t strip;  /**< Strip of the next box. */
    size_t run;    /**< Run of the next box. */
    size_t slice;  /**< Slices of that box already enumerated. */
    size_t row;    /**< Rows of the current slice already enumerated. */
    size_t column; /**< Bytes of the current row already enumerated. */
} kvf_box_cursor;

/** Writes the next boxes, at most `capacity`, and advances the cursor. Returns their number; 0 at
 *  the end. Boxes come strip by strip, and with by_layer also layer by layer. A box that would
 *  cross a segment boundary is split there. */
KVF_API size_t kvf_move_next(const kvf_move *move, kvf_box_cursor *cursor, kvf_box *boxes,
                             size_t capacity);

/** Summarises the move without storing its boxes. Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_move_describe(const kvf_move *move, kvf_move_summary *summary,
                                     kvf_error *error);

#ifdef __cplusplus
}
#endif
#endif
