/*
 * When transfers are expected to end, for waits; with `lock` held.
 *
 *     submit ... waiting ... | started |------ predicted * pace ------| expected
 *
 * The first of a lane starts at its submit, or when the last thing it waited for has ended. The
 * start is unknown for a transfer that waits for the caller's events. Lanes that share a link slow
 * each other down, which is not predicted: waits then go back to naps.
 */
#include "engine/engine_cuda.h"

#include <math.h>

/* A transfer updates the pace if its end is known to within 1 / PART of its time; waits allow for
 * half of that error on either side. */
enum { PART = 4 };

static bool has_started(const kvf_transfer *t) {
    const kvf__cuda_job *j = kvf__cuda_job_in(t);
    return j->started != 0 && j->state == KVF__CUDA_ENQUEUED;
}

static double predicted_ns(const kvf_transfer *t) {
    return kvf__cuda_job_in(t)->explained.us[KVF_CUDA_AUTO] * 1e3;
}

/* The class of the predicted time: up to 32 us, 128 us, ... */
static size_t pace_index(const kvf_transfer *t) {
    size_t length = 0;
    for (double ns = predicted_ns(t); length < KVF__CUDA_LENGTHS - 1 && ns > 32e3; length++)
        ns /= 4;
    return length;
}

static double pace_of(const kvf__cuda *e, const kvf_transfer *t) {
    const kvf__cuda_job *j = kvf__cuda_job_in(t);
    const kvf__cuda_pace *pace = &e->pace[j->copier.direction][j->explained.chosen][pace_index(t)];
    return pace->last > 0 ? fmin(pace->last, pace->before) : 1;
}

static kvf__expectation expectation(const kvf__cuda *e, const kvf_transfer *t, double share) {
    const double most = 1e15; /* ns; longer than any wait */
    double ns = predicted_ns(t) * pace_of(e, t) * share;
    if (!has_started(t) || !(ns >= 0 && ns < most))
        return (kvf__expectation){0};
    uint64_t length = (uint64_t)ns;
    return (kvf__expectation){kvf__cuda_job_in(t)->started + length, length};
}

/* The first transfer of a lane that it waits for; NULL if there is none, or only marks. */
static const kvf_transfer *blocker(const kvf__cuda *e, const kvf_transfer *t) {
    for (unsigned lane = 0; lane < KVF__CUDA_MARKS; lane++)
        if (atomic_load(&e->base.retired[lane]) < t->after[lane])
            return e->lanes[lane].head;
    return NULL;
}

kvf__expectation kvf__cuda_expect(const kvf_engine *engine, const kvf_transfer *t, double share) {
    const kvf__cuda *e = (const kvf__cuda *)engine;
    const kvf_transfer *first = t;
    while (first && !has_started(first))
        first = blocker(e, first);
    return first ? expectation(e, first, first == t ? share : 1) : (kvf__expectation){0};
}

void kvf__cuda_note_start(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (j->started != 0 || t->background || t->event_count > 0 ||
        !kvf__engine_reached(&e->base, t->after))
        return;
    j->started = t->submit_time;
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        if (t->after[lane] > 0 && atomic_load(&e->base.retired[lane]) == t->after[lane] &&
            e->lanes[lane].since > j->started)
            j->started = e->lanes[lane].since;
}

uint64_t kvf__cuda_end_of(const kvf__cuda *e, const kvf_transfer *t) {
    uint64_t now = kvf__now(), seen = kvf__cuda_job_in(t)->seen;
    uint64_t end = expectation(e, t, 1).time;
    return end == 0 || end > now ? now : end < seen ? seen : end;
}

void kvf__cuda_learn_pace(kvf__cuda *e, const kvf_transfer *t) {
    const kvf__cuda_job *j = kvf__cuda_job_in(t);
    double took = (double)(t->end_time - t->submit_time), unsure = (double)(t->end_time - j->seen);
    double ratio = (took - unsure / 2) / predicted_ns(t);
    kvf__cuda_pace *pace = &e->pace[j->copier.direction][j->explained.chosen][pace_index(t)];
    if (!j->alone || unsure > took / PART || !(ratio > 0 && isfinite(ratio)))
        return;
    pace->before = pace->last > 0 ? pace->last : ratio;
    pace->last = ratio;
}
