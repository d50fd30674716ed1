#include "sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Many prompts begin with one of these. */
enum { PREFIXES = 3, VOCABULARY = 32000 };

static size_t blocks_for(const runtime *runtime, size_t tokens) {
    return (tokens + runtime->options->block_tokens - 1) / runtime->options->block_tokens;
}

static size_t token_count(const sequence *sequence) {
    return kvf_sequence_token_count(sequence->tokens);
}

/* Content */

/* See content.h. */
static uint64_t seed_of(const runtime *runtime, const sequence *sequence, size_t token) {
    const uint32_t *tokens = kvf_sequence_tokens(sequence->tokens);
    const size_t block = token / runtime->options->block_tokens;
    uint64_t seed = 0;
    if (block > 0) {
        kvf_hash parent = kvf_sequence_hashes(sequence->tokens)[block - 1];
        seed = mix(parent.low ^ mix(parent.high));
    }
    for (size_t i = block * runtime->options->block_tokens; i <= token; i++) {
        seed = mix(seed + tokens[i] + 1);
    }
    return seed;
}

static void append(runtime *runtime, sequence *sequence, uint32_t token) {
    const options *options = runtime->options;
    const size_t at = token_count(sequence), block = at / options->block_tokens;
    kvf_error error = {0};
    must(kvf_sequence_append(sequence->tokens, token, NULL, &error), &error, "appending a token");
    uint64_t seed = seed_of(runtime, sequence, at);
    for (uint32_t layer = 0; layer < options->layers; layer++) {
        uint64_t *expected = &sequence->expected[layer * runtime->most_blocks + block];
        const size_t words = runtime->views[layer].words;
        *expected = (at % options->block_tokens == 0 ? 0 : *expected) +
                    content_expected(seed, layer, at, words);
    }
}

/* Blocks of the prompt that other sequences have in the host tier: one more user of each. */
static void share(runtime *runtime, sequence *sequence) {
    const kvf_hash *hashes = kvf_sequence_hashes(sequence->tokens);
    const size_t blocks = kvf_sequence_block_count(sequence->tokens);
    kvf_error error = {0};
    size_t found = 0;
    while (found < blocks && pool_share(&runtime->host, hashes[found], &runtime->ids[found])) {
        found++;
    }
    must(kvf_assignments_extend_assigned(sequence->host, runtime->ids, hashes, found, &error),
         &error, "sharing blocks");
    runtime->counts.shared += found;
}

/* The same for a name whenever it is begun, wherever it runs. */
static void begin(runtime *runtime, sequence *sequence) {
    const options *options = runtime->options;
    const uint64_t own = mix(options->seed + mix(sequence->name));
    const size_t most = options->tokens, prefix = own % PREFIXES;
    const size_t common = most / 8 * (prefix + 1);
    sequence->prompt = common + 1 + mix(own) % (most / 4);
    sequence->length = sequence->prompt + 1 + mix(own + 1) % (most - sequence->prompt);
    for (size_t i = 0; i < sequence->prompt; i++) {
        uint64_t of = i < common ? mix(options->seed) + prefix : own;
        append(runtime, sequence, (uint32_t)(mix(of + i) % VOCABULARY));
    }
    share(runtime, sequence);
}

sequence *sequence_create(runtime *runtime, uint64_t name) {
    const kvf_sequence_options options = {.block_size = runtime->options->block_tokens};
    kvf_error error = {0};
    sequence *sequence = must_have(1, sizeof(*sequence));
    sequence->name = name;
    sequence->expected =
        must_have(runtime->options->layers * runtime->most_blocks, sizeof(*sequence->expected));
    must(kvf_sequence_create(&options, &sequence->tokens, &error), &error, "making a sequence");
    must(kvf_assignments_create(NULL, &sequence->device, &error), &error, "making a tracker");
    must(kvf_assignments_create(NULL, &sequence->host, &error), &error, "making a tracker");
    begin(runtime, sequence);
    return sequence;
}

