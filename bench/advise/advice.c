#include "advise/advice.h"

#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Costs within this factor are equal. */
#define TIE 1.02

const uint64_t context_tokens[CONTEXTS] = {32768, 1048576};

static size_t context_blocks(const kv_blocks *kv, unsigned context) {
    return (size_t)((context_tokens[context] + kv->tokens - 1) / kv->tokens);
}

static prediction ask(const advice_source *source, const paper_move *wanted, const kvf_move *move,
                      const kvf_move_summary *summary) {
    if (source->results) {
        return stored_results_move(source->results, wanted->to_device, wanted->device_ids->name,
                                   (double)summary->bytes / (double)summary->fragments,
                                   (double)summary->bytes);
    }
    return source->forecast ? forecast_move(source->forecast, move, wanted->to_device)
                            : (prediction){.us = NAN};
}

static prediction look(const kv_blocks *kv, const paper_move *wanted, const advice_source *source,
                       kvf_move_summary *summary, size_t *regions) {
    kvf_error error = {0};
    kvf_move *move = paper_layouts_lower(kv, wanted, forecast_limits(), regions);
    must(kvf_move_describe(move, summary, &error), &error, "describing a move");
    prediction predicted = ask(source, wanted, move, summary);
    kvf_move_destroy(move);
    return predicted;
}

static void fill(const kv_blocks *kv, const id_pattern *host_pattern, const advice_source *source,
                 advice *one) {
    kvf_move_summary summary;
    paper_move wanted = {.pair = &one->pair,
                         .device_ids = one->pattern,
                         .host_ids = host_pattern,
                         .count = context_blocks(kv, CONTEXT_LONG),
                         .to_device = true};
    one->in[CONTEXT_LONG] = look(kv, &wanted, source, &summary, NULL);
    wanted.count = context_blocks(kv, CONTEXT_SHORT);
    one->in[CONTEXT_SHORT] = look(kv, &wanted, source, &one->moved, &one->regions);
    wanted.first_layer = true;
    one->first_layer = look(kv, &wanted, source, &summary, NULL);
    wanted.first_layer = false;
    wanted.to_device = false;
    one->out = look(kv, &wanted, source, &summary, NULL);
    one->in_gbps = (double)one->moved.bytes / (1000 * one->in[CONTEXT_SHORT].us);
    one->out_gbps = (double)summary.bytes / (1000 * one->out.us);
}

advice *advice_make(const kv_blocks *kv, const id_pattern *patterns, size_t pattern_count,
                    const id_pattern *host_pattern, const advice_source *source, size_t *count) {
    advice *made = NULL;
    size_t pairs = 0;
    progress progress = {.what = "layouts"};
    *count = 0;
    while (paper_layouts_pair(kv, pairs).device)
        pairs++;
    for (size_t i = 0; i < pairs * pattern_count; i++) {
        progress_step(&progress, i, pairs * pattern_count);
        made = must_grow(made, i + 1, sizeof *made);
        made[i] = (advice){.pair = paper_layouts_pair(kv, i / pattern_count),
                           .pattern = &patterns[i % pattern_count]};
        fill(kv, host_pattern, source, &made[i]);
    }
    progress_end(&progress);
    *count = pairs * pattern_count;
    return made;
}

void advice_row(const advice *advice, const kv_blocks *kv, json_t *row) {
    double blocks = (double)advice->moved.blocks;
    row_text(row, "device_layout", advice->pair.device);
    row_text(row, "host_layout", advice->pair.host);
    row_text(row, "pattern", advice->pattern->name);
    row_count(row, "block_bytes", kv->layers * kv->parts * kv->part_bytes);
    row_count(row, "layer_bytes", kv->parts * kv->part_bytes);
    row_count(row, "regions", advice->regions);
    row_count(row, "piece_bytes", advice->moved.median_fragment);
    row_real(row, "pieces_per_block", (double)advice->moved.fragments / blocks);
    row_real(row, "copies_per_block", (double)advice->moved.boxes / blocks);
    row_real(row, "h2d_gbps", advice->in_gbps);
    row_text(row, "h2d_by", advice->in[CONTEXT_SHORT].by);
    row_real(row, "d2h_gbps", advice->out_gbps);
    row_text(row, "d2h_by", advice->out.by);
    row_real(row, "onboard_32k_ms", advice->in[CONTEXT_SHORT].us / 1000);
    row_real(row, "onboard_1m_ms", advice->in[CONTEXT_LONG].us / 1000);
    row_real(row, "first_layer_ms", advice->first_layer.us / 1000);
    row_flag(row, "beyond_measured",
             advice->in[CONTEXT_SHORT].held || advice->in[CONTEXT_LONG].held || advice->out.held ||
                 advice->first_layer.held);
}

/* Choosing */

static double cost_of(const advice *advice, bool predicted) {
    return predicted ? advice->in[CONTEXT_SHORT].us : (double)advice->moved.fragments;
}

static bool all_predicted(const advice *advice, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (isnan(advice[i].in[CONTEXT_SHORT].us))
            return false;
    return count > 0;
}

/* Judges the pair at `at`. The patterns of a pair are adjacent. Returns the next pair's index. */
static size_t judge(const advice *advice, size_t count, size_t at, bool predicted, verdict *out) {
    size_t i = at;
    *out = (verdict){.worst = &advice[at], .cost = -1, .predicted = predicted};
    for (; i < count && advice[i].pair.device_number == advice[at].pair.device_number &&
           advice[i].pair.host_number == advice[at].pair.host_number;
         i++) {
        if (cost_of(&advice[i], predicted) > out->cost) {
            out->worst = &advice[i];
            out->cost = cost_of(&advice[i], predicted);
        }
    }
    return i;
}

bool advice_best(const advice *advice, size_t count, const char *device, verdict *best,
                 verdict *worst) {
    bool predicted = all_predicted(advice, count);
    bool found = false;
    verdict one;
    for (size_t i = 0; i < count;) {
        i = judge(advice, count, i, predicted, &one);
        if (device && strcmp(one.worst->pair.device, device) != 0)
            continue;
        *best = !found || one.cost * TIE < best->cost ? one : *best;
        *worst = !found || one.cost > worst->cost ? one : *worst;
        found = true;
    }
    return found;
}
