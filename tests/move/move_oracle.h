/* The oracle for moves, which copies byte by byte, and a generator of all kinds of layouts. */
#ifndef KVF_TEST_MOVE_ORACLE_H
#define KVF_TEST_MOVE_ORACLE_H

#include <kvferry/move.h>

enum {
    MOVE_ARENA = 1 << 15, /* bytes of each side's memory */
    MOVE_BLOCKS = 12,     /* limits of a shape */
    MOVE_LAYERS = 4,
    MOVE_PARTS = 3,
};

/* The properties that two layouts must share. */
typedef struct move_shape {
    size_t layers, parts;
    size_t rows[MOVE_LAYERS][MOVE_PARTS], bytes[MOVE_LAYERS][MOVE_PARTS]; /* of one row */
    /* Tiles count as one row here; both 0 for opaque regions. */
    size_t tokens[MOVE_LAYERS][MOVE_PARTS], heads[MOVE_LAYERS][MOVE_PARTS];
} move_shape;

/* Where regions lie in memory; each kind of layout uses the fields that apply to it. */
typedef struct move_placement {
    size_t blocks;
    size_t order; /* of buffers or pieces: ascending, descending, or rotated by order - 2 */
    size_t pad_row, pad_piece, pad_block; /* unused bytes after each */
    bool interleave; /* rows of neighbouring regions of a layer: r0 K V r1 K V */
    bool apart;      /* all blocks of one piece, then the next */
    bool rows_outer; /* all blocks of one row, then the next */
    bool buffers;    /* each layer counts as a buffer */
    uint32_t hnd;    /* a bit per region, in named layouts the first for all: its tile is HND */
    uint32_t split;  /* likewise: its tile has a row for every token or head */
} move_placement;

typedef enum move_kind {
    MOVE_CONTIGUOUS,
    MOVE_BLOCK_FIRST,
    MOVE_BLOCK_SECOND,
    MOVE_PER_PART,
    MOVE_MLA,
    MOVE_PAGE_FIRST,
    MOVE_TOKEN_FIRST,
    MOVE_WHOLE_BLOCKS, /* recommended */
    MOVE_BY_LAYER,     /* recommended */
    MOVE_OWN,          /* the caller's regions */
    MOVE_KINDS,
} move_kind;

typedef enum move_side { MOVE_SRC, MOVE_DST } move_side;

/* NULL when this kind does not support the shape, or the layout exceeds the side's memory. */
kvf_layout *move_oracle_layout(move_side side, move_kind kind, const move_shape *shape,
                               const move_placement *placement);

/* Counts of what occurred, so that a test can check that it has covered everything. */
typedef struct move_counts {
    uint64_t moves, boxes;
    uint64_t layer_errors, range_errors, conflicts, tier_conflicts;
    uint64_t rows, slices, backward, standing, narrow; /* boxes that have them */
    uint64_t joined;                                   /* boxes of several regions */
    uint64_t split;                                    /* moves cut by segments */
    uint64_t reordered;                                /* moves of tiles to another order */
} move_counts;

/* Creates the move of two layouts from move_oracle_layout, or checks that it is refused as it
 * should be, and compares everything the library returns with a copy made byte by byte. Returns
 * NULL or the violated rule. */
const char *move_oracle_check(const kvf_move_spec *spec, const kvf_box_limits *limits,
                              move_counts *counts);

/* Decodes the bytes to two layouts, plans and limits, and checks these. */
const char *move_oracle_decode(const uint8_t *data, size_t size, move_counts *counts);

#endif
