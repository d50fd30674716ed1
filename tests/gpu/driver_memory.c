/* Properties and costs of pinned and device memory. */
#include "driver.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t mib = (size_t)1 << 20, gib = (size_t)1 << 30;
static const unsigned register_flags = cudaHostRegisterPortable | cudaHostRegisterMapped;

typedef CUresult attribute_fn(void *value, CUpointer_attribute attribute, CUdeviceptr address);

/* Prints the base and size that the driver reports, as offsets from the memory's. */
static void show_range(const char *name, CUpointer_attribute base, CUpointer_attribute size,
                       const char *memory, size_t at) {
    static attribute_fn *attribute;
    void *start = NULL;
    size_t bytes = 0;
    if (!attribute)
        *(void **)&attribute = driver_function("cuPointerGetAttribute", 4000);
    const CUdeviceptr address = (CUdeviceptr)(uintptr_t)(memory + at);
    const CUresult first = attribute ? attribute(&start, base, address) : CUDA_ERROR_NOT_FOUND;
    const CUresult second = attribute ? attribute(&bytes, size, address) : CUDA_ERROR_NOT_FOUND;
    if (first == CUDA_SUCCESS && second == CUDA_SUCCESS)
        printf("; %s from %+td, %zu bytes", name, (char *)start - memory, bytes);
    else
        printf("; %s: CUresult %d, %d", name, (int)first, (int)second);
}

static void show(const char *what, const char *memory, size_t at) {
    struct cudaPointerAttributes a = {.type = cudaMemoryTypeUnregistered};
    const cudaError_t code = cudaPointerGetAttributes(&a, memory + at);
    (void)cudaGetLastError();
    printf("    %s: type %d (%s)", what, (int)a.type, cudaGetErrorName(code));
    show_range("MAPPING", CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, CU_POINTER_ATTRIBUTE_MAPPING_SIZE,
               memory, at);
    show_range("RANGE", CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE,
               memory, at);
    puts("");
}

static void copy_across(const char *what, char *to, const char *from, size_t bytes) {
    cudaStream_t stream = new_stream(0);
    const cudaError_t code = cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
    const cudaError_t end = cudaStreamSynchronize(stream);
    printf("    one copy across %s: %s, %s\n", what, cudaGetErrorName(code), cudaGetErrorName(end));
    (void)cudaGetLastError();
}

static void ask_registrations(void) {
    char *memory = touched_memory(2 * mib, false);
    TRY(cudaHostRegister(memory, 8192, register_flags));
    TRY(cudaHostRegister(memory + 8192, 8192, register_flags));
    show("the first of two adjacent registrations of 8 KiB", memory, 0);
    show("the second", memory, 8192);
    copy_across("both", device_memory(16384), memory, 16384);
}

typedef CUresult create_fn(CUmemGenericAllocationHandle *out, size_t size,
                           const CUmemAllocationProp *properties, unsigned long long flags);
typedef CUresult reserve_fn(CUdeviceptr *out, size_t size, size_t alignment, CUdeviceptr address,
                            unsigned long long flags);
typedef CUresult map_fn(CUdeviceptr address, size_t size, size_t offset,
                        CUmemGenericAllocationHandle handle, unsigned long long flags);
typedef CUresult access_fn(CUdeviceptr address, size_t size, const CUmemAccessDesc *description,
                           size_t count);

/* Two adjacent mappings of 2 and 4 MiB in 16 MiB of reserved addresses, as in frameworks with
 * growing segments. NULL when the driver does not support them. */
