/* Queries of addresses and memory. */
#include "fake_internal.h"

#include <cuda.h>
#include <stdint.h>
#include <string.h>

/* ---- the runtime's ---- */

FAKE_EXPORT cudaError_t cudaHostGetDevicePointer(void **out, void *host, unsigned flags) {
    cudaError_t error = fake_enter(__func__, 0);
    const fake_range *range = fake_range_find(host);
    if (error == cudaSuccess && (!out || flags != 0 || !range || range->memory == FAKE_DEVICE))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = range->alias + ((char *)host - range->base);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaHostGetFlags(unsigned *out, void *host) {
    cudaError_t error = fake_enter(__func__, 0);
    const fake_range *range = fake_range_find(host);
    if (error == cudaSuccess && (!out || !range || range->memory == FAKE_DEVICE))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = range->flags;
    return fake_leave(error);
}

static void describe(struct cudaPointerAttributes *out, const void *address) {
    char *at = (char *)(uintptr_t)address;
    const fake_range *range = fake_range_find(address);
    memset(out, 0, sizeof *out);
    if (!range) {
        out->type = cudaMemoryTypeUnregistered;
        out->device = -2;
        out->hostPointer = fake_arena_of(address) < 0 ? at : NULL;
        return;
    }
    bool by_alias = fake_range_has_alias(range, at);
    ptrdiff_t offset = at - (by_alias ? range->alias : range->base);
    out->type = range->memory == FAKE_DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    out->device = range->device;
    out->devicePointer = range->alias + offset;
    out->hostPointer = range->memory == FAKE_DEVICE ? NULL : range->base + offset;
}

FAKE_EXPORT cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *out,
                                                 const void *address) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess && !out)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        describe(out, address);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaMemGetInfo(size_t *unused, size_t *total) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess && (!unused || !total))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess) {
        *total = fake_device_bytes();
        *unused = *total - fake_device_live(fake_self()->device);
    }
    return fake_leave(error);
}

/* ---- the driver's ---- */

static CUresult CUDAAPI address_range(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    cudaError_t error = fake_enter("cuMemGetAddressRange", 0);
    const fake_range *range = fake_range_find((const void *)(uintptr_t)address);
    if (error == cudaSuccess && (!range || range->memory != FAKE_DEVICE))
        error = (cudaError_t)CUDA_ERROR_NOT_FOUND;
    if (error == cudaSuccess && base)
        *base = (CUdeviceptr)(uintptr_t)range->base;
    if (error == cudaSuccess && size)
        *size = range->size;
    return (CUresult)fake_leave_driver(error);
}

/* An attribute's value, and its size. */
typedef struct answer {
    uint64_t value;
    size_t size;
} answer;

static answer number(uint64_t value) {
    return (answer){value, sizeof(int)};
}

static answer address_of(const void *address) {
    return (answer){(uintptr_t)address, sizeof(void *)};
}

/* Size 0 for an attribute that the fake does not have. */
static answer ask(const fake_range *range, CUpointer_attribute attribute, const char *address) {
    bool device = range->memory == FAKE_DEVICE;
    bool by_alias = fake_range_has_alias(range, address);
    size_t offset = (size_t)(address - (by_alias ? range->alias : range->base));
    switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return number(device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return address_of(range->alias + offset);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return address_of(device ? NULL : range->base + offset);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        return number(0);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return number((uint64_t)range->device);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        return (answer){range->call, sizeof(unsigned long long)};
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        return address_of(by_alias ? range->alias : range->span);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        return (answer){range->span_size, sizeof(size_t)};
    case CU_POINTER_ATTRIBUTE_MAPPED:
        return number(1);
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        return (answer){range->size, sizeof(size_t)};
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        return address_of(by_alias ? range->alias : range->base);
    default:
        return (answer){0};
    }
}

static void put(void *out, const answer *found) {
    uint32_t small = (uint32_t)found->value;
    if (found->size == sizeof small)
        memcpy(out, &small, sizeof small);
    else
        memcpy(out, &found->value, found->size);
}

static CUresult CUDAAPI pointer_attribute(void *out, CUpointer_attribute attribute,
                                          CUdeviceptr address) {
    cudaError_t error = fake_enter("cuPointerGetAttribute", 0);
    const char *at = (const char *)(uintptr_t)address;
    const fake_range *range = fake_range_find(at);
    answer found = range ? ask(range, attribute, at) : (answer){0};
    if (error == cudaSuccess && (!out || found.size == 0))
        error = range && out ? cudaErrorNotSupported : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        put(out, &found);
    return (CUresult)fake_leave_driver(error);
}

/* Unlike cuPointerGetAttribute, returns zeros for addresses that are not CUDA's. */
static CUresult CUDAAPI pointer_attributes(unsigned count, CUpointer_attribute *attributes,
                                           void **out, CUdeviceptr address) {
    cudaError_t error = fake_enter("cuPointerGetAttributes", 0);
    const char *at = (const char *)(uintptr_t)address;
    const fake_range *range = fake_range_find(at);
    char *plain = (char *)(uintptr_t)address;
    const fake_range none = {.base = plain, .alias = plain, .size = 1};
    if (error == cudaSuccess && (!attributes || !out))
        error = cudaErrorInvalidValue;
    for (unsigned i = 0; error == cudaSuccess && i < count; i++) {
        answer found = ask(range ? range : &none, attributes[i], at);
        if (found.size == 0)
            error = cudaErrorInvalidValue;
        if (!range)
            found.value = 0;
        if (error == cudaSuccess)
            put(out[i], &found);
    }
    return (CUresult)fake_leave_driver(error);
}

const fake_entry fake_pointer_entries[] = {
    {"cuMemGetAddressRange", 3020, (fake_function_pointer)address_range},
    {"cuPointerGetAttribute", 4000, (fake_function_pointer)pointer_attribute},
    {"cuPointerGetAttributes", 7000, (fake_function_pointer)pointer_attributes},
};
const size_t fake_pointer_entry_count = sizeof fake_pointer_entries / sizeof *fake_pointer_entries;
