/* kvferry bench transfer: transfers, compared with the machine's fastest plain copy. */
#include "base/command.h"

#include "output/measure.h"
#include "output/output.h"
#include "base/base.h"
#include "transfer/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What all rows share. */
typedef struct run {
    const transfer_options *chosen;
    backend backend;
    const char *computation; /* NULL: none */
} run;

static double gbps(uint64_t bytes, double ns) {
    return (double)bytes / ns;
}

static void fill_case(const run *run, const transfer_case *one, json_t *row) {
    row_text(row, "engine", run->backend.type->name);
    row_text(row, "direction", one->pair.direction.name);
    row_count(row, "fragment_bytes", one->pair.fragment_bytes);
    row_count(row, "fragments", one->pair.blocks * one->pair.regions);
    row_count(row, "blocks", one->pair.blocks);
    row_count(row, "regions", one->pair.regions);
    row_text(row, "host_layout", arrangement_name(one->pair.host_layout));
    row_text(row, "pattern", one->pair.pattern.name);
    row_text(row, "host_pattern", one->pair.host_pattern.name);
    row_flag(row, "both_ways", one->both_ways);
    row_flag(row, "polled", one->poll);
}

static void fill_speed(const transfer_result *result, json_t *row) {
    row_count(row, "boxes", result->boxes);
    row_count(row, "bytes", result->bytes);
    row_real(row, "gbps", gbps(result->bytes, result->ns.median));
    row_real(row, "link_gbps", gbps(result->bytes, result->link_ns));
    row_real(row, "fraction_of_link", result->link_ns / result->ns.median);
    row_real(row, "of_best_forced", NAN);
    row_real(row, "opposing_gbps", result->opposing_gbps);
    row_summary(row, "us", 1000, &result->ns);
    row_real(row, "wire_us", result->link_ns / 1000);
    row_real(row, "over_wire_us", (result->ns.median - result->link_ns) / 1000);
}

static void fill_costs(const transfer_case *one, const transfer_result *result, json_t *row) {
    row_real(row, "predicted_us", result->moved_by.predicted_us);
    double error = result->ns.median / 1000 / result->moved_by.predicted_us - 1;
    row_real(row, "prediction_error",
             one->both_ways ? NAN : error); /* predictions are for an idle link */
    row_real(row, "submit_us", result->submit_ns / 1000);
    row_real(row, "submit_ns_per_block", result->submit_ns / (double)one->pair.blocks);
    row_real(row, "cpu_us", result->cpu_ns / 1000);
    row_real(row, "first_layer_us", result->first_layer_ns / 1000);
    row_real(row, "first_block_us", result->first_block_ns / 1000);
}

static void fill_compute(const run *run, const transfer_result *result, json_t *row) {
    row_text(row, "compute", run->computation);
    row_real(row, "compute_us", result->compute_alone_ns / 1000);
    row_real(row, "compute_slowdown", result->compute_overlapped_ns / result->compute_alone_ns);
    row_real(row, "transfer_slowdown", result->overlapped_ns / result->ns.median);
}

static void fill_row(const run *run, const transfer_case *one, size_t at,
                     const transfer_result *result, json_t *row) {
    const char *const *names = run->backend.type->strategies;
    fill_case(run, one, row);
    row_text(row, "strategy", names ? names[one->strategies[at]] : NULL);
    row_text(row, "taken", result->moved_by.strategy);
    fill_speed(result, row);
    fill_costs(one, result, row);
    fill_compute(run, result, row);
    row_flag(row, "imitated", run->backend.imitated);
    row_verified(row, one->verify, result->corrupt_blocks == 0);
}