static char *map_two(void) {
    create_fn *create = NULL;
    reserve_fn *reserve = NULL;
    map_fn *map = NULL;
    access_fn *allow = NULL;
    CUdeviceptr base = 0;
    CUmemGenericAllocationHandle first = 0, second = 0;
    const CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                            .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    const CUmemAccessDesc access = {properties.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    *(void **)&create = driver_function("cuMemCreate", 10020);
    *(void **)&reserve = driver_function("cuMemAddressReserve", 10020);
    *(void **)&map = driver_function("cuMemMap", 10020);
    *(void **)&allow = driver_function("cuMemSetAccess", 10020);
    if (!create || !reserve || !map || !allow || reserve(&base, 16 * mib, 0, 0, 0) ||
        create(&first, 2 * mib, &properties, 0) || create(&second, 4 * mib, &properties, 0) ||
        map(base, 2 * mib, 0, first, 0) || map(base + 2 * mib, 4 * mib, 0, second, 0) ||
        allow(base, 6 * mib, &access, 1))
        return NULL;
    return (char *)(uintptr_t)base;
}

static void ask_mappings(void) {
    char *memory = map_two();
    if (!memory) {
        puts("    no mappings: the driver has no cuMemMap");
        return;
    }
    show("mapped 2 of 16 MiB", memory, 100);
    show("the next 4 MiB", memory, 2 * mib + 100);
    show("reserved only", memory, 6 * mib);
    copy_across("both mappings", memory, pinned_memory(6 * mib), 6 * mib);
}

void ask_ranges(void) {
    char *small = device_memory(16384), *large = device_memory(64 * mib);
    char *pinned = pinned_memory(16384);
    show("cudaMalloc of 16 KiB", small, 0);
    show("one byte after it", small, 16384);
    show("cudaMalloc of 64 MiB, in its middle", large, 5 * mib);
    show("cudaHostAlloc of 16 KiB", pinned, 0);
    show("one byte after it", pinned, 16384);
    ask_registrations();
    ask_mappings();
}

static void ask_child(const char *what, const volatile char *memory) {
    int status = 0;
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)*memory;
        _exit(0);
    }
    if (child > 0 && waitpid(child, &status, 0) == child)
        printf("    %s: %s\n", what, WIFEXITED(status) ? "the child reads it" : "the child dies");
}

void ask_fork_reads(void) {
    char *registered = touched_memory(2 * mib, false);
    TRY(cudaHostRegister(registered, 2 * mib, register_flags));
    ask_child("cudaHostAlloc", pinned_memory(8192));
    ask_child("cudaHostRegister", registered);
}

/* Free memory of the machine. */
static long free_mib(void) {
    return sysconf(_SC_AVPHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024;
}

/* Forks a child that waits until the pipe is closed. */
static pid_t fork_idle(int pipe_ends[2]) {
    const pid_t child = pipe(pipe_ends) == 0 ? fork() : -1;
    if (child == 0) {
        char byte = 0;
        (void)close(pipe_ends[1]);
        _exit(read(pipe_ends[0], &byte, 1) != 0);
    }
    return child;
}

void ask_fork_cost(void) {
    const size_t bytes = tiny ? 64 * mib : 2 * gib;
    for (int kept = 0; kept < 2; kept++) {
        int ends[2] = {-1, -1}, status = 0;
        char *memory = touched_memory(bytes, true);
        TRY(cudaHostRegister(memory, bytes, register_flags));
        if (kept)
            (void)madvise(memory, bytes, MADV_DONTFORK);
        const long before = free_mib();
        const double begin = now_us();
        const pid_t child = fork_idle(ends);
        printf("    %zu MiB pinned%s: fork took %.1f ms, the child %ld MiB\n", bytes / mib,
               kept ? ", with MADV_DONTFORK" : "", (now_us() - begin) / 1e3, before - free_mib());
        (void)close(ends[1]);
        (void)close(ends[0]);
        if (child > 0)
            (void)waitpid(child, &status, 0);
        TRY(cudaHostUnregister(memory));
        drop_memory(memory, bytes);
    }
}

void ask_registration(void) {
    const size_t bytes = tiny ? 64 * mib : 16 * gib;
    for (int huge = 1; huge >= 0; huge--) {
        size_t before = 0, after = 0, all = 0;
        char *memory = touched_memory(bytes, huge);
        TRY(cudaMemGetInfo(&before, &all));
        const double begin = now_us();
        TRY(cudaHostRegister(memory, bytes, register_flags));
        const double registered = now_us();
        TRY(cudaMemGetInfo(&after, &all));
        const double asked = now_us();
        TRY(cudaHostUnregister(memory));
        printf("    %zu MiB of %s pages: registered in %.1f ms, unregistered in %.1f ms, device "
               "memory used %+td MiB\n",
               bytes / mib, huge ? "huge" : "4 KiB", (registered - begin) / 1e3,
               (now_us() - asked) / 1e3, ((ptrdiff_t)before - (ptrdiff_t)after) / (ptrdiff_t)mib);
        drop_memory(memory, bytes);
    }
}
