/* Fixture of the transfer tests: tiers with memory of their own, blocks filled from tags, and an
 * oracle that copies byte by byte.
 *
 * The same tests run on every engine. The functions of the seam differ; a program links one
 * version: support/engine_fixture_host.c or cuda/support/engine_fixture_cuda.c. */
#ifndef KVF_TEST_ENGINE_FIXTURE_H
#define KVF_TEST_ENGINE_FIXTURE_H

#include "support.h"

/* Ends the program after that long, so that a hang is a failure. */
void fixture_watchdog(unsigned seconds);

/* ---- the seam ---- */

/* What some engines lack. */
typedef enum fixture_ability {
    FIXTURE_INTEGRITY, /* tiers with checksums; otherwise fixture_tier_make makes them without */
    FIXTURE_IMITATION, /* imitated links, slower than the memory */
    FIXTURE_STEPS,     /* ordered transfers start after submit: without threads, in progress */
    FIXTURE_DEVICE,    /* device memory */
} fixture_ability;

bool fixture_has(fixture_ability ability);

/* Whether this machine has what the engine needs; prints what is missing. Otherwise a program
 * returns FIXTURE_SKIPPED at once. */
bool fixture_available(void);
enum { FIXTURE_SKIPPED = 77 };

/* The engine's name. */
extern const char *const fixture_engine_name;

/* Creates an engine; NULL: default options. */
kvf_engine *fixture_engine(const kvf_host_options *options);

/* FAR is host memory, NEAR the device's if the engine has one. */
typedef enum fixture_side { FIXTURE_FAR, FIXTURE_NEAR } fixture_side;

kvf_memory fixture_kind(fixture_side side);

/* Memory of that side, zeroed; `bytes` more than 0. */
char *fixture_allocate(fixture_side side, size_t bytes);
void fixture_deallocate(fixture_side side, char *memory);

/* Copies to and from memory of either side. Does not synchronise with transfers: wait first. */
void fixture_write(char *there, const char *from, size_t bytes);
void fixture_read(char *to, const char *there, size_t bytes);

/* Like test_seeds; fewer where each takes longer. */
uint64_t fixture_seeds(uint64_t usual);

/* Called at the end of a program; returns main's result after that many failed tests. */
int fixture_end(int failed);

/* Skips the current test unless the engine has the ability. */
void fixture_needs(fixture_ability ability);

/* Whether the engine supports the options. */
bool fixture_offers(const kvf_host_options *options);

/* Whether the engine moves blocks from one side to the other. */
bool fixture_moves(fixture_side src, fixture_side dst);

/* How blocks lie in memory, by the constructor of the layout. */
typedef enum fixture_form {
    FIXTURE_CONTIGUOUS,
    FIXTURE_BLOCK_FIRST,
    FIXTURE_BLOCK_SECOND,
    FIXTURE_PER_PART,
    FIXTURE_PAGE_FIRST,
    FIXTURE_TOKEN_FIRST,
    FIXTURE_PADDED, /* regions of our own, with gaps between rows, regions and blocks */
    FIXTURE_FORMS,
    FIXTURE_WHOLE_BLOCKS = FIXTURE_FORMS, /* by kvf_layout_recommend */
    FIXTURE_BY_LAYER,
    FIXTURE_ALL_FORMS,
} fixture_form;

/* The side that memory is on, and how it is aligned. */
typedef struct fixture_placement {
    fixture_side side;
    size_t offset; /* of the first byte */
    size_t unit;   /* padding is a multiple of it; 0: 1 */
} fixture_placement;

/* A layout and the memory it lies in. */
typedef struct fixture_memory {
    kvf_layout *layout;
    fixture_side side;
    char *bytes;
    size_t size;
} fixture_memory;

/* On the far side, unaligned. */
fixture_memory fixture_memory_make(const kvf_shape *shape, fixture_form form);
fixture_memory fixture_memory_make_at(const kvf_shape *shape, fixture_form form,
                                      const fixture_placement *placement);
void fixture_memory_free(fixture_memory *memory);

/* A tier of one layout. */
typedef struct fixture_tier {
    fixture_memory memory;
    kvf_tier *tier;
} fixture_tier;

fixture_tier fixture_tier_make_on(kvf_engine *engine, fixture_side side, const kvf_shape *shape,
                                  fixture_form form, bool integrity);
/* On the far side. */
fixture_tier fixture_tier_make(kvf_engine *engine, const kvf_shape *shape, fixture_form form,
                               bool integrity);
/* Destroys the tier, then frees its memory. */
void fixture_tier_free(fixture_tier *tier);

/* Fills a block with bytes derived from a tag: the block's bytes in region order, those of a tile
 * by token and head, whatever its order. */
void fixture_fill(const kvf_layout *layout, uint64_t id, uint64_t tag);
/* Fills block i with tag + i, for all of them. */
void fixture_fill_all(const kvf_layout *layout, uint64_t tag);
bool fixture_holds(const kvf_layout *layout, uint64_t id, uint64_t tag);

/* The address of a byte of a region's row. */
char *fixture_byte(const kvf_layout *layout, size_t region, uint64_t id, size_t row, size_t column);

/* Copies, byte by byte, what a transfer of these plans and layers should. */
void fixture_copy(const kvf_layout *src, const kvf_layout *dst, const kvf_plan *plans, size_t count,
                  uint32_t first_layer, uint32_t layer_count);

/* A plan from each source id to the destination id of the same index. */
kvf_plan fixture_plan(const uint64_t *src_ids, const uint64_t *dst_ids, size_t count);

/* Makes progress until no transfer is open. */
void fixture_drain(kvf_engine *engine);

#endif
