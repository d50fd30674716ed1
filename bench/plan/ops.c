#include "plan/ops.h"

#include "plan/cached_allocator.h"
#include "tiers/store.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

/* Assignments prepared for one sample at most. */
#define MANY 16

/* For plan_op's `spent`: as many blocks as caches hold, so that what is timed is not memory; far
 * more for what takes but nanoseconds, whatever the count; and never more than one instance. */
#define CACHED ((size_t)1 << 16)
#define LARGE  ((size_t)1 << 20)
#define SINGLE ((size_t)1)

/* Regions of the layouts that moves are lowered for: 32 layers of K and V in one buffer, which
 * merge into one piece a block. */
#define REGIONS 64

struct plan_stage {
    size_t blocks;
    cache cache;
    uint64_t *ids, *absent;       /* of assignments: absent ones are in none */
    uint64_t *rising, *random[2]; /* block ids of the two tiers, in order and not */
    uint32_t *tokens;
    kvf_sequence *sequence; /* of all tokens; lends its hashes to everything else */
    kvf_assignments *assignments[MANY];
    kvf_assignments *source; /* all blocks assigned */
    store src, dst;
    kvf_transfer *transfer;
    kvf_plan zipped; /* by the last run */
};

static void check(kvf_status status, const kvf_error *error) {
    must(status, error, "measuring");
}

static const kvf_hash *hashes(const plan_stage *stage) {
    return kvf_sequence_hashes(stage->sequence);
}

/* hash_sequence */

static void prepare_hash(void *context, size_t instance) {
    plan_stage *stage = context;
    (void)instance;
    kvf_sequence_truncate(stage->sequence, 0, NULL);
}

static void run_hash(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    (void)instance;
    check(kvf_sequence_extend(stage->sequence, stage->tokens, stage->blocks * PLAN_BLOCK_TOKENS,
                              NULL, &error),
          &error);
}

/* Assignments. Their memory comes from the cache: what is timed has growth, but no new pages. */

static void prepare_empty(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_assignments_options options = {.allocator = &stage->cache.allocator};
    kvf_error error = {0};
    kvf_assignments_destroy(stage->assignments[instance]);
    stage->assignments[instance] = NULL;
    check(kvf_assignments_create(&options, &stage->assignments[instance], &error), &error);
}

static void run_extend(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    check(kvf_assignments_extend_block_ids(stage->assignments[instance], stage->ids, stage->blocks,
                                           &error),
          &error);
}

static void prepare_pending(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend(context, instance);
}

static void run_extend_assigned(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    check(kvf_assignments_extend_assigned(stage->assignments[instance], stage->ids, hashes(stage),
                                          stage->blocks, &error),
          &error);
}

static void prepare_assigned(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend_assigned(context, instance);
}

static void look_for(const plan_stage *stage, const uint64_t *ids, size_t expected) {
    size_t found = 0;
    for (size_t i = 0; i < stage->blocks; i++)
        found += kvf_assignments_contains(stage->assignments[0], ids[i]);
    if (found != expected)
        fail(EXIT_CHECK, "an assignments object has %zu of the ids it should have %zu of", found,
             expected);
}

static void run_contains_hit(void *context, size_t instance) {
    const plan_stage *stage = context;
    (void)instance;
    look_for(stage, stage->ids, stage->blocks);
}

static void run_contains_miss(void *context, size_t instance) {
    const plan_stage *stage = context;
    (void)instance;
    look_for(stage, stage->absent, 0);
}

static void run_stage(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    check(kvf_assignments_stage_pending(stage->assignments[instance], hashes(stage), stage->blocks,
                                        NULL, &error),
          &error);
}

static void prepare_staged(void *context, size_t instance) {
    prepare_pending(context, instance);
    run_stage(context, instance);
}

static void run_commit(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_range committed = kvf_assignments_commit_staged(stage->assignments[instance]);
    consume(&committed);
}

static void run_assign(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    check(kvf_assignments_assign_pending(stage->assignments[instance], hashes(stage), stage->blocks,
                                         NULL, &error),
          &error);
}

static void run_zip_assigned(void *context, size_t instance) {
    plan_stage *stage = context;
    stage->zipped = kvf_zip_assigned(stage->source, stage->assignments[instance]);
    consume(&stage->zipped);
}

static void run_zip_pending(void *context, size_t instance) {
    plan_stage *stage = context;
    stage->zipped = kvf_zip_assigned_pending(stage->source, stage->assignments[instance]);
    consume(&stage->zipped);
}

