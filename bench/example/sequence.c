#include "sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIXES = 3 /* that prompts start with */, VOCABULARY = 32000 };

static size_t token_count(const sequence *s) {
    return kvf_sequence_token_count(s->tokens);
}

static size_t blocks_needed(const runtime *rt, const sequence *s) {
    return (token_count(s) + rt->options->block_tokens - 1) / rt->options->block_tokens;
}

/* Tokens */

/* The seed of a token's K and V, see content.h. */
static uint64_t seed_of(const runtime *rt, const sequence *s, size_t token) {
    const size_t block = token / rt->options->block_tokens;
    uint64_t seed = 0;
    if (block > 0) {
        kvf_hash parent = kvf_sequence_hashes(s->tokens)[block - 1];
        seed = mix(parent.low ^ mix(parent.high));
    }
    for (size_t i = block * rt->options->block_tokens; i <= token; i++)
        seed = mix(seed + kvf_sequence_tokens(s->tokens)[i] + 1);
    return seed;
}

static void append(runtime *rt, sequence *s, uint32_t token) {
    const options *options = rt->options;
    const size_t at = token_count(s), block = at / options->block_tokens;
    kvf_error error = {0};
    check(kvf_sequence_append(s->tokens, token, NULL, &error), &error);
    uint64_t seed = seed_of(rt, s, at);
    for (uint32_t layer = 0; layer < options->layers; layer++) {
        uint64_t *expected = &s->expected[layer * rt->most_blocks + block];
        *expected = (at % options->block_tokens == 0 ? 0 : *expected) +
                    content_expected(seed, layer, at, options->token_bytes / sizeof(uint64_t));
    }
}

/* Shares the blocks of its prompt that other sequences have on the host. */
static void share(runtime *rt, sequence *s) {
    const kvf_hash *hashes = kvf_sequence_hashes(s->tokens);
    size_t found = 0;
    kvf_error error = {0};
    while (found < kvf_sequence_block_count(s->tokens) &&
           pool_share(&rt->host, hashes[found], &rt->ids[found]))
        found++;
    check(kvf_assignments_extend_assigned(s->host, rt->ids, hashes, found, &error), &error);
    rt->counts.shared += found;
}

/* Appends the prompt, which depends only on the seed and the sequence's name. */
static void begin(runtime *rt, sequence *s) {
    const uint64_t own = mix(rt->options->seed + mix(s->name)), prefix = own % PREFIXES;
    const size_t most = rt->options->tokens, common = most / 8 * (prefix + 1);
    const size_t prompt = common + 1 + mix(own) % (most / 4);
    s->length = prompt + 1 + mix(own + 1) % (most - prompt);
    for (size_t i = 0; i < prompt; i++) {
        uint64_t of = i < common ? mix(rt->options->seed) + prefix : own;
        append(rt, s, (uint32_t)(mix(of + i) % VOCABULARY));
    }
    share(rt, s);
}

sequence *sequence_create(runtime *rt, uint64_t name) {
    sequence *s = must_have(1, sizeof *s);
    kvf_error error = {0};
    s->name = name;
    s->expected = must_have(rt->options->layers * rt->most_blocks, sizeof *s->expected);
    check(kvf_sequence_create(&(kvf_sequence_options){.block_size = rt->options->block_tokens},
                              &s->tokens, &error),
          &error);
    check(kvf_assignments_create(NULL, &s->device, &error), &error);
    check(kvf_assignments_create(NULL, &s->host, &error), &error);
    begin(rt, s);
    return s;
}

/* Giving blocks back */

/* Gives back the blocks of all phases from a position on. Call it before dropping them from the
 * assignments, which then forget their ids. */
static void give(pool *pool, const kvf_assignments *assignments, uint64_t from) {
    const kvf_view phases[] = {kvf_assignments_assigned(assignments),
                               kvf_assignments_staged(assignments),
                               kvf_assignments_pending(assignments)};
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        const uint64_t first = phases[i].first_position, skip = from > first ? from - first : 0;
        if (skip < phases[i].count)
            pool_give(pool, phases[i].ids + skip, phases[i].count - skip);
    }
}

static void give_host(runtime *rt, sequence *s, uint64_t from) {
    kvf_error error = {0};
    give(&rt->host, s->host, from);
    check(kvf_assignments_truncate(s->host, from, &error), &error);
}

/* Clearing detaches the assignments from a transfer in flight. It goes on, which is why the pool
 * asks whether blocks are idle. */
static void give_device(runtime *rt, sequence *s) {
    give(&rt->device, s->device, 0);
    kvf_assignments_clear(s->device);
    s->on_device = false;
}

static void give_all(runtime *rt, sequence *s) {
    if (s->moving) {
        kvf_bound_cancel(s->moving);
        s->cancelled = true;
    }
    s->discard = s->step;
    give_device(rt, s);
    give(&rt->host, s->host, 0);
    kvf_assignments_clear(s->host);
}

