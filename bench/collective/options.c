#include "collective/options.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEY_MODE = 1,
    KEY_FRAGMENT_BYTES,
    KEY_REGIONS,
    KEY_BYTES,
    KEY_PATTERN,
    KEY_CHUNK_BYTES,
    KEY_CHUNKS,
    KEY_MIN_CTAS,
    KEY_MAX_CTAS,
    KEY_CTA_POLICY,
    KEY_SAMPLES,
    KEY_TIMEOUT,
    KEY_LINK_BYTES,
    KEY_NO_VERIFY,
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Blocks (each combination of the LISTs gives a row):", 1},
    {"mode", KEY_MODE, "LIST", 0,
     "striped: each rank reads its share of the blocks from its host memory; broadcast: rank 0 "
     "reads all of them (default striped,broadcast)",
     1},
    {"bytes", KEY_BYTES, "N", 0, "Total bytes, rounded up to whole blocks (default 256M)", 1},
    {"fragment-bytes", KEY_FRAGMENT_BYTES, "LIST", 0,
     "Bytes of a block in one region (default 64K)", 1},
    {"regions", KEY_REGIONS, "LIST", 0, "Regions of a block (default 8)", 1},
    {"pattern", KEY_PATTERN, "NAME", 0,
     "Order of the block ids on the device: contiguous, run:K, stride:K or random (default random)",
     1},
    {NULL, 0, NULL, 0, "Wire and NCCL:", 2},
    {"chunk-bytes", KEY_CHUNK_BYTES, "N", 0,
     "Bytes of one rank's part of a collective (default 8M)", 2},
    {"chunks", KEY_CHUNKS, "N", 0, "Chunks under way at a time (default 3)", 2},
    {"min-ctas", KEY_MIN_CTAS, "N", 0,
     "Fewest thread blocks of an NCCL collective (default: NCCL's choice)", 2},
    {"max-ctas", KEY_MAX_CTAS, "N", 0,
     "Most thread blocks of an NCCL collective (default: NCCL's choice)", 2},
    {"cta-policy", KEY_CTA_POLICY, "N", 0,
     "NCCL's CTA policy as a number, see ncclConfig_t (default 0)", 2},
    {NULL, 0, NULL, 0, "Ranks:", 70},
    {NULL, 0, NULL, 0, "Engine and checks:", 80},
    {"samples", KEY_SAMPLES, "N", 0, "Samples of each median (default 11); a p99 needs 100", 82},
    {"timeout-us", KEY_TIMEOUT, "US", 0,
     "Longest wait for another rank, in microseconds (default 30000000)", 82},
    {"link-bytes", KEY_LINK_BYTES, "N", 0,
     "Memory on each side for the large copies that measure a GPU's link (default 256M)", 82},
    {"no-verify", KEY_NO_VERIFY, NULL, 0, "Do not poison and check destinations", 82},
    {NULL, 0, NULL, 0, "Output (of rank 0 only):", 90},
    {0},
};

static const char doc[] =
    "Measure how fast the same blocks reach all GPUs of a group."
    "\v"
    "Every GPU gets the same blocks, as with MLA or replicated heads. In mode striped, rank r "
    "reads the blocks at positions r, r + ranks, r + 2 * ranks, ... over its own link to the "
    "host, and the ranks exchange them with NCCL. In mode broadcast, rank 0 reads all blocks and "
    "broadcasts them. Every rank poisons the host blocks that it must not read, poisons all "
    "destinations before each sample, and compares them byte by byte after it.\n"
    "\n"
    "A rank is one process with one GPU. Start all ranks with mpirun, srun or torchrun or, on one "
    "machine, with bench/ranks from kvferry's sources, and give them all the same options. A "
    "process takes its rank, the number of ranks and its rank on the machine from the first of "
    "these that is set: RANK, WORLD_SIZE, LOCAL_RANK (torchrun); OMPI_COMM_WORLD_RANK, "
    "OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_LOCAL_RANK (mpirun); SLURM_PROCID, SLURM_NTASKS, "
    "SLURM_LOCALID (srun). --rank with --ranks overrides them. Without any of these, the process "
    "is a group of one rank, which needs no NCCL.\n"
    "\n"
    "Rank 0 listens at --address, or at MASTER_ADDR and MASTER_PORT. Over this port, which is the "
    "tool's own, it sends the group's id to the other ranks and collects their results. NCCL "
    "opens its own connections.\n"
    "\n"
    "Examples:\n"
    "  mpirun -np 16 kvferry bench collective --address node0:29501\n"
    "  bench/ranks 8 kvferry bench collective --mode striped\n"
    "  CUDA_VISIBLE_DEVICES=0,4 bench/ranks 2 kvferry bench collective\n"
    "  kvferry bench collective --rank 1 --ranks 2 --address node0:29501 --device 0\n";

static const char *const mode_names[] = {
    [KVF_SHARE_STRIPED] = "striped",
    [KVF_SHARE_RANK_0] = "broadcast",
};

enum { MODES = sizeof mode_names / sizeof mode_names[0] };

const char *collective_mode_name(kvf_share mode) {
    return mode_names[mode];
}

static void add_mode(collective_options *chosen, const char *name, const struct argp_state *state) {
    for (size_t mode = 0; mode < MODES; mode++) {
        if (strcmp(mode_names[mode], name) == 0 && chosen->mode_count < MODES) {
            chosen->modes[chosen->mode_count++] = (kvf_share)mode;
            return;
        }
    }
    argp_error(state, "--mode: '%s' is unknown or one mode too many", name);
}

static void set_modes(collective_options *chosen, const char *text,
                      const struct argp_state *state) {
    char *copy = must_grow(NULL, strlen(text) + 1, 1);
    char *rest = strcpy(copy, text);
    chosen->mode_count = 0;
    for (char *name = next_piece(&rest); name; name = next_piece(&rest))
        add_mode(chosen, name, state);
    free(copy);
}

