/* What the tests of transfers share: tiers over memory of their own, blocks filled from tags, and a
 * copier that goes byte by byte.
 *
 * The same tests run on every engine. What differs from one to the other is behind the seam, of
 * which a program links one: rig_host.c, or cuda/rig_cuda.c. */
#ifndef KVF_TEST_RIG_H
#define KVF_TEST_RIG_H

#include "support.h"

/* Ends the program when it takes longer, so that a hang is a failure. */
void rig_watchdog(unsigned seconds);

/* The seam */

/* What not every engine has. */
typedef enum rig_ability {
    RIG_INTEGRITY, /* tiers with checksums; where there are none, rig_tier_make leaves them out */
    RIG_IMITATION, /* links that are slower than they are */
    RIG_STEPS,     /* an ordered transfer begins after its submit: without threads, in progress */
    RIG_DEVICE,    /* memory that is not the host's */
} rig_ability;

bool rig_has(rig_ability ability);

/* Whether there is what the engine runs on; says what is missing. A program that lacks it returns
 * RIG_SKIPPED at once. */
bool rig_available(void);
enum { RIG_SKIPPED = 77 };

/* The engine's name. */
extern const char *const rig_engine_name;

/* An engine; NULL: with the usual options. */
kvf_engine *rig_engine(const kvf_host_options *options);

/* Which of an engine's memories: the host's or, where there is one, the device's. */
typedef enum rig_side { RIG_FAR, RIG_NEAR } rig_side;

kvf_memory rig_kind(rig_side side);

/* Memory of that side, zeroed; `bytes` more than 0. */
char *rig_allocate(rig_side side, size_t bytes);
void rig_deallocate(rig_side side, char *memory);

/* Copies to and from such memory, whichever side it is on. No order goes with it: wait first. */
void rig_write(char *there, const char *from, size_t bytes);
void rig_read(char *to, const char *there, size_t bytes);

/* Seeds to run, as test_seeds; fewer where each takes longer. */
uint64_t rig_seeds(uint64_t usual);

/* To be called at the end of a program: what main is to return if so many tests have failed. */
int rig_end(int failed);

/* Leaves out the rest of a test that needs it. */
void rig_needs(rig_ability ability);

/* Whether the engine does what the options ask for. */
bool rig_offers(const kvf_host_options *options);

/* Whether the engine moves blocks from one side to the other. */
bool rig_moves(rig_side src, rig_side dst);

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
    RIG_WHOLE_BLOCKS = RIG_FORMS, /* recommended */
    RIG_BY_LAYER,
    RIG_ALL_FORMS,
} rig_form;

/* Where memory is, and how blocks lie in it. */
typedef struct rig_place {
    rig_side side;
    size_t offset; /* of the first byte */
    size_t unit;   /* padding is multiples of it; 0: 1 */
} rig_place;

/* A layout and the memory it lies in. */
typedef struct rig_memory {
    kvf_layout *layout;
    rig_side side;
    char *bytes;
    size_t size;
} rig_memory;

/* The usual place: far. */
rig_memory rig_memory_make(const kvf_shape *shape, rig_form form);
rig_memory rig_memory_make_at(const kvf_shape *shape, rig_form form, const rig_place *place);
void rig_memory_free(rig_memory *memory);

/* A tier of one layout. */
typedef struct rig_tier {
    rig_memory memory;
    kvf_tier *tier;
} rig_tier;

rig_tier rig_tier_make_on(kvf_engine *engine, rig_side side, const kvf_shape *shape, rig_form form,
                          bool integrity);
/* A far one. */
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

/* Copies what a transfer of these plans and layers should. */
void rig_copy(const kvf_layout *src, const kvf_layout *dst, const kvf_plan *plans, size_t count,
              uint32_t first_layer, uint32_t layer_count);

/* A plan of one block from each id to the other. */
kvf_plan rig_plan(const uint64_t *src_ids, const uint64_t *dst_ids, size_t count);

/* Progress until nothing is open. */
void rig_drain(kvf_engine *engine);

#endif
