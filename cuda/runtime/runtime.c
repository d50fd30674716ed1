#include "runtime/runtime.h"

#include "base/allocator.h"

/* Whether the error means that the context is unusable. */
static bool is_fatal(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorCudartUnloading:
    case cudaErrorContextIsDestroyed:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case 226: /* cudaErrorContained in newer toolkits */
        return true;
    default:
        return false;
    }
}

static kvf_status status_of(cudaError_t code) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return KVF_ERR_NO_MEMORY;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNotSupported:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorCapturedEvent:
        return KVF_ERR_UNSUPPORTED;
    case cudaErrorInvalidDevice:
        return KVF_ERR_RANGE;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorHostMemoryAlreadyRegistered:
    case cudaErrorHostMemoryNotRegistered:
        return KVF_ERR_INVALID;
    default:
        return is_fatal(code) ? KVF_ERR_BROKEN : KVF_ERR_ENGINE;
    }
}

kvf_status kvf__cuda_fail(cudaError_t code, const char *what, kvf_error *error) {
    (void)cudaGetLastError();
    return KVF__FAIL(error, .status = status_of(code), .fields = KVF_ERROR_NATIVE_CODE,
                     .native_code = (int)code, .what = what);
}

kvf_status kvf__cuda_query(cudaEvent_t event, kvf_error *error) {
    cudaError_t code = cudaEventQuery(event);
    if (code == cudaSuccess)
        return KVF_OK;
    if (code != cudaErrorNotReady)
        return kvf__cuda_fail(code, "cudaEventQuery", error);
    (void)cudaGetLastError(); /* some runtimes keep even NotReady */
    return KVF_PENDING;
}

kvf_status kvf__cuda_enter(int device, kvf__cuda_device_scope *scope, kvf_error *error) {
    cudaError_t code = cudaGetDevice(&scope->device);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaGetDevice", error);
    scope->own = device;
    if (scope->device != device)
        code = cudaSetDevice(device);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaSetDevice", error);
    scope->mode = cudaStreamCaptureModeRelaxed;
    code = cudaThreadExchangeStreamCaptureMode(&scope->mode);
    if (code == cudaSuccess)
        return KVF_OK;
    if (scope->device != device)
        (void)cudaSetDevice(scope->device);
    return kvf__cuda_fail(code, "cudaThreadExchangeStreamCaptureMode", error);
}

void kvf__cuda_leave(const kvf__cuda_device_scope *scope) {
    enum cudaStreamCaptureMode mode = scope->mode;
    bool left = cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess;
    if (scope->device != scope->own)
        left &= cudaSetDevice(scope->device) == cudaSuccess;
    if (!left)
        (void)cudaGetLastError();
}

/* Finds a driver function of that version; NULL, and OK, when the driver lacks it. */
static kvf_status entry_point(const char *name, unsigned version, void **function,
                              kvf_error *error) {
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    *function = NULL;
    cudaError_t code =
        cudaGetDriverEntryPointByVersion(name, function, version, cudaEnableDefault, &found);
    if (code == cudaSuccess && found == cudaDriverEntryPointSuccess)
        return KVF_OK;
    *function = NULL;
    if (code == cudaSuccess || code == cudaErrorSymbolNotFound || code == cudaErrorNotSupported) {
        (void)cudaGetLastError();
        return KVF_OK;
    }
    return kvf__cuda_fail(code, "cudaGetDriverEntryPointByVersion", error);
}

kvf_status kvf__cuda_load_driver(kvf__cuda_driver *driver, kvf_error *error) {
    /* ISO C has no cast from void * to a function; POSIX guarantees the same representation. */
    kvf_status status = entry_point("cuMemcpyBatchAsync", 12080, (void **)&driver->batch, error);
    if (status == KVF_OK)
        status = entry_point("cuMemcpy3DBatchAsync", 12080, (void **)&driver->batch_3d, error);
    int version = 0;
    cudaError_t code = status == KVF_OK ? cudaDriverGetVersion(&version) : cudaSuccess;
    if (code != cudaSuccess)
        status = kvf__cuda_fail(code, "cudaDriverGetVersion", error);
    driver->many_parameters = version >= 12010;
    if (status == KVF_OK)
        status = entry_point("cuPointerGetAttribute", 4000, (void **)&driver->attribute, error);
    return status;
}
