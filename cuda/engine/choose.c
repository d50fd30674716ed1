/* Choosing a transfer's strategy, and comparing the prediction with the time taken. */
#include "engine/engine_cuda.h"

#include <math.h>

bool kvf__cuda_offers(const kvf__cuda *e, kvf_cuda_strategy strategy) {
    switch (strategy) {
    case KVF_CUDA_BATCH:
        return e->driver.batch != NULL;
    case KVF_CUDA_KERNEL:
    case KVF_CUDA_STAGED:
        return kvf__cuda_kernels.copy != NULL;
    default:
        return true;
    }
}

static bool can(const kvf__cuda *e, const kvf__cuda_copier *c, kvf_cuda_strategy strategy) {
    if (c->excluded & 1u << strategy || !kvf__cuda_offers(e, strategy))
        return false;
    return strategy == KVF_CUDA_BATCH    ? c->reachable
           : strategy == KVF_CUDA_KERNEL ? kvf__cuda_kernel_fits(c)
           : strategy == KVF_CUDA_STAGED ? kvf__cuda_staged_fits(c)
                                         : true;
}

/* The strategies that can do the move, a bit each. */
static unsigned available(const kvf__cuda *e, const kvf__cuda_copier *c) {
    unsigned all = 0;
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        all |= can(e, c, (kvf_cuda_strategy)s) ? 1u << s : 0;
    return all;
}

static kvf_cuda_strategy requested(const kvf__cuda *e, const kvf_transfer *t) {
    return t->strategy != KVF_CUDA_AUTO ? (kvf_cuda_strategy)t->strategy : e->options.strategy;
}

void kvf__cuda_choose(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_copier *c = &j->copier;
    kvf_cuda_strategy asked = requested(e, t);
    unsigned all = available(e, c);
    kvf__cuda_move_profile profile;
    kvf__cuda_move_profile_of(t->move, c->direction, &profile);
    kvf__cuda_costs_choose(e->costs, c->direction, &profile, all, c->computing, &j->explained);
    if (asked != KVF_CUDA_AUTO && all & 1u << asked) {
        j->explained.chosen = asked;
        j->explained.us[KVF_CUDA_AUTO] = j->explained.us[asked];
        j->explained.reason = KVF_CUDA_FORCED;
    } else if (asked != KVF_CUDA_AUTO) {
        j->explained.reason = KVF_CUDA_FELL_BACK;
        kvf__cuda_note_gave_way(e, asked);
    } else if (!(all & (all - 1))) {
        j->explained.reason = KVF_CUDA_ONLY;
    }
    j->explained.measured_us = NAN;
    c->strategy = j->explained.chosen;
}

/* Results; with `lock` held */

/* Whether its end was noticed soon enough to know its time to within a tenth. */
static bool was_watched(const kvf_transfer *t) {
    uint64_t seen = kvf__cuda_job_in(t)->seen;
    return t->end_time - seen <= (t->end_time - t->submit_time) / 10;
}

static void count(kvf__cuda_score *s, const kvf_cuda_explanation *x, double error) {
    enum { LAST = sizeof s->errors / sizeof s->errors[0] - 1 };
    s->transfers++;
    s->bytes += x->bytes;
    s->boxes += x->boxes;
    s->fallbacks += x->reason == KVF_CUDA_FELL_BACK;
    if (isnan(error))
        return;
    s->compared++;
    s->errors[error < LAST / 50.0 ? (size_t)(error * 50.0) : LAST]++;
}

void kvf__cuda_tell(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_cuda_explanation *x = &j->explained;
    if (t->error.status != KVF_OK || x->chosen == KVF_CUDA_AUTO)
        return;
    kvf__cuda_learn_pace(e, t);
    if (j->alone && was_watched(t))
        x->measured_us = (double)(t->end_time - t->submit_time) / 1e3;
    double error = fabs(x->measured_us / x->us[KVF_CUDA_AUTO] - 1);
    count(&e->scores[x->chosen], x, error);
    count(&e->scores[KVF_CUDA_AUTO], x, error);
}

void kvf__cuda_count(const kvf_engine *engine, kvf_counters *c) {
    const kvf__cuda_score *scores = ((const kvf__cuda *)engine)->scores;
    c->boxes = scores[KVF_CUDA_AUTO].boxes;
    c->fallbacks = scores[KVF_CUDA_AUTO].fallbacks;
    c->bytes_loop = scores[KVF_CUDA_LOOP].bytes;
    c->bytes_batch = scores[KVF_CUDA_BATCH].bytes;
    c->bytes_kernel = scores[KVF_CUDA_KERNEL].bytes;
    c->bytes_staged = scores[KVF_CUDA_STAGED].bytes;
}

kvf_status kvf_cuda_explain(const kvf_transfer *t, kvf_cuda_explanation *out, kvf_error *error) {
    kvf__cuda *e = t ? kvf__cuda_of(t->engine) : NULL;
    if (!e || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "NULL argument, or not a transfer of a CUDA engine");
    pthread_mutex_lock(&e->base.lock);
    const kvf__cuda_job *j = kvf__cuda_job_in(t);
    bool decided = j->state == KVF__CUDA_ENQUEUED || kvf__transfer_is_over(t);
    if (decided)
        *out = j->explained;
    pthread_mutex_unlock(&e->base.lock);
    if (!decided)
        return KVF_PENDING;
    return KVF_OK;
}

/* The middle of the median's bin; NaN if nothing was compared. */
static double median_error(const kvf__cuda_score *s) {
    uint64_t before = 0;
    for (size_t i = 0; s->compared > 0; before += s->errors[i++])
        if (before + s->errors[i] > (s->compared - 1) / 2)
            return ((double)i + 0.5) / 50.0;
    return NAN;
}

kvf_status kvf_cuda_stats_get(kvf_engine *engine, kvf_cuda_stats *out, kvf_error *error) {
    kvf__cuda *e = engine ? kvf__cuda_of(engine) : NULL;
    if (!e || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "NULL argument, or not a CUDA engine");
    *out = (kvf_cuda_stats){0};
    pthread_mutex_lock(&engine->order);
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        out->packing_bytes[d] = e->copying.buffers[d].count * kvf__cuda_buffer_bytes(&e->copying);
    pthread_mutex_unlock(&engine->order);
    pthread_mutex_lock(&engine->lock);
    for (size_t s = 0; s < KVF_CUDA_STRATEGIES; s++)
        out->by[s] = (kvf_cuda_strategy_stats){
            .transfers = e->scores[s].transfers,
            .bytes = e->scores[s].bytes,
            .compared = e->scores[s].compared,
            .median_error = median_error(&e->scores[s]),
        };
    pthread_mutex_unlock(&engine->lock);
    return KVF_OK;
}
