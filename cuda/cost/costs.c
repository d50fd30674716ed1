/* Predicting from a cost table, and choosing among strategies. */
#include "cost/costs.h"

#include <assert.h>
#include <math.h>

const char *kvf_cuda_strategy_name(kvf_cuda_strategy strategy) {
    static const char *const names[KVF_CUDA_STRATEGIES] = {"auto", "loop", "batch", "kernel",
                                                           "staged"};
    return (unsigned)strategy < KVF_CUDA_STRATEGIES ? names[strategy] : NULL;
}

/* Life */

kvf_cuda_costs *kvf__cuda_costs_make(const kvf_allocator *allocator) {
    kvf_allocator own = kvf__allocator(allocator);
    kvf_cuda_costs *costs = kvf__alloc_zero(&own, 1, sizeof *costs);
    if (costs) {
        costs->allocator = own;
        costs->noise_ppm = -1;
    }
    return costs;
}

kvf_cuda_costs *kvf__cuda_costs_copy(const kvf_cuda_costs *costs, const kvf_allocator *allocator) {
    kvf_cuda_costs *copy = kvf__cuda_costs_make(allocator);
    if (!copy)
        return NULL;
    kvf_allocator own = copy->allocator;
    *copy = *costs;
    copy->allocator = own;
    return copy;
}

void kvf_cuda_costs_destroy(kvf_cuda_costs *costs) {
    if (!costs)
        return;
    kvf_allocator allocator = costs->allocator;
    kvf__free(&allocator, costs, 1, sizeof *costs);
}

double kvf_cuda_costs_noise(const kvf_cuda_costs *costs) {
    return costs && costs->noise_ppm >= 0 ? costs->noise_ppm / 1e6 : NAN;
}

static double whole_picoseconds(double ns) {
    return round(ns * 1e3) / 1e3;
}

/* Outside the measured sizes, a larger piece takes no less time, and at most proportionally more.
 */
static double outside(double power) {
    return power < 0 ? 0 : power > 1 ? 1 : power;
}

static void seal_curve(kvf__cuda_curve *c) {
    for (size_t i = 0; i < c->count; i++)
        c->ns[i] = whole_picoseconds(c->ns[i]);
    for (size_t i = 0; i + 1 < c->count; i++)
        c->power[i] =
            log(c->ns[i + 1] / c->ns[i]) / log((double)c->bytes[i + 1] / (double)c->bytes[i]);
    if (c->count > 0)
        c->power[c->count - 1] = c->count > 1 ? outside(c->power[c->count - 2]) : 1;
}

void kvf__cuda_costs_seal(kvf_cuda_costs *costs) {
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        costs->link[d] = whole_picoseconds(costs->link[d]);
        for (size_t s = 0; s < KVF_CUDA_STRATEGIES; s++) {
            kvf__cuda_cost *cost = &costs->cost[d][s];
            cost->fixed_ns = whole_picoseconds(cost->fixed_ns);
            cost->layer_ns = whole_picoseconds(cost->layer_ns);
            cost->row_call_ns = whole_picoseconds(cost->row_call_ns);
            cost->chunk_ns = whole_picoseconds(cost->chunk_ns);
            seal_curve(&cost->piece);
            seal_curve(&cost->row);
        }
    }
}

/* Predicting */

double kvf__cuda_curve_at(const kvf__cuda_curve *c, double bytes) {
    if (c->count == 0)
        return NAN;
    if (bytes < (double)c->bytes[0])
        return c->ns[0] * pow(bytes / (double)c->bytes[0], outside(c->power[0]));
    size_t i = c->count - 1;
    while (bytes < (double)c->bytes[i])
        i--;
    return c->ns[i] * pow(bytes / (double)c->bytes[i], c->power[i]);
}

static double all_of(const kvf__cuda_curve *curve, const kvf__cuda_tally *tally) {
    double ns = 0;
    uint64_t left = tally->count;
    for (size_t i = 0; left > 0; i++) {
        uint64_t count = tally->classes[i].count;
        if (count == 0)
            continue;
        left -= count;
        ns += (double)count *
              kvf__cuda_curve_at(curve, (double)tally->classes[i].bytes / (double)count);
    }
    return ns;
}

static double copies(const kvf__cuda_cost *cost, const kvf__cuda_move_profile *profile) {
    double ns = all_of(&cost->piece, &profile->pieces);
    if (cost->row.count == 0)
        return ns + all_of(&cost->piece, &profile->rows);
    return ns + cost->row_call_ns * (double)profile->row_calls + all_of(&cost->row, &profile->rows);
}

/* The copies between packed chunks and the host, by the faster of loop and batch. */
static double host_copies(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                          const kvf__cuda_move_profile *profile, double chunks) {
    double count = fmax((double)profile->host_boxes, chunks),
           bytes = (double)profile->bytes / count;
    double loop = kvf__cuda_curve_at(&costs->cost[direction][KVF_CUDA_LOOP].piece, bytes);
    double batch = kvf__cuda_curve_at(&costs->cost[direction][KVF_CUDA_BATCH].piece, bytes);
    return count * fmin(loop, batch);
}

