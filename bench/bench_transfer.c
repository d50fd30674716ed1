/* kvferry bench transfer: copies, beside the machine's own best. */
#include "command.h"

#include "options.h"
#include "report.h"
#include "tool.h"
#include "transfer_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_DIRECTION = 1,
    KEY_FRAGMENT_BYTES,
    KEY_COUNT,
    KEY_PATTERN,
    KEY_REGIONS,
    KEY_HOST_LAYOUT,
    KEY_BYTES,
    KEY_SAMPLES,
    KEY_NO_VERIFY,
};

/* Names given on the command line, each looked up when all options are known. */
typedef struct name_list {
    char *text; /* the list, cut in place */
    const char **names;
    size_t count;
} name_list;

typedef struct transfer_options {
    name_list directions, patterns, host_layouts;
    const direction **found;                     /* of `directions` */
    number_list fragment_bytes, counts, regions; /* counts: none for --bytes */
    uint64_t bytes;
    size_t samples;
    bool verify;
    backend_options backend;
    report_options report;
} transfer_options;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to copy (a LIST gives a row for each combination):", 1},
    {"direction", KEY_DIRECTION, "LIST", 0,
     "Directions of the engine (default: its first; host has h2h)", 1},
    {"fragment-bytes", KEY_FRAGMENT_BYTES, "LIST", 0,
     "Bytes of a block in one region (default 4K,64K,1M)", 1},
    {"count", KEY_COUNT, "LIST", 0,
     "Fragments, made whole blocks (default: as many as --bytes hold)", 1},
    {"bytes", KEY_BYTES, "N", 0, "Bytes in all where --count is not given (default 128M)", 1},
    {"pattern", KEY_PATTERN, "LIST", 0,
     "How block ids advance: contiguous, run:K (runs of K in random order), stride:K, random "
     "(default contiguous,run:8,stride:2,random)",
     1},
    {"regions", KEY_REGIONS, "LIST", 0, "Regions of a block (default 8)", 1},
    {"host-layout", KEY_HOST_LAYOUT, "LIST", 0,
     "Layouts of the host side: whole and layer (the library's recommendations), contiguous, "
     "page_first (default whole)",
     1},
    {NULL, 0, NULL, 0, "Engine and checks:", 80},
    {"samples", KEY_SAMPLES, "N", 0, "Samples of each median (default 11); a p99 takes 100", 82},
    {"no-verify", KEY_NO_VERIFY, NULL, 0, "Do not poison and check destinations", 82},
    {NULL, 0, NULL, 0, "Output:", 90},
    {0},
};

static const char doc[] =
    "Measure transfers, from submit to completion."
    "\v"
    "Blocks lie in a buffer for each region on the device side, where the pattern rules their ids, "
    "and in the host layout on the other, where they count up. Destinations are poisoned before "
    "each sample and compared byte by byte after it. link_gbps is the machine's own best copy of "
    "the same total, taken in turn with the samples.\n"
    "\n"
    "Examples:\n"
    "  kvferry bench transfer\n"
    "  kvferry bench transfer --fragment-bytes 4K --pattern random --samples 100\n"
    "  kvferry bench transfer --regions 64 --host-layout whole,layer --json -\n";

static void set_names(name_list *list, const char *text) {
    char *rest = strcpy(list->text = must_grow(list->text, strlen(text) + 1, 1), text);
    list->count = 0;
    for (char *name = next_piece(&rest); name != NULL; name = next_piece(&rest)) {
        list->names = must_grow(list->names, list->count + 1, sizeof(*list->names));
        list->names[list->count++] = name;
    }
}

static void free_names(name_list *list) {
    free(list->text);
    free(list->names);
}

static const direction *find_direction(const backend_type *type, const char *name) {
    for (const direction *d = type->directions; d->name != NULL; d++) {
        if (strcmp(d->name, name) == 0) {
            return d;
        }
    }
    return NULL;
}

