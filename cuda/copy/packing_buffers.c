/* Packing buffers, which the staged transfers of one direction share. */
#include "copy/copier.h"

size_t kvf__cuda_buffer_bytes(const kvf__cuda_copy_context *context) {
    return context->options->packing_bytes / KVF__CUDA_BUFFERS;
}

static kvf_status make_buffer(const kvf__cuda_copy_context *context, kvf__cuda_buffer *b,
                              kvf_error *error) {
    void *memory = NULL;
    *b = (kvf__cuda_buffer){0};
    cudaError_t code = cudaMalloc(&memory, kvf__cuda_buffer_bytes(context));
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

static bool is_free(const kvf__cuda_copy_context *context, const kvf__cuda_buffer *b) {
    return atomic_load(&context->retired[b->user.lane]) >= b->user.sequence;
}

/* The buffer that was taken longest ago, among all or among the free ones; NULL without any. */
static kvf__cuda_buffer *oldest(kvf__cuda_copier *c, bool free) {
    kvf__cuda_buffers *all = &c->context->buffers[c->direction];
    kvf__cuda_buffer *best = NULL;
    for (size_t i = 0; i < all->count; i++) {
        kvf__cuda_buffer *b = &all->items[i];
        if ((!free || is_free(c->context, b)) && (!best || b->turn < best->turn))
            best = b;
    }
    return best;
}

/* Whether another buffer is better than waiting for one: transfers that wait for compute may hold
 * theirs for long. */
static bool may_grow(const kvf__cuda_copier *c) {
    const kvf__cuda_copy_context *context = c->context;
    size_t count = context->buffers[c->direction].count;
    if (count < KVF__CUDA_BUFFERS)
        return true;
    return c->holds_long && count < KVF__CUDA_MOST_BUFFERS &&
           (count + 1) * kvf__cuda_buffer_bytes(context) <= context->options->packing_limit;
}

static kvf_status choose_buffer(kvf__cuda_copier *c, kvf__cuda_buffer **out, kvf_error *error) {
    kvf__cuda_buffers *all = &c->context->buffers[c->direction];
    *out = oldest(c, true);
    if (*out)
        return KVF_OK;
    if (may_grow(c)) {
        kvf_status status = make_buffer(c->context, &all->items[all->count], error);
        if (status == KVF_OK)
            *out = &all->items[all->count++];
        if (status == KVF_OK || (status != KVF_ERR_NO_MEMORY || all->count == 0))
            return status;
    }
    *out = oldest(c, false);
    return KVF_OK;
}

/* Whether the caller has made `filler` wait for the buffer's user. */
static bool was_waited_for(const kvf__cuda_copier *c, const kvf__cuda_buffer *b,
                           cudaStream_t filler) {
    return c->blocked.filler == filler && c->blocked.user.lane == b->user.lane &&
           c->blocked.user.sequence == b->user.sequence;
}

/* Makes `filler` wait for the buffer's last use. */
static kvf_status wait_drained(kvf__cuda_copier *c, const kvf__cuda_buffer *b, cudaStream_t filler,
                               kvf_error *error) {
    if (is_free(c->context, b))
        return KVF_OK;
    if (!b->is_drained) {
        bool waited = was_waited_for(c, b, filler);
        c->blocked.filler = filler;
        c->blocked.user = b->user;
        return waited ? KVF_OK : KVF_PENDING;
    }
    cudaError_t code = cudaStreamWaitEvent(filler, b->drained, 0);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

kvf_status kvf__cuda_buffer_take(kvf__cuda_copier *c, cudaStream_t filler, kvf__cuda_buffer **out,
                                 kvf_error *error) {
    kvf__cuda_buffer *b = NULL;
    kvf_status status = choose_buffer(c, &b, error);
    if (status == KVF_OK)
        status = wait_drained(c, b, filler, error);
    if (status != KVF_OK)
        return status;
    b->is_drained = false;
    b->user = c->user;
    b->turn = ++c->context->buffers[c->direction].turns;
    *out = b;
    return KVF_OK;
}

void kvf__cuda_buffers_free(kvf__cuda_copy_context *context) {
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        kvf__cuda_buffers *all = &context->buffers[d];
        for (size_t i = 0; i < all->count; i++) {
            (void)cudaEventDestroy(all->items[i].filled);
            (void)cudaEventDestroy(all->items[i].drained);
            (void)cudaFree(all->items[i].memory);
        }
        all->count = 0;
    }
    (void)cudaGetLastError();
}
