/* Waiting for an engine: in steps of progress, with naps in between. */
#ifndef KVF_WAIT_H
#define KVF_WAIT_H

#include "engine/engine.h"

/* What a wait waits for. */
typedef struct kvf__wait {
    bool (*done)(void *context); /* with `lock` held */
    void *context;
    const kvf_transfer *transfer; /* ... and that is this share of a transfer; NULL: of none */
    double share;
} kvf__wait;

/* Steps, and sleeps in between, until it is done or the time is over. false for the latter. */
bool kvf__engine_wait(kvf_engine *engine, const kvf__wait *wait, int64_t timeout_us);

/* The time until which a wait that has taken `waited` so far may sleep; `now` means look again at
 * once. `rest` is the next nap where nothing is expected. */
uint64_t kvf__nap_until(uint64_t now, uint64_t waited, kvf__expectation expected, uint64_t rest);

#endif