void sequence_destroy(runtime *runtime, sequence *sequence) {
    sequence_drop(runtime, sequence);
    kvf_bound_release(sequence->moving);
    kvf_assignments_destroy(sequence->device);
    kvf_assignments_destroy(sequence->host);
    kvf_sequence_destroy(sequence->tokens);
    free(sequence->expected);
    free(sequence);
}

/* Giving blocks back */

/* All blocks of a tracker from a position on. The caller knows that no flight is cut, or clears. */
static void give(pool *pool, const kvf_assignments *tracker, uint64_t position) {
    const kvf_view phases[] = {kvf_assignments_assigned(tracker), kvf_assignments_staged(tracker),
                               kvf_assignments_pending(tracker)};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        uint64_t skip =
            position > phases[i].first_position ? position - phases[i].first_position : 0;
        if (skip < phases[i].count) {
            pool_give(pool, phases[i].ids + skip, phases[i].count - (size_t)skip);
        }
    }
}

static void give_from(pool *pool, kvf_assignments *tracker, uint64_t position) {
    kvf_error error = {0};
    give(pool, tracker, position);
    must(kvf_assignments_truncate(tracker, position, &error), &error, "giving blocks back");
}

/* Whatever is under way: clearing detaches flights, and the pool asks before it hands out. */
static void give_all(pool *pool, kvf_assignments *tracker) {
    give(pool, tracker, 0);
    kvf_assignments_clear(tracker);
}

static void give_device(runtime *runtime, sequence *sequence) {
    give_all(&runtime->device, sequence->device);
    sequence->on_device = false;
    sequence->computed = 0;
}

/* Transfers */

/* false, with nothing changed, when the engine is full. */
static bool submit(runtime *runtime, sequence *sequence, const pool *src, const pool *dst,
                   const kvf_pair *pair, const kvf_submit_options *options) {
    kvf_error error = {0};
    kvf_status status =
        kvf_bound_submit(src->tier, dst->tier, pair, 1, options, &sequence->moving, &error);
    if (status == KVF_ERR_AGAIN) {
        runtime->counts.again++;
        return false;
    }
    must(status, &error, "submitting a transfer");
    return true;
}

static void cancel(sequence *sequence) {
    if (sequence->moving != NULL) {
        kvf_bound_cancel(sequence->moving);
        sequence->cancelled = true;
    }
}

bool sequence_resume(runtime *runtime, sequence *sequence) {
    const size_t blocks = blocks_for(runtime, token_count(sequence));
    const size_t onboarded = kvf_assignments_assigned_count(sequence->host);
    kvf_error error = {0};
    size_t taken = pool_take(&runtime->device, runtime->ids, blocks);
    if (taken < blocks) {
        pool_give(&runtime->device, runtime->ids, taken);
        return false;
    }
    must(kvf_assignments_extend_block_ids(sequence->device, runtime->ids, blocks, &error), &error,
         "tracking blocks");
    /* Ordered, so that streams can wait for it, and by layer, so that they need not for long. */
    const kvf_pair pair = {.src = sequence->host, .dst = sequence->device};
    const kvf_submit_options options = {.by_group = true};
    if (onboarded > 0 &&
        !submit(runtime, sequence, &runtime->host, &runtime->device, &pair, &options)) {
        give_device(runtime, sequence);
        return false;
    }
    sequence->computed = onboarded * runtime->options->block_tokens;
    sequence->on_device = true;
    return true;
}

/* The device's blocks go at once: the offload has them in its plan, and as long as it reads them,
 * or a step in a stream does, the tier says so to the pool. */
static bool offload(runtime *runtime, sequence *sequence) {
    const size_t has = kvf_assignments_assigned_count(sequence->device);
    const size_t there = kvf_assignments_assigned_count(sequence->host);
    kvf_error error = {0};
    size_t taken = has > there ? pool_take(&runtime->host, runtime->ids, has - there) : 0;
    must(kvf_assignments_extend_block_ids(sequence->host, runtime->ids, taken, &error), &error,
         "tracking blocks");
    /* In the background: behind whatever somebody waits for. */
    const kvf_pair pair = {.src = sequence->device, .dst = sequence->host};
    const kvf_submit_options options = {.background = true};
    if (taken > 0 &&
        !submit(runtime, sequence, &runtime->device, &runtime->host, &pair, &options)) {
        give_from(&runtime->host, sequence->host, there);
        return false;
    }
    give_device(runtime, sequence);
    return true;
}

