#include "driver.h"

#include "output/measure.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, TOUCHERS = 8 };

bool try_call(cudaError_t code, const char *call) {
    if (code == cudaSuccess)
        return true;
    printf("    !! %s: %s\n", call, cudaGetErrorName(code));
    (void)cudaGetLastError();
    return false;
}

double now_us(void) {
    return (double)clock_ns() / 1e3;
}

cudaStream_t new_stream(int priority) {
    cudaStream_t stream = NULL;
    TRY(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority));
    return stream;
}

cudaEvent_t new_event(void) {
    cudaEvent_t event = NULL;
    TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
}

void priorities(int *usual, int *highest) {
    TRY(cudaDeviceGetStreamPriorityRange(usual, highest));
}

static unsigned *flag;

void hold(cudaStream_t stream, double most_ms) {
    if (!flag)
        TRY(cudaHostAlloc((void **)&flag, sizeof *flag, cudaHostAllocMapped));
    __atomic_store_n(flag, 0, __ATOMIC_RELEASE);
    TRY(gpu_hold(flag, (uint64_t)(most_ms * 1e6), stream));
}

void release(void) {
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

char *device_memory(size_t bytes) {
    void *memory = NULL;
    TRY(cudaMalloc(&memory, bytes));
    return memory;
}

char *pinned_memory(size_t bytes) {
    void *memory = NULL;
    TRY(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault));
    return memory;
}

typedef struct stretch {
    char *memory;
    size_t bytes;
} stretch;

static void *touch(void *given) {
    const stretch *s = given;
    for (size_t at = 0; at < s->bytes; at += PAGE)
        s->memory[at] = 1;
    return NULL;
}

char *touched_memory(size_t bytes, bool huge) {
    char *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        puts("    !! mmap");
        exit(1);
    }
    memory += -(uintptr_t)memory % HUGE_PAGE;
    (void)madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    pthread_t threads[TOUCHERS];
    stretch parts[TOUCHERS];
    for (size_t i = 0; i < TOUCHERS; i++) {
        parts[i] = (stretch){memory + bytes / TOUCHERS * i, bytes / TOUCHERS};
        if (pthread_create(&threads[i], NULL, touch, &parts[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < TOUCHERS; i++)
        (void)pthread_join(threads[i], NULL);
    return memory;
}

/* Memory before the aligned start stays mapped. */
void drop_memory(char *memory, size_t bytes) {
    (void)munmap(memory, bytes);
}

void *driver_function(const char *name, unsigned version) {
    void *function = NULL;
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    cudaError_t code =
        cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
    (void)cudaGetLastError();
    return code == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : NULL;
}

batch make_batch(char *device, size_t pitch, char *host, size_t width, size_t count,
                 bool to_device) {
    batch b = {calloc(count, sizeof *b.dsts), calloc(count, sizeof *b.srcs),
               calloc(count, sizeof *b.sizes), count};
    if (!b.dsts || !b.srcs || !b.sizes)
        abort();
    for (size_t i = 0; i < count; i++) {
        const CUdeviceptr near = (CUdeviceptr)(uintptr_t)(device + i * pitch);
        const CUdeviceptr far = (CUdeviceptr)(uintptr_t)(host + i * width);
        b.dsts[i] = to_device ? near : far;
        b.srcs[i] = to_device ? far : near;
        b.sizes[i] = width;
    }
    return b;
}

typedef CUresult submit_fn(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                           CUmemcpyAttributes *attributes, size_t *starts, size_t attribute_count,
                           size_t *failed, CUstream stream);

CUresult submit_batch(const batch *b, cudaStream_t stream, size_t *failed) {
    static submit_fn *submit;
    CUmemcpyAttributes attributes = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    size_t start = 0;
    if (!submit)
        *(void **)&submit = driver_function("cuMemcpyBatchAsync", 12080);
    *failed = SIZE_MAX;
    return submit ? submit(b->dsts, b->srcs, b->sizes, b->count, &attributes, &start, 1, failed,
                           stream)
                  : CUDA_ERROR_NOT_FOUND;
}

void free_batch(batch *b) {
    free(b->dsts);
    free(b->srcs);
    free(b->sizes);
}
