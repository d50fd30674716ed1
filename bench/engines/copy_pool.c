#include "engines/copy_pool.h"

#include "base/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    copy_pool *pool;
    pthread_t thread;
    unsigned part; /* part 0 is the caller's */
} worker;

/* One job at a time. Incrementing `job` starts it. It has ended when `running` is 0. */
struct copy_pool {
    pthread_mutex_t lock;
    pthread_cond_t started, ended;
    unsigned job, running, parts;
    bool closing;
    char *dst;
    const char *src;
    size_t bytes;
    unsigned worker_count;
    worker *workers;
};

static void copy_part(const copy_pool *pool, unsigned part) {
    size_t begin = pool->bytes / pool->parts * part;
    size_t end = part + 1 == pool->parts ? pool->bytes : begin + pool->bytes / pool->parts;
    memcpy(pool->dst + begin, pool->src + begin, end - begin);
}

static void *work(void *argument) {
    const worker *self = argument;
    copy_pool *pool = self->pool;
    unsigned done = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->job == done && !pool->closing)
            pthread_cond_wait(&pool->started, &pool->lock);
        if (pool->closing)
            break;
        done = pool->job;
        if (self->part < pool->parts) {
            pthread_mutex_unlock(&pool->lock);
            copy_part(pool, self->part);
            pthread_mutex_lock(&pool->lock);
            if (--pool->running == 0)
                pthread_cond_signal(&pool->ended);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

copy_pool *copy_pool_create(unsigned threads) {
    copy_pool *pool = must_grow(NULL, 1, sizeof *pool);
    *pool = (copy_pool){.worker_count = threads - 1};
    pool->workers = must_grow(NULL, pool->worker_count, sizeof *pool->workers);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->started, NULL);
    pthread_cond_init(&pool->ended, NULL);
    for (unsigned i = 0; i < pool->worker_count; i++) {
        worker *worker = &pool->workers[i];
        *worker = (struct worker){.pool = pool, .part = i + 1};
        int failed = pthread_create(&worker->thread, NULL, work, worker);
        if (failed != 0)
            fail(EXIT_CHECK, "cannot start a thread: %s", strerror(failed));
    }
    return pool;
}

void copy_pool_destroy(copy_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->started);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->worker_count; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->started);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

void copy_pool_run(copy_pool *pool, void *dst, const void *src, size_t bytes, unsigned threads) {
    pthread_mutex_lock(&pool->lock);
    pool->dst = dst;
    pool->src = src;
    pool->bytes = bytes;
    pool->parts = threads;
    pool->running = threads - 1;
    pool->job++;
    if (threads > 1)
        pthread_cond_broadcast(&pool->started);
    pthread_mutex_unlock(&pool->lock);
    copy_part(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->running > 0)
        pthread_cond_wait(&pool->ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
