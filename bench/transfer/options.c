#include "transfer/options.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEY_DIRECTION = 1,
    KEY_FRAGMENT_BYTES,
    KEY_COUNT,
    KEY_PATTERN,
    KEY_HOST_PATTERN,
    KEY_REGIONS,
    KEY_HOST_LAYOUT,
    KEY_BYTES,
    KEY_STRATEGY,
    KEY_BOTH_WAYS,
    KEY_COMPUTE,
    KEY_LATENCY,
    KEY_POLL,
    KEY_SAMPLES,
    KEY_SECONDS,
    KEY_LINK_BYTES,
    KEY_NO_VERIFY,
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to transfer (a LIST gives a row per combination):", 1},
    {"direction", KEY_DIRECTION, "LIST", 0,
     "Directions of the engine (default: its first; host has h2h, cuda has h2d and d2h)", 1},
    {"fragment-bytes", KEY_FRAGMENT_BYTES, "LIST", 0,
     "Bytes of a fragment, the part of a block in one region (default 4K,64K,1M)", 1},
    {"count", KEY_COUNT, "LIST", 0,
     "Fragments, rounded up to whole blocks (default: as many as fit in --bytes)", 1},
    {"bytes", KEY_BYTES, "N", 0, "Total bytes, without --count (default 128M)", 1},
    {"pattern", KEY_PATTERN, "LIST", 0,
     "How block ids advance on the device side: contiguous, run:K (runs of K ids in random order), "
     "stride:K or random (default contiguous,run:8,stride:2,random)",
     1},
    {"host-pattern", KEY_HOST_PATTERN, "LIST", 0,
     "Like --pattern, for the host side (default contiguous)", 1},
    {"regions", KEY_REGIONS, "LIST", 0, "Regions per block (default 8)", 1},
    {"host-layout", KEY_HOST_LAYOUT, "LIST", 0,
     "Layouts of the host side: whole and layer (recommended by the library), contiguous, "
     "page_first, region (as on the device) (default whole)",
     1},
    {NULL, 0, NULL, 0, "How to transfer it:", 2},
    {"strategy", KEY_STRATEGY, "LIST", 0,
     "Strategies, measured in turn: auto (default), loop, batch, kernel, staged, or all", 2},
    {"both-ways", KEY_BOTH_WAYS, NULL, 0,
     "Measure during transfers of the same kind in the opposite direction", 2},
    {"compute", KEY_COMPUTE, NULL, 0,
     "Also measure during a computation: a matrix product of cuBLAS, or a simple kernel if cuBLAS "
     "cannot be loaded",
     2},
    {"latency", KEY_LATENCY, NULL, 0, "Also time the first layer and a single block", 2},
    {"poll", KEY_POLL, NULL, 0, "Poll transfers without sleeping", 2},
    {NULL, 0, NULL, 0, "Engine and checks:", 80},
    {"samples", KEY_SAMPLES, "N", 0, "Samples per row (default 11; p99 needs 100)", 82},
    {"seconds", KEY_SECONDS, "N", 0,
     "Start no combination after N seconds; the context counts those left out (default: no limit)",
     82},
    {"link-bytes", KEY_LINK_BYTES, "N", 0,
     "Bytes on each side of the large copies that measure a GPU's link (default 256M)", 82},
    {"no-verify", KEY_NO_VERIFY, NULL, 0, "Do not poison and check destinations", 82},
    {NULL, 0, NULL, 0, "Output:", 90},
    {0},
};

static const char doc[] =
    "Measure transfers, from submit to completion."
    "\v"
    "The device side has one buffer per region, the host side the layout of --host-layout. "
    "Destinations are poisoned before each sample and compared byte by byte after it. link_gbps is "
    "the fastest plain copy, taken in turn with the samples: memcpy of the same total on engine "
    "host, large copies of pinned memory on engine cuda.\n"
    "\n"
    "Examples:\n"
    "  kvferry bench transfer\n"
    "  kvferry bench transfer --fragment-bytes 4K --pattern random --samples 100\n"
    "  kvferry bench transfer --regions 64 --host-layout whole,layer --json -\n"
    "  kvferry bench transfer --engine cuda --direction h2d,d2h --strategy all\n"
    "  kvferry bench transfer --engine cuda --direction h2d --both-ways --compute\n";

