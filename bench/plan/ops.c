#include "plan/ops.h"

#include "plan/cached_allocator.h"
#include "tiers/store.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

/* The most assignments prepared for one sample. */
#define MANY 16

/* Values of op.spent: as many blocks as CPU caches hold, so that memory is not what is timed; far
 * more for operations that take nanoseconds whatever the count; and only one instance. */
#define CACHED ((size_t)1 << 16)
#define LARGE  ((size_t)1 << 20)
#define SINGLE ((size_t)1)

/* Regions of the layouts that moves are lowered for: 32 layers of K and V in one buffer, which
 * merge into one piece per block. */
#define REGIONS 64

struct ops_bench {
    size_t blocks;
    cached_allocator cache;
    uint64_t *ids, *absent;       /* block ids for assignments; no assignments hold absent ones */
    uint64_t *rising, *random[2]; /* block ids of the two tiers, in order and shuffled */
    uint32_t *tokens;
    kvf_sequence *sequence; /* of all tokens; its hashes serve everything else */
    kvf_assignments *assignments[MANY];
    kvf_assignments *source; /* all blocks assigned */
    store src, dst;
    kvf_transfer *transfer;
    kvf_plan zipped; /* the plan that the last run made */
};

static void check(kvf_status status, const kvf_error *error) {
    must(status, error, "measuring");
}

static const kvf_hash *hashes(const ops_bench *bench) {
    return kvf_sequence_hashes(bench->sequence);
}

/* hash_sequence */

static void prepare_hash(void *context, size_t instance) {
    ops_bench *bench = context;
    (void)instance;
    kvf_sequence_truncate(bench->sequence, 0, NULL);
}

static void run_hash(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    (void)instance;
    check(kvf_sequence_extend(bench->sequence, bench->tokens, bench->blocks * OPS_BLOCK_TOKENS,
                              NULL, &error),
          &error);
}

/* Assignments. Their memory is cached: samples include growth, but no new pages. */

static void prepare_empty(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_assignments_options options = {.allocator = &bench->cache.allocator};
    kvf_error error = {0};
    kvf_assignments_destroy(bench->assignments[instance]);
    bench->assignments[instance] = NULL;
    check(kvf_assignments_create(&options, &bench->assignments[instance], &error), &error);
}

static void run_extend(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    check(kvf_assignments_extend_block_ids(bench->assignments[instance], bench->ids, bench->blocks,
                                           &error),
          &error);
}

static void prepare_pending(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend(context, instance);
}

static void run_extend_assigned(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    check(kvf_assignments_extend_assigned(bench->assignments[instance], bench->ids, hashes(bench),
                                          bench->blocks, &error),
          &error);
}

static void prepare_assigned(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend_assigned(context, instance);
}

static void look_for(const ops_bench *bench, const uint64_t *ids, size_t expected) {
    size_t found = 0;
    for (size_t i = 0; i < bench->blocks; i++)
        found += kvf_assignments_contains(bench->assignments[0], ids[i]);
    if (found != expected)
        fail(EXIT_CHECK, "assignments contain %zu of the ids (expected %zu)", found, expected);
}

static void run_contains_hit(void *context, size_t instance) {
    const ops_bench *bench = context;
    (void)instance;
    look_for(bench, bench->ids, bench->blocks);
}

static void run_contains_miss(void *context, size_t instance) {
    const ops_bench *bench = context;
    (void)instance;
    look_for(bench, bench->absent, 0);
}

static void run_stage(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    check(kvf_assignments_stage_pending(bench->assignments[instance], hashes(bench), bench->blocks,
                                        NULL, &error),
          &error);
}

static void prepare_staged(void *context, size_t instance) {
    prepare_pending(context, instance);
    run_stage(context, instance);
}

static void run_commit(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_range committed = kvf_assignments_commit_staged(bench->assignments[instance]);
    consume(&committed);
}

