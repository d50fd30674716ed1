/* What the strategies kernel and staged allocate for a transfer. */
#include "copy/copier.h"

static kvf_status make_pairs(kvf__cuda_copier *c, kvf_error *error) {
    const kvf__runs *runs = &c->move->runs;
    c->pairs = kvf__alloc(c->context->allocator, runs->pairs, sizeof *c->pairs);
    if (!c->pairs)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__cuda_pair *out = c->pairs;
    for (size_t r = 0; r < runs->count; r++) {
        const kvf__run *run = &runs->items[r];
        uint32_t src = run->src, dst = run->dst;
        for (uint32_t i = 0; i < run->count; i++) {
            *out++ = (kvf__cuda_pair){src, dst};
            src += (uint32_t)run->src_step;
            dst += (uint32_t)run->dst_step;
        }
    }
    return KVF_OK;
}

kvf_status kvf__cuda_copier_prepare(kvf__cuda_copier *c, kvf_error *error) {
    if (c->strategy != KVF_CUDA_KERNEL && c->strategy != KVF_CUDA_STAGED)
        return KVF_OK;
    kvf_status status = make_pairs(c, error);
    if (status == KVF_OK)
        status = c->strategy == KVF_CUDA_KERNEL ? kvf__cuda_kernel_prepare(c, error)
                                                : kvf__cuda_staged_prepare(c, error);
    if (status != KVF_OK)
        kvf__cuda_copier_finish(c);
    return status;
}

void kvf__cuda_copier_finish(kvf__cuda_copier *c) {
    if (!c->pairs)
        return;
    const kvf_allocator *a = c->context->allocator;
    kvf__cuda_packing *p = &c->packing;
    size_t n = c->move->strip_count;
    kvf__free(a, c->pairs, c->move->runs.pairs, sizeof *c->pairs);
    kvf__free(a, c->pieces, n, sizeof *c->pieces);
    kvf__free(a, p->order, n, sizeof *p->order);
    kvf__free(a, p->packed, n, sizeof *p->packed);
    kvf__free(a, p->host_strips, n, sizeof *p->host_strips);
    kvf__free(a, p->offsets, n, sizeof *p->offsets);
    kvf__free(a, p->bands, n, sizeof *p->bands);
    c->pairs = NULL;
    c->pieces = NULL;
    *p = (kvf__cuda_packing){0};
}
