/* A byte-by-byte copier beside which moves are held, and a maker of all kinds of layouts. */
#ifndef KVF_TEST_MOVE_ORACLE_H
#define KVF_TEST_MOVE_ORACLE_H

#include <kvferry/move.h>

enum {
    MOVE_ARENA = 1 << 15, /* bytes of memory a side has */
    MOVE_BLOCKS = 12,     /* limits of a shape */
    MOVE_LAYERS = 4,
    MOVE_PARTS = 3,
};

/* What two layouts must agree in. */
typedef struct move_shape {
    size_t layers, parts;
    size_t rows[MOVE_LAYERS][MOVE_PARTS], bytes[MOVE_LAYERS][MOVE_PARTS]; /* of one row */
    /* Of tiles, which are one row here; both 0 for what is opaque. */
    size_t tokens[MOVE_LAYERS][MOVE_PARTS], heads[MOVE_LAYERS][MOVE_PARTS];
} move_shape;

/* Where things lie; every constructor reads what it has use for. */
typedef struct move_place {
    size_t blocks;
    size_t order; /* of buffers or pieces: up, down, or turned by order - 2 */
    size_t pad_row, pad_piece, pad_block; /* bytes left empty behind each */
    bool interleave; /* rows of neighbouring regions of a layer: r0 K V r1 K V */
    bool apart;      /* all blocks of one piece, then the next */
    bool rows_outer; /* ... and all blocks of one row, then the next */
    bool buffers;    /* layers count as buffers of their own */
    uint32_t hnd;    /* bits by region, in named layouts the first for all: tiles that are HND */
    uint32_t split;  /* and those that have a row for every token or head */
} move_place;

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

/* NULL when there is none of this kind for the shape, or it does not fit the side's memory. */
kvf_layout *move_oracle_layout(move_side side, move_kind kind, const move_shape *shape,
                               const move_place *place);

/* How often what happened, so that a test can tell whether it has seen everything. */
typedef struct move_counts {
    uint64_t moves, boxes;
    uint64_t layer_errors, range_errors, conflicts, tier_conflicts;
    uint64_t rows, slices, backward, standing, narrow; /* boxes with such */
    uint64_t joined;                                   /* boxes of several regions */
    uint64_t split;                                    /* moves that segments cut */
    uint64_t turned;                                   /* moves of tiles to another order */
} move_counts;

/* Makes the move of two layouts from move_model_layout, or sees it refused as it should be, and
 * holds all that the library says of it against a copy made byte by byte. Returns NULL, or the rule
 * that does not hold. */
const char *move_oracle_check(const kvf_move_spec *spec, const kvf_box_limits *limits,
                              move_counts *counts);

/* Decodes the bytes to two layouts, plans and limits, and checks these. */
const char *move_oracle_decode(const uint8_t *data, size_t size, move_counts *counts);

#endif
