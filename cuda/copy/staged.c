/*
 * Packing: small pieces on the device become large ones on the host's side, and the reverse.
 *
 *     from the device   side   | pack 0 | pack 1 | pack 2 |
 *                       stream          | copy 0          | copy 1          |
 *     to the device     stream | copy 0          | copy 1          |
 *                       side                     | unpack 0        | unpack 1 |
 *
 * A chunk is some pairs times the strips of a band. Packed, it holds for every strip of the host's
 * side (those of the band, joined on that side alone) the blocks one behind the other:
 *
 *     buffer   | host strip 0: block, block, ... | host strip 1: block, block, ... |
 *
 * so that ids in a row on the host are one copy.
 */
#include "engine/engine_cuda.h"

#include <stdlib.h>
#include <string.h>

static bool to_device(const kvf__cuda_copier *c) {
    return c->direction == KVF_CUDA_TO_DEVICE;
}

static size_t bytes_of(const kvf__strip *s) {
    return s->width * s->rows;
}

bool kvf__cuda_staged_fits(const kvf__cuda_copier *c) {
    if (c->direction == KVF_CUDA_ON_DEVICE || !kvf__cuda_kernels.copy)
        return false;
    for (size_t i = 0; i < c->move->strip_count; i++)
        if (bytes_of(&c->move->strips[i]) > kvf__cuda_buffer_bytes(c->engine))
            return false;
    return true;
}

/* The packing's order, and its bands */

/* A strip as the host sees it: the same on both sides. */
static kvf__strip host_view(const kvf__cuda_copier *c, const kvf__strip *s) {
    bool to = to_device(c);
    kvf__strip h = *s;
    h.dst = to ? (char *)(uintptr_t)s->src : s->dst;
    h.src = h.dst;
    h.dst_pitch = h.src_pitch = to ? s->src_pitch : s->dst_pitch;
    h.dst_stride = h.src_stride = to ? s->src_stride : s->dst_stride;
    h.dst_buffer = h.src_buffer = to ? s->src_buffer : s->dst_buffer;
    if (h.dst_pitch == (ptrdiff_t)h.width) {
        h.width *= h.rows;
        h.rows = 1;
        h.dst_pitch = h.src_pitch = 0;
    }
    return h;
}

static const char *host_address(const kvf__cuda_copier *c, size_t strip) {
    const kvf__strip *s = &c->move->strips[strip];
    return to_device(c) ? s->src : s->dst;
}