static void run_lifecycle(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend(context, instance);
    run_assign(context, instance);
    run_zip_assigned(context, instance);
    plan_stage *stage = context;
    kvf_assignments_destroy(stage->assignments[instance]);
    stage->assignments[instance] = NULL;
}

/* Moves. */

static kvf_move *make_move(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_plan plan = {.count = stage->blocks, .src_ids = src_ids, .dst_ids = dst_ids};
    kvf_move_spec spec = {
        .src = stage->src.layout, .dst = stage->dst.layout, .plans = &plan, .plan_count = 1};
    kvf_move *move = NULL;
    kvf_error error = {0};
    check(kvf_move_create(&spec, NULL, &stage->cache.allocator, &move, &error), &error);
    return move;
}

static void lower(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_move *move = make_move(stage, src_ids, dst_ids);
    consume(move);
    kvf_move_destroy(move);
}

static void run_lower_contiguous(void *context, size_t instance) {
    plan_stage *stage = context;
    (void)instance;
    lower(stage, stage->rising, stage->rising);
}

static void run_lower_random(void *context, size_t instance) {
    plan_stage *stage = context;
    (void)instance;
    lower(stage, stage->random[0], stage->random[1]);
}

/* Waits for the transfer of the sample before: only submitting is timed. */
static void prepare_submit(void *context, size_t instance) {
    plan_stage *stage = context;
    kvf_error error = {0};
    (void)instance;
    if (stage->transfer) {
        check(kvf_transfer_wait(stage->transfer, -1, &error), &error);
        kvf_transfer_release(stage->transfer);
        stage->transfer = NULL;
    }
}

static void submit(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_plan plan = {.count = stage->blocks, .src_ids = src_ids, .dst_ids = dst_ids};
    kvf_submit_options options = {.background = true};
    kvf_error error = {0};
    check(kvf_transfer_submit(stage->src.tier, stage->dst.tier, &plan, 1, &options,
                              &stage->transfer, &error),
          &error);
}

static void run_submit(void *context, size_t instance) {
    plan_stage *stage = context;
    (void)instance;
    submit(stage, stage->rising, stage->rising);
}

static void run_submit_random(void *context, size_t instance) {
    plan_stage *stage = context;
    (void)instance;
    submit(stage, stage->random[0], stage->random[1]);
}

/* Checks of what the last run on instance 0 left, or of the same once more; not timed. */

/* Hashed anew, block by block, by the functions that hash_sequence is not made of. */
static bool check_hash(plan_stage *stage) {
    const kvf_hash_layout layout = kvf_sequence_hash_layout(stage->sequence);
    uint64_t parent = 0;
    bool right = kvf_sequence_block_count(stage->sequence) == stage->blocks;
    for (size_t i = 0; i < stage->blocks && right; i++) {
        const uint32_t *tokens = stage->tokens + i * PLAN_BLOCK_TOKENS;
        uint64_t block = kvf_hash_block(tokens, PLAN_BLOCK_TOKENS, 0);
        uint64_t chained = i > 0 ? kvf_hash_chain(layout, 0, parent, block) : block;
        kvf_hash expected = {0};
        right = kvf_hash_lineage(layout, chained, i > 0 ? &parent : NULL, i, &expected) == KVF_OK &&
                kvf_hash_equal(expected, hashes(stage)[i]);
        parent = chained;
    }
    return right;
}

/* A phase of the assignments object has all ids in order, with their hashes if it has any. */
static bool has_all(const plan_stage *stage, kvf_view view) {
    bool right = view.count == stage->blocks && view.first_position == 0 &&
                 memcmp(view.ids, stage->ids, stage->blocks * sizeof *stage->ids) == 0;
    for (size_t i = 0; i < stage->blocks && right && view.hashes; i++)
        right = kvf_hash_equal(view.hashes[i], hashes(stage)[i]);
    return right;
}

static bool check_pending(plan_stage *stage) {
    const kvf_assignments *assignments = stage->assignments[0];
    return has_all(stage, kvf_assignments_pending(assignments)) &&
           kvf_assignments_staged_count(assignments) == 0 &&
           kvf_assignments_assigned_count(assignments) == 0;
}

static bool check_staged(plan_stage *stage) {
    kvf_view staged = kvf_assignments_staged(stage->assignments[0]);
    return staged.hashes && has_all(stage, staged) &&
           kvf_assignments_pending_count(stage->assignments[0]) == 0 &&
           kvf_assignments_assigned_count(stage->assignments[0]) == 0;
}

