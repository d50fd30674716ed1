/* The host engine: memcpy in its own threads or, with no_threads, in calls that poll, wait or make
 * progress. */
#include "machine.h"

#include <stdlib.h>

static void *host_allocate(machine *machine, kvf_memory memory, size_t bytes) {
    (void)machine, (void)memory;
    return malloc(bytes);
}

static void host_release(machine *machine, kvf_memory memory, void *bytes) {
    (void)machine, (void)memory;
    free(bytes);
}

/* Nothing to order: blocks were idle when the pool handed them out, and a step has ended when its
 * calls return. */
static void host_no_order(machine *machine, kvf_tier *tier, const step *step) {
    (void)machine, (void)tier, (void)step;
}

static void host_layer(machine *machine, const step *step, const layer_view *view) {
    (void)machine;
    /* On failure the transfer fails too, and the step's result is discarded. The transfer may still
     * be writing blocks: do not read them. */
    if (step->landing && kvf_transfer_wait_layer(step->landing, view->layer, -1, NULL) != KVF_OK)
        return;
    for (size_t token = step->first_new; token < step->tokens; token++)
        content_write(view, step->table, token, step->seeds[token - step->first_new]);
    for (size_t block = 0; block < step->blocks; block++) {
        step->sums[view->layer * step->blocks + block] =
            content_sum(view, step->table, block, step->tokens);
    }
}

static bool host_done(machine *machine, const step *step) {
    (void)machine, (void)step;
    return true;
}

static void host_close(machine *machine) {
    kvf_engine_destroy(machine->engine);
    free(machine);
}

machine *machine_host_open(const options *options) {
    const kvf_host_options host = {
        .threads = (unsigned)options->threads,
        .no_threads = options->no_threads,
        .max_transfers = options->max_transfers,
        .background_gbps = (double)options->offload_mbps / 1000,
    };
    machine *machine = must_have(1, sizeof *machine);
    *machine = (struct machine){
        .device_memory = KVF_MEMORY_HOST,
        .host_memory = KVF_MEMORY_HOST,
        .allocate = host_allocate,
        .release = host_release,
        .begin = host_no_order,
        .layer = host_layer,
        .end = host_no_order,
        .done = host_done,
        .close = host_close,
    };
    kvf_error error = {0};
    check(kvf_engine_host_create(&host, &machine->engine, &error), &error);
    return machine;
}
