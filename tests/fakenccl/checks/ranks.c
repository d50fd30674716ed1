#include "ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_barrier_t barrier;

void ranks_same(long long value, long long expected, const char *text, const char *file, int line) {
    if (value == expected)
        return;
    fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, text, value, expected);
    for (size_t i = 0; FAKENCCL && fakenccl_violation(i); i++)
        fprintf(stderr, "    %s\n", fakenccl_violation(i));
    fail();
}

void *ranks_main(void *argument) {
    rank *self = argument;
    ok(cudaSetDevice(self->rank));
    ok(cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking));
    ok(cudaMalloc((void **)&self->device, CHECK_BYTES));
    ok(cudaMalloc((void **)&self->other, CHECK_BYTES));
    ok(cudaHostAlloc((void **)&self->host, CHECK_BYTES, cudaHostAllocPortable));
    check_fill(self->host, CHECK_BYTES, (unsigned)self->rank);
    ranks_upload(self, self->device, CHECK_BYTES);
    if (!self->bare)
        good(ncclCommInitRank(&self->comm, self->ranks, self->id, self->rank));
    self->body(self);
    ok(cudaStreamSynchronize(self->stream));
    if (!self->bare && self->comm)
        good(ncclCommDestroy(self->comm));
    ok(cudaFreeHost(self->host));
    ok(cudaFree(self->other));
    ok(cudaFree(self->device));
    ok(cudaStreamDestroy(self->stream));
    return NULL;
}

static void run(int ranks, bool bare, void (*body)(rank *self), void *shared) {
    rank all[FAKENCCL_RANKS];
    pthread_t threads[FAKENCCL_RANKS];
    ncclUniqueId id;
    good(ncclGetUniqueId(&id));
    same(pthread_barrier_init(&barrier, NULL, (unsigned)ranks), 0);
    for (int i = 0; i < ranks; i++) {
        all[i] = (rank){
            .rank = i, .ranks = ranks, .id = id, .bare = bare, .shared = shared, .body = body};
        same(pthread_create(&threads[i], NULL, ranks_main, &all[i]), 0);
    }
    for (int i = 0; i < ranks; i++)
        same(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&barrier);
}

void ranks_run(int ranks, void (*body)(rank *self), void *shared) {
    run(ranks, false, body, shared);
}

void ranks_run_bare(int ranks, void (*body)(rank *self), void *shared) {
    run(ranks, true, body, shared);
}

void ranks_test(void **state) {
    const ranks_body *test = *state;
    run(test->ranks == 0 ? ranks_available() : test->ranks, test->bare, test->body, NULL);
}

void ranks_meet(rank *self) {
    (void)self;
    (void)pthread_barrier_wait(&barrier);
}

int ranks_begin(void **state) {
    (void)state;
    if (FAKECUDA)
        fakecuda_configure(&(fakecuda_config){.devices = FAKECUDA_DEVICES});
    if (FAKENCCL)
        fakenccl_configure(NULL);
    return 0;
}

int ranks_end(void **state) {
    (void)state;
    size_t violations = FAKENCCL ? fakenccl_reset() : 0;
    violations += FAKECUDA ? fakecuda_reset() : 0;
    return violations == 0 ? 0 : -1;
}

int ranks_available(void) {
    int devices = 0;
    if (FAKECUDA)
        return 4;
    if (cudaGetDeviceCount(&devices) != cudaSuccess)
        return 0;
    return devices < 4 ? devices : 4;
}

void ranks_upload(rank *self, char *device, size_t bytes) {
    ok(cudaMemcpyAsync(device, self->host, bytes, cudaMemcpyHostToDevice, self->stream));
    ok(cudaStreamSynchronize(self->stream));
}

void ranks_download(rank *self, const char *device, size_t bytes) {
    ok(cudaMemcpyAsync(self->host, device, bytes, cudaMemcpyDeviceToHost, self->stream));
    ok(cudaStreamSynchronize(self->stream));
}

void ranks_expect(rank *self, const char *device, size_t bytes, unsigned seed) {
    ranks_download(self, device, bytes);
    holds(check_filled(self->host, bytes, seed));
}

void ranks_garbage(rank *self, const char *device, size_t bytes) {
    ranks_download(self, device, bytes);
    for (size_t i = 0; i < bytes; i++)
        same((unsigned char)self->host[i], 0xbd);
}

ncclResult_t ranks_send(const rank *self, size_t bytes, int peer) {
    return ncclSend(self->device, bytes, ncclInt8, peer, self->comm, self->stream);
}

ncclResult_t ranks_receive(const rank *self, size_t bytes, int peer) {
    return ncclRecv(self->other, bytes, ncclInt8, peer, self->comm, self->stream);
}

ncclResult_t ranks_cast(const rank *self, size_t bytes, int root) {
    return ncclBroadcast(self->device, self->device, bytes, ncclInt8, root, self->comm,
                         self->stream);
}

ncclResult_t ranks_gather(const rank *self, size_t bytes) {
    return ncclAllGather(self->device, self->other, bytes, ncclInt8, self->comm, self->stream);
}

ncclResult_t ranks_settled(ncclComm_t comm) {
    ncclResult_t result = ncclInProgress;
    while (result == ncclInProgress) {
        good(ncclCommGetAsyncError(comm, &result));
        usleep(50);
    }
    return result;
}

void ranks_violations(const char *part) {
    holds(fakenccl_violation(0));
    for (size_t i = 0; fakenccl_violation(i); i++)
        if (!strstr(fakenccl_violation(i), part))
            fail_msg("'%s' is not in: %s", part, fakenccl_violation(i));
    fakenccl_forgive();
}

void ranks_violation(const char *part) {
    size_t found = fakenccl_violations();
    ranks_violations(part);
    same(found, 1);
}
