/* Declarations that the files of the move oracle share. */
#ifndef KVF_TEST_MOVE_PARTS_H
#define KVF_TEST_MOVE_PARTS_H

#include "move_oracle.h"

enum { MOVE_REGIONS = MOVE_LAYERS * MOVE_PARTS };

extern char move_arenas[2][MOVE_ARENA];

/* The owner of a byte of a side's memory. */
typedef struct move_owner {
    uint8_t taken, region, block;
    uint16_t at; /* offset in the block's region, in memory order */
} move_owner;

typedef struct move_map {
    const char *arena;
    const kvf_layout *layout;
    move_owner owners[MOVE_ARENA];
} move_map;

extern move_map move_maps[2];

const kvf_region *move_region_of(const move_map *m, size_t index);

/* The expected outcome of a move's pairs. */
typedef struct move_verdict {
    kvf_status status;
    size_t plan, index; /* of the first id out of range */
    uint64_t id;
    uint64_t sources[MOVE_BLOCKS]; /* by destination, UINT64_MAX for none */
    uint64_t pairs;
} move_verdict;

typedef struct move_boxes {
    size_t count;
    kvf_box boxes[MOVE_ARENA];
} move_boxes;

/* Either side of a box. */
typedef struct move_half {
    const char *base;
    ptrdiff_t row_pitch, slice_pitch;
} move_half;

move_half move_half_of(const kvf_box *b, move_side side);
size_t move_pitch_size(ptrdiff_t pitch);

/* Whether an engine with these limits can do the box in one copy, ignoring segments. */
bool move_box_fits(const kvf_box_limits *l, const kvf_box *b);

/* What a box moves. */
typedef struct move_contents {
    uint32_t regions, blocks; /* bits; destination's blocks */
    size_t bytes;
    uint32_t src_buffer, dst_buffer, layer;
    size_t region, at; /* where the first byte goes */
    bool mixed_buffers, mixed_layers, strays;
} move_contents;

move_contents move_contents_of(const kvf_box *b);

/* Checks that no neighbouring boxes that no segment cut could have been one; NULL or the violated
 * rule. Where limits cut some box (`cut`), only boxes of whole regions are compared. */
const char *move_check_neighbours(const kvf_move_spec *spec, const kvf_box_limits *limits, bool cut,
                                  const move_boxes *list, const move_verdict *v);

#endif
