/* Device memory. */
#include "runtime/runtime.h"

#include "base/allocator.h"

kvf_status kvf_cuda_device_alloc(int device, size_t bytes, void **out, kvf_error *error) {
    if (!out || bytes == 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument or 0 bytes");
    kvf__cuda_device_scope scope;
    kvf_status status = kvf__cuda_enter(device, &scope, error);
    if (status != KVF_OK)
        return status;
    void *memory = NULL;
    cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaSuccess)
        *out = memory;
    else
        status = kvf__cuda_fail(code, "cudaMalloc", error);
    kvf__cuda_leave(&scope);
    return status;
}

void kvf_cuda_device_free(int device, void *memory) {
    kvf__cuda_device_scope scope;
    if (!memory)
        return;
    bool entered = kvf__cuda_enter(device, &scope, NULL) == KVF_OK;
    (void)cudaFree(memory);
    (void)cudaGetLastError();
    if (entered)
        kvf__cuda_leave(&scope);
}
