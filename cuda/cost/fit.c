/* Fitting a cost table to samples. */
#include "cost/costs.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* One measured transfer as an equation: shared * base + each(bytes) * count = ns. */
typedef struct term {
    size_t bytes;
    double base, count, ns;
    double weight; /* makes errors relative to the transfer's time */
} term;

typedef struct fitting {
    kvf_cuda_costs *costs;
    const kvf__cuda_sample *samples;
    size_t count;
    term *terms; /* [count + 1] */
    size_t term_count;
    double *values; /* [count + 1] */
} fitting;

static int by_bytes(const void *a, const void *b) {
    const term *x = a, *y = b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Weighted sums over the terms of one size. */
typedef struct sums {
    size_t end;
    double count_count, count_ns, count_base;
} sums;

static sums sum_up(const fitting *f, size_t first) {
    sums s = {.end = first};
    for (; s.end < f->term_count && f->terms[s.end].bytes == f->terms[first].bytes; s.end++) {
        const term *t = &f->terms[s.end];
        s.count_count += t->weight * t->count * t->count;
        s.count_ns += t->weight * t->count * t->ns;
        s.count_base += t->weight * t->count * t->base;
    }
    return s;
}

/*
 * Fits the shared part. Given it, the best each(bytes) is linear in it,
 *
 *     each = count_ns / count_count - shared * count_base / count_count
 *
 * which leaves one unknown. 0 if the terms of each size all have the same count, which cannot tell
 * the two parts apart.
 */
static double fit_shared(const fitting *f) {
    double over = 0, under = 0, all = 0, most = INFINITY;
    for (size_t i = 0, end; i < f->term_count; i = end) {
        sums s = sum_up(f, i);
        for (end = s.end; i < end; i++) {
            const term *t = &f->terms[i];
            double base = t->base - t->count * s.count_base / s.count_count;
            over += t->weight * base * (t->ns - t->count * s.count_ns / s.count_count);
            under += t->weight * base * base;
            all += t->weight * t->base * t->base;
            most = fmin(most, t->base > 0 ? t->ns / t->base : INFINITY);
        }
    }
    if (!(under > 1e-9 * all))
        return 0;
    return fmax(fmin(over / under, most), 0); /* noise may make `most` negative */
}

/* Fits both parts; sizes beyond the capacity of a curve are left out. */
static void fit_terms(fitting *f, double *shared, kvf__cuda_curve *curve) {
    const double least = 1e-3; /* a picosecond */
    qsort(f->terms, f->term_count, sizeof *f->terms, by_bytes);
    *shared = fit_shared(f);
    curve->count = 0;
    for (size_t i = 0; i < f->term_count && curve->count < KVF__CUDA_POINTS;) {
        sums s = sum_up(f, i);
        double each = (s.count_ns - *shared * s.count_base) / s.count_count;
        curve->bytes[curve->count] = f->terms[i].bytes;
        curve->ns[curve->count++] = fmax(each, least);
        i = s.end;
    }
}

/* `known`: the part of the sample's time that is already explained. */
static void add_term(fitting *f, const kvf__cuda_sample *s, double base, double known) {
    f->terms[f->term_count++] =
        (term){s->bytes, base, (double)s->pieces, s->ns - known, 1 / (s->ns * s->ns)};
}

static bool is_of(const kvf__cuda_sample *s, kvf_cuda_direction direction,
                  kvf_cuda_strategy strategy) {
    return s->direction == direction && s->strategy == strategy;
}

static bool is_plain(const kvf__cuda_sample *s) {
    return s->row_calls == 0 && s->layers == 1;
}

static double bytes_of(const kvf__cuda_sample *s) {
    return (double)s->bytes * (double)s->pieces;
}

static double chunks_of(const kvf__cuda_sample *s) {
    return fmax(ceil(bytes_of(s) / KVF__CUDA_CHUNK), s->layers);
}

/* Fixed times and pieces of loop, batch and kernel. */
static void fit_pieces(fitting *f, kvf_cuda_direction direction, kvf_cuda_strategy strategy) {
    kvf__cuda_cost *cost = &f->costs->cost[direction][strategy];
    f->term_count = 0;
    for (size_t i = 0; i < f->count; i++) {
        const kvf__cuda_sample *s = &f->samples[i];
        if (is_of(s, direction, strategy) && is_plain(s))
            add_term(f, s, 1, 0);
    }
    fit_terms(f, &cost->fixed_ns, &cost->piece);
}

static void fit_rows(fitting *f, kvf_cuda_direction direction, kvf_cuda_strategy strategy) {
    kvf__cuda_cost *cost = &f->costs->cost[direction][strategy];
    f->term_count = 0;
    for (size_t i = 0; i < f->count; i++) {
        const kvf__cuda_sample *s = &f->samples[i];
        if (is_of(s, direction, strategy) && s->row_calls > 0 && s->layers == 1)
            add_term(f, s, (double)s->row_calls, cost->fixed_ns);
    }
    fit_terms(f, &cost->row_call_ns, &cost->row);
}

/* The link's speed: the best of the large transfers, without their fixed time. */
static void fit_link(fitting *f, kvf_cuda_direction direction) {
    double best = 0, largest = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < f->count; i++) {
            const kvf__cuda_sample *s = &f->samples[i];
            if (s->direction != direction || s->strategy == KVF_CUDA_STAGED || !is_plain(s))
                continue;
            double fixed = f->costs->cost[direction][s->strategy].fixed_ns;
            if (pass == 0)
                largest = fmax(largest, bytes_of(s));
            else if (bytes_of(s) >= largest / 2)
                best = fmax(best, bytes_of(s) / fmax(s->ns - fixed, s->ns / 2));
        }
    }
    f->costs->link[direction] = best;
}

