/* What the tests of transfers share: tiers over memory of their own, blocks filled from tags, and a
 * copier that goes byte by byte.
 *
 * The same tests run on every engine. What differs from one to the other is behind the seam, of
 * which a program links one: fixture_host.c, or cuda/fixture_cuda.c. */
#ifndef KVF_TEST_ENGINE_FIXTURE_H
#define KVF_TEST_ENGINE_FIXTURE_H

#include "support.h"

/* Ends the program when it takes longer, so that a hang is a failure. */
void fixture_watchdog(unsigned seconds);

/* The seam */

/* What not every engine has. */
typedef enum fixture_ability {
    FIXTURE_INTEGRITY, /* tiers with checksums; where there are none, fixture_tier_make leaves them
                        * out
                        */
    FIXTURE_IMITATION, /* links that are slower than they are */
    FIXTURE_STEPS,  /* an ordered transfer begins after its submit: without threads, in progress */
    FIXTURE_DEVICE, /* memory that is not the host's */
} fixture_ability;

bool fixture_has(fixture_ability ability);

/* Whether there is what the engine runs on; says what is missing. A program that lacks it returns
 * FIXTURE_SKIPPED at once. */
bool fixture_available(void);
enum { FIXTURE_SKIPPED = 77 };

/* The engine's name. */
extern const char *const fixture_engine_name;

/* An engine; NULL: with the usual options. */
kvf_engine *fixture_engine(const kvf_host_options *options);

/* Which of an engine's memories: the host's or, where there is one, the device's. */
typedef enum fixture_side { FIXTURE_FAR, FIXTURE_NEAR } fixture_side;

kvf_memory fixture_kind(fixture_side side);

/* Memory of that side, zeroed; `bytes` more than 0. */
char *fixture_allocate(fixture_side side, size_t bytes);
void fixture_deallocate(fixture_side side, char *memory);

/* Copies to and from such memory, whichever side it is on. No order goes with it: wait first. */
void fixture_write(char *there, const char *from, size_t bytes);
void fixture_read(char *to, const char *there, size_t bytes);

/* Seeds to run, as test_seeds; fewer where each takes longer. */
uint64_t fixture_seeds(uint64_t usual);

/* To be called at the end of a program: what main is to return if so many tests have failed. */
int fixture_end(int failed);

/* Leaves out the rest of a test that needs it. */
void fixture_needs(fixture_ability ability);

/* Whether the engine does what the options ask for. */
bool fixture_offers(const kvf_host_options *options);

/* Whether the engine moves blocks from one side to the other. */
bool fixture_moves(fixture_side src, fixture_side dst);

/* Where the constructors of layouts put blocks. */
typedef enum fixture_form {
    FIXTURE_CONTIGUOUS,
    FIXTURE_BLOCK_FIRST,
    FIXTURE_BLOCK_SECOND,
    FIXTURE_PER_PART,
    FIXTURE_PAGE_FIRST,
    FIXTURE_TOKEN_FIRST,
    FIXTURE_PADDED, /* the caller's own regions, with space between rows, regions and blocks */
    FIXTURE_FORMS,
    FIXTURE_WHOLE_BLOCKS = FIXTURE_FORMS, /* recommended */
    FIXTURE_BY_LAYER,
    FIXTURE_ALL_FORMS,
} fixture_form;

/* Where memory is, and how blocks lie in it. */
typedef struct fixture_place {
    fixture_side side;
    size_t offset; /* of the first byte */
    size_t unit;   /* padding is multiples of it; 0: 1 */
} fixture_place;

/* A layout and the memory it lies in. */
typedef struct fixture_memory {
    kvf_layout *layout;
    fixture_side side;
    char *bytes;
    size_t size;
} fixture_memory;

/* The usual place: far. */
fixture_memory fixture_memory_make(const kvf_shape *shape, fixture_form form);
fixture_memory fixture_memory_make_at(const kvf_shape *shape, fixture_form form,
                                      const fixture_place *place);
void fixture_memory_free(fixture_memory *memory);

/* A tier of one layout. */
typedef struct fixture_tier {
    fixture_memory memory;
    kvf_tier *tier;
} fixture_tier;

fixture_tier fixture_tier_make_on(kvf_engine *engine, fixture_side side, const kvf_shape *shape,
                                  fixture_form form, bool integrity);
/* A far one. */
fixture_tier fixture_tier_make(kvf_engine *engine, const kvf_shape *shape, fixture_form form,
                               bool integrity);
/* The tier first, then its memory. */
void fixture_tier_free(fixture_tier *tier);

/* Fills blocks with what a tag stands for, the block's bytes counted through in region order, and
 * those of a tile by token and head, whatever its order. */
void fixture_fill(const kvf_layout *layout, uint64_t id, uint64_t tag);
/* Fills block i with tag + i, for all of them. */
void fixture_fill_all(const kvf_layout *layout, uint64_t tag);
bool fixture_holds(const kvf_layout *layout, uint64_t id, uint64_t tag);

/* The address of a byte of a region's row. */
char *fixture_byte(const kvf_layout *layout, size_t region, uint64_t id, size_t row, size_t column);

/* Copies what a transfer of these plans and layers should. */
void fixture_copy(const kvf_layout *src, const kvf_layout *dst, const kvf_plan *plans, size_t count,
                  uint32_t first_layer, uint32_t layer_count);

/* A plan of one block from each id to the other. */
kvf_plan fixture_plan(const uint64_t *src_ids, const uint64_t *dst_ids, size_t count);

/* Progress until nothing is open. */
void fixture_drain(kvf_engine *engine);

#endif
