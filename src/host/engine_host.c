/*
 * The host engine: copies with memcpy, in worker threads or in the caller's calls of progress.
 *
 *     lane 0..3   ordered      | t | t | t |     Workers take chunks from the head of a lane, once
 *     lane 4..7   background   | t | t |         it has nothing to wait for.
 *
 * chunks.h has the phases of a transfer, and the work in each.
 *
 * Ordered lanes come before background lanes, and of the ordered ones the lane with the oldest head
 * comes first, so that later submits cannot starve it. Background lanes come by priority. Priority
 * inheritance: a blocked lane passes its turn to the lane it waits for. A background transfer that
 * something waits for thus runs with that one's priority, and without the cap if that is ordered.
 */
#include "host/chunks.h"
#include "base/cap.h"
#include "base/threads.h"

#include <assert.h>

enum {
    ORDERED_LANES = 4,
    LANES = ORDERED_LANES + KVF_PRIORITIES,
    CHUNK_BYTES = 1 << 20,
    DEFAULT_THREADS = 8,
    DEFAULT_TRANSFERS = 1024,
};
static const double LEAST_GBPS = 1e-3;
_Static_assert((int)LANES <= (int)KVF__LANES, "lanes must fit the slots");

/* A transfer's state in this engine; under `lock`. */
typedef struct job {
    kvf_transfer *next; /* in its lane */
    uint64_t number;    /* of the submit, over all lanes */
    kvf__phase phase;
    size_t units, taken, done; /* of this phase */
    uint64_t ready;            /* when it may start: after an imitated link's latency */
} job;

typedef kvf__chunk chunk;

typedef struct host {
    kvf_engine base;
    kvf_host_options options;
    kvf__copy *streaming;
    pthread_cond_t link; /* a transfer was cancelled, and does not wait for the link */
    uint64_t submitted;
    struct {
        kvf_transfer *head, **tail;
        size_t count;
    } lanes[LANES];
    uint64_t background_next; /* when the cap allows the next background chunk */
    uint64_t link_next;       /* when the imitated link is free */
    chunk held;               /* without threads: copied, but not yet due */
    bool stepping;            /* a thread is in progress */
} host;

static job *job_of(kvf_transfer *t) {
    return (job *)t->job;
}

/* Phases; with `lock` held */

static bool enter_phase(kvf_transfer *t, kvf__phase phase) {
    job *j = job_of(t);
    j->phase = phase;
    j->taken = j->done = 0;
    j->units = phase < KVF__PHASES ? kvf__phase_units(t, phase) : 0;
    return j->units > 0;
}

/* Removes the head of a lane, which has ended. `*left` collects such transfers by job.next, to be
 * released without the lock. */
static void leave(host *h, kvf_transfer *t, kvf_transfer **left) {
    job *j = job_of(t);
    assert(h->lanes[t->lane].head == t);
    h->lanes[t->lane].head = j->next;
    if (!j->next)
        h->lanes[t->lane].tail = &h->lanes[t->lane].head;
    h->lanes[t->lane].count--;
    kvf__transfer_retire(t);
    j->next = *left;
    *left = t;
    pthread_cond_broadcast(&h->base.work);
}

/* After verifying: leaves out the corrupt blocks. Releases the lock in between. */
static kvf_status drop_corrupt(host *h, kvf_transfer *t, kvf_error *error) {
    kvf_error corrupt;
    if (!kvf__find_corrupt(t, &corrupt))
        return KVF_OK;
    pthread_mutex_unlock(&h->base.lock);
    kvf_status status = kvf__transfer_shorten(t, &corrupt, error);
    pthread_mutex_lock(&h->base.lock);
    return status;
}

/* Enters the next phase that has units. true: there is none, and the transfer has ended. */
static bool advance(host *h, kvf_transfer *t) {
    job *j = job_of(t);
    if (j->phase == KVF__VERIFY) {
        kvf_error details;
        if (drop_corrupt(h, t, &details) != KVF_OK) {
            kvf__transfer_over(t, &details);
            return true;
        }
    }
    while (j->phase < KVF__PHASES)
        if (enter_phase(t, j->phase + 1))
            return false;
    kvf__transfer_over(t, t->known.status == KVF_OK ? NULL : &t->known);
    return true;
}

/* Chunks; with `lock` held */

static size_t chunk_units(const host *h, const kvf_transfer *t) {
    const job *j = job_of((kvf_transfer *)t);
    size_t left = j->units - j->taken, bytes = kvf__phase_unit_bytes(t, j->phase, j->taken);
    /* Share small transfers, too, but in chunks that are worth waking a thread for. */
    size_t share = left / (h->base.thread_count + 1) + 1, least = CHUNK_BYTES / 4 / bytes + 1;
    size_t most = CHUNK_BYTES / bytes + 1;
    size_t count = kvf__min(kvf__max(share, least), most);
    if (j->phase == KVF__COPY) {
        size_t pairs = t->move->runs.pairs, strip_left = pairs - j->taken % pairs;
        count = kvf__min(count, strip_left);
    }
    return kvf__min(count, left);
}

