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

static void rank_open(rank *self) {
    ok(cudaSetDevice(self->rank));
    ok(cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking));
    ok(cudaMalloc((void **)&self->device, CHECK_BYTES));
    ok(cudaMalloc((void **)&self->other, CHECK_BYTES));
    ok(cudaHostAlloc((void **)&self->host, CHECK_BYTES, cudaHostAllocPortable));
    check_fill(self->host, CHECK_BYTES, (unsigned)self->rank);
    ranks_upload(self, self->device, CHECK_BYTES);
}

static void rank_close(rank *self) {
    ok(cudaFreeHost(self->host));
    ok(cudaFree(self->other));
    ok(cudaFree(self->device));
    ok(cudaStreamDestroy(self->stream));
}

static void *rank_main(void *argument) {
    rank *self = argument;
    rank_open(self);
    self->body(self);
    ok(cudaStreamSynchronize(self->stream));
    rank_close(self);
    return NULL;
}

static void *rank_main_with_comm(void *argument) {
    rank *self = argument;
    rank_open(self);
    good(ncclCommInitRank(&self->comm, self->ranks, self->id, self->rank));
    self->body(self);
    ok(cudaStreamSynchronize(self->stream));
    if (self->comm)
        good(ncclCommDestroy(self->comm));
    rank_close(self);
    return NULL;
}

static void run(int ranks, void (*body)(rank *self), void *shared, void *(*main)(void *)) {
    rank all[FAKENCCL_RANKS];
    pthread_t threads[FAKENCCL_RANKS];
    ncclUniqueId id;
    good(ncclGetUniqueId(&id));
    same(pthread_barrier_init(&barrier, NULL, (unsigned)ranks), 0);
    for (int i = 0; i < ranks; i++) {
        all[i] = (rank){.rank = i, .ranks = ranks, .id = id, .shared = shared, .body = body};
        same(pthread_create(&threads[i], NULL, main, &all[i]), 0);
    }
    for (int i = 0; i < ranks; i++)
        same(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&barrier);
}

void ranks_run(int ranks, void (*body)(rank *self), void *shared) {
    run(ranks, body, shared, rank_main_with_comm);
}

void ranks_run_bare(int ranks, void (*body)(rank *self), void *shared) {
    run(ranks, body, shared, rank_main);
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
    for (size_t i = 0; fakenccl_violation(i); i++) {
        if (!strstr(fakenccl_violation(i), part))
            fail_msg("'%s' is not in: %s", part, fakenccl_violation(i));
    }
    fakenccl_forgive();
}

void ranks_violation(const char *part) {
    size_t found = fakenccl_violations();
    ranks_violations(part);
    same(found, 1);
}
