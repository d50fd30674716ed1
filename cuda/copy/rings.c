/* Memory that transfers share: for the lists of kernels, and for packing. */
#include "engine/engine_cuda.h"

/* Lists for kernels */

enum { RING_BYTES = 4 << 20, ALIGNMENT = 64 };

static bool make_ring(kvf__cuda_upload_ring *r) {
    void *host = NULL, *device = NULL;
    if (r->host)
        return true;
    if (cudaHostAlloc(&host, RING_BYTES, cudaHostAllocDefault) == cudaSuccess &&
        cudaMalloc(&device, RING_BYTES) == cudaSuccess) {
        r->host = host;
        r->device = device;
        return true;
    }
    if (host)
        (void)cudaFreeHost(host);
    (void)cudaGetLastError();
    return false; /* launches in parts need no ring */
}

/* Forgets lists that are no longer read. */
static void drop_read(kvf__cuda *e) {
    kvf__cuda_upload_ring *r = &e->ring;
    while (r->count > 0 &&
           atomic_load(&e->base.retired[r->lists[r->first].lane]) >= r->lists[r->first].sequence) {
        r->tail = r->lists[r->first].end;
        r->first = (r->first + 1) % KVF__CUDA_UPLOADS;
        r->count--;
    }
    if (r->count == 0)
        r->head = r->tail = 0;
}

/* Where `bytes` in a row fit; RING_BYTES when nowhere. Never up to the tail: full is not empty. */
static size_t find_room(const kvf__cuda_upload_ring *r, size_t bytes) {
    if (r->count == 0)
        return bytes <= RING_BYTES ? 0 : RING_BYTES;
    if (r->head > r->tail)
        return bytes <= RING_BYTES - r->head ? r->head : bytes < r->tail ? 0 : RING_BYTES;
    return r->head + bytes < r->tail ? r->head : RING_BYTES;
}

char *kvf__cuda_upload_ring_take(kvf__cuda *e, size_t bytes, unsigned lane, uint64_t sequence) {
    kvf__cuda_upload_ring *r = &e->ring;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    drop_read(e);
    if (bytes > RING_BYTES / 2 || r->count == KVF__CUDA_UPLOADS || !make_ring(r))
        return NULL;
    size_t at = find_room(r, rounded);
    if (at == RING_BYTES)
        return NULL;
    size_t next = (r->first + r->count++) % KVF__CUDA_UPLOADS;
    r->head = at + rounded;
    r->lists[next].end = r->head;
    r->lists[next].lane = lane;
    r->lists[next].sequence = sequence;
    return r->host + at;
}

/* Buffers for packing */

size_t kvf__cuda_buffer_bytes(const kvf__cuda *e) {
    return e->options.packing_bytes / KVF__CUDA_BUFFERS;
}

static kvf_status make_buffer(kvf__cuda *e, kvf__cuda_buffer *b, kvf_error *error) {
    void *memory = NULL;
    *b = (kvf__cuda_buffer){0};
    cudaError_t code = cudaMalloc(&memory, kvf__cuda_buffer_bytes(e));
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaMalloc", error);
    code = cudaEventCreateWithFlags(&b->filled, cudaEventDisableTiming);
    if (code == cudaSuccess) {
        code = cudaEventCreateWithFlags(&b->drained, cudaEventDisableTiming);
        if (code == cudaSuccess) {
            b->memory = memory;
            return KVF_OK;
        }
        (void)cudaEventDestroy(b->filled);
    }
    kvf_status status = kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
    (void)cudaFree(memory);
    (void)cudaGetLastError();
    return status;
}

static bool is_free(const kvf__cuda *e, const kvf__cuda_buffer *b) {
    return atomic_load(&e->base.retired[b->lane]) >= b->sequence;
}

/* The free buffer, or else the one, that was taken longest ago; NULL without any. */
static kvf__cuda_buffer *oldest(kvf__cuda *e, kvf__cuda_buffers *all, bool free) {
    kvf__cuda_buffer *best = NULL;
    for (size_t i = 0; i < all->count; i++) {
        kvf__cuda_buffer *b = &all->items[i];
        if ((!free || is_free(e, b)) && (!best || b->turn < best->turn))
            best = b;
    }
    return best;
}

/* Whether the ring is better made larger than waited for. What waits for compute may hold it for
 * long. */
static bool may_grow(const kvf__cuda_copier *c, const kvf__cuda_buffers *all) {
    size_t bytes = kvf__cuda_buffer_bytes(c->engine), after = (all->count + 1) * bytes;
    if (all->count < KVF__CUDA_BUFFERS)
        return true;
    return c->beside_compute && all->count < KVF__CUDA_MOST_BUFFERS &&
           after <= c->engine->options.packing_limit;
}

static kvf_status choose_buffer(kvf__cuda_copier *c, kvf__cuda_buffer **out, kvf_error *error) {
    kvf__cuda *e = c->engine;
    kvf__cuda_buffers *all = &e->buffers[c->direction];
    *out = oldest(e, all, true);
    if (*out)
        return KVF_OK;
    if (may_grow(c, all)) {
        kvf_status status = make_buffer(e, &all->items[all->count], error);
        if (status == KVF_OK)
            *out = &all->items[all->count++];
        if (status == KVF_OK || (status != KVF_ERR_NO_MEMORY || all->count == 0))
            return status;
    }
    *out = oldest(e, all, false);
    return KVF_OK;
}

/* Behind the buffer's last use. */
static kvf_status wait_drained(kvf__cuda *e, const kvf__cuda_buffer *b, cudaStream_t filler,
                               kvf_error *error) {
    if (is_free(e, b))
        return KVF_OK;
    if (!b->is_drained) {
        uint64_t after[KVF__LANES] = {0};
        after[b->lane] = b->sequence;
        return kvf__cuda_wait_after(e, after, filler, error);
    }
    cudaError_t code = cudaStreamWaitEvent(filler, b->drained, 0);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

kvf_status kvf__cuda_buffer_take(kvf__cuda_copier *c, cudaStream_t filler, kvf__cuda_buffer **out,
                                 kvf_error *error) {
    kvf__cuda *e = c->engine;
    kvf__cuda_buffer *b = NULL;
    kvf_status status = choose_buffer(c, &b, error);
    if (status == KVF_OK)
        status = wait_drained(e, b, filler, error);
    if (status != KVF_OK)
        return status;
    b->is_drained = false;
    b->lane = c->lane;
    b->sequence = c->sequence;
    b->turn = ++e->buffers[c->direction].turns;
    *out = b;
    return KVF_OK;
}

void kvf__cuda_rings_free(kvf__cuda *e) {
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        kvf__cuda_buffers *all = &e->buffers[d];
        for (size_t i = 0; i < all->count; i++) {
            (void)cudaEventDestroy(all->items[i].filled);
            (void)cudaEventDestroy(all->items[i].drained);
            (void)cudaFree(all->items[i].memory);
        }
        all->count = 0;
    }
    if (e->ring.host) {
        (void)cudaFreeHost(e->ring.host);
        (void)cudaFree(e->ring.device);
    }
    e->ring = (kvf__cuda_upload_ring){0};
    (void)cudaGetLastError();
}
