#include "scheduler.h"

#include <stdlib.h>

/* Picking a sequence: of those that `wanted` accepts, the one with the lowest number. */

typedef bool wanted_fn(const sequence *s);
typedef uint64_t number_fn(const sequence *s);

static sequence *pick(const runtime *rt, wanted_fn *wanted, number_fn *number) {
    sequence *found = NULL;
    for (size_t i = 0; i < rt->live_count; i++) {
        sequence *s = rt->live[i];
        if (wanted(s) && (!found || number(s) < number(found)))
            found = s;
    }
    return found;
}

static bool waits(const sequence *s) {
    return !s->on_device;
}

static bool is_on_device(const sequence *s) {
    return s->on_device;
}

static bool has_no_step(const sequence *s) {
    return s->on_device && !s->step;
}

static uint64_t earliest(const sequence *s) {
    return s->since;
}

static uint64_t latest(const sequence *s) {
    return UINT64_MAX - s->since;
}

static uint64_t longest_idle(const sequence *s) {
    return s->ran;
}

/* Coming and going */

static bool begin_next(runtime *rt) {
    if (rt->live_count == rt->options->live || rt->begun == rt->options->sequences)
        return false;
    sequence *s = rt->live[rt->live_count++] = sequence_create(rt, rt->begun++);
    s->since = rt->clock++;
    return true;
}

static bool resume_next(runtime *rt) {
    sequence *s = pick(rt, waits, earliest);
    /* Its last transfer must have ended, and its last step have produced a token. */
    if (!s || s->moving || s->step || !sequence_resume(rt, s))
        return false;
    s->since = s->ran = rt->clock++;
    s->turn = 0;
    return true;
}

static bool leave(runtime *rt, sequence *s) {
    if (!sequence_leave(rt, s))
        return false;
    s->since = rt->clock++;
    return true;
}

/* A digest of all finished texts, independent of their order: equal on every machine. */
static void finish(runtime *rt, sequence *s) {
    uint64_t text = s->name;
    for (size_t i = 0; i < s->length; i++)
        text = mix(text + kvf_sequence_tokens(s->tokens)[i]);
    rt->counts.texts += text;
    rt->counts.finished++;
    for (size_t i = 0; i < rt->live_count; i++)
        if (rt->live[i] == s)
            rt->live[i] = rt->live[--rt->live_count];
    sequence_destroy(rt, s);
}

/* Steps */

static bool finish_steps(runtime *rt) {
    bool any = false;
    for (size_t lane = 0; lane < rt->options->lanes; lane++) {
        sequence *s = rt->in_lane[lane];
        if (!s || !sequence_finish_step(rt, s))
            continue;
        rt->in_lane[lane] = NULL;
        any = true;
        if (kvf_sequence_token_count(s->tokens) == s->length)
            finish(rt, s);
    }
    return any;
}

/* Makes room for the next token. Free blocks that are still in use become idle in time. Only if
 * there are too few free blocks must a sequence leave. Until there is room, this sequence pauses.
 */
static bool grow(runtime *rt, sequence *s) {
    if (sequence_grow(rt, s))
        return true;
    if (rt->device.free_count < sequence_lacks(rt, s) && leave(rt, pick(rt, is_on_device, latest)))
        rt->counts.preempted++;
    return false;
}

static bool launch(runtime *rt, size_t lane, sequence *s) {
    s->ran = rt->clock++;
    if (!grow(rt, s))
        return false;
    sequence_launch(rt, s, &rt->steps[lane]);
    rt->in_lane[lane] = s;
    s->turn++;
    /* The turn is over. The offload is submitted now and runs after the step, without the host
     * waiting for the step. If the engine is full, the turn lasts another step. */
    if (s->turn >= rt->options->slice && !s->moving && pick(rt, waits, earliest))
        (void)leave(rt, s);
    return true;
}

static bool launch_steps(runtime *rt) {
    const uint64_t round = rt->clock;
    bool any = false;
    for (size_t lane = 0; lane < rt->options->lanes; lane++) {
        sequence *s = NULL;
        while (!rt->in_lane[lane] && (s = pick(rt, has_no_step, longest_idle)) != NULL &&
               s->ran < round) /* try each sequence once */
            any |= launch(rt, lane, s);
    }
    return any;
}

