#include "opposing.h"

#include "measure.h"
#include "tool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* At a time, one behind the other, so that the link never waits for the next submit. */
enum { DEPTH = 2 };

typedef enum stage {
    RESTING,
    WANTED,  /* to begin */
    RUNNING, /* at least one was submitted */
    ENDING,
    CLOSING,
} stage;

struct opposing {
    route *route;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    stage stage;
    const kvf_submit_options *options;
    uint64_t transfers, ns; /* of the last run */
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
    while (opposing->stage == stage) {
        pthread_cond_wait(&opposing->changed, &opposing->lock);
    }
    pthread_mutex_unlock(&opposing->lock);
}

static void run(opposing *opposing) {
    kvf_transfer *in_flight[DEPTH] = {NULL};
    size_t next = 0;
    uint64_t start = clock_ns();
    opposing->transfers = 0;
    do {
        if (in_flight[next] != NULL) {
            route_finish(in_flight[next]);
        }
        in_flight[next] = route_submit(opposing->route, opposing->route->count, opposing->options);
        next = (next + 1) % DEPTH;
        if (opposing->transfers++ == 0) {
            set_stage(opposing, RUNNING);
        }
    } while (get_stage(opposing) == RUNNING);
    for (size_t i = 0; i < DEPTH; i++, next = (next + 1) % DEPTH) {
        if (in_flight[next] != NULL) {
            route_finish(in_flight[next]);
        }
    }
    opposing->ns = clock_ns() - start;
    set_stage(opposing, RESTING);
}

static void *work(void *argument) {
    opposing *opposing = argument;
    for (;;) {
        wait_while(opposing, RESTING);
        if (get_stage(opposing) == CLOSING) {
            return NULL;
        }
        run(opposing);
    }
}

opposing *opposing_open(route *route) {
    opposing *opened = must_grow(NULL, 1, sizeof(*opened));
    *opened = (opposing){.route = route, .stage = RESTING};
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->changed, NULL);
    int failed = pthread_create(&opened->thread, NULL, work, opened);
    if (failed != 0) {
        fail(EXIT_CHECK, "cannot start a thread: %s", strerror(failed));
    }
    return opened;
}

void opposing_close(opposing *opposing) {
    set_stage(opposing, CLOSING);
    pthread_join(opposing->thread, NULL);
    pthread_cond_destroy(&opposing->changed);
    pthread_mutex_destroy(&opposing->lock);
    free(opposing);
}

void opposing_begin(opposing *opposing, const kvf_submit_options *options) {
    opposing->options = options;
    set_stage(opposing, WANTED);
    wait_while(opposing, WANTED);
}

double opposing_end(opposing *opposing) {
    set_stage(opposing, ENDING);
    wait_while(opposing, ENDING);
    return (double)(opposing->transfers * opposing->route->bytes) / (double)opposing->ns;
}
