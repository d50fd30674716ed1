/*
 * The strategy staged: kernels pack small pieces on the device into chunks, which are copied to the
 * host in large pieces; and the reverse.
 *
 *     from the device   side   | pack 0 | pack 1 | pack 2 |
 *                       stream          | copy 0          | copy 1          |
 *     to the device     stream | copy 0          | copy 1          |
 *                       side                     | unpack 0        | unpack 1 |
 *
 * A chunk is some pairs times the strips of a band (packing.c). For each of the band's host strips
 * it holds the blocks in a row, so that consecutive ids on the host are one copy:
 *
 *     buffer   | host strip 0: block, block, ... | host strip 1: block, block, ... |
 */
#include "copy/copier.h"

/* A chunk */

typedef struct chunk {
    kvf__cuda_copier *copier;
    const kvf__cuda_band *band;
    kvf__cuda_buffer *buffer;
    const kvf__cuda_pair *pairs;
    size_t count;
} chunk;

static uint32_t host_id(const chunk *k, size_t pair) {
    return kvf__cuda_to_device(k->copier) ? k->pairs[pair].src : k->pairs[pair].dst;
}

/* How many pairs from `first` on have consecutive host ids. */
static size_t in_a_row(const chunk *k, size_t first) {
    size_t end = first + 1;
    while (end < k->count && host_id(k, end) == host_id(k, end - 1) + 1)
        end++;
    return end - first;
}

/* Whether consecutive blocks are one copy. */
static bool is_one_copy(const kvf__strip *host) {
    return host->rows == 1 &&
           (host->dst_stride == host->width ||
            kvf__pitch_fits(&kvf__cuda_loop_limits, (ptrdiff_t)host->dst_stride, host->width));
}

/* The box of `count` blocks of a host strip from `first` on, between host and buffer. */
static kvf_box host_box(const chunk *k, const kvf__strip *host, char *packed, size_t first,
                        size_t count) {
    ptrdiff_t block = (ptrdiff_t)kvf__cuda_strip_bytes(host), stride = (ptrdiff_t)host->dst_stride;
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
    bool to = kvf__cuda_to_device(k->copier);
    b.src = to ? there : packed;
    b.dst = to ? packed : there;
    b.src_row_pitch = to ? row : packed_row;
    b.dst_row_pitch = to ? packed_row : row;
    return b;
}

/* Adds a piece to the lists, for a batch; copies a box at once. */
static kvf_status copy_host_box(kvf__cuda_copier *c, const kvf_box *b, kvf_error *error) {
    kvf__cuda_lists *l = c->context->lists;
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

/* Copies a box in pieces that do not cross the segments that host memory is registered in. */
static kvf_status copy_cut(kvf__cuda_copier *c, kvf_box b, kvf_error *error) {
    uintptr_t at = kvf__cuda_to_device(c) ? (uintptr_t)b.src : (uintptr_t)b.dst;
    size_t extent =
        (b.rows - 1) * (size_t)(kvf__cuda_to_device(c) ? b.src_row_pitch : b.dst_row_pitch);
    if (at / KVF_CUDA_SEGMENT == (at + extent + b.width - 1) / KVF_CUDA_SEGMENT)
        return copy_host_box(c, &b, error);
    kvf_status status = KVF_OK;
    for (size_t row = 0; status == KVF_OK && row < b.rows; row++) {
        kvf_box piece = {.dst = b.dst + (ptrdiff_t)row * b.dst_row_pitch,
                         .src = b.src + (ptrdiff_t)row * b.src_row_pitch,
                         .rows = 1,
                         .slices = 1};
        for (size_t left = b.width; status == KVF_OK && left > 0; left -= piece.width) {
            at = kvf__cuda_to_device(c) ? (uintptr_t)piece.src : (uintptr_t)piece.dst;
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
    c->context->lists->count = 0;
    for (size_t h = k->band->first_host; h < k->band->end_host; h++) {
        const kvf__strip *host = &p->host_strips[h];
        char *packed = k->buffer->memory + p->offsets[h] * k->count;
        for (size_t i = 0, n; status == KVF_OK && i < k->count; i += n) {
            n = is_one_copy(host) ? in_a_row(k, i) : 1;
            status = copy_cut(c, host_box(k, host, packed, i, n), error);
        }
    }
    return status == KVF_OK ? kvf__cuda_flush(c, error) : status;
}

/* Packs or unpacks the band's pieces, at their addresses in this chunk's buffer. */
static kvf_status launch_packing(const chunk *k, kvf_error *error) {
    kvf__cuda_copier *c = k->copier;
    const kvf__cuda_packing *p = &c->packing;
    for (size_t i = k->band->first; i < k->band->end; i++) {
        const kvf__cuda_packed_strip *slot = &p->packed[i];
        uint64_t at =
            (uintptr_t)k->buffer->memory + p->offsets[slot->host] * k->count + slot->offset;
        *(kvf__cuda_to_device(c) ? &c->pieces[i].src : &c->pieces[i].dst) = at;
    }
    return kvf__cuda_launch(c, c->side, c->pieces + k->band->first, k->band->end - k->band->first,
                            k->pairs, k->count, 2 * (unsigned)c->context->processors, error);
}

static kvf_status record(cudaEvent_t event, cudaStream_t stream, kvf_error *error) {
    cudaError_t code = cudaEventRecord(event, stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaEventRecord", error);
}

/* Makes `then` wait for all that `first` holds so far. */
static kvf_status hand_over(cudaStream_t first, cudaEvent_t event, cudaStream_t then,
                            kvf_error *error) {
    kvf_status status = record(event, first, error);
    cudaError_t code = status == KVF_OK ? cudaStreamWaitEvent(then, event, 0) : cudaSuccess;
    return code == cudaSuccess ? status : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

static kvf_status copy_chunk(chunk *k, kvf_error *error) {
    kvf__cuda_copier *c = k->copier;
    bool to = kvf__cuda_to_device(c);
    cudaStream_t first = to ? c->stream : c->side, then = to ? c->side : c->stream;
    kvf_status (*fill)(const chunk *, kvf_error *) = to ? copy_host_side : launch_packing;
    kvf_status (*drain)(const chunk *, kvf_error *) = to ? launch_packing : copy_host_side;
    kvf_status status = kvf__cuda_buffer_take(c, first, &k->buffer, error);
    if (status == KVF_OK) {
        c->forked = true; /* the side may hold work or waits from here on */
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

/* From the device, the side does the first step and so waits for what the stream waits for. */
static kvf_status fork(kvf__cuda_copier *c, kvf_error *error) {
    c->last = kvf__cuda_to_device(c) ? c->side : c->stream;
    if (c->forked || kvf__cuda_to_device(c))
        return KVF_OK;
    return hand_over(c->stream, c->fork, c->side, error);
}

static size_t pairs_at_once(const kvf__cuda_copier *c, const kvf__cuda_band *band) {
    size_t left = c->move->runs.pairs - c->pair;
    size_t fit = kvf__cuda_buffer_bytes(c->context) / band->bytes;
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
            break; /* nothing has moved on: another strategy may take over */
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
