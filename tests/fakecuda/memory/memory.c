/* Allocating, registering and freeing memory. */
#include "fake_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t device_live[FAKECUDA_DEVICES], pinned_live;

size_t fake_device_bytes(void) {
    return fake_config()->device_bytes ? fake_config()->device_bytes : (size_t)1 << 30;
}

size_t fake_device_live(int device) {
    return device_live[device];
}

static size_t whole_pages(size_t bytes) {
    return (bytes + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
}

/* ---- device memory ---- */

static cudaError_t device_allocate(void **out, size_t size) {
    int device = fake_self()->device;
    size_t pages = whole_pages(size);
    if (device_live[device] + pages > fake_device_bytes())
        return cudaErrorMemoryAllocation;
    char *address = fake_arena_take(device, pages, pages);
    if (!address)
        return cudaErrorMemoryAllocation;
    fake_arena_bound(device, address, size);
    device_live[device] += pages;
    fake_range_add(
        &(fake_range){.memory = FAKE_DEVICE, .base = address, .size = size, .device = device});
    *out = address;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaMalloc(void **out, size_t size) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    if (error != cudaSuccess)
        return fake_leave(error);
    if (!out)
        return fake_leave(cudaErrorInvalidValue);
    *out = NULL;
    return fake_leave(size == 0 ? cudaSuccess : device_allocate(out, size));
}

FAKE_EXPORT void *fakecuda_map_segments(size_t reserved, const size_t *sizes, size_t count) {
    fake_lock();
    int device = fake_self()->device;
    size_t mapped = 0;
    for (size_t i = 0; i < count; i++)
        mapped += sizes[i];
    bool fits = mapped <= reserved && device_live[device] + mapped <= fake_device_bytes();
    char *span = fits ? fake_arena_take(device, whole_pages(reserved), mapped) : NULL;
    char *at = span;
    for (size_t i = 0; span && i < count; at += sizes[i++]) {
        fake_arena_bound(device, at, sizes[i]);
        fake_range_add(&(fake_range){.memory = FAKE_DEVICE,
                                     .base = at,
                                     .size = sizes[i],
                                     .device = device,
                                     .span = span,
                                     .span_size = reserved});
    }
    device_live[device] += span ? mapped : 0;
    fake_unlock();
    return span;
}

static void device_free(fake_range *range) {
    if (range->size % FAKE_PAGE != 0 && fake_arena_overrun(range->device, range->base, range->size))
        fake_violation("a kernel wrote past the end of the %zu bytes at %p", range->size,
                       (void *)range->base);
    size_t pages = whole_pages(range->size);
    fake_arena_drop(range->device, range->base, pages);
    device_live[range->device] -= pages;
}

/* ---- host memory ---- */

static cudaError_t host_allocate(void **out, size_t size, unsigned flags) {
    const fakecuda_config *config = fake_config();
    if (config->pinned_bytes && pinned_live + size > config->pinned_bytes)
        return cudaErrorMemoryAllocation;
    void *block = NULL;
    if (posix_memalign(&block, FAKE_PAGE, size) != 0)
        return cudaErrorMemoryAllocation;
    memset(block, 0xd6, size);
    pinned_live += size;
    fake_range_add(&(fake_range){.memory = FAKE_PINNED,
                                 .base = block,
                                 .size = size,
                                 .device = fake_self()->device,
                                 .flags = flags | cudaHostAllocMapped});
    *out = block;
    return cudaSuccess;
}

static cudaError_t host_alloc(cudaError_t error, void **out, size_t size, unsigned flags) {
    const unsigned known = cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if (error != cudaSuccess)
        return error;
    if (!out || (flags & ~known) != 0)
        return cudaErrorInvalidValue;
    *out = NULL;
    return size == 0 ? cudaSuccess : host_allocate(out, size, flags);
}

FAKE_EXPORT cudaError_t cudaHostAlloc(void **out, size_t size, unsigned flags) {
    return fake_leave(host_alloc(fake_enter(__func__, FAKE_UNSAFE), out, size, flags));
}

FAKE_EXPORT cudaError_t cudaMallocHost(void **out, size_t size) {
    return fake_leave(host_alloc(fake_enter(__func__, FAKE_UNSAFE), out, size, 0));
}

/* The device's address for the memory, at the same offset in its page. */
static char *make_alias(char *base, size_t size) {
    size_t offset = (uintptr_t)base % FAKE_PAGE;
    char *pages = fake_arena_take(FAKE_ALIASES, whole_pages(offset + size), 0);
    if (!pages)
        return NULL;
    fake_arena_alias(pages + offset, base, size);
    return pages + offset;
}

static cudaError_t host_register(char *base, size_t size, unsigned flags) {
    const unsigned known = cudaHostRegisterPortable | cudaHostRegisterMapped |
                           cudaHostRegisterIoMemory | cudaHostRegisterReadOnly;
    const fakecuda_config *config = fake_config();
    if (!base || size == 0 || (flags & ~known) != 0 || fake_arena_of(base) >= 0)
        return cudaErrorInvalidValue;
    if ((flags & cudaHostRegisterReadOnly) != 0 &&
        !fake_attribute(cudaDevAttrHostRegisterReadOnlySupported))
        return cudaErrorNotSupported;
    if (fake_range_overlaps(base, size))
        return cudaErrorHostMemoryAlreadyRegistered;
    if ((config->register_bytes && size > config->register_bytes) ||
        (config->pinned_bytes && pinned_live + size > config->pinned_bytes))
        return cudaErrorMemoryAllocation;
    char *alias = base;
    if (!fake_attribute(cudaDevAttrCanUseHostPointerForRegisteredMem))
        alias = make_alias(base, size);
    if (!alias)
        return cudaErrorMemoryAllocation;
    pinned_live += size;
    fake_range_add(&(fake_range){.memory = FAKE_REGISTERED,
                                 .base = base,
                                 .size = size,
                                 .alias = alias,
                                 .device = fake_self()->device,
                                 .flags = flags});
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaHostRegister(void *base, size_t size, unsigned flags) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    return fake_leave(error != cudaSuccess ? error : host_register(base, size, flags));
}

static void alias_drop(const fake_range *range) {
    size_t offset = (uintptr_t)range->alias % FAKE_PAGE;
    fake_arena_drop(FAKE_ALIASES, range->alias - offset, whole_pages(offset + range->size));
}

/* ---- freeing ---- */

/* Removed last: other functions look the range up by its addresses until then. */
static void release(fake_range *range) {
    if (range->memory == FAKE_DEVICE)
        device_free(range);
    else
        pinned_live -= range->size;
    if (range->alias != range->base)
        alias_drop(range);
    if (range->memory == FAKE_PINNED)
        free(range->base);
    fake_range_remove(range);
}

/* Waits like the real function, for its device or for all. A caller that relies on this wait has
 * lost track of its copies, unless a scripted failure kept it from waiting. */
static cudaError_t give_back(void *address, fake_memory memory) {
    fake_range *range = fake_range_find(address);
    if (!range || range->base != address || range->memory != memory) {
        fake_violation("%s of %p, which is no live allocation or registration of that kind",
                       fake_function(), address);
        return memory == FAKE_REGISTERED ? cudaErrorHostMemoryNotRegistered : cudaErrorInvalidValue;
    }
    char *raw = memory == FAKE_DEVICE ? fake_arena_raw(range->base) : range->base;
    if (!fake_calls_have_failed() && fake_memory_in_use(raw, range->size))
        fake_violation("%s of %p, which an operation that has not completed uses", fake_function(),
                       address);
    fake_synchronize(memory == FAKE_DEVICE ? range->device : -1);
    release(range);
    return cudaSuccess;
}

static cudaError_t give_back_call(cudaError_t error, void *address, fake_memory memory) {
    if (!fake_gives_back() || !address)
        return fake_leave(error);
    return fake_leave(fake_first(error, give_back(address, memory)));
}

FAKE_EXPORT cudaError_t cudaFree(void *address) {
    return give_back_call(fake_enter(__func__, FAKE_UNSAFE), address, FAKE_DEVICE);
}

FAKE_EXPORT cudaError_t cudaFreeHost(void *address) {
    return give_back_call(fake_enter(__func__, FAKE_UNSAFE), address, FAKE_PINNED);
}

FAKE_EXPORT cudaError_t cudaHostUnregister(void *address) {
    return give_back_call(fake_enter(__func__, FAKE_UNSAFE), address, FAKE_REGISTERED);
}

FAKE_EXPORT void fakecuda_unmap_segments(void *address) {
    fake_lock();
    fake_synchronize(-1);
    fake_range *range = fake_range_find(address);
    while (range && range->span == address) {
        char *end = range->base + range->size;
        release(range);
        range = fake_range_find(end);
    }
    fake_unlock();
}

void fake_memory_reset(void) {
    for (fake_range *range = fake_range_any(); range; range = fake_range_any()) {
        fake_violation("leaked: a %s of %zu bytes, made by call %llu", fake_range_name(range),
                       range->size, (unsigned long long)range->call);
        release(range);
    }
    memset(device_live, 0, sizeof device_live);
    pinned_live = 0;
}
