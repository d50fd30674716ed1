/* The strategy kernel: a kernel reads or writes pinned host memory directly. */
#include "copy/copier.h"

#include <string.h>

/* Pieces */

enum {
    WARPS = KVF__CUDA_THREADS / 32,
    USUAL_CTAS = 16, /* of 512 threads with up to 128 bytes each in flight: 1 MiB */
};

static const size_t most_units = INT32_MAX;

/* The widest vector that divides all addresses, strides, pitches and the width. */
static unsigned vector_bytes(const kvf__cuda_piece *p, size_t width) {
    uint64_t all = p->dst | p->src | p->dst_stride | p->src_stride | (uint64_t)p->dst_pitch |
                   (uint64_t)p->src_pitch | width | 16;
    return (unsigned)(all & (~all + 1));
}

bool kvf__cuda_make_piece(const kvf__strip *strip, kvf__cuda_piece *out) {
    kvf__cuda_piece p = {
        .dst = (uintptr_t)strip->dst,
        .src = (uintptr_t)strip->src,
        .dst_stride = strip->dst_stride,
        .src_stride = strip->src_stride,
        .dst_pitch = strip->dst_pitch,
        .src_pitch = strip->src_pitch,
    };
    p.bytes = (uint16_t)vector_bytes(&p, strip->width);
    size_t columns = strip->width / p.bytes, vectors;
    if (!kvf__mul(columns, strip->rows, &vectors) || vectors > most_units)
        return false;
    p.columns = (uint32_t)columns;
    p.vectors = (uint32_t)vectors;
    size_t cut = (size_t)KVF__CUDA_UNIT / p.bytes;
    p.per_pair = (uint32_t)((vectors + cut - 1) / cut);
    *out = p;
    return true;
}

/* Units for one pair, of all pieces. */
static size_t units_of(const kvf__cuda_piece *pieces, size_t count) {
    size_t units = 0;
    for (size_t i = 0; i < count; i++)
        units += pieces[i].per_pair;
    return units;
}

/* Launches */

typedef struct launch {
    kvf__cuda_copier *copier;
    cudaStream_t stream;
    unsigned most; /* thread blocks, at most */
    const kvf__cuda_piece *pieces;
    const kvf__cuda_pair *pairs;
    size_t piece_count, pair_count;
    size_t before; /* pairs in earlier launches, for sides whose blocks are numbered as the pairs */
} launch;

static size_t list_bytes(const launch *l) {
    return l->piece_count * sizeof *l->pieces + l->pair_count * sizeof *l->pairs;
}

/* Writes the pieces, then the pairs. */
static void write_lists(const launch *l, void *out) {
    kvf__cuda_piece *pieces = out;
    uint32_t first = 0;
    for (size_t i = 0; i < l->piece_count; i++) {
        pieces[i] = l->pieces[i];
        pieces[i].first = first;
        pieces[i].dst += l->pieces[i].dst_in_turn * l->before * l->pieces[i].dst_stride;
        pieces[i].src += l->pieces[i].src_in_turn * l->before * l->pieces[i].src_stride;
        first += pieces[i].per_pair * (uint32_t)l->pair_count;
    }
    memcpy(pieces + l->piece_count, l->pairs, l->pair_count * sizeof *l->pairs);
}

static kvf_status start(const launch *l, const void *kernel, size_t units, void *work,
                        kvf_error *error) {
    size_t wanted = (units + WARPS - 1) / WARPS;
    dim3 grid = {(unsigned)kvf__min(wanted, l->most), 1, 1};
    dim3 block = {KVF__CUDA_THREADS, 1, 1};
    cudaError_t code = cudaLaunchKernel(kernel, grid, block, &work, 0, l->stream);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaLaunchKernel", error);
    l->copier->enqueued = true;
    return KVF_OK;
}

static kvf_status start_few(const launch *l, kvf_error *error) {
    kvf__cuda_few work;
    size_t units = units_of(l->pieces, l->piece_count) * l->pair_count;
    work.piece_count = (uint32_t)l->piece_count;
    work.units = (uint32_t)units;
    write_lists(l, work.lists);
    return start(l, kvf__cuda_kernels.copy_few, units, &work, error);
}

static kvf_status start_many(const launch *l, kvf_error *error) {
    kvf__cuda_many work;
    size_t units = units_of(l->pieces, l->piece_count) * l->pair_count;
    work.piece_count = (uint32_t)l->piece_count;
    work.units = (uint32_t)units;
    write_lists(l, work.lists);
    return start(l, kvf__cuda_kernels.copy_many, units, &work, error);
}

/* With lists in the upload ring. */
static kvf_status start_listed(const launch *l, char *lists, kvf_error *error) {
    const kvf__cuda_upload_ring *ring = &l->copier->context->uploads;
    char *there = ring->device + (lists - ring->host);
    size_t units = units_of(l->pieces, l->piece_count) * l->pair_count;
    kvf__cuda_work work = {
        .pieces = (const kvf__cuda_piece *)(void *)there,
        .pairs = (const kvf__cuda_pair *)(void *)(there + l->piece_count * sizeof(kvf__cuda_piece)),
        .piece_count = (uint32_t)l->piece_count,
        .units = (uint32_t)units,
    };
    write_lists(l, lists);
    cudaError_t code =
        cudaMemcpyAsync(there, lists, list_bytes(l), cudaMemcpyHostToDevice, l->stream);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaMemcpyAsync", error);
    l->copier->enqueued = true;
    return start(l, kvf__cuda_kernels.copy, units, &work, error);
}

