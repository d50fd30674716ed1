/* In the place of nccl_runtime.c where there is no NCCL: groups of one need none, others cannot be
 * made. */
#include "nccl/nccl_runtime.h"

#include "base/allocator.h"

static kvf_status none(kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                     .what = "the module was built without NCCL");
}

kvf_status kvf__nccl_is_there(kvf_error *error) {
    return none(error);
}

kvf_status kvf__nccl_id(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error) {
    (void)id;
    return none(error);
}

kvf_status kvf__nccl_open(const unsigned char *id, int rank, int ranks,
                          const kvf__nccl_config *config, struct ncclComm **out, kvf_error *error) {
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

kvf_status kvf__nccl_begin(kvf_error *error) {
    return none(error);
}

kvf_status kvf__nccl_send(struct ncclComm *comm, const void *memory, size_t bytes, int to,
                          struct CUstream_st *stream, kvf_error *error) {
    (void)comm;
    (void)memory;
    (void)bytes;
    (void)to;
    (void)stream;
    return none(error);
}

kvf_status kvf__nccl_receive(struct ncclComm *comm, void *memory, size_t bytes, int from,
                             struct CUstream_st *stream, kvf_error *error) {
    (void)comm;
    (void)memory;
    (void)bytes;
    (void)from;
    (void)stream;
    return none(error);
}

kvf_status kvf__nccl_end(kvf_status status, kvf_error *error) {
    (void)status;
    return none(error);
}

int kvf__nccl_version(void) {
    return 0;
}

kvf_status kvf__nccl_who(struct ncclComm *comm, int *rank, int *ranks, kvf_error *error) {
    (void)comm;
    (void)rank;
    (void)ranks;
    return none(error);
}

bool kvf__nccl_can_alloc(int version) {
    (void)version;
    return false;
}

bool kvf__nccl_can_register(int version) {
    (void)version;
    return false;
}

kvf_status kvf__nccl_alloc(size_t bytes, void **out, kvf_error *error) {
    (void)bytes;
    (void)out;
    return none(error);
}

void kvf__nccl_free(void *memory) {
    (void)memory;
}

kvf_status kvf__nccl_register(struct ncclComm *comm, void *memory, size_t bytes, void **window,
                              kvf_error *error) {
    (void)comm;
    (void)memory;
    (void)bytes;
    (void)window;
    return none(error);
}

void kvf__nccl_deregister(struct ncclComm *comm, void **window) {
    (void)comm;
    (void)window;
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

kvf_status kvf__nccl_revoke(struct ncclComm *comm, int version) {
    (void)comm;
    (void)version;
    return none(NULL);
}
