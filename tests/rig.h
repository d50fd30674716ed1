/* What the tests of transfers share: tiers over memory of their own, blocks filled from tags, and a
 * copier that goes byte by byte. */
#ifndef KVF_TEST_RIG_H
#define KVF_TEST_RIG_H

#include "support.h"

/* Ends the program when it takes longer, so that a hang is a failure. */
void rig_watchdog(unsigned seconds);

/* A host engine; NULL: with the usual options. */
kvf_engine *rig_engine(const kvf_host_options *options);

/* Where the constructors of layouts put blocks. */
typedef enum rig_form {
    RIG_CONTIGUOUS,
    RIG_BLOCK_FIRST,
    RIG_BLOCK_SECOND,
    RIG_PER_PART,
    RIG_PAGE_FIRST,
    RIG_TOKEN_FIRST,
    RIG_PADDED, /* the caller's own regions, with space between rows, regions and blocks */
    RIG_FORMS,
} rig_form;

/* A layout and the memory it lies in. */
typedef struct rig_memory {
    kvf_layout *layout;
    char *bytes;
    size_t size;
} rig_memory;

rig_memory rig_memory_make(const kvf_shape *shape, rig_form form);
void rig_memory_free(rig_memory *memory);

/* A tier of one layout. */
typedef struct rig_tier {
    rig_memory memory;
    kvf_tier *tier;
} rig_tier;

rig_tier rig_tier_make(kvf_engine *engine, const kvf_shape *shape, rig_form form, bool integrity);
/* The tier first, then its memory. */
void rig_tier_free(rig_tier *tier);

/* Fills blocks with what a tag stands for, the block's bytes counted through in region order, and
 * those of a tile by token and head, whatever its order. */
void rig_fill(const kvf_layout *layout, uint64_t id, uint64_t tag);
/* Fills block i with tag + i, for all of them. */
void rig_fill_all(const kvf_layout *layout, uint64_t tag);
bool rig_holds(const kvf_layout *layout, uint64_t id, uint64_t tag);

/* The address of a byte of a region's row. */
char *rig_byte(const kvf_layout *layout, size_t region, uint64_t id, size_t row, size_t column);

/* Copies what a transfer of these plans and groups should. */
void rig_copy(const kvf_layout *src, const kvf_layout *dst, const kvf_plan *plans, size_t count,
              uint32_t first_group, uint32_t group_count);

/* A plan of one block from each id to the other. */
kvf_plan rig_plan(const uint64_t *src_ids, const uint64_t *dst_ids, size_t count);

/* Progress until nothing is open. */
void rig_drain(kvf_engine *engine);

#endif
