/* kvferry bench plan: what bookkeeping costs. */
#include "base/command.h"

#include "base/options.h"
#include "plan/ops.h"
#include "output/output.h"
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BLOCKS = 1, KEY_IDS, KEY_SAMPLES };

typedef struct plan_options {
    number_list blocks;
    id_order ids;
    size_t samples;
    backend_options backend;
    output_options output;
} plan_options;

static const char *const id_orders[] = {
    [IDS_DENSE] = "dense", [IDS_SHUFFLED] = "shuffled", [IDS_SPARSE] = "sparse"};

static const struct argp_option options[] = {
    {"blocks", KEY_BLOCKS, "LIST", 0, "Numbers of blocks (default 1024,65536)", 0},
    {"ids", KEY_IDS, "ORDER", 0,
     "Order of the block ids: dense (0, 1, 2, ...; default), shuffled or sparse (anywhere in 64 "
     "bits)",
     0},
    {"samples", KEY_SAMPLES, "N", 0, "Samples per row (default 101)", 0},
    {0},
};

static const char doc[] =
    "Measure bookkeeping, in nanoseconds per block: hashing, assignments, plans, moves, submitting."
    "\v"
    "Each figure is the median of several samples after a warm-up. Short operations are repeated "
    "within a sample. Assignments and moves use an allocator that reuses its memory. Moves are of "
    "blocks of 64 regions that merge into one. submit_background is the time inside "
    "kvf_transfer_submit.\n"
    "\n"
    "Examples:\n"
    "  kvferry bench plan\n"
    "  kvferry bench plan --blocks 64K,1M,10000000 --ids sparse --json plan.json\n";

static void parse_ids(plan_options *chosen, const char *argument, const struct argp_state *state) {
    for (size_t i = 0; i < sizeof id_orders / sizeof id_orders[0]; i++) {
        if (strcmp(id_orders[i], argument) == 0) {
            chosen->ids = (id_order)i;
            return;
        }
    }
    argp_error(state, "--ids: unknown order '%s' (expected dense, shuffled or sparse)", argument);
}

static const option_rule rules[] = {
    SETS_WITHIN(KEY_BLOCKS, plan_options, blocks, 1, KVF_MAX_POSITION + 1),
    SETS_WITHIN(KEY_SAMPLES, plan_options, samples, 1, 1000000),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    plan_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->output;
        return 0;
    case KEY_IDS:
        parse_ids(chosen, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (chosen->blocks.count == 0)
            option_list(state, "blocks", "1024,65536", 1, UINT64_MAX, &chosen->blocks);
        return 0;
    default:
        return option_set(options, rules, key, argument, state);
    }
}

/* Returns whether the results were right. */
static bool measure_op(const plan_options *chosen, const op *op, ops_bench *bench, size_t blocks,
                       json_t *row) {
    ops_result result = ops_measure(op, bench, chosen->samples);
    double tokens = (double)(blocks * OPS_BLOCK_TOKENS);
    row_text(row, "op", op->name);
    row_count(row, "blocks", blocks);
    row_text(row, "ids", op->uses_ids ? id_orders[chosen->ids] : NULL);
    row_real(row, "ns_per_block", result.ns.median / (double)blocks);
    row_real(row, "tokens_per_second", op->hashes ? tokens / result.ns.median * 1e9 : NAN);
    row_summary(row, "ns", 1, &result.ns);
    row_verified(row, true, result.right);
    return result.right;
}

/* Returns the number of operations with wrong results. */
static size_t measure_all(const plan_options *chosen, backend *backend, output *output) {
    progress progress = {.what = "operations"};
    size_t op_count = 0, done = 0, wrong = 0;
    while (ops[op_count].name)
        op_count++;
    for (size_t i = 0; i < chosen->blocks.count; i++) {
        size_t blocks = (size_t)chosen->blocks.values[i];
        ops_bench *bench = ops_bench_open(blocks, chosen->ids, backend);
        for (size_t j = 0; j < op_count; j++) {
            progress_step(&progress, done++, op_count * chosen->blocks.count);
            wrong += !measure_op(chosen, &ops[j], bench, blocks, output_row(output));
        }
        ops_bench_close(bench);
    }
    progress_end(&progress);
    return wrong;
}

int bench_plan_main(int argc, char **argv) {
    static const struct argp_child children[] = {{&output_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    plan_options chosen = {.samples = 101};
    backend backend;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    backend_open(&backend, &chosen.backend);
    output *output = output_open(&chosen.output, "bench plan", backend.type->name);
    backend_describe(&backend, output_context(output));
    output_begin(output);
    size_t wrong = measure_all(&chosen, &backend, output);
    backend_close(&backend);
    output_note(output, "ns_per_block = median_ns / blocks; median_ns: of one run over all blocks; "
                        "verified: results compared, outside the timing");
    output_close(output);
    free(chosen.blocks.values);
    if (wrong > 0)
        fail(EXIT_CHECK, "%zu operations had wrong results", wrong);
    return 0;
}
