/* The upload ring: lists for kernels. */
#include "copy/copier.h"

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

/* Drops lists whose transfers have retired. */
static void drop_read(kvf__cuda_upload_ring *r, const _Atomic uint64_t *retired) {
    while (r->count > 0 && atomic_load(&retired[r->lists[r->first].user.lane]) >=
                               r->lists[r->first].user.sequence) {
        r->tail = r->lists[r->first].end;
        r->first = (r->first + 1) % KVF__CUDA_UPLOADS;
        r->count--;
    }
    if (r->count == 0)
        r->head = r->tail = 0;
}

/* The offset of `bytes` free bytes in a row; RING_BYTES when there are none. The head never reaches
 * the tail, which would look empty. */
static size_t find_room(const kvf__cuda_upload_ring *r, size_t bytes) {
    if (r->count == 0)
        return bytes <= RING_BYTES ? 0 : RING_BYTES;
    if (r->head > r->tail)
        return bytes <= RING_BYTES - r->head ? r->head : bytes < r->tail ? 0 : RING_BYTES;
    return r->head + bytes < r->tail ? r->head : RING_BYTES;
}

char *kvf__cuda_upload_ring_take(kvf__cuda_copy_context *context, size_t bytes,
                                 kvf__cuda_user user) {
    kvf__cuda_upload_ring *r = &context->uploads;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    drop_read(r, context->retired);
    if (bytes > RING_BYTES / 2 || r->count == KVF__CUDA_UPLOADS || !make_ring(r))
        return NULL;
    size_t at = find_room(r, rounded);
    if (at == RING_BYTES)
        return NULL;
    size_t next = (r->first + r->count++) % KVF__CUDA_UPLOADS;
    r->head = at + rounded;
    r->lists[next].end = r->head;
    r->lists[next].user = user;
    return r->host + at;
}

void kvf__cuda_upload_ring_free(kvf__cuda_upload_ring *r) {
    if (r->host) {
        (void)cudaFreeHost(r->host);
        (void)cudaFree(r->device);
    }
    *r = (kvf__cuda_upload_ring){0};
    (void)cudaGetLastError();
}