static bool check_assigned(plan_stage *stage) {
    kvf_view assigned = kvf_assignments_assigned(stage->assignments[0]);
    return assigned.hashes && has_all(stage, assigned) &&
           kvf_assignments_pending_count(stage->assignments[0]) == 0 &&
           kvf_assignments_staged_count(stage->assignments[0]) == 0;
}

/* Every run has counted what it found, and has ended the program unless that was right. */
static bool check_contains(plan_stage *stage) {
    look_for(stage, stage->ids, stage->blocks);
    look_for(stage, stage->absent, 0);
    return true;
}

static bool check_zipped(plan_stage *stage) {
    const kvf_plan *plan = &stage->zipped;
    size_t bytes = stage->blocks * sizeof(uint64_t);
    return plan->count == stage->blocks && memcmp(plan->src_ids, stage->rising, bytes) == 0 &&
           memcmp(plan->dst_ids, stage->ids, bytes) == 0;
}

/* The assignments object is destroyed: what it was zipped from is looked at before that. */
static bool check_lifecycle(plan_stage *stage) {
    prepare_empty(stage, 0);
    run_extend(stage, 0);
    run_assign(stage, 0);
    run_zip_assigned(stage, 0);
    return check_assigned(stage) && check_zipped(stage);
}

/* Bytes that blocks are known by: those of the source's, poison in the destination's. */
static void set_bytes(plan_stage *stage) {
    const backend_type *type = stage->src.backend->type;
    type->fill(stage->src.backend, stage->src.side, stage->src.layout, stage->rising, stage->rising,
               stage->blocks);
    type->poison(stage->dst.backend, stage->dst.side, stage->dst.layout, stage->rising,
                 stage->blocks);
}

/* Whether block src_ids[i] of the source has come to dst_ids[i] of the destination, for all. */
static bool have_come(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    const store *dst = &stage->dst;
    return dst->backend->type->check(dst->backend, dst->side, dst->layout, dst_ids, src_ids,
                                     stage->blocks) == 0;
}

static void copy_box(const kvf_box *box) {
    for (size_t s = 0; s < box->slices; s++) {
        for (size_t r = 0; r < box->rows; r++) {
            ptrdiff_t slice = (ptrdiff_t)s, row = (ptrdiff_t)r;
            memcpy(box->dst + slice * box->dst_slice_pitch + row * box->dst_row_pitch,
                   box->src + slice * box->src_slice_pitch + row * box->src_row_pitch, box->width);
        }
    }
}

static void copy_boxes(const kvf_move *move) {
    kvf_box_cursor cursor = {0};
    kvf_box box;
    while (kvf_move_next(move, &cursor, &box, 1) > 0)
        copy_box(&box);
}

static bool check_lowered(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_move *move = make_move(stage, src_ids, dst_ids);
    set_bytes(stage);
    copy_boxes(move);
    kvf_move_destroy(move);
    return have_come(stage, src_ids, dst_ids);
}

static bool check_lower_contiguous(plan_stage *stage) {
    return check_lowered(stage, stage->rising, stage->rising);
}

static bool check_lower_random(plan_stage *stage) {
    return check_lowered(stage, stage->random[0], stage->random[1]);
}

static bool check_submitted(plan_stage *stage, const uint64_t *src_ids, const uint64_t *dst_ids) {
    prepare_submit(stage, 0);
    set_bytes(stage);
    submit(stage, src_ids, dst_ids);
    prepare_submit(stage, 0);
    return have_come(stage, src_ids, dst_ids);
}

static bool check_submit(plan_stage *stage) {
    return check_submitted(stage, stage->rising, stage->rising);
}

static bool check_submit_random(plan_stage *stage) {
    return check_submitted(stage, stage->random[0], stage->random[1]);
}

const plan_op plan_ops[] = {
    {"hash_sequence", false, true, SINGLE, prepare_hash, run_hash, check_hash},
    {"extend_block_ids_fresh", true, false, CACHED, prepare_empty, run_extend, check_pending},
    {"extend_block_ids_known", true, false, 0, prepare_pending, run_extend, check_pending},
    {"extend_assigned", true, false, CACHED, prepare_empty, run_extend_assigned, check_assigned},
    {"contains_hit", true, false, 0, prepare_pending, run_contains_hit, check_contains},
    {"contains_miss", true, false, 0, prepare_pending, run_contains_miss, check_contains},
    {"stage_pending", true, false, CACHED, prepare_pending, run_stage, check_staged},
    {"commit_staged", true, false, LARGE, prepare_staged, run_commit, check_assigned},
    {"assign_pending", true, false, CACHED, prepare_pending, run_assign, check_assigned},
    {"zip_assigned", true, false, 0, prepare_assigned, run_zip_assigned, check_zipped},
    {"zip_assigned_pending", true, false, 0, prepare_pending, run_zip_pending, check_zipped},
    {"lower_contiguous", false, false, 0, NULL, run_lower_contiguous, check_lower_contiguous},
    {"lower_random", false, false, 0, NULL, run_lower_random, check_lower_random},
    {"submit_background", false, false, SINGLE, prepare_submit, run_submit, check_submit},
    {"submit_background_random", false, false, SINGLE, prepare_submit, run_submit_random,
     check_submit_random},
    {"lifecycle", true, false, 0, NULL, run_lifecycle, check_lifecycle},
    {0},
};