/* Compares the engine's own choice (strategy 0) with the best forced strategy. */
static void compare(const transfer_case *one, const transfer_result *results, json_t **rows) {
    double best = INFINITY;
    for (size_t i = 0; i < one->strategy_count; i++)
        best = one->strategies[i] != 0 ? fmin(best, results[i].ns.median) : best;
    for (size_t i = 0; i < one->strategy_count; i++) {
        bool compared = one->strategies[i] == 0 && isfinite(best);
        row_real(rows[i], "of_best_forced", compared ? best / results[i].ns.median : NAN);
    }
}

/* Measures one cell. Returns the number of corrupt blocks. */
static size_t measure_cell(run *run, const transfer_case *one, output *output) {
    size_t corrupt = 0;
    transfer_result *results = must_grow(NULL, one->strategy_count, sizeof *results);
    json_t **rows = must_grow(NULL, one->strategy_count, sizeof(json_t *));
    transfer_case_run(&run->backend, one, results);
    for (size_t i = 0; i < one->strategy_count; i++) {
        rows[i] = output_row(output);
        fill_row(run, one, i, &results[i], rows[i]);
        corrupt += results[i].corrupt_blocks;
    }
    compare(one, results, rows);
    free(rows);
    free(results);
    return corrupt;
}

/* Measures cells until the time is up. The context counts those left out. */
static size_t measure_cells(run *run, output *output) {
    progress progress = {.what = "combinations"};
    size_t corrupt = 0;
    size_t cells = transfer_options_cells(run->chosen);
    uint64_t limit = run->chosen->seconds * 1000000000;
    uint64_t start = clock_ns();
    size_t done = 0;
    while (done < cells && (limit == 0 || clock_ns() - start < limit)) {
        progress_step(&progress, done, cells);
        transfer_case one = transfer_options_cell(run->chosen, done++);
        corrupt += measure_cell(run, &one, output);
    }
    progress_end(&progress);
    row_count(output_context(output), "left_out", cells - done);
    if (done < cells) {
        fprintf(stderr, "kvferry: %zu of %zu combinations left out: --seconds have passed\n",
                cells - done, cells);
    }
    return corrupt;
}

static void note_formulas(const transfer_options *chosen, const backend *backend, output *output) {
    output_note(output, "gbps = bytes / median_us, 10^9 bytes/s; fraction_of_link = gbps / "
                        "link_gbps; wire_us = bytes / link_gbps");
    output_note(output, backend->type->link_formula);
    output_note(output, chosen->common.poll
                            ? "polled: transfers were polled without sleeping"
                            : "waited: by kvf_transfer_wait, which may sleep; --poll avoids that");
    if (chosen->common.both_ways) {
        output_note(output,
                    "opposing_gbps: bytes moved in the opposite direction from a transfer's "
                    "submit to its end; transfers partly inside count in proportion");
    }
    if (backend->type->strategies) {
        output_note(output, "prediction_error = median_us / predicted_us - 1; of_best_forced = "
                            "median_us of the best forced strategy / that of auto");
    }
    if (chosen->common.compute) {
        output_note(output, "compute_slowdown = the computation's time during transfers / alone; "
                            "transfer_slowdown = a transfer's time during the computation / alone");
    }
}

int bench_transfer_main(int argc, char **argv) {
    transfer_options chosen;
    transfer_options_parse(&chosen, argc, argv);
    run run = {.chosen = &chosen};
    backend_open(&run.backend, &chosen.backend);
    output *output = output_open(&chosen.output, "bench transfer", run.backend.type->name);
    backend_describe(&run.backend, output_context(output));
    output_begin(output);
    if (chosen.common.compute)
        run.computation = run.backend.type->computation->open(&run.backend);
    size_t corrupt = measure_cells(&run, output);
    note_formulas(&chosen, &run.backend, output);
    backend_conclude(&run.backend, output_context(output));
    if (chosen.common.compute)
        run.backend.type->computation->close(&run.backend);
    backend_close(&run.backend);
    output_close(output);
    transfer_options_free(&chosen);
    if (corrupt > 0)
        fail(EXIT_CHECK, "%zu blocks did not arrive intact", corrupt);
    return 0;
}
