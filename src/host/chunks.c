#include "host/chunks.h"

#include "engine/integrity.h"

enum { STREAM_BYTES = 8 << 20 }; /* transfers of this size and more bypass the caches */

typedef kvf__chunk chunk;

/* Copying */

/* The pieces of a chunk: rows, or several blocks at once where blocks touch. */
typedef struct pieces {
    const kvf__strip *strip;
    const kvf__run *run;
    size_t at, left; /* blocks: index of the next one in the run, number left */
    size_t row;      /* of the next block */
} pieces;

typedef struct piece {
    char *dst;
    const char *src;
    size_t bytes;
} piece;

static pieces pieces_of(const chunk *c) {
    const kvf_move *move = c->transfer->move;
    size_t ordinal = c->first % move->runs.pairs;
    const kvf__run *run = kvf__runs_find(&move->runs, ordinal);
    return (pieces){
        .strip = &move->strips[c->first / move->runs.pairs],
        .run = run,
        .at = ordinal - run->start,
        .left = c->count,
    };
}

static void skip_blocks(pieces *p, size_t count) {
    p->left -= count;
    p->at += count;
    if (p->at == p->run->count && p->left > 0) {
        p->run++;
        p->at = 0;
    }
}

static bool next_piece(pieces *p, piece *out) {
    if (p->left == 0)
        return false;
    const kvf__strip *strip = p->strip;
    ptrdiff_t dst_step = (ptrdiff_t)strip->dst_stride * p->run->dst_step;
    ptrdiff_t src_step = (ptrdiff_t)strip->src_stride * p->run->src_step;
    ptrdiff_t at = (ptrdiff_t)p->at, row = (ptrdiff_t)p->row;
    out->dst = strip->dst + (size_t)p->run->dst * strip->dst_stride + at * dst_step +
               row * strip->dst_pitch;
    out->src = strip->src + (size_t)p->run->src * strip->src_stride + at * src_step +
               row * strip->src_pitch;
    out->bytes = strip->width;
    if (strip->rows == 1 && dst_step == (ptrdiff_t)strip->width && src_step == dst_step) {
        size_t rest = p->run->count - p->at, count = rest < p->left ? rest : p->left;
        out->bytes *= count;
        skip_blocks(p, count);
    } else if (++p->row == strip->rows) {
        p->row = 0;
        skip_blocks(p, 1);
    }
    return true;
}

static void copy_chunk(const chunk *c, kvf__copy *streaming) {
    const kvf_move *move = c->transfer->move;
    bool much = (uint64_t)move->block_bytes * move->runs.pairs >= STREAM_BYTES;
    kvf__copy *copy = much ? streaming : kvf__copy_plain;
    pieces p = pieces_of(c);
    piece now, next;
    for (bool more = next_piece(&p, &now); more; now = next) {
        more = next_piece(&p, &next);
        if (!more)
            next = now;
        copy(now.dst, now.src, now.bytes, next.src);
    }
    kvf__copy_fence();
}

/* Integrity */

/* Verifies the chunk's blocks; units count the blocks of all plans. */
static void verify_chunk(const chunk *c) {
    kvf_transfer *t = c->transfer;
    size_t start = 0, end = c->first + c->count;
    for (size_t p = 0; p < t->plan_count && start < end; start += t->plan_blocks[p++]) {
        size_t from = c->first > start ? c->first - start : 0;
        size_t to = end - start < t->plan_blocks[p] ? end - start : t->plan_blocks[p];
        for (size_t i = from; i < to; i++) {
            if (kvf__integrity_verify(t->src, t->src_layout, (size_t)t->plans.items[p].src_ids[i]))
                continue;
            pthread_mutex_lock(&t->engine->lock);
            t->landed[p] = i < t->landed[p] ? i : t->landed[p];
            t->engine->counters.corrupt_blocks++;
            pthread_mutex_unlock(&t->engine->lock);
            break;
        }
    }
}

/* Calls `tell` for every destination block of a chunk. */
static void for_destinations(const chunk *c,
                             void (*tell)(kvf_tier *, const kvf_layout *, size_t id)) {
    kvf_transfer *t = c->transfer;
    size_t ordinal = c->first % t->move->runs.pairs;
    const kvf__run *run = kvf__runs_find(&t->move->runs, ordinal);
    size_t at = ordinal - run->start;
    for (size_t i = 0; i < c->count; i++, at++) {
        if (at == run->count) {
            run++;
            at = 0;
        }
        int64_t id = run->dst + (int64_t)at * run->dst_step;
        tell(t->dst, t->dst_layout, (size_t)id);
    }
}

/* Whether the transfer writes only some layers of its blocks. */
static bool is_part(const kvf_transfer *t) {
    return t->move->layer_count < kvf_layout_layers(t->dst_layout);
}

bool kvf__find_corrupt(const kvf_transfer *t, kvf_error *error) {
    for (size_t p = 0; p < t->plan_count; p++) {
        if (t->landed[p] == t->plan_blocks[p])
            continue;
        const kvf_plan *plan = &t->plans.items[p];
        *error = (kvf_error){
            .status = KVF_ERR_CORRUPT,
            .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_POSITION,
            .id = plan->src_ids[t->landed[p]],
            .index = p,
            .position = plan->first_position + t->landed[p],
        };
        return true;
    }
    return false;
}

/* Phases */

size_t kvf__phase_units(const kvf_transfer *t, kvf__phase phase) {
    size_t pairs = t->move->runs.pairs, blocks = 0;
    switch (phase) {
    case KVF__VERIFY:
        for (size_t p = 0; t->plans.items && p < t->plan_count; p++)
            blocks += t->plan_blocks[p];
        return blocks;
    case KVF__VERIFY_DST:
        return t->dst->sums && is_part(t) ? pairs : 0;
    case KVF__COPY:
        return pairs * t->move->strip_count;
    default:
        return t->dst->sums ? pairs : 0;
    }
}

size_t kvf__phase_unit_bytes(const kvf_transfer *t, kvf__phase phase, size_t unit) {
    if (phase != KVF__COPY)
        return t->move->block_bytes;
    const kvf__strip *strip = &t->move->strips[unit / t->move->runs.pairs];
    return strip->width * strip->rows;
}

static void do_chunk(const chunk *c, kvf__copy *streaming) {
    switch (c->phase) {
    case KVF__VERIFY:
        verify_chunk(c);
        break;
    case KVF__VERIFY_DST:
        for_destinations(c, kvf__integrity_before_part);
        break;
    case KVF__COPY:
        if (c->transfer->dst->sums)
            for_destinations(c, kvf__integrity_write);
        copy_chunk(c, streaming);
        break;
    default:
        for_destinations(c, is_part(c->transfer) ? kvf__integrity_seal_part : kvf__integrity_seal);
    }
}

void kvf__chunk_do(const chunk *c, kvf__copy *streaming) {
    const kvf__hooks *hooks = &c->transfer->engine->hooks;
    kvf__range_begin(hooks, c->phase == KVF__COPY ? KVF__RANGE_COPY : KVF__RANGE_VERIFY);
    do_chunk(c, streaming);
    kvf__range_end(hooks);
}
