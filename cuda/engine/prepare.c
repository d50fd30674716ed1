/* What a transfer needs before its first copy: layers' events, a strategy and its copier. */
#include "engine/engine_cuda.h"

kvf_status kvf__cuda_demand_layers(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (!t->layer_left)
        return KVF_OK;
    cudaEvent_t *layers = kvf__alloc_zero(&e->base.allocator, t->layer_count, sizeof *layers);
    if (!layers)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    j->layers = layers;
    j->layer_count = t->layer_count;
    kvf_status status = KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    for (uint32_t g = 0; status == KVF_OK && g < t->layer_count; g++)
        status = kvf__cuda_demand_event(e, &layers[g], error);
    pthread_mutex_unlock(&e->base.lock);
    return status;
}

static kvf_status prepare_copier(kvf__cuda *e, kvf__cuda_copier *c, kvf_error *error) {
    kvf_status status = kvf__cuda_copier_prepare(c, error);
    if (status != KVF_OK || c->strategy != KVF_CUDA_STAGED)
        return status;
    status = kvf__cuda_open_side(e, c->user.lane, error);
    if (status != KVF_OK)
        kvf__cuda_copier_finish(c);
    c->side = e->lanes[c->user.lane].side;
    c->fork = e->lanes[c->user.lane].fork;
    return status;
}

/* Chooses a strategy that can do this, and readies it. */
kvf_status kvf__cuda_ready_copier(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_copier *c = &kvf__cuda_job_of(t)->copier;
    kvf_status status;
    c->last = c->stream;
    c->forked = false;
    do {
        kvf__cuda_choose(e, t);
        status = prepare_copier(e, c, error);
        c->excluded |= 1u << c->strategy;
    } while (status == KVF_ERR_UNSUPPORTED);
    return status;
}
