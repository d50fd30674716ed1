/* The CUDA engine's version of the fixture, over pinned and device memory of the fake or a real
 * runtime. Threads become lanes; only the host engine has imitated links. */
#include "support/engine_fixture.h"

#include <kvferry/cuda.h>

#include "fakecuda.h"
#include "needs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *const fixture_engine_name = "cuda";

bool fixture_has(fixture_ability ability) {
    return ability == FIXTURE_DEVICE;
}

bool fixture_available(void) {
    return needs_device();
}

kvf_engine *fixture_engine(const kvf_host_options *options) {
    static const kvf_host_options usual = {0};
    const kvf_host_options *o = options ? options : &usual;
    const kvf_cuda_options mine = {
        .no_thread = o->no_threads,
        .lanes = o->threads < 8 ? o->threads : 8,
        .max_transfers = o->max_transfers,
        .background_to_gbps = o->background_gbps,
        .background_from_gbps = o->background_gbps,
        .ctas = 2,
        .allocator = o->allocator,
    };
    kvf_engine *engine = NULL;
    kvf_error error = {0};
    assert_true(fixture_offers(o));
    test_expect(KVF_OK, kvf_engine_cuda_create(&mine, &engine, &error), &error);
    return engine;
}

kvf_memory fixture_kind(fixture_side side) {
    return side == FIXTURE_NEAR ? KVF_MEMORY_DEVICE : KVF_MEMORY_PINNED;
}

/* Registered memory starts with its size, on a page of its own, so that it can have different
 * addresses on the device. */
enum { PAGE = 4096 };

static size_t whole_pages(size_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static char *register_memory(size_t bytes) {
    const size_t whole = whole_pages(bytes);
    char *all =
        mmap(NULL, PAGE + whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    *(size_t *)(void *)all = PAGE + whole;
    assert_int_equal(cudaHostRegister(all + PAGE, whole, cudaHostRegisterDefault), cudaSuccess);
    return all + PAGE;
}

static void unregister_memory(char *memory) {
    char *all = memory - PAGE;
    assert_int_equal(cudaHostUnregister(memory), cudaSuccess);
    assert_int_equal(munmap(all, *(size_t *)(void *)all), 0);
}

char *fixture_allocate(fixture_side side, size_t bytes) {
    if (side == FIXTURE_FAR)
        return register_memory(bytes);
    void *memory = NULL;
    assert_int_equal(cudaMalloc(&memory, bytes), cudaSuccess);
    if (FAKECUDA)
        memset(fakecuda_shadow(memory, bytes), 0, bytes);
    else
        assert_true(cudaMemset(memory, 0, bytes) == cudaSuccess &&
                    cudaDeviceSynchronize() == cudaSuccess);
    return memory;
}

void fixture_deallocate(fixture_side side, char *memory) {
    if (side == FIXTURE_FAR)
        unregister_memory(memory);
    else
        assert_int_equal(cudaFree(memory), cudaSuccess);
}

/* The address at which host code may touch the memory: host memory always, device memory on the
 * fake only, without a call that a fault could hit. NULL: needs a copy. */
static char *touchable(const char *address, size_t bytes) {
    struct cudaPointerAttributes found = {.type = cudaMemoryTypeUnregistered};
    char *shadow = FAKECUDA ? fakecuda_shadow(address, bytes) : NULL;
    if (!FAKECUDA)
        assert_int_equal(cudaPointerGetAttributes(&found, address), cudaSuccess);
    if (found.type == cudaMemoryTypeDevice)
        return NULL;
    return shadow ? shadow : (char *)(uintptr_t)address;
}

/* A copy from pageable memory may return before its bytes have arrived, and the engine's streams do
 * not wait for the legacy stream. */
void fixture_write(char *there, const char *from, size_t bytes) {
    char *at = touchable(there, bytes);
    if (at)
        memcpy(at, from, bytes);
    else
        assert_true(cudaMemcpy(there, from, bytes, cudaMemcpyDefault) == cudaSuccess &&
                    cudaStreamSynchronize(NULL) == cudaSuccess);
}

void fixture_read(char *to, const char *there, size_t bytes) {
    const char *at = touchable(there, bytes);
    if (at)
        memcpy(to, at, bytes);
    else
        assert_int_equal(cudaMemcpy(to, there, bytes, cudaMemcpyDefault), cudaSuccess);
}

/* Fewer seeds: every stream of the fake is a thread. */
uint64_t fixture_seeds(uint64_t usual) {
    return (test_seeds(usual) + 29) / 30;
}

int fixture_end(int failed) {
    return failed + (FAKECUDA && fakecuda_reset() > 0);
}