/* The time of staged for a sample if only copying took time; the host side is one box a chunk. */
static double copy_of(const fitting *f, const kvf__cuda_sample *s) {
    const kvf__cuda_cost *cost = f->costs->cost[s->direction];
    double chunks = chunks_of(s), bytes = bytes_of(s) / chunks;
    double each = fmin(kvf__cuda_curve_at(&cost[KVF_CUDA_LOOP].piece, bytes),
                       kvf__cuda_curve_at(&cost[KVF_CUDA_BATCH].piece, bytes));
    return fmax(bytes_of(s) / f->costs->link[s->direction], chunks * each);
}

/* Packing, from samples of one chunk: they are packed first and copied then, without overlap. */
static void fit_packing(fitting *f, kvf_cuda_direction direction) {
    kvf__cuda_cost *cost = &f->costs->cost[direction][KVF_CUDA_STAGED];
    f->term_count = 0;
    for (size_t i = 0; i < f->count; i++) {
        const kvf__cuda_sample *s = &f->samples[i];
        if (is_of(s, direction, KVF_CUDA_STAGED) && is_plain(s) && chunks_of(s) == 1)
            add_term(f, s, 1, copy_of(f, s));
    }
    fit_terms(f, &cost->fixed_ns, &cost->piece);
}

static void profile_of(const kvf__cuda_sample *s, kvf__cuda_move_profile *profile) {
    *profile = (kvf__cuda_move_profile){
        .bytes = s->bytes * s->pieces,
        .row_calls = s->row_calls,
        .host_boxes = s->layers,
        .layers = s->layers,
    };
    kvf__cuda_tally_add(s->row_calls > 0 ? &profile->rows : &profile->pieces, s->pieces,
                        profile->bytes);
    kvf__cuda_tally_add(&profile->lines, s->pieces, profile->bytes);
}

static double unexplained(const fitting *f, const kvf__cuda_sample *s) {
    kvf__cuda_move_profile profile;
    double us[KVF_CUDA_STRATEGIES], wire_us;
    profile_of(s, &profile);
    kvf__cuda_costs_predict(f->costs, s->direction, &profile, us, &wire_us);
    return s->ns - us[s->strategy] * 1e3;
}

static int by_size(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_size);
    return count > 0 ? values[count / 2] : 0;
}