void sequence_restart(runtime *rt, sequence *s) {
    kvf_error error = {0};
    give_all(rt, s);
    check(kvf_sequence_truncate(s->tokens, 0, &error), &error);
    begin(rt, s);
    s->restarted = true;
}

void sequence_destroy(runtime *rt, sequence *s) {
    give_all(rt, s);
    kvf_bound_release(s->moving);
    kvf_assignments_destroy(s->device);
    kvf_assignments_destroy(s->host);
    kvf_sequence_destroy(s->tokens);
    free(s->expected);
    free(s);
}

/* Resuming and leaving */

/* Returns OK; AGAIN if the engine is full; ENGINE or NO_MEMORY, to be handled as if the transfer
 * had failed later. On failure nothing has changed. Other errors would be bugs here. */
static kvf_status submit(runtime *rt, sequence *s, const pool *src, const pool *dst,
                         const kvf_pair *pair, const kvf_submit_options *options) {
    kvf_error error = {0};
    kvf_status status =
        kvf_bound_submit(src->tier, dst->tier, pair, 1, options, &s->moving, &error);
    if (status == KVF_ERR_AGAIN)
        rt->counts.again++;
    else if (status == KVF_ERR_ENGINE || status == KVF_ERR_NO_MEMORY)
        rt->counts.failed++;
    else
        check(status, &error);
    return status;
}

size_t sequence_lacks(const runtime *rt, const sequence *s) {
    return blocks_needed(rt, s) - kvf_assignments_assigned_count(s->device) -
           kvf_assignments_staged_count(s->device) - kvf_assignments_pending_count(s->device);
}

bool sequence_grow(runtime *rt, sequence *s) {
    const size_t lacks = sequence_lacks(rt, s);
    const size_t taken = pool_take(&rt->device, rt->ids, lacks);
    kvf_error error = {0};
    if (taken < lacks) {
        pool_give(&rt->device, rt->ids, taken);
        return false;
    }
    check(kvf_assignments_extend_block_ids(s->device, rt->ids, taken, &error), &error);
    return true;
}

/* On failure, a step that has read missing blocks is discarded. The blocks that it wrote are
 * pending again, as the failed flight has rolled back. The host's remaining blocks are not tried
 * again. */
static void onboarded(runtime *rt, sequence *s, size_t landed, bool failed) {
    const kvf_view host = kvf_assignments_assigned(s->host);
    rt->counts.onboarded += landed;
    if (failed) {
        for (size_t i = landed; i < host.count; i++)
            pool_withdraw(&rt->host, host.ids[i]);
        give_host(rt, s, landed);
        s->computed = landed * rt->options->block_tokens;
        s->discard = s->step;
    }
}

/* Not in the background, so that a step can wait for it; by layer, so that it waits as briefly as
 * possible. */
bool sequence_resume(runtime *rt, sequence *s) {
    const size_t there = kvf_assignments_assigned_count(s->host);
    const kvf_pair pair = {.src = s->host, .dst = s->device};
    const kvf_submit_options options = {.by_layer = true};
    if (!sequence_grow(rt, s))
        return false;
    kvf_status status = there > 0 ? submit(rt, s, &rt->host, &rt->device, &pair, &options) : KVF_OK;
    if (status == KVF_ERR_AGAIN) {
        give_device(rt, s);
        return false;
    }
    s->on_device = true;
    s->computed = there * rt->options->block_tokens;
    if (status != KVF_OK)
        onboarded(rt, s, 0, true);
    return true;
}

/* In the background, so that transfers that steps wait for go first. Gives the device's blocks back
 * at once, since the transfer has their ids. While it or a step still reads them, the tier tells
 * the pool that they are in use. */
static bool offload(runtime *rt, sequence *s) {
    const size_t has = kvf_assignments_assigned_count(s->device);
    const size_t there = kvf_assignments_assigned_count(s->host);
    const size_t taken = has > there ? pool_take(&rt->host, rt->ids, has - there) : 0;
    const kvf_pair pair = {.src = s->device, .dst = s->host};
    const kvf_submit_options options = {.background = true};
    kvf_error error = {0};
    check(kvf_assignments_extend_block_ids(s->host, rt->ids, taken, &error), &error);
    kvf_status status = taken > 0 ? submit(rt, s, &rt->device, &rt->host, &pair, &options) : KVF_OK;
    if (status != KVF_OK)
        give_host(rt, s, there);
    if (status == KVF_ERR_AGAIN)
        return false;
    give_device(rt, s);
    return true;
}

bool sequence_leave(runtime *rt, sequence *s) {
    if (!s->moving)
        return offload(rt, s);
    kvf_bound_cancel(s->moving); /* the host still has all blocks */
    s->cancelled = true;
    s->discard = s->step;
    give_device(rt, s);
    return true;
}

/* Ended transfers */