static double staged(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                     const kvf__cuda_move_profile *profile, double wire) {
    const kvf__cuda_cost *cost = &costs->cost[direction][KVF_CUDA_STAGED];
    if (direction == KVF_CUDA_ON_DEVICE)
        return NAN; /* no link to pack for */
    if (profile->bytes == 0)
        return 0;
    double chunks = fmax(ceil((double)profile->bytes / KVF__CUDA_CHUNK), profile->layers);
    double pack = all_of(&cost->piece, &profile->lines);
    double copy = fmax(wire, host_copies(costs, direction, profile, chunks));
    return cost->chunk_ns * chunks + fmax(pack, copy) + fmin(pack, copy) / chunks;
}

static double predict(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                      kvf_cuda_strategy strategy, const kvf__cuda_move_profile *profile,
                      double wire) {
    const kvf__cuda_cost *cost = &costs->cost[direction][strategy];
    double ns = NAN;
    if (cost->piece.count == 0)
        return NAN;
    if (strategy == KVF_CUDA_LOOP || strategy == KVF_CUDA_BATCH)
        ns = fmax(wire, copies(cost, profile));
    else if (strategy == KVF_CUDA_KERNEL)
        ns = fmax(wire, all_of(&cost->piece, &profile->lines));
    else if (strategy == KVF_CUDA_STAGED)
        ns = staged(costs, direction, profile, wire);
    double later_layers = profile->layers > 1 ? profile->layers - 1 : 0;
    return cost->fixed_ns + cost->layer_ns * later_layers + ns;
}

void kvf__cuda_costs_predict(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                             const kvf__cuda_move_profile *profile, double us[KVF_CUDA_STRATEGIES],
                             double *wire_us) {
    double wire = (double)profile->bytes / costs->link[direction];
    us[KVF_CUDA_AUTO] = NAN;
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        us[s] = predict(costs, direction, s, profile, wire) / 1e3;
    *wire_us = wire / 1e3;
}

/* Choosing */

/* The most that a strategy that occupies thread blocks may cost, relative to one that does not. */
static const double most_idle = 0.9, most_computing = 0.75;

enum {
    WITHOUT_BLOCKS = 1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_BATCH,
    WITH_BLOCKS = 1u << KVF_CUDA_KERNEL | 1u << KVF_CUDA_STAGED,
};

/* The cheapest strategy in a set; AUTO if the set is empty. */
static kvf_cuda_strategy cheapest(const double us[KVF_CUDA_STRATEGIES], unsigned some) {
    kvf_cuda_strategy best = KVF_CUDA_AUTO;
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
        bool known = !isnan(us[s]), best_known = best != KVF_CUDA_AUTO && !isnan(us[best]);
        if (some & 1u << s &&
            (best == KVF_CUDA_AUTO || (known && (!best_known || us[s] < us[best]))))
            best = s;
    }
    return best;
}

/* Whether the cheapest strategy without thread blocks is preferred to the cheapest with them. */
static bool spares(const double us[KVF_CUDA_STRATEGIES], kvf_cuda_strategy without,
                   kvf_cuda_strategy with, bool computing) {
    if (isnan(us[without]) || isnan(us[with]))
        return isnan(us[with]);
    return us[with] > us[without] * (computing ? most_computing : most_idle);
}

static void choose(unsigned available, bool computing, kvf_cuda_explanation *out) {
    kvf_cuda_strategy without = cheapest(out->us, available & WITHOUT_BLOCKS);
    kvf_cuda_strategy with = cheapest(out->us, available & WITH_BLOCKS);
    assert(without != KVF_CUDA_AUTO || with != KVF_CUDA_AUTO);
    out->reason = available & (available - 1) ? KVF_CUDA_CHEAPEST : KVF_CUDA_ONLY;
    if (with == KVF_CUDA_AUTO || without == KVF_CUDA_AUTO) {
        out->chosen = with == KVF_CUDA_AUTO ? without : with;
        return;
    }
    bool spared = spares(out->us, without, with, computing);
    out->chosen = spared ? without : with;
    if (spared && out->us[with] < out->us[without])
        out->reason = KVF_CUDA_SPARING;
}

void kvf__cuda_costs_choose(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                            const kvf__cuda_move_profile *profile, unsigned available,
                            bool computing, kvf_cuda_explanation *out) {
    *out = (kvf_cuda_explanation){
        .calibrated = costs->calibrated,
        .bytes = profile->bytes,
        .boxes = profile->pieces.count + profile->row_calls,
        .fragments = profile->pieces.count + profile->rows.count,
        .host_boxes = profile->host_boxes,
        .measured_us = NAN,
    };
    kvf__cuda_costs_predict(costs, direction, profile, out->us, &out->wire_us);
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        if (!(available & 1u << s))
            out->us[s] = NAN;
    choose(available, computing, out);
    out->us[KVF_CUDA_AUTO] = out->us[out->chosen];
}

kvf_status kvf_cuda_costs_explain(const kvf_cuda_costs *costs, const kvf_move *move,
                                  kvf_cuda_direction direction, kvf_cuda_explanation *out,
                                  kvf_error *error) {
    if (!costs || !move || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if ((unsigned)direction >= KVF_CUDA_DIRECTIONS)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "unknown direction");
    unsigned all = 1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_BATCH | 1u << KVF_CUDA_KERNEL;
    if (direction != KVF_CUDA_ON_DEVICE)
        all |= 1u << KVF_CUDA_STAGED;
    kvf__cuda_move_profile profile;
    kvf__cuda_move_profile_of(move, direction, &profile);
    kvf__cuda_costs_choose(costs, direction, &profile, all, false, out);
    return KVF_OK;
}