static bool are_alike(const kvf__cuda_sample *a, const kvf__cuda_sample *b) {
    return is_of(a, b->direction, b->strategy) && a->bytes == b->bytes && a->pieces == b->pieces &&
           a->row_calls == b->row_calls && a->layers == b->layers;
}

double kvf__cuda_noise(const kvf__cuda_sample *samples, double *spreads, size_t count,
                       size_t again) {
    double apart[KVF__CUDA_AGAIN];
    size_t pairs = 0;
    assert(again <= KVF__CUDA_AGAIN && again <= count);
    for (size_t i = count - again; i < count; i++) {
        const kvf__cuda_sample *s = samples;
        while (s < samples + i && !are_alike(s, &samples[i]))
            s++;
        if (s < samples + count - again)
            apart[pairs++] = fabs(samples[i].ns / s->ns - 1);
    }
    return fmax(median(apart, pairs), median(spreads, count));
}

/* The time of each chunk after the first, then taken out of the fixed time, which includes one. */
static void fit_chunks(fitting *f, kvf_cuda_direction direction) {
    kvf__cuda_cost *cost = &f->costs->cost[direction][KVF_CUDA_STAGED];
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        const kvf__cuda_sample *s = &f->samples[i];
        if (is_of(s, direction, KVF_CUDA_STAGED) && is_plain(s) && chunks_of(s) > 1)
            f->values[count++] = unexplained(f, s) / (chunks_of(s) - 1);
    }
    cost->chunk_ns = fmin(fmax(median(f->values, count), 0), cost->fixed_ns);
    cost->fixed_ns -= cost->chunk_ns;
}

/* The time of each layer after the first. */
static void fit_layers(fitting *f, kvf_cuda_direction direction, kvf_cuda_strategy strategy) {
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        const kvf__cuda_sample *s = &f->samples[i];
        if (is_of(s, direction, strategy) && s->layers > 1)
            f->values[count++] = unexplained(f, s) / (s->layers - 1);
    }
    f->costs->cost[direction][strategy].layer_ns = fmax(median(f->values, count), 0);
}

static void fit_direction(fitting *f, kvf_cuda_direction direction) {
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_KERNEL; s++)
        fit_pieces(f, direction, s);
    fit_rows(f, direction, KVF_CUDA_LOOP);
    fit_rows(f, direction, KVF_CUDA_BATCH);
    fit_link(f, direction);
    kvf__cuda_costs_seal(f->costs); /* what follows predicts with it */
    if (direction != KVF_CUDA_ON_DEVICE) {
        fit_packing(f, direction);
        kvf__cuda_costs_seal(f->costs);
        fit_chunks(f, direction);
    }
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++)
        fit_layers(f, direction, s);
}

static kvf_status fit(fitting *f, kvf_error *error) {
    for (kvf_cuda_direction d = KVF_CUDA_TO_DEVICE; d < KVF_CUDA_DIRECTIONS; d++) {
        fit_direction(f, d);
        if (f->costs->cost[d][KVF_CUDA_LOOP].piece.count == 0)
            return KVF__FAIL(error, .status = KVF_ERR_ENGINE, .fields = KVF_ERROR_INDEX, .index = d,
                             .what = "a direction has no samples of strategy loop");
    }
    kvf__cuda_costs_seal(f->costs);
    f->costs->calibrated = true;
    return KVF_OK;
}

kvf_status kvf__cuda_costs_fit(kvf_cuda_costs *costs, const kvf__cuda_sample *samples, size_t count,
                               kvf_error *error) {
    const kvf_allocator *a = &costs->allocator;
    fitting f = {.costs = costs, .samples = samples, .count = count};
    f.terms = kvf__alloc(a, count + 1, sizeof *f.terms);
    f.values = kvf__alloc(a, count + 1, sizeof *f.values);
    kvf_status status =
        f.terms && f.values ? fit(&f, error) : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__free(a, f.values, count + 1, sizeof *f.values);
    kvf__free(a, f.terms, count + 1, sizeof *f.terms);
    return status;
}