static void run_assign(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    check(kvf_assignments_assign_pending(bench->assignments[instance], hashes(bench), bench->blocks,
                                         NULL, &error),
          &error);
}

static void run_zip_assigned(void *context, size_t instance) {
    ops_bench *bench = context;
    bench->zipped = kvf_zip_assigned(bench->source, bench->assignments[instance]);
    consume(&bench->zipped);
}

static void run_zip_pending(void *context, size_t instance) {
    ops_bench *bench = context;
    bench->zipped = kvf_zip_assigned_pending(bench->source, bench->assignments[instance]);
    consume(&bench->zipped);
}

static void run_lifecycle(void *context, size_t instance) {
    prepare_empty(context, instance);
    run_extend(context, instance);
    run_assign(context, instance);
    run_zip_assigned(context, instance);
    ops_bench *bench = context;
    kvf_assignments_destroy(bench->assignments[instance]);
    bench->assignments[instance] = NULL;
}

/* Moves */

static kvf_move *make_move(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_plan plan = {.count = bench->blocks, .src_ids = src_ids, .dst_ids = dst_ids};
    kvf_move_spec spec = {
        .src = bench->src.layout, .dst = bench->dst.layout, .plans = &plan, .plan_count = 1};
    kvf_move *move = NULL;
    kvf_error error = {0};
    check(kvf_move_create(&spec, NULL, &bench->cache.allocator, &move, &error), &error);
    return move;
}

static void lower(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_move *move = make_move(bench, src_ids, dst_ids);
    consume(move);
    kvf_move_destroy(move);
}

static void run_lower_contiguous(void *context, size_t instance) {
    ops_bench *bench = context;
    (void)instance;
    lower(bench, bench->rising, bench->rising);
}

static void run_lower_random(void *context, size_t instance) {
    ops_bench *bench = context;
    (void)instance;
    lower(bench, bench->random[0], bench->random[1]);
}

/* Waits for the previous sample's transfer: only submitting is timed. */
static void prepare_submit(void *context, size_t instance) {
    ops_bench *bench = context;
    kvf_error error = {0};
    (void)instance;
    if (bench->transfer) {
        check(kvf_transfer_wait(bench->transfer, -1, &error), &error);
        kvf_transfer_release(bench->transfer);
        bench->transfer = NULL;
    }
}

static void submit(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_plan plan = {.count = bench->blocks, .src_ids = src_ids, .dst_ids = dst_ids};
    kvf_submit_options options = {.background = true};
    kvf_error error = {0};
    check(kvf_transfer_submit(bench->src.tier, bench->dst.tier, &plan, 1, &options,
                              &bench->transfer, &error),
          &error);
}

static void run_submit(void *context, size_t instance) {
    ops_bench *bench = context;
    (void)instance;
    submit(bench, bench->rising, bench->rising);
}

static void run_submit_random(void *context, size_t instance) {
    ops_bench *bench = context;
    (void)instance;
    submit(bench, bench->random[0], bench->random[1]);
}

/* Checks, not timed, of the result of the last run on instance 0, or of another run */

/* Hashes block by block again, by functions that kvf_sequence_extend does not use. */
static bool check_hash(ops_bench *bench) {
    const kvf_hash_layout layout = kvf_sequence_hash_layout(bench->sequence);
    uint64_t parent = 0;
    bool right = kvf_sequence_block_count(bench->sequence) == bench->blocks;
    for (size_t i = 0; i < bench->blocks && right; i++) {
        const uint32_t *tokens = bench->tokens + i * OPS_BLOCK_TOKENS;
        uint64_t block = kvf_hash_block(tokens, OPS_BLOCK_TOKENS, 0);
        uint64_t chained = i > 0 ? kvf_hash_chain(layout, 0, parent, block) : block;
        kvf_hash expected = {0};
        right = kvf_hash_lineage(layout, chained, i > 0 ? &parent : NULL, i, &expected) == KVF_OK &&
                kvf_hash_equal(expected, hashes(bench)[i]);
        parent = chained;
    }
    return right;
}