bool sequence_leave(runtime *runtime, sequence *sequence) {
    if (sequence->moving == NULL) {
        return offload(runtime, sequence);
    }
    cancel(sequence); /* what is being onboarded is still on the host */
    sequence->discard = sequence->step != NULL;
    give_device(runtime, sequence);
    return true;
}

/* The step that read what has not come is void, and what it wrote went with the flight. Of the
 * host's blocks the rest is not tried again. */
static void onboarding_failed(runtime *runtime, sequence *sequence, size_t landed) {
    const kvf_view host = kvf_assignments_assigned(sequence->host);
    for (size_t i = landed; i < host.count; i++) {
        pool_withdraw(&runtime->host, host.ids[i]);
    }
    give_from(&runtime->host, sequence->host, landed);
    sequence->computed = landed * runtime->options->block_tokens;
    sequence->discard = sequence->step != NULL;
}

static void offloading_ended(runtime *runtime, sequence *sequence, size_t landed) {
    const kvf_view host = kvf_assignments_assigned(sequence->host);
    for (size_t i = host.count - landed; i < host.count; i++) {
        pool_publish(&runtime->host, host.ids[i], host.hashes[i]);
    }
    give_from(&runtime->host, sequence->host, host.count);
}

void sequence_collect(runtime *runtime, sequence *sequence) {
    kvf_error error = {0};
    size_t landed = 0;
    kvf_status status =
        sequence->moving != NULL ? kvf_bound_poll(sequence->moving, &error) : KVF_PENDING;
    if (status == KVF_PENDING) {
        return;
    }
    if (status == KVF_ERR_BROKEN) {
        must(status, &error, "a transfer"); /* nothing will move any more */
    }
    (void)kvf_bound_result(sequence->moving, 0, &landed);
    /* For its trackers, which were cleared, it is CLOSED, however the transfer below has ended. */
    runtime->counts.cancelled +=
        kvf_transfer_poll(kvf_bound_transfer(sequence->moving), NULL) == KVF_ERR_CANCELLED;
    kvf_bound_release(sequence->moving);
    sequence->moving = NULL;
    if (sequence->cancelled) {
        sequence->cancelled = false;
        return;
    }
    runtime->counts.failed += status != KVF_OK;
    if (!sequence->on_device) {
        runtime->counts.offloaded += landed;
        offloading_ended(runtime, sequence, landed);
        return;
    }
    runtime->counts.onboarded += landed;
    if (status != KVF_OK) {
        onboarding_failed(runtime, sequence, landed);
    }
}

/* Steps */

size_t sequence_lacks(const runtime *runtime, const sequence *sequence) {
    const kvf_assignments *device = sequence->device;
    return blocks_for(runtime, token_count(sequence)) - kvf_assignments_assigned_count(device) -
           kvf_assignments_staged_count(device) - kvf_assignments_pending_count(device);
}

bool sequence_grow(runtime *runtime, sequence *sequence) {
    const size_t lacks = sequence_lacks(runtime, sequence);
    kvf_error error = {0};
    size_t taken = pool_take(&runtime->device, runtime->ids, lacks);
    if (taken < lacks) {
        pool_give(&runtime->device, runtime->ids, taken);
        return false;
    }
    must(kvf_assignments_extend_block_ids(sequence->device, runtime->ids, taken, &error), &error,
         "tracking blocks");
    return true;
}

static size_t copy_ids(uint64_t *to, kvf_view view) {
    if (view.count > 0) {
        memcpy(to, view.ids, view.count * sizeof(*to));
    }
    return view.count;
}

