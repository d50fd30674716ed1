#include "transfer/opposing.h"

#include "output/measure.h"
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Transfers in flight, one queued after the other, so that the link never waits for a submit. */
enum { DEPTH = 2 };

typedef enum stage {
    RESTING,
    WANTED,  /* asked to start */
    RUNNING, /* at least one was submitted */
    ENDING,
    CLOSING,
} stage;

/* A transfer in flight. */
typedef struct flight {
    kvf_transfer *transfer; /* NULL: none */
    uint64_t submitted;
    _Atomic uint64_t ended; /* set by the thread that notices it */
} flight;

/* When a transfer had the link: not before the previous one ended. */
typedef struct turn {
    uint64_t begin, end;
} turn;

struct opposing {
    tier_pair *pair;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    stage stage;
    const kvf_submit_options *options;
    flight flights[DEPTH];
    turn *turns; /* of the last run */
    size_t count, capacity;
};

static void set_stage(opposing *opposing, stage stage) {
    pthread_mutex_lock(&opposing->lock);
    opposing->stage = stage;
    pthread_cond_broadcast(&opposing->changed);
    pthread_mutex_unlock(&opposing->lock);
}

static stage get_stage(opposing *opposing) {
    pthread_mutex_lock(&opposing->lock);
    stage stage = opposing->stage;
    pthread_mutex_unlock(&opposing->lock);
    return stage;
}

static void wait_while(opposing *opposing, stage stage) {
    pthread_mutex_lock(&opposing->lock);
    while (opposing->stage == stage)
        pthread_cond_wait(&opposing->changed, &opposing->lock);
    pthread_mutex_unlock(&opposing->lock);
}

static void note_end(void *user, const kvf_error *error) {
    flight *flight = user;
    (void)error;
    atomic_store(&flight->ended, clock_ns());
}

static void submit(opposing *opposing, flight *flight) {
    kvf_submit_options options = *opposing->options;
    options.callback = note_end;
    options.user = flight;
    atomic_store(&flight->ended, 0);
    flight->submitted = clock_ns();
    flight->transfer = tier_pair_submit(opposing->pair, opposing->pair->count, &options);
}

static void add_turn(opposing *opposing, uint64_t submitted, uint64_t end) {
    uint64_t before = opposing->count > 0 ? opposing->turns[opposing->count - 1].end : 0;
    if (opposing->count == opposing->capacity) {
        opposing->capacity = opposing->capacity > 0 ? 2 * opposing->capacity : 64;
        opposing->turns = must_grow(opposing->turns, opposing->capacity, sizeof *opposing->turns);
    }
    opposing->turns[opposing->count++] =
        (turn){.begin = submitted > before ? submitted : before, .end = end};
}

static void finish(opposing *opposing, flight *flight) {
    if (!flight->transfer)
        return;
    tier_pair_finish(flight->transfer);
    flight->transfer = NULL;
    while (atomic_load(&flight->ended) == 0) /* another thread is about to set it */
        sched_yield();
    add_turn(opposing, flight->submitted, atomic_load(&flight->ended));
}

static void run(opposing *opposing) {
    size_t next = 0;
    opposing->count = 0;
    do {
        finish(opposing, &opposing->flights[next]);
        submit(opposing, &opposing->flights[next]);
        next = (next + 1) % DEPTH;
        if (get_stage(opposing) == WANTED)
            set_stage(opposing, RUNNING);
    } while (get_stage(opposing) == RUNNING);
    for (size_t i = 0; i < DEPTH; i++, next = (next + 1) % DEPTH)
        finish(opposing, &opposing->flights[next]);
    set_stage(opposing, RESTING);
}

static void *work(void *argument) {
    opposing *opposing = argument;
    for (;;) {
        wait_while(opposing, RESTING);
        if (get_stage(opposing) == CLOSING)
            return NULL;
        run(opposing);
    }
}

opposing *opposing_open(tier_pair *pair) {
    opposing *opened = must_grow(NULL, 1, sizeof *opened);
    *opened = (opposing){.pair = pair, .stage = RESTING};
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->changed, NULL);
    int failed = pthread_create(&opened->thread, NULL, work, opened);
    if (failed != 0)
        fail(EXIT_CHECK, "cannot start a thread: %s", strerror(failed));
    return opened;
}

void opposing_close(opposing *opposing) {
    set_stage(opposing, CLOSING);
    pthread_join(opposing->thread, NULL);
    pthread_cond_destroy(&opposing->changed);
    pthread_mutex_destroy(&opposing->lock);
    free(opposing->turns);
    free(opposing);
}

void opposing_begin(opposing *opposing, const kvf_submit_options *options) {
    opposing->options = options;
    set_stage(opposing, WANTED);
    wait_while(opposing, WANTED);
}

double opposing_end(opposing *opposing, uint64_t from, uint64_t to) {
    double turns = 0;
    set_stage(opposing, ENDING);
    wait_while(opposing, ENDING);
    for (size_t i = 0; i < opposing->count; i++)
        turns += part_within(opposing->turns[i].begin, opposing->turns[i].end, from, to);
    return turns * (double)opposing->pair->bytes / (double)(to - from);
}