/* In as many small launches as it takes. */
static kvf_status start_in_parts(const launch *l, kvf_error *error) {
    enum {
        PIECES = KVF__CUDA_FEW / 2 / sizeof(kvf__cuda_piece),
        PAIRS = (KVF__CUDA_FEW - PIECES * sizeof(kvf__cuda_piece)) / sizeof(kvf__cuda_pair),
    };
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < l->piece_count; i += PIECES)
        for (size_t k = 0; status == KVF_OK && k < l->pair_count; k += PAIRS) {
            launch part = *l;
            part.pieces += i;
            part.pairs += k;
            part.before += k;
            part.piece_count = kvf__min(l->piece_count - i, PIECES);
            part.pair_count = kvf__min(l->pair_count - k, PAIRS);
            status = start_few(&part, error);
        }
    return status;
}

static kvf_status start_one(const launch *l, kvf_error *error) {
    const kvf__cuda_copier *c = l->copier;
    if (list_bytes(l) <= KVF__CUDA_FEW)
        return start_few(l, error);
    if (list_bytes(l) <= KVF__CUDA_MANY && c->context->driver->many_parameters)
        return start_many(l, error);
    char *lists = kvf__cuda_upload_ring_take(c->context, list_bytes(l), c->user);
    return lists ? start_listed(l, lists, error) : start_in_parts(l, error);
}

kvf_status kvf__cuda_launch(kvf__cuda_copier *c, cudaStream_t stream, const kvf__cuda_piece *pieces,
                            size_t piece_count, const kvf__cuda_pair *pairs, size_t pair_count,
                            unsigned most, kvf_error *error) {
    enum { PAIRS = 1 << 17 }; /* in one list: 1 MiB, a fourth of the upload ring */
    /* Every piece has units. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
    size_t at_once = kvf__min(most_units / units_of(pieces, piece_count), PAIRS);
    kvf_status status = KVF_OK;
    for (size_t at = 0; status == KVF_OK && at < pair_count; at += at_once) {
        launch l = {
            .copier = c,
            .stream = stream,
            .most = most,
            .pieces = pieces,
            .pairs = pairs + at,
            .piece_count = piece_count,
            .pair_count = kvf__min(pair_count - at, at_once),
            .before = at,
        };
        status = start_one(&l, error);
    }
    return status;
}

/* The strategy */

static kvf__strip shifted(const kvf__cuda_copier *c, kvf__strip strip) {
    strip.dst += c->dst_shift;
    strip.src += c->src_shift;
    return strip;
}

bool kvf__cuda_kernel_fits(const kvf__cuda_copier *c) {
    size_t units = 0;
    for (size_t i = 0; c->reachable && i < c->move->strip_count; i++) {
        kvf__strip strip = shifted(c, c->move->strips[i]);
        kvf__cuda_piece piece;
        if (!kvf__cuda_make_piece(&strip, &piece) || (units += piece.per_pair) > most_units)
            return false;
    }
    return c->reachable;
}

kvf_status kvf__cuda_kernel_prepare(kvf__cuda_copier *c, kvf_error *error) {
    const kvf_allocator *a = c->context->allocator;
    c->pieces = kvf__alloc(a, c->move->strip_count, sizeof *c->pieces);
    if (!c->pieces)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    for (size_t i = 0; i < c->move->strip_count; i++) {
        kvf__strip strip = shifted(c, c->move->strips[i]);
        (void)kvf__cuda_make_piece(&strip, &c->pieces[i]);
    }
    return KVF_OK;
}

static unsigned link_ctas(const kvf__cuda_copier *c) {
    if (c->direction == KVF_CUDA_ON_DEVICE)
        return 2 * (unsigned)c->context->processors;
    return c->context->options->ctas ? c->context->options->ctas : USUAL_CTAS;
}

kvf_status kvf__cuda_kernel(kvf__cuda_copier *c, size_t end_strip, size_t budget,
                            kvf_error *error) {
    size_t first = c->cursor.strip, bytes = 0, pairs = c->move->runs.pairs;
    for (size_t i = first; i < end_strip; i++)
        bytes += c->move->strips[i].width * c->move->strips[i].rows;
    /* No strip is empty. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
    size_t left = pairs - c->pair, count = budget / bytes + (budget < bytes);
    count = kvf__min(count, left);
    kvf_status status = kvf__cuda_launch(c, c->stream, c->pieces + first, end_strip - first,
                                         c->pairs + c->pair, count, link_ctas(c), error);
    if (status != KVF_OK)
        return status;
    c->copied += count * bytes;
    c->pair += count;
    if (c->pair < pairs)
        return KVF_OK;
    c->pair = 0;
    c->cursor.strip = end_strip;
    return KVF_OK;
}