static size_t instances(const plan_op *op, const plan_stage *stage) {
    size_t count = op->spent / stage->blocks;
    return count < 1 ? 1 : count > MANY ? MANY : count;
}

plan_result plan_op_measure(const plan_op *op, plan_stage *stage, size_t samples) {
    measured measured = {.run = op->run, .context = stage, .instances = instances(op, stage)};
    if (op->spent > 0)
        measured.prepare = op->prepare;
    else if (op->prepare)
        op->prepare(stage, 0);
    plan_result result = {.ns = measure(&measured, samples)};
    result.right = op->check(stage);
    prepare_submit(stage, 0); /* what is in flight would be in the next operation's way */
    return result;
}

static uint64_t *rising(size_t count, uint64_t first) {
    uint64_t *ids = must_grow(NULL, count, sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    return ids;
}

static uint64_t *ids_in_order(size_t count, uint64_t first, id_order order, uint64_t *state) {
    uint64_t *ids = rising(count, first);
    if (order == IDS_SHUFFLED)
        shuffle(ids, count, state);
    for (size_t i = 0; i < count && order == IDS_SPARSE; i++)
        ids[i] = mix64(ids[i] + 1); /* one to one: still different */
    return ids;
}

static void make_sequence(plan_stage *stage, uint64_t *state) {
    size_t count = stage->blocks * PLAN_BLOCK_TOKENS;
    kvf_sequence_options options = {.block_size = PLAN_BLOCK_TOKENS};
    kvf_error error = {0};
    stage->tokens = must_grow(NULL, count, sizeof *stage->tokens);
    for (size_t i = 0; i < count; i++)
        stage->tokens[i] = (uint32_t)random_next(state);
    check(kvf_sequence_create(&options, &stage->sequence, &error), &error);
    run_hash(stage, 0);
}

static void make_source(plan_stage *stage) {
    kvf_error error = {0};
    check(kvf_assignments_create(NULL, &stage->source, &error), &error);
    check(kvf_assignments_extend_assigned(stage->source, stage->rising, hashes(stage),
                                          stage->blocks, &error),
          &error);
}

/* Blocks of a byte a region: copying them is nothing beside submitting it. */
static void make_stores(plan_stage *stage, backend *backend) {
    store_spec spec = {
        .blocks = stage->blocks,
        .regions = REGIONS,
        .region_bytes = 1,
        .side = SIDE_DEVICE,
        .arrangement = arrangement_find("contiguous"),
    };
    store_open(&stage->src, backend, &spec);
    spec.side = SIDE_HOST;
    store_open(&stage->dst, backend, &spec);
}

plan_stage *plan_stage_open(size_t blocks, id_order ids, backend *backend) {
    plan_stage *stage = must_grow(NULL, 1, sizeof *stage);
    uint64_t state = SEED;
    *stage = (plan_stage){.blocks = blocks};
    cache_open(&stage->cache);
    stage->ids = ids_in_order(blocks, 0, ids, &state);
    stage->absent = ids_in_order(blocks, blocks, ids, &state);
    stage->rising = rising(blocks, 0);
    for (size_t i = 0; i < 2; i++)
        stage->random[i] = ids_in_order(blocks, 0, IDS_SHUFFLED, &state);
    make_sequence(stage, &state);
    make_source(stage);
    make_stores(stage, backend);
    return stage;
}

void plan_stage_close(plan_stage *stage) {
    for (size_t i = 0; i < MANY; i++)
        kvf_assignments_destroy(stage->assignments[i]);
    store_close(&stage->src);
    store_close(&stage->dst);
    kvf_assignments_destroy(stage->source);
    kvf_sequence_destroy(stage->sequence);
    cache_close(&stage->cache);
    free(stage->tokens);
    free(stage->ids);
    free(stage->absent);
    free(stage->rising);
    free(stage->random[0]);
    free(stage->random[1]);
    free(stage);
}