/* By address within layers; strips come by the other side's address, nearly in order already. */
static void put_in_order(const kvf__cuda_copier *c, size_t *order) {
    const kvf_move *m = c->move;
    for (size_t i = 0; i < m->strip_count; i++) {
        size_t at = i;
        for (; at > 0 && (!m->by_layer || m->strips[order[at - 1]].layer == m->strips[i].layer) &&
               (uintptr_t)host_address(c, order[at - 1]) > (uintptr_t)host_address(c, i);
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Cuts a band off the order, from `first` on: strips of one layer that fit a buffer. */
static kvf__cuda_band cut_band(const kvf__cuda_copier *c, size_t first) {
    const kvf_move *m = c->move;
    const size_t *order = c->packing.order;
    kvf__cuda_band band = {.first = first, .end = first};
    while (band.end < m->strip_count) {
        const kvf__strip *s = &m->strips[order[band.end]];
        if ((m->by_layer && s->layer != m->strips[order[first]].layer) ||
            band.bytes + bytes_of(s) > kvf__cuda_buffer_bytes(c->engine))
            break;
        band.bytes += bytes_of(s);
        band.end++;
    }
    return band;
}

/* Whether a host strip has a strip of the band: all of its first row, that is. */
static bool holds(const kvf__strip *host, const char *address, size_t width, size_t *offset) {
    size_t distance = (size_t)((uintptr_t)address - (uintptr_t)host->dst);
    size_t pitch = host->rows > 1 ? (size_t)host->dst_pitch : SIZE_MAX;
    if ((uintptr_t)address < (uintptr_t)host->dst || distance / pitch >= host->rows ||
        distance % pitch + width > host->width)
        return false;
    *offset = distance / pitch * host->width + distance % pitch;
    return true;
}

/* Where a strip lies in its host strip's packed block, and how far apart its rows do; false when it
 * is not the same distance from each row to the next. */
static bool place_in(const kvf__strip *host, const kvf__strip *view, kvf__cuda_slot *slot,
                     ptrdiff_t *pitch) {
    size_t last;
    if (!holds(host, view->dst, view->width, &slot->offset))
        return false;
    *pitch = 0;
    if (view->rows == 1)
        return true;
    if (!holds(host, view->dst + view->dst_pitch, view->width, &last))
        return false;
    *pitch = (ptrdiff_t)(last - slot->offset);
    return holds(host, view->dst + (ptrdiff_t)(view->rows - 1) * view->dst_pitch, view->width,
                 &last) &&
           last == slot->offset + (size_t)*pitch * (view->rows - 1);
}

/* Searches the band's hosts for one that has a strip; from where the last one was found, since both
 * come by address. */
static bool find_host(const kvf__cuda_packing *p, const kvf__cuda_band *band, size_t at,
                      const kvf__strip *view, ptrdiff_t *pitch) {
    size_t count = band->end_host - band->first_host;
    size_t start = at > band->first ? p->slots[at - 1].host - band->first_host : 0;
    for (size_t i = 0; i < count; i++) {
        p->slots[at].host = band->first_host + (start + i) % count;
        if (place_in(&p->hosts[p->slots[at].host], view, &p->slots[at], pitch))
            return true;
    }
    return false;
}

/* The pitch of a strip's rows when packed, where its own view has closed them up. */
static ptrdiff_t packed_pitch(const kvf__strip *s, const kvf__strip *view, ptrdiff_t of_view) {
    return s->rows > 1 && view->rows == 1 ? (ptrdiff_t)s->width : of_view;
}

static kvf_status place_strip(kvf__cuda_copier *c, const kvf__cuda_band *band, size_t at,
                              kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    const kvf__strip *s = &c->move->strips[p->order[at]];
    const kvf__strip view = host_view(c, s);
    kvf__cuda_slot *slot = &p->slots[at];
    ptrdiff_t pitch = 0;
    if (!find_host(p, band, at, &view, &pitch))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "rows cannot be packed");
    size_t stride = bytes_of(&p->hosts[slot->host]);
    /* Each chunk gives it another address; this one is aligned as badly as any of them. */
    uintptr_t packed = p->offsets[slot->host] | slot->offset;
    kvf__strip piece = *s;
    pitch = packed_pitch(s, &view, pitch);
    if (to_device(c)) {
        piece.src = (const char *)packed;
        piece.src_stride = stride;
        piece.src_pitch = pitch;
    } else {
        piece.dst = (char *)packed;
        piece.dst_stride = stride;
        piece.dst_pitch = pitch;
    }
    if (!kvf__cuda_make_piece(&piece, &c->pieces[at]))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "rows cannot be packed");
    c->pieces[at].src_in_turn = to_device(c);
    c->pieces[at].dst_in_turn = !to_device(c);
    return KVF_OK;
}

/* Joins a band's strips on the host's side and places each in its packed block. */
static kvf_status pack_band(kvf__cuda_copier *c, kvf__cuda_band *band, kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    kvf_move joined = {.limits = kvf__cuda_loop_limits, .strips = p->hosts + p->host_count};
    for (size_t i = band->first; i < band->end; i++)
        joined.strips[joined.strip_count++] = host_view(c, &c->move->strips[p->order[i]]);
    kvf__move_join(&joined);
    band->first_host = p->host_count;
    p->host_count += joined.strip_count;
    band->end_host = p->host_count;
    for (size_t h = band->first_host, offset = 0; h < band->end_host; h++) {
        p->offsets[h] = offset;
        offset += bytes_of(&p->hosts[h]);
    }
    kvf_status status = KVF_OK;
    for (size_t i = band->first; status == KVF_OK && i < band->end; i++)
        status = place_strip(c, band, i, error);
    return status;
}

static kvf_status pack_all(kvf__cuda_copier *c, kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    const kvf_move *m = c->move;
    put_in_order(c, p->order);
    kvf_status status = KVF_OK;
    for (size_t at = 0; status == KVF_OK && at < m->strip_count;) {
        kvf__cuda_band *band = &p->bands[p->band_count++];
        *band = cut_band(c, at);
        at = band->end;
        bool ends_layer =
            at == m->strip_count ||
            (m->by_layer && m->strips[p->order[at]].layer != m->strips[p->order[at - 1]].layer);
        band->end_strip = ends_layer ? at : 0;
        status = pack_band(c, band, error);
    }
    return status;
}

/* To the device the pairs come by id there; in the host's order more of them are one copy. */
static kvf_status sort_by_host(kvf__cuda_copier *c, kvf_error *error) {
    const kvf_allocator *a = &c->engine->base.allocator;
    size_t count = c->move->runs.pairs, room;
    uint32_t last = 0;
    bool sorted = true;
    for (size_t i = 0; i < count; i++) {
        sorted &= c->pairs[i].src >= last;
        last = c->pairs[i].src;
    }
    if (!to_device(c) || sorted)
        return KVF_OK;
    uint64_t *words = kvf__mul(count, 2, &room) ? kvf__alloc(a, room, sizeof *words) : NULL;
    if (!words)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    for (size_t i = 0; i < count; i++)
        words[i] = (uint64_t)c->pairs[i].src << 32 | c->pairs[i].dst;
    const uint64_t *in_order = kvf__pairs_sort(words, words + count, count, (size_t)KVF_MAX_BLOCKS);
    for (size_t i = 0; i < count; i++)
        c->pairs[i] = (kvf__cuda_pair){(uint32_t)(in_order[i] >> 32), (uint32_t)in_order[i]};
    kvf__free(a, words, room, sizeof *words);
    return KVF_OK;
}

kvf_status kvf__cuda_staged_prepare(kvf__cuda_copier *c, kvf_error *error) {
    const kvf_allocator *a = &c->engine->base.allocator;
    kvf__cuda_packing *p = &c->packing;
    size_t n = p->strip_count = c->move->strip_count;
    p->order = kvf__alloc(a, n, sizeof *p->order);
    p->slots = kvf__alloc_zero(a, n, sizeof *p->slots);
    p->hosts = kvf__alloc(a, n, sizeof *p->hosts);
    p->offsets = kvf__alloc(a, n, sizeof *p->offsets);
    p->bands = kvf__alloc(a, n, sizeof *p->bands);
    c->pieces = kvf__alloc(a, n, sizeof *c->pieces);
    if (!p->order || !p->slots || !p->hosts || !p->offsets || !p->bands || !c->pieces)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = pack_all(c, error);
    if (status == KVF_OK)
        status = sort_by_host(c, error);
    return status == KVF_OK ? kvf__cuda_open_side(c->engine, c->lane, error) : status;
}

/* A chunk */

typedef struct chunk {
    kvf__cuda_copier *copier;
    const kvf__cuda_band *band;
    kvf__cuda_buffer *buffer;
    const kvf__cuda_pair *pairs;
    size_t count;
} chunk;

static uint32_t host_id(const chunk *k, size_t pair) {
    return to_device(k->copier) ? k->pairs[pair].src : k->pairs[pair].dst;
}

/* How many pairs from one on have ids in a row on the host. */
static size_t in_a_row(const chunk *k, size_t first) {
    size_t end = first + 1;
    while (end < k->count && host_id(k, end) == host_id(k, end - 1) + 1)
        end++;
    return end - first;
}

/* Whether blocks in a row are one copy. */
static bool goes_on(const kvf__strip *host) {
    return host->rows == 1 &&
           (host->dst_stride == host->width ||
            kvf__pitch_fits(&kvf__cuda_loop_limits, (ptrdiff_t)host->dst_stride, host->width));
}

/* Blocks `first` .. of a host strip, as the host and the buffer have them. */
static kvf_box host_box(const chunk *k, const kvf__strip *host, char *packed, size_t first,
                        size_t count) {
    ptrdiff_t block = (ptrdiff_t)bytes_of(host), stride = (ptrdiff_t)host->dst_stride;
    kvf_box b = {.width = host->width, .rows = host->rows, .slices = 1};
    ptrdiff_t row = host->rows > 1 ? host->dst_pitch : 0;
    ptrdiff_t packed_row = host->rows > 1 ? (ptrdiff_t)host->width : 0;
    if (host->rows == 1 && stride == block) {
        b.width *= count;
    } else if (host->rows == 1 && count > 1) {
        b.rows = count;
        row = stride;
        packed_row = block;
    }
    char *there = host->dst + (size_t)host_id(k, first) * host->dst_stride;
    packed += first * (size_t)block;
    bool to = to_device(k->copier);
    b.src = to ? there : packed;
    b.dst = to ? packed : there;
    b.src_row_pitch = to ? row : packed_row;
    b.dst_row_pitch = to ? packed_row : row;
    return b;
}

/* Pieces go to the lists, which may become a batch; boxes at once. */
static kvf_status copy_host_box(kvf__cuda_copier *c, const kvf_box *b, kvf_error *error) {
    kvf__cuda_lists *l = c->engine->lists;
    if (b->rows > 1)
        return kvf__cuda_copy_box(c, b, error);
    if (l->count == KVF__CUDA_BATCH) {
        kvf_status status = kvf__cuda_flush(c, error);
        if (status != KVF_OK)
            return status;
    }
    l->dsts[l->count] = (CUdeviceptr)(uintptr_t)b->dst;
    l->srcs[l->count] = (CUdeviceptr)(uintptr_t)b->src;
    l->sizes[l->count] = b->width;
    l->strips[l->count++] = SIZE_MAX;
    return KVF_OK;
}

/* Cut where the host's memory was registered in segments. */
static kvf_status copy_cut(kvf__cuda_copier *c, kvf_box b, kvf_error *error) {
    uintptr_t at = to_device(c) ? (uintptr_t)b.src : (uintptr_t)b.dst;
    size_t extent = (b.rows - 1) * (size_t)(to_device(c) ? b.src_row_pitch : b.dst_row_pitch);
    if (at / KVF_CUDA_SEGMENT == (at + extent + b.width - 1) / KVF_CUDA_SEGMENT)
        return copy_host_box(c, &b, error);
    kvf_status status = KVF_OK;
    for (size_t row = 0; status == KVF_OK && row < b.rows; row++) {
        kvf_box piece = {.dst = b.dst + (ptrdiff_t)row * b.dst_row_pitch,
                         .src = b.src + (ptrdiff_t)row * b.src_row_pitch,
                         .rows = 1,
                         .slices = 1};
        for (size_t left = b.width; status == KVF_OK && left > 0; left -= piece.width) {
            at = to_device(c) ? (uintptr_t)piece.src : (uintptr_t)piece.dst;
            size_t room = KVF_CUDA_SEGMENT - at % KVF_CUDA_SEGMENT;
            piece.width = kvf__min(left, room);
            status = copy_host_box(c, &piece, error);
            piece.dst += piece.width;
            piece.src += piece.width;
        }
    }
    return status;
}

static kvf_status copy_host_side(const chunk *k, kvf_error *error) {
    kvf__cuda_copier *c = k->copier;
    const kvf__cuda_packing *p = &c->packing;
    kvf_status status = KVF_OK;
    c->engine->lists->count = 0;
    for (size_t h = k->band->first_host; h < k->band->end_host; h++) {
        const kvf__strip *host = &p->hosts[h];
        char *packed = k->buffer->memory + p->offsets[h] * k->count;
        for (size_t i = 0, n; status == KVF_OK && i < k->count; i += n) {
            n = goes_on(host) ? in_a_row(k, i) : 1;
            status = copy_cut(c, host_box(k, host, packed, i, n), error);
        }
    }
    return status == KVF_OK ? kvf__cuda_flush(c, error) : status;
}

/* The pieces of the band, with the addresses that they have in this chunk's buffer. */
static kvf_status launch_packing(const chunk *k, kvf_error *error) {
    kvf__cuda_copier *c = k->copier;
    const kvf__cuda_packing *p = &c->packing;
    for (size_t i = k->band->first; i < k->band->end; i++) {
        const kvf__cuda_slot *slot = &p->slots[i];
        uint64_t at =
            (uintptr_t)k->buffer->memory + p->offsets[slot->host] * k->count + slot->offset;
        *(to_device(c) ? &c->pieces[i].src : &c->pieces[i].dst) = at;
    }
    return kvf__cuda_launch(c, c->side, c->pieces + k->band->first, k->band->end - k->band->first,
                            k->pairs, k->count, 2 * (unsigned)c->engine->processors, error);
}

static kvf_status record(cudaEvent_t event, cudaStream_t stream, kvf_error *error) {
    cudaError_t code = cudaEventRecord(event, stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaEventRecord", error);
}

/* Puts `then` behind what `first` has so far. */
static kvf_status hand_over(cudaStream_t first, cudaEvent_t event, cudaStream_t then,
                            kvf_error *error) {
    kvf_status status = record(event, first, error);
    cudaError_t code = status == KVF_OK ? cudaStreamWaitEvent(then, event, 0) : cudaSuccess;
    return code == cudaSuccess ? status : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

static kvf_status copy_chunk(chunk *k, kvf_error *error) {
    kvf__cuda_copier *c = k->copier;
    bool to = to_device(c);
    cudaStream_t first = to ? c->stream : c->side, then = to ? c->side : c->stream;
    kvf_status (*fill)(const chunk *, kvf_error *) = to ? copy_host_side : launch_packing;
    kvf_status (*drain)(const chunk *, kvf_error *) = to ? launch_packing : copy_host_side;
    kvf_status status = kvf__cuda_buffer_take(c, first, &k->buffer, error);
    if (status == KVF_OK) {
        c->forked = true; /* from here on the side may hold work of ours, or waits */
        status = fill(k, error);
    }
    if (status == KVF_OK)
        status = hand_over(first, k->buffer->filled, then, error);
    if (status == KVF_OK)
        status = drain(k, error);
    if (status == KVF_OK)
        status = record(k->buffer->drained, then, error);
    if (k->buffer)
        k->buffer->is_drained = status == KVF_OK;
    return status;
}

/* The strategy */

/* From the device the side does the first step, behind what the stream waits for. */
static kvf_status fork(kvf__cuda_copier *c, kvf_error *error) {
    kvf__cuda_lane *l = &c->engine->lanes[c->lane];
    c->side = l->side;
    c->last = to_device(c) ? c->side : c->stream;
    if (c->forked || to_device(c))
        return KVF_OK;
    return hand_over(c->stream, l->fork, c->side, error);
}

static size_t pairs_at_once(const kvf__cuda_copier *c, const kvf__cuda_band *band) {
    size_t left = c->move->runs.pairs - c->pair;
    size_t fit = kvf__cuda_buffer_bytes(c->engine) / band->bytes;
    return kvf__min(fit, left);
}

kvf_status kvf__cuda_staged(kvf__cuda_copier *c, size_t end_strip, size_t budget,
                            kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    kvf_status status = fork(c, error);
    for (size_t copied = 0; status == KVF_OK && c->cursor.strip < end_strip && copied < budget;) {
        const kvf__cuda_band *band = &p->bands[c->band];
        chunk k = {.copier = c,
                   .band = band,
                   .pairs = c->pairs + c->pair,
                   .count = pairs_at_once(c, band)};
        status = copy_chunk(&k, error);
        if (status != KVF_OK)
            break; /* still where it stood, should another strategy take over */
        copied += k.count * band->bytes;
        c->copied += k.count * band->bytes;
        c->pair += k.count;
        if (c->pair < c->move->runs.pairs)
            continue;
        c->pair = 0;
        c->band++;
        c->cursor.strip = band->end_strip > 0 ? band->end_strip : c->cursor.strip;
    }
    return status;
}