/* Charges a chunk to the cap and to the imitated link. */
static void charge(host *h, chunk *c, size_t bytes, uint64_t now) {
    if (c->phase != KVF__COPY)
        return;
    if (c->transfer->background)
        kvf__cap_charge(&h->background_next, h->options.background_gbps, bytes, now);
    kvf__cap_charge(&h->link_next, h->options.imitate_gbps, bytes, now);
    c->due = h->link_next;
}

static void take_chunk(host *h, kvf_transfer *t, chunk *c, uint64_t now) {
    job *j = job_of(t);
    size_t bytes = kvf__phase_unit_bytes(t, j->phase, j->taken);
    *c = (chunk){.transfer = t, .phase = j->phase, .first = j->taken, .count = chunk_units(h, t)};
    j->taken += c->count;
    charge(h, c, bytes * c->count, now);
}

/* Counts a chunk that is done. A transfer that has ended leaves at once, so that after a wait for
 * it its blocks are idle. */
static void account(host *h, const chunk *c, kvf_transfer **left) {
    kvf_transfer *t = c->transfer;
    job *j = job_of(t);
    if (c->phase == KVF__COPY) {
        const kvf__strip *strip = &t->move->strips[c->first / t->move->runs.pairs];
        kvf__transfer_layer_landed(t, strip->layer, strip->width * strip->rows * c->count);
    }
    j->done += c->count;
    bool cancelled = atomic_load(&t->cancelled);
    if (j->done == j->units && !(cancelled && j->phase < KVF__COPY))
        (void)advance(h, t);
    else if (j->done == j->taken && cancelled)
        kvf__transfer_over(t, &(kvf_error){.status = KVF_ERR_CANCELLED});
    if (kvf__transfer_is_over(t))
        leave(h, t, left);
}

/* Finding work; with `lock` held */

typedef struct search {
    uint64_t now, wake; /* when to search again if nothing else happens */
    chunk *found;
    kvf_transfer *left; /* see leave */
} search;

static void wake_at(search *s, uint64_t time) {
    s->wake = time < s->wake ? time : s->wake;
}

/* Removes ended transfers from the head of a lane. Returns the head, begun, if it may run now. */
static kvf_transfer *runnable_head(host *h, unsigned lane, search *s) {
    for (;;) {
        kvf_transfer *t = h->lanes[lane].head;
        if (!t || !kvf__engine_reached(&h->base, t->after))
            return NULL;
        if (!kvf__transfer_is_over(t)) {
            if (t->begun)
                return t;
            if (s->now < job_of(t)->ready) {
                wake_at(s, job_of(t)->ready);
                return NULL;
            }
            kvf__transfer_begin(t);
            if (enter_phase(t, KVF__VERIFY) || !advance(h, t))
                return t;
        }
        leave(h, t, &s->left);
    }
}

static bool take_from(host *h, kvf_transfer *t, bool inherited, search *s) {
    job *j = job_of(t);
    if (j->taken == j->units)
        return false;
    if (atomic_load(&t->cancelled)) {
        if (j->done == j->taken) {
            kvf__transfer_over(t, &(kvf_error){.status = KVF_ERR_CANCELLED});
            leave(h, t, &s->left);
        }
        return false;
    }
    if (t->background && !inherited && s->now < h->background_next) {
        wake_at(s, h->background_next);
        return false;
    }
    take_chunk(h, t, s->found, s->now);
    if (j->taken < j->units)
        pthread_cond_signal(&h->base.work);
    return true;
}

/* Takes a chunk from a lane, or from a lane that it waits for: without the cap if ordered work
 * waits. The recursion ends, since transfers wait only for those submitted before them. */
static bool search_lane(host *h, unsigned lane, bool inherited, search *s) {
    kvf_transfer *t = runnable_head(h, lane, s);
    if (t)
        return take_from(h, t, inherited, s);
    t = h->lanes[lane].head;
    for (unsigned l = 0; t && l < LANES; l++)
        if (l != lane && atomic_load(&h->base.retired[l]) < t->after[l] &&
            search_lane(h, l, inherited || !t->background, s))
            return true;
    return false;
}

/* Whether lane a comes before lane b; both are ordered. */
static bool older(const host *h, unsigned a, unsigned b) {
    const kvf_transfer *x = h->lanes[a].head, *y = h->lanes[b].head;
    return x && (!y || job_of((kvf_transfer *)x)->number < job_of((kvf_transfer *)y)->number);
}