static void offloaded(runtime *rt, sequence *s, size_t landed) {
    const kvf_view host = kvf_assignments_assigned(s->host);
    rt->counts.offloaded += landed;
    for (size_t i = host.count - landed; i < host.count; i++)
        pool_publish(&rt->host, host.ids[i], host.hashes[i]);
    give_host(rt, s, host.count); /* blocks that did not arrive */
}

void sequence_collect(runtime *rt, sequence *s) {
    size_t landed = 0;
    kvf_error error = {0};
    kvf_status status = s->moving ? kvf_bound_poll(s->moving, &error) : KVF_PENDING;
    if (status == KVF_PENDING)
        return;
    if (status == KVF_ERR_BROKEN)
        check(status, &error); /* the engine cannot continue */
    (void)kvf_bound_result(s->moving, 0, &landed);
    /* For cleared assignments the bound transfer reports CLOSED. The transfer itself tells how it
     * ended. */
    rt->counts.cancelled +=
        kvf_transfer_poll(kvf_bound_transfer(s->moving), NULL) == KVF_ERR_CANCELLED;
    kvf_bound_release(s->moving);
    s->moving = NULL;
    if (!s->cancelled) {
        rt->counts.failed += status != KVF_OK;
        s->on_device ? onboarded(rt, s, landed, status != KVF_OK) : offloaded(rt, s, landed);
    }
    s->cancelled = false;
}

/* Steps */

static size_t copy_ids(uint64_t *to, kvf_view view) {
    if (view.count > 0)
        memcpy(to, view.ids, view.count * sizeof *to);
    return view.count;
}

static void describe(const runtime *rt, const sequence *s, step *step) {
    step->blocks = copy_ids(step->table, kvf_assignments_assigned(s->device));
    step->blocks += copy_ids(step->table + step->blocks, kvf_assignments_staged(s->device));
    step->blocks += copy_ids(step->table + step->blocks, kvf_assignments_pending(s->device));
    step->tokens = token_count(s);
    step->first_new = s->computed;
    step->written = s->computed / rt->options->block_tokens;
    step->landing = kvf_bound_transfer(s->moving);
    for (size_t token = step->first_new; token < step->tokens; token++)
        step->seeds[token - step->first_new] = seed_of(rt, s, token);
}

void sequence_launch(runtime *rt, sequence *s, step *step) {
    const options *options = rt->options;
    layer_view view = {.base = rt->device.memory,
                       .block_tokens = options->block_tokens,
                       .words = options->token_bytes / sizeof(uint64_t)};
    kvf_error error = {0};
    describe(rt, s, step);
    rt->machine->begin(rt->machine, rt->device.tier, step);
    for (; view.layer < options->layers; view.layer++) {
        rt->machine->layer(rt->machine, step, &view);
        view.base = content_at(&view, options->device_blocks, 0, 0); /* the next layer */
    }
    rt->machine->end(rt->machine, rt->device.tier, step);
    /* Complete blocks are assigned only now: an offload submitted from here on runs after the step.
     * If a flight is open, they become assigned, or pending again, when it ends. */
    check(kvf_assignments_assign_pending(s->device, kvf_sequence_hashes(s->tokens),
                                         kvf_sequence_block_count(s->tokens), NULL, &error),
          &error);
    s->computed = step->tokens;
    s->step = step;
}

static void verify(runtime *rt, const sequence *s) {
    const step *step = s->step;
    for (size_t i = 0; i < rt->options->layers * step->blocks; i++) {
        const size_t layer = i / step->blocks, block = i % step->blocks;
        if (step->sums[i] != s->expected[layer * rt->most_blocks + block] &&
            rt->counts.mismatches++ < 5) {
            (void)fprintf(stderr,
                          "mismatch: sequence %" PRIu64 ", %zu tokens, %zu of them new; layer %zu, "
                          "block %zu of %zu, id %" PRIu64 "\n",
                          s->name, step->tokens, step->tokens - step->first_new, layer, block,
                          step->blocks, step->table[block]);
        }
    }
}

/* As with a model, the next token depends on attention: a wrong byte changes the text. */
static uint32_t sample(const runtime *rt, const step *step) {
    uint64_t seen = 0;
    for (size_t i = 0; i < rt->options->layers * step->blocks; i++)
        seen = mix(seen ^ step->sums[i]);
    return (uint32_t)(seen % VOCABULARY);
}

bool sequence_finish_step(runtime *rt, sequence *s) {
    if (!rt->machine->done(rt->machine, s->step))
        return false;
    /* The arrival of all layers is not yet success of the transfer. Only then is the step's input
     * known to be right. */
    if (!s->discard && s->on_device && s->moving)
        return false;
    if (s->discard) {
        rt->counts.discarded++;
    } else {
        verify(rt, s);
        append(rt, s, sample(rt, s->step));
        rt->counts.steps++;
    }
    s->discard = false;
    s->step = NULL;
    return true;
}
