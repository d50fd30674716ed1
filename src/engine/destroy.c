/* Destroying an engine: cancels and drains its open transfers. Not in engine.c, which comes before
 * transfers in the order of includes. */
#include "engine/transfer.h"
#include "engine/wait.h"

#include <inttypes.h>

/* With `lock` held: no transfer is open; no callback or note is due or running. */
static bool is_drained(void *context) {
    const kvf_engine *engine = context;
    return atomic_load(&engine->open) == 0 && !engine->due && !engine->notes &&
           engine->calling == 0;
}

static void log_end(kvf_engine *engine) {
    kvf_counters c;
    if (!engine->hooks.log.write)
        return;
    kvf__engine_write_notes(engine);
    kvf_engine_counters_get(engine, &c, NULL);
    kvf__log(&engine->hooks.log, KVF_LOG_INFO,
             "engine %s ended: %" PRIu64 " transfers, of which %" PRIu64 " failed and %" PRIu64
             " were cancelled",
             engine->ops->name, c.transfers_submitted, c.transfers_failed, c.transfers_cancelled);
}

void kvf_engine_destroy(kvf_engine *engine) {
    if (!engine)
        return;
    pthread_mutex_lock(&engine->order); /* no submit is running or starts after this */
    atomic_store(&engine->closed, true);
    pthread_mutex_unlock(&engine->order);
    kvf__transfers_cancel(engine, NULL);
    kvf__engine_wait(engine, &(kvf__wait){.done = is_drained, .context = engine}, -1);
    engine->ops->close(engine);
    log_end(engine);
    kvf__engine_release(engine);
}