static error_t parse_numbers(transfer_options *chosen, int key, char *argument,
                             struct argp_state *state) {
    switch (key) {
    case KEY_FRAGMENT_BYTES:
        option_list(state, "fragment-bytes", argument, 1, UINT32_MAX, &chosen->fragment_bytes);
        return 0;
    case KEY_COUNT:
        option_list(state, "count", argument, 1, UINT32_MAX, &chosen->counts);
        return 0;
    case KEY_REGIONS:
        option_list(state, "regions", argument, 1, 1 << 16, &chosen->regions);
        return 0;
    case KEY_BYTES:
        chosen->bytes = option_number(state, "bytes", argument, 1, UINT64_C(1) << 48);
        return 0;
    case KEY_SAMPLES:
        chosen->samples = (size_t)option_number(state, "samples", argument, 1, 1000000);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void find_directions(transfer_options *chosen, const struct argp_state *state) {
    const backend_type *type = backend_find(chosen->backend.engine);
    if (chosen->directions.count == 0) {
        set_names(&chosen->directions, type->directions[0].name);
    }
    chosen->found = must_grow(chosen->found, chosen->directions.count, sizeof(*chosen->found));
    for (size_t i = 0; i < chosen->directions.count; i++) {
        chosen->found[i] = find_direction(type, chosen->directions.names[i]);
        if (chosen->found[i] == NULL) {
            argp_error(state, "--direction: engine %s has no '%s'", type->name,
                       chosen->directions.names[i]);
        }
    }
}

static void check_names(const transfer_options *chosen, const struct argp_state *state) {
    id_pattern pattern;
    for (size_t i = 0; i < chosen->patterns.count; i++) {
        if (!id_pattern_parse(chosen->patterns.names[i], &pattern)) {
            argp_error(state, "--pattern: '%s' is no pattern", chosen->patterns.names[i]);
        }
    }
    for (size_t i = 0; i < chosen->host_layouts.count; i++) {
        if (arrangement_find(chosen->host_layouts.names[i]) == NULL) {
            argp_error(state, "--host-layout: '%s' is no layout", chosen->host_layouts.names[i]);
        }
    }
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    transfer_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->backend;
        state->child_inputs[1] = &chosen->report;
        return 0;
    case KEY_DIRECTION:
        set_names(&chosen->directions, argument);
        return 0;
    case KEY_PATTERN:
        set_names(&chosen->patterns, argument);
        return 0;
    case KEY_HOST_LAYOUT:
        set_names(&chosen->host_layouts, argument);
        return 0;
    case KEY_NO_VERIFY:
        chosen->verify = false;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is one argument too many", argument);
        return 0;
    case ARGP_KEY_END:
        find_directions(chosen, state);
        check_names(chosen, state);
        return 0;
    default:
        return parse_numbers(chosen, key, argument, state);
    }
}

static double gbps(uint64_t bytes, double ns) {
    return (double)bytes / ns;
}

/* Measures one row; returns how many blocks were corrupt. */
static size_t measure_row(backend *backend, const transfer_case *one, json_t *row) {
    transfer_result result = transfer_case_run(backend, one);
    row_text(row, "engine", backend->type->name);
    row_text(row, "direction", one->direction->name);
    row_count(row, "fragment_bytes", one->fragment_bytes);
    row_count(row, "fragments", one->blocks * one->regions);
    row_count(row, "blocks", one->blocks);
    row_count(row, "regions", one->regions);
    row_text(row, "host_layout", arrangement_name(one->host_layout));
    row_text(row, "pattern", one->pattern.name);
    row_text(row, "strategy", result.strategy);
    row_count(row, "boxes", result.boxes);
    row_count(row, "bytes", result.bytes);
    row_real(row, "gbps", gbps(result.bytes, result.median_ns));
    row_real(row, "link_gbps", gbps(result.bytes, result.link_ns));
    row_real(row, "fraction_of_link", result.link_ns / result.median_ns);
    row_real(row, "median_us", result.median_ns / 1000);
    row_real(row, "p99_us", result.p99_ns / 1000);
    row_real(row, "submit_us", result.submit_ns / 1000);
    row_real(row, "cpu_us", result.cpu_ns / 1000);
    row_count(row, "samples", one->samples);
    if (one->verify) {
        row_flag(row, "verified", result.corrupt_blocks == 0);
    } else {
        row_text(row, "verified", NULL);
    }
    return result.corrupt_blocks;
}

/* The next list's part of a row's number. */
static size_t take(size_t *number, size_t count) {
    size_t at = *number % count;
    *number /= count;
    return at;
}

static size_t row_total(const transfer_options *chosen) {
    size_t counts = chosen->counts.count > 0 ? chosen->counts.count : 1;
    return chosen->directions.count * chosen->host_layouts.count * chosen->regions.count *
           chosen->fragment_bytes.count * counts * chosen->patterns.count;
}

/* The combination for a row: patterns vary fastest, directions slowest. */
static transfer_case row_case(const transfer_options *chosen, size_t number) {
    transfer_case one = {.samples = chosen->samples, .verify = chosen->verify};
    id_pattern_parse(chosen->patterns.names[take(&number, chosen->patterns.count)], &one.pattern);
    uint64_t fragments = 0;
    if (chosen->counts.count > 0) {
        fragments = chosen->counts.values[take(&number, chosen->counts.count)];
    }
    one.fragment_bytes =
        (size_t)chosen->fragment_bytes.values[take(&number, chosen->fragment_bytes.count)];
    one.regions = (size_t)chosen->regions.values[take(&number, chosen->regions.count)];
    one.host_layout =
        arrangement_find(chosen->host_layouts.names[take(&number, chosen->host_layouts.count)]);
    one.direction = chosen->found[take(&number, chosen->directions.count)];
    if (fragments == 0) {
        fragments = chosen->bytes / one.fragment_bytes;
    }
    one.blocks = (size_t)fragments / one.regions;
    one.blocks += one.blocks == 0 || fragments % one.regions != 0;
    return one;
}

static size_t measure_rows(const transfer_options *chosen, backend *backend, report *report) {
    progress progress = {.what = "rows"};
    size_t corrupt = 0;
    size_t rows = row_total(chosen);
    for (size_t i = 0; i < rows; i++) {
        progress_step(&progress, i, rows);
        transfer_case one = row_case(chosen, i);
        corrupt += measure_row(backend, &one, report_row(report));
    }
    progress_end(&progress);
    return corrupt;
}

static void set_defaults(transfer_options *chosen) {
    *chosen = (transfer_options){.bytes = (uint64_t)128 << 20, .samples = 11, .verify = true};
    set_names(&chosen->patterns, "contiguous,run:8,stride:2,random");
    set_names(&chosen->host_layouts, "whole");
    option_list(NULL, "fragment-bytes", "4K,64K,1M", 1, UINT64_MAX, &chosen->fragment_bytes);
    option_list(NULL, "regions", "8", 1, UINT64_MAX, &chosen->regions);
}

static void free_options(transfer_options *chosen) {
    free_names(&chosen->directions);
    free(chosen->found);
    free_names(&chosen->patterns);
    free_names(&chosen->host_layouts);
    free(chosen->fragment_bytes.values);
    free(chosen->counts.values);
    free(chosen->regions.values);
}

int bench_transfer_main(int argc, char **argv) {
    static const struct argp_child children[] = {
        {&backend_argp, 0, NULL, 80}, {&report_argp, 0, NULL, 90}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    transfer_options chosen;
    backend backend;
    set_defaults(&chosen);
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    backend_open(&backend, &chosen.backend);
    report *report = report_open(&chosen.report, backend.type->name);
    size_t corrupt = measure_rows(&chosen, &backend, report);
    report_note(report,
                "gbps = bytes / median_us; 10^9 bytes/s; fraction_of_link = gbps / link_gbps");
    report_note(report, backend.type->link_formula);
    backend_close(&backend);
    report_close(report);
    free_options(&chosen);
    if (corrupt > 0) {
        fail(EXIT_CHECK, "%zu blocks did not arrive as they were", corrupt);
    }
    return 0;
}
