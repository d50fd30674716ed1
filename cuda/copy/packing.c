/*
 * What staged packs together, and where each strip then lies.
 *
 * The move's strips, in the order of their host addresses, are cut into bands that fit a buffer. A
 * band's strips are joined on the host side alone into host strips:
 *
 *     order    | strip 3 | strip 0 | strip 1 | strip 4 | strip 2 | ...
 *     bands    | band 0                      | band 1            | ...
 *     host     | host strip 0      | 1       | 2                 | ...
 */
#include "copy/copier.h"

bool kvf__cuda_staged_fits(const kvf__cuda_copier *c) {
    if (c->direction == KVF_CUDA_ON_DEVICE || !kvf__cuda_kernels.copy)
        return false;
    for (size_t i = 0; i < c->move->strip_count; i++)
        if (kvf__cuda_strip_bytes(&c->move->strips[i]) > kvf__cuda_buffer_bytes(c->context))
            return false;
    return true;
}

/* A strip whose source and destination are both its host side, for kvf__move_join. */
static kvf__strip host_view(const kvf__cuda_copier *c, const kvf__strip *s) {
    bool to = kvf__cuda_to_device(c);
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
    return kvf__cuda_to_device(c) ? s->src : s->dst;
}

/* Sorts by host address within layers: by insertion, since strips come nearly in order. */
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

/* The band from `first` on: the next strips of one layer whose block fits a buffer. */
static kvf__cuda_band cut_band(const kvf__cuda_copier *c, size_t first) {
    const kvf_move *m = c->move;
    const size_t *order = c->packing.order;
    kvf__cuda_band band = {.first = first, .end = first};
    while (band.end < m->strip_count) {
        const kvf__strip *s = &m->strips[order[band.end]];
        if ((m->by_layer && s->layer != m->strips[order[first]].layer) ||
            band.bytes + kvf__cuda_strip_bytes(s) > kvf__cuda_buffer_bytes(c->context))
            break;
        band.bytes += kvf__cuda_strip_bytes(s);
        band.end++;
    }
    return band;
}

/* Whether one row of a host strip holds `width` bytes at an address; `*offset` is their place in
 * the packed block. */
static bool holds(const kvf__strip *host, const char *address, size_t width, size_t *offset) {
    size_t distance = (size_t)((uintptr_t)address - (uintptr_t)host->dst);
    size_t pitch = host->rows > 1 ? (size_t)host->dst_pitch : SIZE_MAX;
    if ((uintptr_t)address < (uintptr_t)host->dst || distance / pitch >= host->rows ||
        distance % pitch + width > host->width)
        return false;
    *offset = distance / pitch * host->width + distance % pitch;
    return true;
}

/* Finds a strip's offset and pitch in its host strip's packed block. false if the host strip does
 * not hold all its rows, at one pitch. */
static bool find_in(const kvf__strip *host, const kvf__strip *view, kvf__cuda_packed_strip *slot,
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

/* Finds a strip's host strip in its band; starts at the previous strip's, since both come by
 * address. */
static bool find_host(const kvf__cuda_packing *p, const kvf__cuda_band *band, size_t at,
                      const kvf__strip *view, ptrdiff_t *pitch) {
    size_t count = band->end_host - band->first_host;
    size_t start = at > band->first ? p->packed[at - 1].host - band->first_host : 0;
    for (size_t i = 0; i < count; i++) {
        p->packed[at].host = band->first_host + (start + i) % count;
        if (find_in(&p->host_strips[p->packed[at].host], view, &p->packed[at], pitch))
            return true;
    }
    return false;
}

/* The packed pitch of a strip; its host view has one row where the rows touch. */
static ptrdiff_t packed_pitch(const kvf__strip *s, const kvf__strip *view, ptrdiff_t of_view) {
    return s->rows > 1 && view->rows == 1 ? (ptrdiff_t)s->width : of_view;
}

static kvf_status place_strip(kvf__cuda_copier *c, const kvf__cuda_band *band, size_t at,
                              kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    const kvf__strip *s = &c->move->strips[p->order[at]];
    const kvf__strip view = host_view(c, s);
    kvf__cuda_packed_strip *slot = &p->packed[at];
    ptrdiff_t pitch = 0;
    if (!find_host(p, band, at, &view, &pitch))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the rows of a strip have no common pitch once packed");
    size_t stride = kvf__cuda_strip_bytes(&p->host_strips[slot->host]);
    /* Each chunk has another address, buffer + offsets * count + offset; this is aligned as badly
     * as any of them. */
    uintptr_t packed = p->offsets[slot->host] | slot->offset;
    kvf__strip piece = *s;
    pitch = packed_pitch(s, &view, pitch);
    if (kvf__cuda_to_device(c)) {
        piece.src = (const char *)packed;
        piece.src_stride = stride;
        piece.src_pitch = pitch;
    } else {
        piece.dst = (char *)packed;
        piece.dst_stride = stride;
        piece.dst_pitch = pitch;
    }
    if (!kvf__cuda_make_piece(&piece, &c->pieces[at]))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "a packed strip exceeds what kernels can copy");
    c->pieces[at].src_in_turn = kvf__cuda_to_device(c);
    c->pieces[at].dst_in_turn = !kvf__cuda_to_device(c);
    return KVF_OK;
}

/* Joins a band's strips on the host side and places each in a packed block. */
static kvf_status pack_band(kvf__cuda_copier *c, kvf__cuda_band *band, kvf_error *error) {
    kvf__cuda_packing *p = &c->packing;
    kvf_move joined = {.limits = kvf__cuda_loop_limits,
                       .strips = p->host_strips + p->host_strip_count};
    for (size_t i = band->first; i < band->end; i++)
        joined.strips[joined.strip_count++] = host_view(c, &c->move->strips[p->order[i]]);
    kvf__move_join(&joined);
    band->first_host = p->host_strip_count;
    p->host_strip_count += joined.strip_count;
    band->end_host = p->host_strip_count;
    for (size_t h = band->first_host, offset = 0; h < band->end_host; h++) {
        p->offsets[h] = offset;
        offset += kvf__cuda_strip_bytes(&p->host_strips[h]);
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

/* To the device, pairs come by device id; sorted by host id, more of them form one copy. */
static kvf_status sort_by_host(kvf__cuda_copier *c, kvf_error *error) {
    const kvf_allocator *a = c->context->allocator;
    size_t count = c->move->runs.pairs, room;
    uint32_t last = 0;
    bool sorted = true;
    for (size_t i = 0; i < count; i++) {
        sorted &= c->pairs[i].src >= last;
        last = c->pairs[i].src;
    }
    if (!kvf__cuda_to_device(c) || sorted)
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
    const kvf_allocator *a = c->context->allocator;
    kvf__cuda_packing *p = &c->packing;
    size_t n = p->strip_count = c->move->strip_count;
    p->order = kvf__alloc(a, n, sizeof *p->order);
    p->packed = kvf__alloc_zero(a, n, sizeof *p->packed);
    p->host_strips = kvf__alloc(a, n, sizeof *p->host_strips);
    p->offsets = kvf__alloc(a, n, sizeof *p->offsets);
    p->bands = kvf__alloc(a, n, sizeof *p->bands);
    c->pieces = kvf__alloc(a, n, sizeof *c->pieces);
    if (!p->order || !p->packed || !p->host_strips || !p->offsets || !p->bands || !c->pieces)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = pack_all(c, error);
    if (status == KVF_OK)
        status = sort_by_host(c, error);
    return status;
}
