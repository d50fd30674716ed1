/* Waiting: steps of progress, with naps in between that grow with the time waited. */
#ifndef KVF_WAIT_H
#define KVF_WAIT_H

#include "engine/engine.h"

/* The condition of a wait. */
typedef struct kvf__wait {
    bool (*done)(void *context); /* with `lock` held */
    void *context;
    const kvf_transfer *transfer; /* whose share the condition is, for predictions; NULL: none */
    double share;
} kvf__wait;

/* Makes progress and sleeps in turn until the condition holds. false: timed out. */
bool kvf__engine_wait(kvf_engine *engine, const kvf__wait *wait, int64_t timeout_us);

/* The time until which a wait may sleep after it has taken `waited`; `now`: check again at once.
 * `rest` is the length of the nap when nothing is expected. */
uint64_t kvf__nap_until(uint64_t now, uint64_t waited, kvf__expectation expected, uint64_t rest);

#endif