static bool search_all(host *h, search *s) {
    unsigned lanes[LANES];
    for (unsigned lane = 0; lane < LANES; lane++) {
        unsigned at = lane;
        for (; lane < ORDERED_LANES && at > 0 && older(h, lane, lanes[at - 1]); at--)
            lanes[at] = lanes[at - 1];
        lanes[at] = lane;
    }
    for (unsigned i = 0; i < LANES; i++)
        if (search_lane(h, lanes[i], false, s))
            return true;
    return false;
}

/* Releases the transfers that have left and writes notes. Releases the lock in between. false:
 * there were none. */
static bool release_left(host *h, search *s) {
    if (!s->left)
        return false;
    pthread_mutex_unlock(&h->base.lock);
    while (s->left) {
        kvf_transfer *t = s->left;
        s->left = job_of(t)->next;
        kvf_transfer_release(t);
    }
    if (h->base.hooks.log.write)
        kvf__engine_write_notes(&h->base);
    pthread_mutex_lock(&h->base.lock);
    return true;
}

/* An imitated link delays chunks, except those of a cancelled transfer. */
static bool has_landed(const chunk *c) {
    return atomic_load(&c->transfer->cancelled) || kvf__now() >= c->due;
}

/* Threads */

static void *worker(void *context) {
    host *h = context;
    pthread_mutex_lock(&h->base.lock);
    while (!h->base.stop) {
        chunk c = {0};
        search s = {.now = kvf__now(), .wake = UINT64_MAX, .found = &c};
        bool found = search_all(h, &s);
        if (found) {
            pthread_mutex_unlock(&h->base.lock);
            kvf__chunk_do(&c, h->streaming);
            pthread_mutex_lock(&h->base.lock);
            while (!has_landed(&c))
                kvf__cond_wait_until(&h->link, &h->base.lock, c.due);
            account(h, &c, &s.left);
        }
        if (release_left(h, &s) || found)
            continue;
        if (s.wake == UINT64_MAX)
            pthread_cond_wait(&h->base.work, &h->base.lock);
        else if (s.wake > s.now)
            kvf__cond_wait_until(&h->base.work, &h->base.lock, s.wake);
    }
    pthread_mutex_unlock(&h->base.lock);
    return NULL;
}

/* Without threads: one chunk a step. With an imitated link it may land in a later step. */
static bool step(host *h) {
    search s = {.now = kvf__now(), .wake = UINT64_MAX, .found = &h->held};
    bool moved = false;
    if (!h->held.transfer && search_all(h, &s)) {
        pthread_mutex_unlock(&h->base.lock);
        kvf__chunk_do(&h->held, h->streaming);
        pthread_mutex_lock(&h->base.lock);
        moved = true;
    }
    if (h->held.transfer && has_landed(&h->held)) {
        account(h, &h->held, &s.left);
        h->held.transfer = NULL;
        moved = true;
    }
    return release_left(h, &s) || moved;
}

static bool host_progress(kvf_engine *engine) {
    host *h = (host *)engine;
    if (h->base.thread_count > 0)
        return false;
    bool moved = false;
    pthread_mutex_lock(&engine->lock);
    if (!h->stepping) {
        h->stepping = true;
        moved = step(h);
        h->stepping = false;
    }
    pthread_mutex_unlock(&engine->lock);
    return moved;
}

/* The functions of the engine */

static const kvf_box_limits everything = {
    .max_pitch = PTRDIFF_MAX,
    .negative_pitch = true,
    .narrow_pitch = true,
    .slices = true,
    .free_slice_pitch = true,
};

static kvf_status host_accept(kvf_engine *engine, const kvf_layout *layout, kvf_memory memory,
                              void *place, kvf_error *error) {
    (void)engine;
    (void)layout;
    (void)place;
    if (memory == KVF_MEMORY_HOST || memory == KVF_MEMORY_PINNED)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                     .what = "the host engine cannot access this kind of memory");
}

static unsigned host_lane(kvf_engine *engine, const kvf_transfer *t) {
    host *h = (host *)engine;
    if (t->background)
        return ORDERED_LANES + t->priority;
    unsigned best = 0;
    pthread_mutex_lock(&engine->lock);
    for (unsigned lane = 1; lane < ORDERED_LANES; lane++)
        if (h->lanes[lane].count < h->lanes[best].count)
            best = lane;
    pthread_mutex_unlock(&engine->lock);
    return best;
}

