/* Ordering mistakes of a program with several ranks, for ThreadSanitizer to find with the fakes:
 *
 *     nccl_fake_race MISTAKE
 *
 * makes one, or none when MISTAKE is "none". Ranks are threads. Nothing here depends on time:
 * fakecuda_settle lets the streams run without ordering anything. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakecuda.h"
#include "fakenccl.h"
#include "needs.h"

#define BYTES ((size_t)4096)

typedef struct rank {
    const char *mistake;
    int number;
    ncclUniqueId id;
    ncclComm_t comm;
    cudaStream_t a, b;
    cudaEvent_t event;
    char *device, *other, *host;
} rank;

static void ok(cudaError_t error) {
    if (error != cudaSuccess) {
        fprintf(stderr, "%s\n", cudaGetErrorName(error));
        exit(3);
    }
}

static void good(ncclResult_t result) {
    if (result != ncclSuccess) {
        fprintf(stderr, "NCCL error %d\n", (int)result);
        exit(3);
    }
}

static bool is(const rank *self, const char *mistake) {
    return strcmp(self->mistake, mistake) == 0;
}

static void link_streams(rank *self, const char *mistake) {
    ok(cudaEventRecord(self->event, self->a));
    if (is(self, mistake))
        fakecuda_settle();
    else
        ok(cudaStreamWaitEvent(self->b, self->event, 0));
}

/* Rank 0: fill on a, send on b. Rank 1: receive on a, copy out on b. */
static void send_and_receive(rank *self) {
    if (self->number == 0) {
        ok(cudaMemsetAsync(self->device, 1, BYTES, self->a));
        link_streams(self, "send-too-early");
        good(ncclSend(self->device, BYTES, ncclInt8, 1, self->comm, self->b));
        if (is(self, "source-reused")) {
            ok(cudaMemsetAsync(self->device, 2, BYTES, self->a));
            fakecuda_settle();
        }
        ok(cudaStreamSynchronize(self->b));
        ok(cudaMemsetAsync(self->device, 3, BYTES, self->a));
    } else {
        good(ncclRecv(self->other, BYTES, ncclInt8, 0, self->comm, self->a));
        link_streams(self, "used-too-early");
        ok(cudaMemcpyAsync(self->host, self->other, BYTES, cudaMemcpyDeviceToHost, self->b));
        if (!is(self, "read-early"))
            ok(cudaStreamSynchronize(self->b));
        else
            fakecuda_settle();
        printf("%d\n", self->host[5]);
    }
    ok(cudaStreamSynchronize(self->a));
    ok(cudaStreamSynchronize(self->b));
}

static void collective(rank *self) {
    ok(cudaMemsetAsync(self->device, 5 + self->number, BYTES, self->a));
    link_streams(self, "gather-too-early");
    good(ncclAllGather(self->device, self->other, BYTES / 2, ncclInt8, self->comm, self->b));
    ok(cudaMemcpyAsync(self->host, self->other, BYTES, cudaMemcpyDeviceToHost, self->b));
    ok(cudaStreamSynchronize(self->b));
    printf("%d\n", self->host[BYTES - 1]);
}

static void *use(void *argument) {
    rank *self = argument;
    (void)ncclSend(self->device, BYTES, ncclInt8, 2, self->comm, self->a); /* no such rank */
    return NULL;
}

/* Two threads use one communicator, without order if that is the mistake. */
static void share(rank *self) {
    pthread_t thread;
    if (is(self, "shared-communicator")) {
        if (pthread_create(&thread, NULL, use, self) != 0)
            exit(3);
        (void)use(self);
    } else {
        (void)use(self);
        if (pthread_create(&thread, NULL, use, self) != 0)
            exit(3);
    }
    pthread_join(thread, NULL);
}

static void *run(void *argument) {
    rank *self = argument;
    ok(cudaSetDevice(self->number));
    ok(cudaStreamCreateWithFlags(&self->a, cudaStreamNonBlocking));
    ok(cudaStreamCreateWithFlags(&self->b, cudaStreamNonBlocking));
    ok(cudaEventCreateWithFlags(&self->event, cudaEventDisableTiming));
    ok(cudaMalloc((void **)&self->device, BYTES));
    ok(cudaMalloc((void **)&self->other, BYTES));
    ok(cudaHostAlloc((void **)&self->host, BYTES, 0));
    good(ncclCommInitRank(&self->comm, 2, self->id, self->number));
    send_and_receive(self);
    collective(self);
    share(self);
    good(ncclCommDestroy(self->comm));
    ok(cudaFreeHost(self->host));
    ok(cudaFree(self->other));
    ok(cudaFree(self->device));
    ok(cudaEventDestroy(self->event));
    ok(cudaStreamDestroy(self->b));
    ok(cudaStreamDestroy(self->a));
    return NULL;
}

int main(int argc, char **argv) {
    rank both[2];
    pthread_t threads[2];
    ncclUniqueId id;
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    fakecuda_configure(&(fakecuda_config){.devices = 2});
    good(ncclGetUniqueId(&id));
    for (int i = 0; i < 2; i++) {
        both[i] = (rank){.mistake = argc > 1 ? argv[1] : "none", .number = i, .id = id};
        if (pthread_create(&threads[i], NULL, run, &both[i]) != 0)
            return 3;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    size_t violations = fakenccl_reset();
    violations += fakecuda_reset();
    return violations == 0 ? 0 : 4;
}
