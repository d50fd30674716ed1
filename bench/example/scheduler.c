#include "scheduler.h"

#include <stdlib.h>

struct scheduler {
    runtime runtime;
    sequence **live; /* in no order */
    size_t live_count;
    uint64_t begun; /* sequences so far */
    uint64_t clock; /* counts what happens, to tell earlier from later */
    uint64_t random;
    step lanes[MOST_LANES];
    sequence *in_lane[MOST_LANES]; /* NULL: free */
};

/* About once every so many times. */
static bool chance(scheduler *scheduler, size_t every) {
    scheduler->random += UINT64_C(0x9e3779b97f4a7c15);
    return every > 0 && mix(scheduler->random) % every == 0;
}

/* Picking a sequence: the first or last of those that are asked for. */

static bool is_ready(const sequence *s) {
    return s->on_device && s->step == NULL;
}

static bool waits(const sequence *s) {
    return !s->on_device;
}

static sequence *longest_waiting(const scheduler *scheduler) {
    sequence *found = NULL;
    for (size_t i = 0; i < scheduler->live_count; i++) {
        sequence *s = scheduler->live[i];
        if (waits(s) && (found == NULL || s->since < found->since)) {
            found = s;
        }
    }
    return found;
}

static sequence *longest_idle(const scheduler *scheduler, uint64_t before) {
    sequence *found = NULL;
    for (size_t i = 0; i < scheduler->live_count; i++) {
        sequence *s = scheduler->live[i];
        if (is_ready(s) && s->ran < before && (found == NULL || s->ran < found->ran)) {
            found = s;
        }
    }
    return found;
}

static sequence *last_come(const scheduler *scheduler) {
    sequence *found = NULL;
    for (size_t i = 0; i < scheduler->live_count; i++) {
        sequence *s = scheduler->live[i];
        if (s->on_device && (found == NULL || s->since > found->since)) {
            found = s;
        }
    }
    return found;
}

/* Coming and going */

static bool leave(scheduler *scheduler, sequence *s) {
    if (!sequence_leave(&scheduler->runtime, s)) {
        return false;
    }
    s->since = scheduler->clock++;
    return true;
}

static bool resume_next(scheduler *scheduler) {
    sequence *s = longest_waiting(scheduler);
    /* Not before its last transfer is over and its last step has told the next token. */
    if (s == NULL || s->moving != NULL || s->step != NULL ||
        !sequence_resume(&scheduler->runtime, s)) {
        return false;
    }
    s->since = s->ran = scheduler->clock++;
    s->turn = 0;
    return true;
}

static bool begin_next(scheduler *scheduler) {
    const options *options = scheduler->runtime.options;
    if (scheduler->live_count == options->live || scheduler->begun == options->sequences) {
        return false;
    }
    sequence *s = sequence_create(&scheduler->runtime, scheduler->begun++);
    s->since = scheduler->clock++;
    scheduler->live[scheduler->live_count++] = s;
    return true;
}

/* Once for each, so that all come to an end. */
static void hang_up(scheduler *scheduler) {
    if (scheduler->live_count == 0) {
        return;
    }
    sequence *s = scheduler->live[mix(scheduler->random) / 2 % scheduler->live_count];
    if (!s->restarted) {
        sequence_restart(&scheduler->runtime, s);
        s->since = scheduler->clock++;
        scheduler->runtime.counts.restarted++;
    }
}

/* Steps */

/* All the text that was finished, in whatever order: the same on every machine. */
static void finish(scheduler *scheduler, sequence *s) {
    const size_t tokens = kvf_sequence_token_count(s->tokens);
    uint64_t text = s->name;
    for (size_t i = 0; i < tokens; i++) {
        text = mix(text + kvf_sequence_tokens(s->tokens)[i]);
    }
    scheduler->runtime.counts.texts += text;
    scheduler->runtime.counts.finished++;
    for (size_t i = 0; i < scheduler->live_count; i++) {
        if (scheduler->live[i] == s) {
            scheduler->live[i] = scheduler->live[--scheduler->live_count];
        }
    }
    sequence_destroy(&scheduler->runtime, s);
}

static bool finish_steps(scheduler *scheduler) {
    bool any = false;
    for (size_t lane = 0; lane < scheduler->runtime.options->lanes; lane++) {
        sequence *s = scheduler->in_lane[lane];
        if (s == NULL || !sequence_finish_step(&scheduler->runtime, s)) {
            continue;
        }
        scheduler->in_lane[lane] = NULL;
        any = true;
        if (kvf_sequence_token_count(s->tokens) >= s->length) {
            finish(scheduler, s);
        }
    }
    return any;
}

/* Blocks for the next token. When none are left, not even such as are still in use, room is made;
 * until it is there, the sequence stands still. */
static bool grow(scheduler *scheduler, sequence *s) {
    runtime *runtime = &scheduler->runtime;
    if (sequence_grow(runtime, s)) {
        return true;
    }
    if (runtime->device.free_count < sequence_lacks(runtime, s) &&
        leave(scheduler, last_come(scheduler))) {
        runtime->counts.preempted++;
    }
    return false;
}