/* Faults */

/* True about once in `every` calls. */
static bool happens(runtime *rt, size_t every) {
    rt->random = mix(rt->random + UINT64_C(0x9e3779b97f4a7c15));
    return every > 0 && rt->random % every == 0;
}

/* Once per sequence, or some would never finish. */
static void hang_up(runtime *rt) {
    sequence *s = rt->live_count > 0 ? rt->live[mix(rt->random) % rt->live_count] : NULL;
    if (s && !s->restarted) {
        sequence_restart(rt, s);
        s->since = rt->clock++;
        rt->counts.restarted++;
    }
}

/* Flips a bit of a host block. With integrity the tier detects it, else attention does. */
static void rot(runtime *rt) {
    size_t count = 0;
    const kvf_region *regions = kvf_layout_regions(rt->host.layout, &count);
    const uint64_t id = mix(rt->random) % rt->options->host_blocks;
    if (rt->host.blocks[id].shared && kvf_tier_idle(rt->host.tier, &id, 1, NULL) == KVF_OK) {
        const kvf_region *region = &regions[mix(rt->random + 1) % count];
        ((char *)region->base)[id * region->block_stride] ^= 1;
    }
}

bool runtime_round(runtime *rt) {
    /* An engine without threads works here and in waits. With threads this costs very little. */
    (void)kvf_engine_progress(rt->machine->engine);
    for (size_t i = 0; i < rt->live_count; i++)
        sequence_collect(rt, rt->live[i]);
    bool any = finish_steps(rt);
    while (begin_next(rt))
        any = true;
    if (any && happens(rt, rt->options->hang_ups))
        hang_up(rt);
    if (any && happens(rt, rt->options->rot))
        rot(rt);
    any |= launch_steps(rt);
    while (resume_next(rt)) /* onboards in parallel with the steps just launched */
        any = true;
    return any;
}

/* Opening and closing */

static void open_steps(runtime *rt) {
    const options *options = rt->options;
    const size_t table = rt->most_blocks, seeds = options->tokens;
    const size_t all = table + seeds + options->layers * rt->most_blocks;
    machine *machine = rt->machine;
    rt->arrays =
        machine->allocate(machine, machine->host_memory, options->lanes * all * sizeof *rt->arrays);
    if (!rt->arrays)
        die("creating steps", "out of memory");
    for (size_t lane = 0; lane < options->lanes; lane++) {
        uint64_t *own = rt->arrays + lane * all;
        rt->steps[lane] = (step){.lane = (unsigned)lane,
                                 .table = own,
                                 .seeds = own + table,
                                 .sums = own + table + seeds};
    }
}

void runtime_open(runtime *rt, machine *machine, const options *options) {
    *rt = (runtime){.options = options, .machine = machine, .clock = 1, .random = options->seed};
    rt->most_blocks = (options->tokens + options->block_tokens - 1) / options->block_tokens;
    rt->ids = must_have(rt->most_blocks, sizeof *rt->ids);
    rt->live = must_have(options->live, sizeof *rt->live);
    pool_open_device(&rt->device, machine, options);
    pool_open_host(&rt->host, machine, options, rt->device.layout);
    open_steps(rt);
}

/* Steps end first, then transfers; then tiers and their memory go, and the engine last. */
void runtime_close(runtime *rt) {
    for (size_t lane = 0; lane < rt->options->lanes; lane++)
        while (rt->in_lane[lane] && !rt->machine->done(rt->machine, &rt->steps[lane]))
            (void)kvf_engine_progress(rt->machine->engine);
    for (size_t i = 0; i < rt->live_count; i++)
        sequence_destroy(rt, rt->live[i]);
    pool_close(&rt->device);
    pool_close(&rt->host);
    rt->machine->release(rt->machine, rt->machine->host_memory, rt->arrays);
    rt->machine->close(rt->machine);
    free(rt->ids);
    free(rt->live);
}