/* Looking up names */

static const direction *find_direction(const backend_type *type, const char *name) {
    for (const direction *d = type->directions; d->name; d++)
        if (strcmp(d->name, name) == 0)
            return d;
    return NULL;
}

static void find_directions(transfer_options *chosen, const struct argp_state *state) {
    const backend_type *type = backend_find(chosen->backend.engine);
    if (chosen->directions.count == 0)
        option_names(type->directions[0].name, &chosen->directions);
    chosen->found = must_grow(chosen->found, chosen->directions.count, sizeof *chosen->found);
    for (size_t i = 0; i < chosen->directions.count; i++) {
        chosen->found[i] = find_direction(type, chosen->directions.names[i]);
        if (!chosen->found[i]) {
            argp_error(state, "--direction: engine %s has no direction '%s'", type->name,
                       chosen->directions.names[i]);
        }
    }
}

static void add_strategy(transfer_options *chosen, unsigned number) {
    chosen->strategy_numbers = must_grow(chosen->strategy_numbers, chosen->strategy_count + 1,
                                         sizeof *chosen->strategy_numbers);
    chosen->strategy_numbers[chosen->strategy_count++] = number;
}

/* Adds the strategy of that name, or all for "all". Returns false if there is none. */
static bool find_strategy(transfer_options *chosen, const backend_type *type, const char *name) {
    bool found = false;
    for (unsigned i = 0; type->strategies && type->strategies[i]; i++) {
        if (strcmp(name, "all") == 0 || strcmp(name, type->strategies[i]) == 0) {
            add_strategy(chosen, i);
            found = true;
        }
    }
    return found;
}

static void find_strategies(transfer_options *chosen, const struct argp_state *state) {
    const backend_type *type = backend_find(chosen->backend.engine);
    if (chosen->strategies.count == 0)
        add_strategy(chosen, 0);
    for (size_t i = 0; i < chosen->strategies.count; i++) {
        if (!find_strategy(chosen, type, chosen->strategies.names[i])) {
            argp_error(state, "--strategy: engine %s has no strategy '%s'", type->name,
                       chosen->strategies.names[i]);
        }
    }
}

static void check_patterns(const char *option, const name_list *list,
                           const struct argp_state *state) {
    id_pattern pattern;
    for (size_t i = 0; i < list->count; i++)
        id_pattern_option(state, option, list->names[i], &pattern);
}

static void check(const transfer_options *chosen, const struct argp_state *state) {
    const backend_type *type = backend_find(chosen->backend.engine);
    check_patterns("pattern", &chosen->patterns, state);
    check_patterns("host-pattern", &chosen->host_patterns, state);
    for (size_t i = 0; i < chosen->host_layouts.count; i++)
        if (!arrangement_find(chosen->host_layouts.names[i]))
            argp_error(state,
                       "--host-layout: unknown layout '%s' (expected whole, layer, contiguous, "
                       "page_first or region)",
                       chosen->host_layouts.names[i]);
    if (chosen->common.compute && !type->computation)
        argp_error(state, "--compute needs engine cuda");
    if (chosen->common.compute && chosen->common.both_ways)
        argp_error(state, "--compute and --both-ways are mutually exclusive");
}

/* Parsing */

static const option_rule rules[] = {
    SETS(KEY_DIRECTION, transfer_options, directions),
    SETS(KEY_PATTERN, transfer_options, patterns),
    SETS(KEY_HOST_PATTERN, transfer_options, host_patterns),
    SETS(KEY_HOST_LAYOUT, transfer_options, host_layouts),
    SETS(KEY_STRATEGY, transfer_options, strategies),
    SETS_WITHIN(KEY_FRAGMENT_BYTES, transfer_options, fragment_bytes, 1, UINT32_MAX),
    SETS_WITHIN(KEY_COUNT, transfer_options, counts, 1, UINT32_MAX),
    SETS_WITHIN(KEY_REGIONS, transfer_options, regions, 1, 1 << 16),
    SETS_WITHIN(KEY_BYTES, transfer_options, bytes, 1, UINT64_C(1) << 48),
    SETS_WITHIN(KEY_SAMPLES, transfer_options, common.samples, 1, 1000000),
    SETS_WITHIN(KEY_SECONDS, transfer_options, seconds, 1, 1000000),
    SETS_WITHIN(KEY_LINK_BYTES, transfer_options, backend.link_bytes, 1, UINT64_C(1) << 36),
    SETS(KEY_BOTH_WAYS, transfer_options, common.both_ways),
    SETS(KEY_COMPUTE, transfer_options, common.compute),
    SETS(KEY_LATENCY, transfer_options, common.latency),
    SETS(KEY_POLL, transfer_options, common.poll),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    transfer_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->backend;
        state->child_inputs[1] = &chosen->output;
        return 0;
    case KEY_NO_VERIFY:
        chosen->common.verify = false;
        return 0;
    case ARGP_KEY_END:
        find_directions(chosen, state);
        find_strategies(chosen, state);
        check(chosen, state);
        return 0;
    default:
        return option_set(options, rules, key, argument, state);
    }
}