/* Whether a phase has all ids in order, and the right hashes if it has hashes. */
static bool has_all(const ops_bench *bench, kvf_view view) {
    bool right = view.count == bench->blocks && view.first_position == 0 &&
                 memcmp(view.ids, bench->ids, bench->blocks * sizeof *bench->ids) == 0;
    for (size_t i = 0; i < bench->blocks && right && view.hashes; i++)
        right = kvf_hash_equal(view.hashes[i], hashes(bench)[i]);
    return right;
}

static bool check_pending(ops_bench *bench) {
    const kvf_assignments *assignments = bench->assignments[0];
    return has_all(bench, kvf_assignments_pending(assignments)) &&
           kvf_assignments_staged_count(assignments) == 0 &&
           kvf_assignments_assigned_count(assignments) == 0;
}

static bool check_staged(ops_bench *bench) {
    kvf_view staged = kvf_assignments_staged(bench->assignments[0]);
    return staged.hashes && has_all(bench, staged) &&
           kvf_assignments_pending_count(bench->assignments[0]) == 0 &&
           kvf_assignments_assigned_count(bench->assignments[0]) == 0;
}

static bool check_assigned(ops_bench *bench) {
    kvf_view assigned = kvf_assignments_assigned(bench->assignments[0]);
    return assigned.hashes && has_all(bench, assigned) &&
           kvf_assignments_pending_count(bench->assignments[0]) == 0 &&
           kvf_assignments_staged_count(bench->assignments[0]) == 0;
}

/* Every run has counted the ids found, and has ended the program if that was wrong. */
static bool check_contains(ops_bench *bench) {
    look_for(bench, bench->ids, bench->blocks);
    look_for(bench, bench->absent, 0);
    return true;
}

static bool check_zipped(ops_bench *bench) {
    const kvf_plan *plan = &bench->zipped;
    size_t bytes = bench->blocks * sizeof(uint64_t);
    return plan->count == bench->blocks && memcmp(plan->src_ids, bench->rising, bytes) == 0 &&
           memcmp(plan->dst_ids, bench->ids, bytes) == 0;
}

/* A run destroys the assignments. Checks the steps before that. */
static bool check_lifecycle(ops_bench *bench) {
    prepare_empty(bench, 0);
    run_extend(bench, 0);
    run_assign(bench, 0);
    run_zip_assigned(bench, 0);
    return check_assigned(bench) && check_zipped(bench);
}

/* Fills the source's blocks with distinct bytes, and poisons the destination's. */
static void set_bytes(ops_bench *bench) {
    const backend_type *type = bench->src.backend->type;
    type->fill(bench->src.backend, bench->src.side, bench->src.layout, bench->rising, bench->rising,
               bench->blocks);
    type->poison(bench->dst.backend, bench->dst.side, bench->dst.layout, bench->rising,
                 bench->blocks);
}

/* Whether each block src_ids[i] of the source has arrived in block dst_ids[i] of the destination.
 */