static bool launch(scheduler *scheduler, size_t lane, sequence *s) {
    runtime *runtime = &scheduler->runtime;
    s->ran = scheduler->clock++;
    if (!grow(scheduler, s)) {
        return false;
    }
    sequence_launch(runtime, s, &scheduler->lanes[lane]);
    scheduler->in_lane[lane] = s;
    s->turn++;
    /* Its turn is over: the offload begins as soon as the step is through, without anybody here
     * waiting for it. */
    if (s->turn >= runtime->options->slice && s->moving == NULL &&
        longest_waiting(scheduler) != NULL) {
        (void)leave(scheduler, s); /* or behind its next step, when the engine is full */
    }
    return true;
}

static bool launch_steps(scheduler *scheduler) {
    const uint64_t start = scheduler->clock;
    bool any = false;
    for (size_t lane = 0; lane < scheduler->runtime.options->lanes; lane++) {
        sequence *s = NULL;
        while (scheduler->in_lane[lane] == NULL && (s = longest_idle(scheduler, start)) != NULL) {
            any |= launch(scheduler, lane, s);
        }
    }
    return any;
}

/* A bit of the host's memory goes bad. With integrity the tier finds out, before attention does. */
static void rot(scheduler *scheduler) {
    const pool *host = &scheduler->runtime.host;
    const size_t blocks = kvf_tier_blocks(host->tier);
    const uint64_t first = mix(scheduler->random) / 2 % blocks;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t id = (first + i) % blocks;
        if (host->blocks[id].shared && kvf_tier_idle(host->tier, &id, 1, NULL) == KVF_OK) {
            size_t count;
            const kvf_region *region = kvf_layout_regions(host->layout, &count);
            region += first % count;
            ((char *)region->base)[id * region->block_stride] ^= 1;
            return;
        }
    }
}

bool scheduler_round(scheduler *scheduler) {
    runtime *runtime = &scheduler->runtime;
    (void)kvf_engine_progress(runtime->machine->engine);
    for (size_t i = 0; i < scheduler->live_count; i++) {
        sequence_collect(runtime, scheduler->live[i]);
    }
    bool any = finish_steps(scheduler);
    while (begin_next(scheduler)) {
        any = true;
    }
    if (any && chance(scheduler, runtime->options->hang_ups)) {
        hang_up(scheduler);
    }
    if (any && chance(scheduler, runtime->options->rot)) {
        rot(scheduler);
    }
    any |= launch_steps(scheduler);
    while (resume_next(scheduler)) { /* its onboarding runs beside the steps just launched */
        any = true;
    }
    return any;
}

const counts *scheduler_counts(const scheduler *scheduler) {
    return &scheduler->runtime.counts;
}

/* Opening and closing */

static layer_view *make_views(const pool *device, const options *options) {
    const kvf_region *regions = kvf_layout_regions(device->layout, NULL);
    layer_view *views = must_have(options->layers, sizeof(*views));
    for (size_t i = 0; i < options->layers; i++) {
        views[i] = (layer_view){
            .words = options->token_bytes / sizeof(uint64_t),
            .block_tokens = options->block_tokens,
            .layer = (uint32_t)i,
        };
        for (size_t part = 0; part < PARTS; part++) {
            const kvf_region *region = &regions[i * PARTS + part];
            views[i].base[part] = region->base;
            views[i].stride[part] = region->block_stride / sizeof(uint64_t);
        }
    }
    return views;
}

static void open_lanes(scheduler *scheduler) {
    const runtime *runtime = &scheduler->runtime;
    machine *machine = runtime->machine;
    for (size_t i = 0; i < runtime->options->lanes; i++) {
        scheduler->lanes[i] = (step){
            .lane = (unsigned)i,
            .table = machine->words(machine, runtime->most_blocks),
            .seeds = machine->words(machine, runtime->options->tokens),
            .sums = machine->words(machine, runtime->options->layers * runtime->most_blocks),
        };
    }
}

scheduler *scheduler_open(machine *machine, const options *options) {
    scheduler *scheduler = must_have(1, sizeof(*scheduler));
    runtime *runtime = &scheduler->runtime;
    runtime->options = options;
    runtime->machine = machine;
    runtime->most_blocks = (options->tokens + options->block_tokens - 1) / options->block_tokens;
    pool_open_device(&runtime->device, machine, options);
    pool_open_host(&runtime->host, machine, options, &runtime->device);
    runtime->views = make_views(&runtime->device, options);
    runtime->ids = must_have(runtime->most_blocks, sizeof(*runtime->ids));
    scheduler->live = must_have(options->live, sizeof(sequence *));
    scheduler->random = options->seed;
    scheduler->clock = 1;
    open_lanes(scheduler);
    return scheduler;
}

/* Steps first, since they use the arrays; then transfers; tiers; memory; at last the engine. */
void scheduler_close(scheduler *scheduler) {
    runtime *runtime = &scheduler->runtime;
    machine *machine = runtime->machine;
    for (size_t i = 0; i < runtime->options->lanes; i++) {
        while (scheduler->in_lane[i] != NULL && !machine->done(machine, &scheduler->lanes[i])) {
            (void)kvf_engine_progress(machine->engine);
        }
        machine->free_words(machine, scheduler->lanes[i].table);
        machine->free_words(machine, scheduler->lanes[i].seeds);
        machine->free_words(machine, scheduler->lanes[i].sums);
    }
    for (size_t i = 0; i < scheduler->live_count; i++) {
        sequence_destroy(runtime, scheduler->live[i]);
    }
    pool_close(&runtime->device);
    pool_close(&runtime->host);
    machine->close(machine);
    free(runtime->views);
    free(runtime->ids);
    free(scheduler->live);
    free(scheduler);
}
