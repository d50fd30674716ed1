/* Checks that a layout's memory is of the stated kind, and how the device reaches it. */
#include "engine/engine_cuda.h"

/* One mapping or registration. */
typedef struct range {
    uintptr_t start, end;
} range;

static kvf_status bad(kvf_status status, size_t region, const char *what, kvf_error *error) {
    return KVF__FAIL(error, .status = status, .fields = KVF_ERROR_INDEX, .index = region,
                     .what = what);
}

/* Checks that the byte at an address is in memory of that kind. */
static kvf_status check_kind(const kvf__cuda *e, uintptr_t address, kvf_memory memory,
                             size_t region, kvf_error *error) {
    struct cudaPointerAttributes a = {.type = cudaMemoryTypeUnregistered};
    cudaError_t code = cudaPointerGetAttributes(&a, (void *)address);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaPointerGetAttributes", error);
    if (a.type == cudaMemoryTypeUnregistered)
        return memory == KVF_MEMORY_PINNED
                   ? bad(KVF_ERR_UNSUPPORTED, region, "the region's memory is not pinned", error)
                   : bad(KVF_ERR_INVALID, region, "the region is not in device memory", error);
    if (memory == KVF_MEMORY_PINNED)
        return a.type == cudaMemoryTypeHost
                   ? KVF_OK
                   : bad(KVF_ERR_INVALID, region, "the region is not in host memory", error);
    if (a.type != cudaMemoryTypeDevice)
        return bad(KVF_ERR_INVALID, region, "the region is not in device memory", error);
    if (a.device != e->options.device)
        return bad(KVF_ERR_INVALID, region, "the region is in another device's memory", error);
    return KVF_OK;
}

static bool ask(const kvf__cuda *e, uintptr_t address, CUpointer_attribute base,
                CUpointer_attribute bytes, range *out) {
    void *start = NULL;
    size_t size = 0;
    if (e->driver.attribute(&start, base, address) != CUDA_SUCCESS ||
        e->driver.attribute(&size, bytes, address) != CUDA_SUCCESS)
        return false;
    *out = (range){(uintptr_t)start, (uintptr_t)start + size};
    return out->start <= address && address < out->end;
}

/* Finds the mapping or registration that holds an address; false when the driver does not say.
 * Prefers the mapping, since RANGE covers a whole reservation, mapped or not. */
static bool range_of(const kvf__cuda *e, uintptr_t address, kvf_memory memory, range *out) {
    if (!e->driver.attribute)
        return false;
    return (memory == KVF_MEMORY_DEVICE && ask(e, address, CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR,
                                               CU_POINTER_ATTRIBUTE_MAPPING_SIZE, out)) ||
           ask(e, address, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE,
               out);
}

/* Checks each mapping of a region. An expandable segment of a framework has several; pinned memory
 * has one, except where our segments end. */
static kvf_status check_extent(const kvf__cuda *e, uintptr_t start, uintptr_t end,
                               kvf_memory memory, size_t region, kvf_error *error) {
    for (uintptr_t at = start; at < end;) {
        kvf_status status = check_kind(e, at, memory, region, error);
        if (status != KVF_OK)
            return status;
        range r;
        if (!range_of(e, at, memory, &r))
            return check_kind(e, end - 1, memory, region, error);
        at = r.end;
        if (memory != KVF_MEMORY_PINNED || at >= end || at % KVF_CUDA_SEGMENT == 0)
            continue;
        status = check_kind(e, at, memory, region, error);
        return status != KVF_OK
                   ? status
                   : bad(KVF_ERR_INVALID, region, "the region crosses two registrations", error);
    }
    return KVF_OK;
}

/* Finds the shift from a region's addresses to the device's; false if its ends differ in it. */
static bool find_shift(uintptr_t start, uintptr_t end, ptrdiff_t *shift) {
    struct cudaPointerAttributes first = {0}, last = {0};
    if (cudaPointerGetAttributes(&first, (void *)start) != cudaSuccess ||
        cudaPointerGetAttributes(&last, (void *)(end - 1)) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    *shift = (ptrdiff_t)((uintptr_t)first.devicePointer - start);
    return first.devicePointer && last.devicePointer &&
           (ptrdiff_t)((uintptr_t)last.devicePointer - (end - 1)) == *shift;
}

kvf_status kvf__cuda_check_layout(const kvf__cuda *e, const kvf_layout *layout, kvf_memory memory,
                                  kvf__cuda_reach *reach, kvf_error *error) {
    kvf__cuda_reach found = {.reachable = true};
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *r = &layout->regions[i];
        uintptr_t start = (uintptr_t)r->base;
        uintptr_t end = start + (layout->blocks - 1) * r->block_stride +
                        (r->rows - 1) * r->row_pitch + r->bytes;
        kvf_status status = check_extent(e, start, end, memory, i, error);
        if (status != KVF_OK)
            return status;
        ptrdiff_t shift = 0;
        found.reachable &= find_shift(start, end, &shift) && (i == 0 || shift == found.shift);
        found.shift = shift;
    }
    *reach = found;
    return KVF_OK;
}