/* Parsing */

static const option_rule rules[] = {
    SETS_WITHIN(KEY_FRAGMENT_BYTES, collective_options, fragment_bytes, 1, UINT32_MAX),
    SETS_WITHIN(KEY_REGIONS, collective_options, regions, 1, 1 << 16),
    SETS_WITHIN(KEY_BYTES, collective_options, bytes, 1, UINT64_C(1) << 48),
    SETS_WITHIN(KEY_CHUNK_BYTES, collective_options, common.chunk_bytes, 1, UINT64_C(1) << 40),
    SETS_WITHIN(KEY_CHUNKS, collective_options, common.chunks, 1, 64),
    SETS_WITHIN(KEY_MIN_CTAS, collective_options, min_ctas, 1, 1024),
    SETS_WITHIN(KEY_MAX_CTAS, collective_options, max_ctas, 1, 1024),
    SETS_WITHIN(KEY_CTA_POLICY, collective_options, cta_policy, 0, 1024),
    SETS_WITHIN(KEY_SAMPLES, collective_options, common.samples, 1, 1000000),
    SETS_WITHIN(KEY_TIMEOUT, collective_options, timeout_us, 1000, UINT64_C(1) << 40),
    SETS_WITHIN(KEY_LINK_BYTES, collective_options, backend.link_bytes, 1, UINT64_C(1) << 36),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    collective_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->ranks;
        state->child_inputs[1] = &chosen->backend;
        state->child_inputs[2] = &chosen->output;
        return 0;
    case KEY_MODE:
        set_modes(chosen, argument, state);
        return 0;
    case KEY_PATTERN:
        id_pattern_option(state, "pattern", argument, &chosen->pattern);
        return 0;
    case KEY_NO_VERIFY:
        chosen->common.verify = false;
        return 0;
    case ARGP_KEY_END:
        if (chosen->max_ctas > 0 && chosen->max_ctas < chosen->min_ctas)
            argp_error(state, "--max-ctas must not be below --min-ctas");
        return 0;
    default:
        return option_set(options, rules, key, argument, state);
    }
}

void collective_options_parse(collective_options *chosen, int argc, char **argv) {
    static const struct argp_child children[] = {
        {&ranks_argp, 0, NULL, 70}, {&costs_argp, 0, NULL, 80}, {&output_argp, 0, NULL, 90}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    *chosen = (collective_options){
        .modes = {KVF_SHARE_STRIPED, KVF_SHARE_RANK_0},
        .mode_count = MODES,
        .bytes = (uint64_t)256 << 20,
        .common = {.samples = 11, .verify = true},
        .timeout_us = 30000000,
        .ranks = rank_options_none,
        .backend = {.engine = "cuda"},
    };
    id_pattern_parse("random", &chosen->pattern);
    option_list(NULL, "fragment-bytes", "64K", 1, UINT64_MAX, &chosen->fragment_bytes);
    option_list(NULL, "regions", "8", 1, UINT64_MAX, &chosen->regions);
    argp_parse(&argp, argc, argv, 0, NULL, chosen);
}

void collective_options_free(collective_options *chosen) {
    free(chosen->fragment_bytes.values);
    free(chosen->regions.values);
}

/* Cells */

size_t collective_options_cells(const collective_options *chosen) {
    return chosen->regions.count * chosen->fragment_bytes.count * chosen->mode_count;
}

/* Takes the next list's index out of a cell's number. */
static size_t take(size_t *number, size_t count) {
    size_t at = *number % count;
    *number /= count;
    return at;
}

collective_case collective_options_cell(const collective_options *chosen, size_t number) {
    collective_case cell = chosen->common;
    tier_pair_spec *tier_pair = &cell.tier_pair;
    cell.mode = chosen->modes[take(&number, chosen->mode_count)];
    tier_pair->fragment_bytes =
        (size_t)chosen->fragment_bytes.values[take(&number, chosen->fragment_bytes.count)];
    tier_pair->regions = (size_t)chosen->regions.values[take(&number, chosen->regions.count)];
    uint64_t block_bytes = (uint64_t)tier_pair->fragment_bytes * tier_pair->regions;
    tier_pair->blocks = (size_t)(chosen->bytes / block_bytes);
    tier_pair->blocks += tier_pair->blocks == 0 || chosen->bytes % block_bytes != 0;
    tier_pair->direction = (direction){"h2d", SIDE_HOST, SIDE_DEVICE};
    tier_pair->host_layout = arrangement_find("whole");
    tier_pair->pattern = chosen->pattern;
    id_pattern_parse("contiguous", &tier_pair->host_pattern);
    return cell;
}

static void mix_in(uint64_t *digest, uint64_t number) {
    *digest = mix64(*digest + number);
}

uint64_t collective_options_digest(const collective_options *chosen) {
    uint64_t digest = collective_options_cells(chosen);
    for (size_t i = 0; i < collective_options_cells(chosen); i++) {
        collective_case cell = collective_options_cell(chosen, i);
        mix_in(&digest, cell.mode);
        mix_in(&digest, cell.tier_pair.fragment_bytes);
        mix_in(&digest, cell.tier_pair.regions);
        mix_in(&digest, cell.tier_pair.blocks);
    }
    mix_in(&digest, chosen->common.samples);
    mix_in(&digest, chosen->common.verify);
    mix_in(&digest, chosen->common.chunk_bytes);
    mix_in(&digest, (uint64_t)chosen->min_ctas << 32 | (uint64_t)chosen->max_ctas);
    mix_in(&digest, (uint64_t)chosen->cta_policy);
    return digest;
}
