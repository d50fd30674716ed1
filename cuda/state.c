/* Engines that are beyond use, and transfers that have failed. */
#include "engine_cuda.h"

bool kvf__cuda_note_broken(kvf__cuda *e, const kvf_error *error) {
    if (error->status != KVF_ERR_BROKEN || atomic_load(&e->broken))
        return atomic_load(&e->broken);
    e->broken_by = *error;
    atomic_store(&e->broken, true);
    return true;
}

static void let_through(cudaStream_t stream) {
    if (stream)
        (void)cudaStreamSynchronize(stream);
}

void kvf__cuda_give_up(kvf__cuda *e, const kvf_error *error) {
    kvf_error by = *error;
    for (unsigned lane = 0; lane < KVF__LANES; lane++) {
        let_through(e->lanes[lane].stream);
        let_through(e->lanes[lane].side);
    }
    (void)cudaGetLastError();
    by.status = KVF_ERR_BROKEN;
    kvf__cuda_note_broken(e, &by);
}

bool kvf__cuda_note_failure(kvf__cuda *e, const kvf_error *error) {
    if (!kvf__cuda_note_broken(e, error) && ++e->failures >= KVF__CUDA_PATIENCE)
        kvf__cuda_give_up(e, error);
    return atomic_load(&e->broken);
}

kvf_status kvf__cuda_check_broken(kvf__cuda *e, kvf_error *error) {
    if (!atomic_load(&e->broken))
        return KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    kvf_error by = e->broken_by;
    pthread_mutex_unlock(&e->base.lock);
    return kvf__fail(error, by);
}

void kvf__cuda_fail_job(kvf__cuda_job *j, const kvf_error *error) {
    if (j->failed.status != KVF_OK)
        return;
    j->failed = *error;
    if (error->status != KVF_ERR_BROKEN && error->status != KVF_ERR_NO_MEMORY &&
        error->status != KVF_ERR_CANCELLED)
        j->failed.status =
            KVF_ERR_ENGINE; /* whatever the runtime meant, the caller is not at fault */
}
