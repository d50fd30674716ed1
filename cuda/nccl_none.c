/* In the place of nccl_runtime.c where there is no NCCL: groups of one need none, others cannot be
 * made. */
#include "nccl_runtime.h"

#include "memory.h"

static kvf_status none(kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                     .what = "the module was built without NCCL");
}

kvf_status kvf__nccl_is_there(kvf_error *error) {
    return none(error);
}

kvf_status kvf__nccl_id(unsigned char id[KVF__NCCL_ID], kvf_error *error) {
    (void)id;
    return none(error);
}

kvf_status kvf__nccl_open(struct ncclComm *parent, const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error) {
    (void)parent;
    (void)id;
    (void)rank;
    (void)ranks;
    (void)config;
    (void)out;
    return none(error);
}

kvf_status kvf__nccl_check(struct ncclComm *comm, kvf_error *error) {
    (void)comm;
    return none(error);
}

kvf_status kvf__nccl_all_gather(struct ncclComm *comm, char *all, int rank, size_t bytes,
                                struct CUstream_st *stream, kvf_error *error) {
    (void)comm;
    (void)all;
    (void)rank;
    (void)bytes;
    (void)stream;
    return none(error);
}

kvf_status kvf__nccl_broadcast(struct ncclComm *comm, char *memory, size_t bytes,
                               struct CUstream_st *stream, kvf_error *error) {
    (void)comm;
    (void)memory;
    (void)bytes;
    (void)stream;
    return none(error);
}

kvf_status kvf__nccl_exchange(struct ncclComm *comm, const kvf__nccl_hand *hands, size_t count,
                              struct CUstream_st *stream, kvf_error *error) {
    (void)comm;
    (void)hands;
    (void)count;
    (void)stream;
    return none(error);
}

kvf_status kvf__nccl_finalize(struct ncclComm *comm, kvf_error *error) {
    (void)comm;
    return none(error);
}

void kvf__nccl_destroy(struct ncclComm *comm) {
    (void)comm;
}

void kvf__nccl_abort(struct ncclComm *comm) {
    (void)comm;
}
