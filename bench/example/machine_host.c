/* The host engine: memcpy in threads of its own or, with no_threads, in the calls that wait. */
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

static uint64_t *host_words(machine *machine, size_t count) {
    (void)machine;
    return must_have(count, sizeof(uint64_t));
}

static void host_free_words(machine *machine, uint64_t *words) {
    (void)machine;
    free(words);
}

/* There is nothing to order: blocks were idle when they were handed out, a block that is not
 * complete is read by nobody, and a step is over when it returns. */
static void host_no_order(machine *machine, kvf_tier *tier, const step *step) {
    (void)machine, (void)tier, (void)step;
}

static void host_layer(machine *machine, const step *step, const layer_view *view) {
    (void)machine;
    /* A transfer that fails lands nothing, and the scheduler throws the step away. */
    if (step->landing != NULL) {
        (void)kvf_transfer_wait_group(step->landing, view->layer, -1, NULL);
    }
    for (size_t token = step->first_new; token < step->tokens; token++) {
        content_write(view, step->table, token, step->seeds[token - step->first_new]);
    }
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
    kvf_error error = {0};
    const kvf_host_options host = {
        .threads = (unsigned)options->threads,
        .no_threads = options->no_threads,
        .max_transfers = options->max_transfers,
    };
    machine *machine = must_have(1, sizeof(*machine));
    *machine = (struct machine){
        .near_memory = KVF_MEMORY_HOST,
        .far_memory = KVF_MEMORY_HOST,
        .allocate = host_allocate,
        .release = host_release,
        .words = host_words,
        .free_words = host_free_words,
        .begin = host_no_order,
        .layer = host_layer,
        .end = host_no_order,
        .done = host_done,
        .close = host_close,
    };
    must(kvf_engine_host_create(&host, &machine->engine, &error), &error, "opening the engine");
    return machine;
}
