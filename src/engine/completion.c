#include "engine/completion.h"

#include "engine/transfer.h"

struct kvf_completion {
    kvf_allocator allocator;
    atomic_size_t holds;  /* references: creator, transfers not ended, due callback */
    pthread_mutex_t lock; /* of everything below; innermost */
    bool armed, delivered;
    size_t pending;
    kvf_error error;          /* the first */
    kvf_transfer **transfers; /* referenced, for waiting */
    size_t count, capacity;
    kvf__delivery delivery;
};

kvf_status kvf_completion_create(kvf_callback callback, void *user, const kvf_allocator *allocator,
                                 kvf_completion **out, kvf_error *error) {
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_allocator own = kvf__allocator(allocator);
    kvf_completion *c = kvf__alloc_zero(&own, 1, sizeof *c);
    if (!c)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    c->allocator = own;
    atomic_init(&c->holds, 1);
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        kvf__free(&own, c, 1, sizeof *c);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    c->delivery.callback = callback;
    c->delivery.user = user;
    c->delivery.error = &c->error;
    *out = c;
    return KVF_OK;
}

static void hold(kvf_completion *c) {
    atomic_fetch_add_explicit(&c->holds, 1, memory_order_relaxed);
}

static bool was_last(kvf_completion *c) {
    return atomic_fetch_sub_explicit(&c->holds, 1, memory_order_acq_rel) == 1;
}

static void free_completion(void *completion) {
    kvf_completion *c = completion;
    for (size_t i = 0; i < c->count; i++)
        kvf_transfer_release(c->transfers[i]);
    kvf__free(&c->allocator, c->transfers, c->capacity, sizeof(kvf_transfer *));
    pthread_mutex_destroy(&c->lock);
    kvf_allocator allocator = c->allocator;
    kvf__free(&allocator, c, 1, sizeof *c);
}

void kvf_completion_release(kvf_completion *c) {
    if (c && was_last(c))
        free_completion(c);
}

static void release(void *completion) {
    kvf_completion_release(completion);
}

kvf_status kvf__completion_add(kvf_completion *c, kvf_transfer *transfer, kvf_error *error) {
    pthread_mutex_lock(&c->lock);
    bool armed = c->armed;
    bool added = !armed && kvf__grow(&c->allocator, &c->transfers, &c->capacity, c->count + 1,
                                     sizeof(kvf_transfer *));
    if (added) {
        kvf__transfer_hold(transfer);
        hold(c);
        c->transfers[c->count++] = transfer;
        c->pending++;
    }
    pthread_mutex_unlock(&c->lock);
    if (added)
        return KVF_OK;
    if (armed)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "an armed completion takes no more transfers");
    return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

void kvf__completion_remove(kvf_completion *c, kvf_transfer *transfer) {
    pthread_mutex_lock(&c->lock);
    size_t at = c->count - 1;
    while (c->transfers[at] != transfer)
        at--;
    c->transfers[at] = c->transfers[--c->count];
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&transfer->engine->lock);
    kvf__completion_note(c, transfer->engine, &(kvf_error){.status = KVF_OK});
    pthread_mutex_unlock(&transfer->engine->lock);
    kvf_transfer_release(transfer);
}

/* With the completion's lock held: whether to call the callback now. True once only. */
static bool due(kvf_completion *c) {
    bool now = c->armed && c->pending == 0 && !c->delivered && c->delivery.callback;
    c->delivered |= now;
    return now;
}

void kvf__completion_note(kvf_completion *c, kvf_engine *engine, const kvf_error *error) {
    pthread_mutex_lock(&c->lock);
    c->pending--;
    if (c->error.status == KVF_OK && error->status != KVF_OK)
        c->error = *error;
    bool call = due(c);
    pthread_mutex_unlock(&c->lock);
    if (call) {
        c->delivery.done = release; /* the transfer's reference */
        c->delivery.owner = c;
        kvf__engine_deliver(engine, &c->delivery);
    } else if (was_last(c)) { /* delivered, since freeing needs the engine's lock released */
        c->delivery.callback = NULL;
        c->delivery.done = free_completion;
        c->delivery.owner = c;
        kvf__engine_deliver(engine, &c->delivery);
    }
}

size_t kvf_completion_pending(const kvf_completion *completion) {
    kvf_completion *c = (kvf_completion *)completion;
    if (!c)
        return 0;
    pthread_mutex_lock(&c->lock);
    size_t pending = c->pending;
    pthread_mutex_unlock(&c->lock);
    return pending;
}

void kvf_completion_arm(kvf_completion *c) {
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->armed = true;
    bool call = due(c);
    pthread_mutex_unlock(&c->lock);
    if (!call)
        return;
    hold(c); /* the callback may release it */
    c->delivery.callback(c->delivery.user, &c->error);
    kvf_completion_release(c);
}

/* A reference to the i-th transfer; NULL past the last. */
static kvf_transfer *transfer_at(kvf_completion *c, size_t i) {
    pthread_mutex_lock(&c->lock);
    kvf_transfer *transfer = i < c->count ? c->transfers[i] : NULL;
    if (transfer)
        kvf__transfer_hold(transfer);
    pthread_mutex_unlock(&c->lock);
    return transfer;
}

static kvf_status result(kvf_completion *c, kvf_error *error) {
    pthread_mutex_lock(&c->lock);
    kvf_error first = c->pending > 0 ? (kvf_error){.status = KVF_PENDING} : c->error;
    pthread_mutex_unlock(&c->lock);
    return first.status == KVF_OK || first.status == KVF_PENDING ? first.status
                                                                 : kvf__fail(error, first);
}

/* Waits for one transfer after the other. PENDING: timed out. */
static kvf_status wait_for_all(kvf_completion *c, int64_t timeout_us, kvf_error *error) {
    if (!c)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    hold(c); /* the callback may release it */
    kvf_completion_arm(c);
    uint64_t start = kvf__now();
    kvf_transfer *transfer;
    for (size_t i = 0; (transfer = transfer_at(c, i)) != NULL; i++) {
        int64_t spent = (int64_t)((kvf__now() - start) / 1000);
        int64_t left = timeout_us < 0 ? -1 : spent < timeout_us ? timeout_us - spent : 0;
        kvf_transfer_wait(transfer, left, NULL);
        kvf_transfer_release(transfer);
    }
    kvf_status status = result(c, error);
    kvf_completion_release(c);
    return status;
}

kvf_status kvf_completion_poll(kvf_completion *c, kvf_error *error) {
    return wait_for_all(c, 0, error);
}

kvf_status kvf_completion_wait(kvf_completion *c, int64_t timeout_us, kvf_error *error) {
    kvf_status status = wait_for_all(c, timeout_us, error);
    return status == KVF_PENDING ? KVF__FAIL(error, .status = KVF_ERR_TIMEOUT) : status;
}