static kvf_status host_submit(kvf_engine *engine, kvf_transfer *t, kvf_error *error) {
    (void)error;
    host *h = (host *)engine;
    job *j = job_of(t);
    t->imitated = h->options.imitate_gbps > 0 || h->options.imitate_latency_us > 0;
    if (h->options.imitate_latency_us > 0)
        j->ready = kvf__now() + (uint64_t)(h->options.imitate_latency_us * 1e3);
    pthread_mutex_lock(&engine->lock);
    j->number = h->submitted++;
    *h->lanes[t->lane].tail = t;
    h->lanes[t->lane].tail = &j->next;
    h->lanes[t->lane].count++;
    kvf__transfer_accepted(t, t->submitted_time);
    pthread_cond_signal(&h->base.work);
    pthread_mutex_unlock(&engine->lock);
    return KVF_OK;
}

static void host_wake(kvf_engine *engine) {
    host *h = (host *)engine;
    pthread_cond_broadcast(&h->base.work);
    pthread_cond_broadcast(&h->link);
}

static void host_free(kvf_engine *engine) {
    host *h = (host *)engine;
    kvf_allocator allocator = engine->allocator;
    pthread_cond_destroy(&h->link);
    kvf__engine_fini(engine);
    kvf__free(&allocator, h, 1, sizeof *h);
}

static const kvf__engine_ops host_ops = {
    .name = "host",
    .limits = &everything,
    .has_background = true,
    .has_integrity = true,
    .job_size = sizeof(job),
    .accept = host_accept,
    .lane = host_lane,
    .submit = host_submit,
    .wake = host_wake,
    .progress = host_progress,
    .close = kvf__engine_stop_threads,
    .free = host_free,
};

/* Creating */

static kvf_status check_options(const kvf_host_options *o, kvf_error *error) {
    const struct {
        double value, least;
    } numbers[] = {
        {o->background_gbps, LEAST_GBPS},
        {o->imitate_gbps, LEAST_GBPS},
        {o->imitate_latency_us, 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double value = numbers[i].value, least = numbers[i].least;
        if (!(value == 0 || value >= least) || value > 1e12)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                             .what = "a bandwidth or latency is out of range");
    }
    if (o->threads > KVF__ENGINE_THREADS || (o->no_threads && o->threads > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = o->no_threads ? 0 : KVF__ENGINE_THREADS,
                         .what = o->no_threads ? "threads must be 0 with no_threads"
                                               : "too many threads");
    return KVF_OK;
}

static unsigned threads_wanted(const kvf_host_options *o) {
    return o->no_threads || o->threads > 0 ? o->threads : kvf__usable_cpus(DEFAULT_THREADS);
}

static kvf_status init(host *h, const kvf_host_options *o, const kvf_allocator *allocator,
                       kvf_error *error) {
    size_t most = o->max_transfers ? o->max_transfers : DEFAULT_TRANSFERS;
    kvf__hooks hooks;
    kvf_status status = kvf__hooks_take(&hooks, o->log, o->ranges, error);
    if (status == KVF_OK)
        status = kvf__engine_init(&h->base, &host_ops, allocator, &hooks, most, error);
    if (status != KVF_OK)
        return status;
    if (!kvf__cond_init(&h->link)) {
        kvf__engine_fini(&h->base);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    h->options = *o;
    h->options.allocator = NULL; /* copied, as the hooks are */
    h->options.log = NULL;
    h->options.ranges = NULL;
    h->streaming = kvf__copy_streaming();
    for (unsigned lane = 0; lane < LANES; lane++)
        h->lanes[lane].tail = &h->lanes[lane].head;
    return KVF_OK;
}

static void log_start(const host *h) {
    const kvf_host_options *o = &h->options;
    kvf__log(&h->base.hooks.log, KVF_LOG_INFO,
             "engine host: %u threads, up to %zu open transfers, background cap %g GB/s, imitated "
             "link %g GB/s and %g us (0: none)",
             h->base.thread_count, h->base.max_open, o->background_gbps, o->imitate_gbps,
             o->imitate_latency_us);
}

kvf_status kvf_engine_host_create(const kvf_host_options *options, kvf_engine **out,
                                  kvf_error *error) {
    const kvf_host_options none = {0};
    const kvf_host_options *o = options ? options : &none;
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_options(o, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator allocator = kvf__allocator(o->allocator);
    host *h = kvf__alloc_zero(&allocator, 1, sizeof *h);
    if (!h)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    status = init(h, o, &allocator, error);
    if (status != KVF_OK) {
        kvf__free(&allocator, h, 1, sizeof *h);
        return status;
    }
    status = kvf__engine_start_threads(&h->base, threads_wanted(o), worker, error);
    if (status != KVF_OK) {
        host_free(&h->base);
        return status;
    }
    log_start(h);
    *out = &h->base;
    return KVF_OK;
}