static void set_defaults(transfer_options *chosen) {
    *chosen = (transfer_options){
        .bytes = (uint64_t)128 << 20,
        .common = {.samples = 11, .verify = true},
    };
    option_names("contiguous,run:8,stride:2,random", &chosen->patterns);
    option_names("contiguous", &chosen->host_patterns);
    option_names("whole", &chosen->host_layouts);
    option_list(NULL, "fragment-bytes", "4K,64K,1M", 1, UINT64_MAX, &chosen->fragment_bytes);
    option_list(NULL, "regions", "8", 1, UINT64_MAX, &chosen->regions);
}

void transfer_options_parse(transfer_options *chosen, int argc, char **argv) {
    static const struct argp_child children[] = {
        {&backend_argp, 0, NULL, 80}, {&output_argp, 0, NULL, 90}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    set_defaults(chosen);
    argp_parse(&argp, argc, argv, 0, NULL, chosen);
}

void transfer_options_free(transfer_options *chosen) {
    option_names_free(&chosen->directions);
    free(chosen->found);
    free(chosen->strategy_numbers);
    option_names_free(&chosen->patterns);
    option_names_free(&chosen->host_patterns);
    option_names_free(&chosen->host_layouts);
    option_names_free(&chosen->strategies);
    free(chosen->fragment_bytes.values);
    free(chosen->counts.values);
    free(chosen->regions.values);
}

/* Cells */

/* Takes the next list's index from a cell's number. */
static size_t take(size_t *number, size_t count) {
    size_t at = *number % count;
    *number /= count;
    return at;
}

static const char *take_name(size_t *number, const name_list *list) {
    return list->names[take(number, list->count)];
}

size_t transfer_options_cells(const transfer_options *chosen) {
    size_t counts = chosen->counts.count > 0 ? chosen->counts.count : 1;
    return chosen->directions.count * chosen->host_layouts.count * chosen->regions.count *
           chosen->fragment_bytes.count * counts * chosen->host_patterns.count *
           chosen->patterns.count;
}

transfer_case transfer_options_cell(const transfer_options *chosen, size_t number) {
    transfer_case cell = chosen->common;
    tier_pair_spec *pair = &cell.pair;
    id_pattern_parse(take_name(&number, &chosen->patterns), &pair->pattern);
    id_pattern_parse(take_name(&number, &chosen->host_patterns), &pair->host_pattern);
    uint64_t fragments = 0;
    if (chosen->counts.count > 0)
        fragments = chosen->counts.values[take(&number, chosen->counts.count)];
    pair->fragment_bytes =
        (size_t)chosen->fragment_bytes.values[take(&number, chosen->fragment_bytes.count)];
    pair->regions = (size_t)chosen->regions.values[take(&number, chosen->regions.count)];
    pair->host_layout = arrangement_find(take_name(&number, &chosen->host_layouts));
    pair->direction = *chosen->found[take(&number, chosen->directions.count)];
    if (fragments == 0)
        fragments = chosen->bytes / pair->fragment_bytes;
    pair->blocks = (size_t)fragments / pair->regions;
    pair->blocks += pair->blocks == 0 || fragments % pair->regions != 0;
    cell.strategies = chosen->strategy_numbers;
    cell.strategy_count = chosen->strategy_count;
    return cell;
}
