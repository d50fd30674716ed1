/* Random tiers over random layouts, random moves between them, and an oracle: a copy of the tiers'
 * memory in which moves are made byte by byte, in the order of submission. */
#ifndef KVF_TEST_MOVE_SCENE_H
#define KVF_TEST_MOVE_SCENE_H

#include "support/engine_fixture.h"

#include <kvferry/cuda.h>

#include "fakecuda.h"

enum {
    SCENE_LAYOUTS = 3,
    SCENE_LAYERS = 72,
    SCENE_PLANS = 4,
    SCENE_TIERS = 3, /* two on the device, then the host's */
    SCENE_HOST = SCENE_TIERS - 1,
};

/* What is special about a scene's blocks. */
typedef enum scene_kind {
    SCENE_SMALL,        /* odd sizes */
    SCENE_MANY_REGIONS, /* more than fit in a launch's parameters */
    SCENE_MANY_BLOCKS,  /* more pairs than fit there */
    SCENE_BIG_BLOCKS,   /* larger than a small packing buffer */
    SCENE_KINDS,
} scene_kind;

typedef struct scene_tier {
    kvf_tier *tier;
    size_t blocks;
    fixture_memory memories[SCENE_LAYOUTS];
    char *expected[SCENE_LAYOUTS]; /* as large as the memory */
} scene_tier;

typedef struct scene {
    test_random random;
    scene_kind kind;
    kvf_engine *engine;
    size_t unit; /* the largest common divisor of addresses, sizes and strides */
    size_t layout_count;
    kvf_shape shapes[SCENE_LAYOUTS]; /* without blocks */
    size_t bytes[SCENE_LAYOUTS][SCENE_LAYERS];
    scene_tier tiers[SCENE_TIERS];
} scene;

/* Takes ownership of the engine. */
void scene_open(scene *s, uint64_t seed, scene_kind kind, kvf_engine *engine);

/* Compares every byte with the oracle; returns NULL or the name of the memory that differs. */
const char *scene_compare(const scene *s, size_t *offset);

/* Destroys the tiers, then the engine. */
void scene_close(scene *s);

/* The pairs of a move between two tiers, and plans that contain them, some twice. */
typedef struct scene_move {
    size_t src, dst; /* tiers */
    size_t layout;
    uint64_t *src_ids, *dst_ids; /* [count] */
    size_t count;
    kvf_plan plans[SCENE_PLANS];
    size_t plan_count;
    kvf_submit_options options; /* layers and layout only */
    uint64_t bytes;
} scene_move;

scene_move scene_move_make(scene *s);
void scene_move_free(scene_move *m);

/* Makes the move in the oracle. */
void scene_move_apply(scene *s, const scene_move *m);

kvf_cuda_direction scene_direction(const scene_move *m);

/* What `loop` lowers a move to. */
typedef struct scene_copies {
    size_t widest;   /* most bytes of one strip in a block */
    uint64_t rows;   /* copies in two dimensions */
    uint64_t slices; /* copies in three dimensions */
} scene_copies;

scene_copies scene_lower(const scene *s, const scene_move *m);

uint64_t scene_below(scene *s, uint64_t bound);

#endif
