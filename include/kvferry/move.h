/** @file
 * Moves: plans and two layouts, checked and lowered to copies.
 *
 * A move is region layers times runs of ids, and is kept as that product. Its copies, boxes, are
 * enumerated when asked for and never stored. Most users never see a move: kvferry/transfer.h
 * makes them.
 *
 * @par Threads
 * Moves never change: any thread, at any time, but for destroying one that another call still uses.
 * A cursor belongs to whoever enumerates.
 *
 * @par Ownership
 * Whoever is given a move destroys it. Layouts, plans and limits are read during create.
 *
 * @par Lifetimes
 * A move needs neither its layouts nor its plans any more, and touches no byte itself: the memory
 * that boxes tell of only has to be there when somebody copies them.
 *
 * @par Errors
 * As in status.h. NULL is INVALID where a status is returned; enumerating NULL gives nothing.
 */
#ifndef KVFERRY_MOVE_H
#define KVFERRY_MOVE_H

#include "layout.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A move. */
typedef struct kvf_move kvf_move;

/** What to move. Zero-initialise, then set what differs. */
typedef struct kvf_move_spec {
    const kvf_layout *src; /**< Where blocks are read. */
    const kvf_layout *dst; /**< Where they are written. */
    const kvf_plan *plans; /**< [plan_count] */
    size_t plan_count;     /**< 0: nothing is moved. */
    uint32_t first_layer;  /**< First layer to move, counted from the layout's first. */
    uint32_t layer_count;  /**< 0: all from first_layer on. */
    bool same_tier;        /**< Source and destination ids name the same blocks. */
    bool by_layer;         /**< Never one copy for two layers, and layers in order. */
} kvf_move_spec;

/** One copy: `slices` x `rows` pieces of `width` bytes. Row r of slice s is at
 *  base + s * slice_pitch + r * row_pitch. */
typedef struct kvf_box {
    char *dst;                 /**< The base on the destination's side. */
    const char *src;           /**< The base on the source's side. */
    size_t width;              /**< Bytes of a piece. */
    size_t rows;               /**< Pieces of a slice. */
    size_t slices;             /**< 1 or more. */
    ptrdiff_t dst_row_pitch;   /**< Bytes from one row to the next; may be negative. */
    ptrdiff_t src_row_pitch;   /**< ... on the source's side. */
    ptrdiff_t dst_slice_pitch; /**< Bytes from one slice to the next; may be negative. */
    ptrdiff_t src_slice_pitch; /**< ... on the source's side. */
} kvf_box;

/** What one copy of an engine can do. All zero: single pieces of any size only. */
typedef struct kvf_box_limits {
    size_t max_pitch;      /**< Largest row and slice pitch; 0: no rows, single pieces only. */
    bool negative_pitch;   /**< Ids may run backwards on one side. */
    bool narrow_pitch;     /**< A pitch may be smaller than what it steps over (0 included). */
    bool slices;           /**< A box may have more than one slice. */
    bool free_slice_pitch; /**< A slice pitch need not be a multiple of the row pitch. */
    size_t src_segment;    /**< No copy crosses a multiple of this address; 0: no such bound. */
    size_t dst_segment;    /**< As src_segment, for the destination. */
} kvf_box_limits;

/** What a move amounts to. Sizes are bytes. */
typedef struct kvf_move_summary {
    uint64_t bytes;           /**< In all. */
    uint64_t blocks;          /**< Different pairs. */
    uint64_t boxes;           /**< Copies, before segments split any. */
    uint64_t fragments;       /**< Pieces of contiguous bytes on both sides. */
    size_t smallest_box;      /**< Its bytes. */
    size_t median_box;        /**< Its bytes. */
    size_t smallest_fragment; /**< Its bytes. */
    size_t median_fragment;   /**< Its bytes. */
    size_t strips;            /**< Regions, and rows of tiles turned, that could not be joined. */
    size_t runs;              /**< Runs of ids that advance by one step. */
} kvf_move_summary;

/**
 * Checks and lowers. The result depends on the pairs, not on their order.
 *
 *  - Equal pairs count once (several sequences onboarding one shared block).
 *  - Neighbouring regions that touch on both sides are joined; regions of equal size at one
 *    distance become rows.
 *  - A tile of another order on the other side is moved by pieces of one head, as rows: along its
 *    tokens for every head, or along its heads for every token, whichever takes fewer.
 *  - Ids that advance together by a constant step, up or down, become a run.
 *
 * Within `limits` (NULL: everything goes), no two neighbouring boxes of the result could be one by
 * these rules, as far as the limits allow it for all joined regions alike. Slices come from ids
 * only; runs are not joined to runs of runs.
 *
 * Errors: INVALID for NULL, no layers; LAYOUT when the layouts' regions do not agree (`index` names
 * the region); RANGE for an id past a layout's blocks (`id`; `index` its plan, `other_index` its
 * place in it), or layers past the last; CONFLICT for two sources of one destination (`id` the
 * destination, `other_id` one of the sources) or, with same_tier, an id that is both source and
 * destination (`id`); NO_MEMORY.
 */
KVF_API kvf_status kvf_move_create(const kvf_move_spec *spec, const kvf_box_limits *limits,
                                   const kvf_allocator *allocator, kvf_move **out,
                                   kvf_error *error);

/** Frees the move. NULL is fine. */
KVF_API void kvf_move_destroy(kvf_move *move);

/** Where an enumeration stands. Zero-initialise to begin. */
typedef struct kvf_box_cursor {
    size_t strip;  /**< Of the next box of the product. */
    size_t run;    /**< Of the next box of the product. */
    size_t slice;  /**< How much of it was given out already, */
    size_t row;    /**< of that slice, */
    size_t column; /**< and of that row. */
} kvf_box_cursor;

/** Writes the next boxes, `capacity` at most, and moves the cursor on. Returns how many; 0 at the
 *  end. Boxes come layer by layer, each split where it would cross a segment. */
KVF_API size_t kvf_move_next(const kvf_move *move, kvf_box_cursor *cursor, kvf_box *boxes,
                             size_t capacity);

/** What the move amounts to. No box is stored on the way. Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_move_describe(const kvf_move *move, kvf_move_summary *info,
                                     kvf_error *error);

#ifdef __cplusplus
}
#endif
#endif