static bool have_arrived(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    const store *dst = &bench->dst;
    return dst->backend->type->check(dst->backend, dst->side, dst->layout, dst_ids, src_ids,
                                     bench->blocks) == 0;
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

static bool check_lowered(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    kvf_move *move = make_move(bench, src_ids, dst_ids);
    set_bytes(bench);
    copy_boxes(move);
    kvf_move_destroy(move);
    return have_arrived(bench, src_ids, dst_ids);
}

static bool check_lower_contiguous(ops_bench *bench) {
    return check_lowered(bench, bench->rising, bench->rising);
}

static bool check_lower_random(ops_bench *bench) {
    return check_lowered(bench, bench->random[0], bench->random[1]);
}

static bool check_submitted(ops_bench *bench, const uint64_t *src_ids, const uint64_t *dst_ids) {
    prepare_submit(bench, 0);
    set_bytes(bench);
    submit(bench, src_ids, dst_ids);
    prepare_submit(bench, 0);
    return have_arrived(bench, src_ids, dst_ids);
}

static bool check_submit(ops_bench *bench) {
    return check_submitted(bench, bench->rising, bench->rising);
}

static bool check_submit_random(ops_bench *bench) {
    return check_submitted(bench, bench->random[0], bench->random[1]);
}

const op ops[] = {
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

static size_t instances(const op *op, const ops_bench *bench) {
    size_t count = op->spent / bench->blocks;
    return count < 1 ? 1 : count > MANY ? MANY : count;
}

ops_result ops_measure(const op *op, ops_bench *bench, size_t samples) {
    measured measured = {.run = op->run, .context = bench, .instances = instances(op, bench)};
    if (op->spent > 0)
        measured.prepare = op->prepare;
    else if (op->prepare)
        op->prepare(bench, 0);
    ops_result result = {.ns = measure(&measured, samples)};
    result.right = op->check(bench);
    prepare_submit(bench, 0); /* nothing in flight may disturb the next operation */
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
        ids[i] = mix64(ids[i] + 1); /* mix64 is one to one: ids stay distinct */
    return ids;
}

static void make_sequence(ops_bench *bench, uint64_t *state) {
    size_t count = bench->blocks * OPS_BLOCK_TOKENS;
    kvf_sequence_options options = {.block_size = OPS_BLOCK_TOKENS};
    kvf_error error = {0};
    bench->tokens = must_grow(NULL, count, sizeof *bench->tokens);
    for (size_t i = 0; i < count; i++)
        bench->tokens[i] = (uint32_t)random_next(state);
    check(kvf_sequence_create(&options, &bench->sequence, &error), &error);
    run_hash(bench, 0);
}

static void make_source(ops_bench *bench) {
    kvf_error error = {0};
    check(kvf_assignments_create(NULL, &bench->source, &error), &error);
    check(kvf_assignments_extend_assigned(bench->source, bench->rising, hashes(bench),
                                          bench->blocks, &error),
          &error);
}

/* One byte per region: copying takes little compared with submitting. */
static void make_stores(ops_bench *bench, backend *backend) {
    store_spec spec = {
        .blocks = bench->blocks,
        .regions = REGIONS,
        .region_bytes = 1,
        .side = SIDE_DEVICE,
        .arrangement = arrangement_find("contiguous"),
    };
    store_open(&bench->src, backend, &spec);
    spec.side = SIDE_HOST;
    store_open(&bench->dst, backend, &spec);
}

ops_bench *ops_bench_open(size_t blocks, id_order ids, backend *backend) {
    ops_bench *bench = must_grow(NULL, 1, sizeof *bench);
    uint64_t state = SEED;
    *bench = (ops_bench){.blocks = blocks};
    cached_allocator_open(&bench->cache);
    bench->ids = ids_in_order(blocks, 0, ids, &state);
    bench->absent = ids_in_order(blocks, blocks, ids, &state);
    bench->rising = rising(blocks, 0);
    for (size_t i = 0; i < 2; i++)
        bench->random[i] = ids_in_order(blocks, 0, IDS_SHUFFLED, &state);
    make_sequence(bench, &state);
    make_source(bench);
    make_stores(bench, backend);
    return bench;
}

void ops_bench_close(ops_bench *bench) {
    for (size_t i = 0; i < MANY; i++)
        kvf_assignments_destroy(bench->assignments[i]);
    store_close(&bench->src);
    store_close(&bench->dst);
    kvf_assignments_destroy(bench->source);
    kvf_sequence_destroy(bench->sequence);
    cached_allocator_close(&bench->cache);
    free(bench->tokens);
    free(bench->ids);
    free(bench->absent);
    free(bench->rising);
    free(bench->random[0]);
    free(bench->random[1]);
    free(bench);
}