static void describe(const runtime *runtime, const sequence *sequence, step *step) {
    const size_t assigned = copy_ids(step->table, kvf_assignments_assigned(sequence->device));
    const size_t staged =
        copy_ids(step->table + assigned, kvf_assignments_staged(sequence->device));
    step->tokens = token_count(sequence);
    step->first_new = sequence->computed;
    step->written = sequence->computed / runtime->options->block_tokens;
    step->landing = kvf_bound_transfer(sequence->moving);
    step->landed = step->landing != NULL ? assigned : step->written;
    step->blocks = assigned + staged;
    step->blocks += copy_ids(step->table + step->blocks, kvf_assignments_pending(sequence->device));
    for (size_t token = step->first_new; token < step->tokens; token++) {
        step->seeds[token - step->first_new] = seed_of(runtime, sequence, token);
    }
}

void sequence_launch(runtime *runtime, sequence *sequence, step *step) {
    kvf_error error = {0};
    describe(runtime, sequence, step);
    runtime->machine->begin(runtime->machine, runtime->device.tier, step);
    for (size_t layer = 0; layer < runtime->options->layers; layer++) {
        runtime->machine->layer(runtime->machine, step, &runtime->views[layer]);
    }
    runtime->machine->end(runtime->machine, runtime->device.tier, step);
    /* Complete blocks are assigned now, not earlier: an offload from here on comes behind the step.
     * Behind an open flight they become assigned with it, or go back to pending with it. */
    must(kvf_assignments_assign_pending(sequence->device, kvf_sequence_hashes(sequence->tokens),
                                        kvf_sequence_block_count(sequence->tokens), NULL, &error),
         &error, "assigning blocks");
    sequence->computed = step->tokens;
    sequence->step = step;
}

static void verify(runtime *runtime, const sequence *sequence) {
    const step *step = sequence->step;
    for (size_t layer = 0; layer < runtime->options->layers; layer++) {
        for (size_t block = 0; block < step->blocks; block++) {
            if (step->sums[layer * step->blocks + block] ==
                sequence->expected[layer * runtime->most_blocks + block]) {
                continue;
            }
            if (runtime->counts.mismatches++ < 10) {
                (void)fprintf(stderr,
                              "mismatch: sequence %" PRIu64 " with %zu tokens (%zu of them new), "
                              "layer %zu, block %zu of %zu, id %" PRIu64 "\n",
                              sequence->name, step->tokens, step->tokens - step->first_new, layer,
                              block, step->blocks, step->table[block]);
            }
        }
    }
}

/* The next token is made of all that attention has seen in the last layer, as a model's would be:
 * one wrong byte, and the text is another. */
static uint32_t sample(const runtime *runtime, const step *step) {
    const uint64_t *sums = step->sums + (runtime->options->layers - 1) * step->blocks;
    uint64_t seen = 0;
    for (size_t block = 0; block < step->blocks; block++) {
        seen = mix(seen ^ sums[block]);
    }
    return (uint32_t)(seen % VOCABULARY);
}

bool sequence_finish_step(runtime *runtime, sequence *sequence) {
    if (!runtime->machine->done(runtime->machine, sequence->step)) {
        return false;
    }
    if (!sequence->discard) {
        /* That a layer has landed is not yet that the transfer succeeds: only then is the step's
         * result to be believed. */
        if (sequence->on_device && sequence->moving != NULL) {
            return false;
        }
        verify(runtime, sequence);
        append(runtime, sequence, sample(runtime, sequence->step));
        runtime->counts.steps++;
    }
    runtime->counts.discarded += sequence->discard;
    sequence->discard = false;
    sequence->step = NULL;
    return true;
}

/* Ends */

void sequence_drop(runtime *runtime, sequence *sequence) {
    cancel(sequence);
    sequence->discard = sequence->step != NULL;
    give_device(runtime, sequence);
    give_all(&runtime->host, sequence->host);
}

void sequence_restart(runtime *runtime, sequence *sequence) {
    kvf_error error = {0};
    sequence_drop(runtime, sequence);
    must(kvf_sequence_truncate(sequence->tokens, 0, &error), &error, "beginning again");
    begin(runtime, sequence);
    sequence->restarted = true;
}
