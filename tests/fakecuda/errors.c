/* Names of errors, and a thread's last error. */
#include "fake_internal.h"

#define ERRORS(X)                                                                                  \
    X(cudaSuccess)                                                                                 \
    X(cudaErrorInvalidValue)                                                                       \
    X(cudaErrorMemoryAllocation)                                                                   \
    X(cudaErrorInitializationError)                                                                \
    X(cudaErrorCudartUnloading)                                                                    \
    X(cudaErrorInvalidConfiguration)                                                               \
    X(cudaErrorInvalidPitchValue)                                                                  \
    X(cudaErrorInvalidHostPointer)                                                                 \
    X(cudaErrorInvalidDevicePointer)                                                               \
    X(cudaErrorInvalidMemcpyDirection)                                                             \
    X(cudaErrorStubLibrary)                                                                        \
    X(cudaErrorInsufficientDriver)                                                                 \
    X(cudaErrorCallRequiresNewerDriver)                                                            \
    X(cudaErrorDevicesUnavailable)                                                                 \
    X(cudaErrorIncompatibleDriverContext)                                                          \
    X(cudaErrorInvalidDeviceFunction)                                                              \
    X(cudaErrorNoDevice)                                                                           \
    X(cudaErrorInvalidDevice)                                                                      \
    X(cudaErrorStartupFailure)                                                                     \
    X(cudaErrorInvalidKernelImage)                                                                 \
    X(cudaErrorDeviceUninitialized)                                                                \
    X(cudaErrorNoKernelImageForDevice)                                                             \
    X(cudaErrorECCUncorrectable)                                                                   \
    X(cudaErrorPeerAccessUnsupported)                                                              \
    X(cudaErrorNvlinkUncorrectable)                                                                \
    X(cudaErrorUnsupportedPtxVersion)                                                              \
    X(cudaErrorContained)                                                                          \
    X(cudaErrorOperatingSystem)                                                                    \
    X(cudaErrorInvalidResourceHandle)                                                              \
    X(cudaErrorIllegalState)                                                                       \
    X(cudaErrorSymbolNotFound)                                                                     \
    X(cudaErrorNotReady)                                                                           \
    X(cudaErrorIllegalAddress)                                                                     \
    X(cudaErrorLaunchOutOfResources)                                                               \
    X(cudaErrorLaunchTimeout)                                                                      \
    X(cudaErrorPeerAccessAlreadyEnabled)                                                           \
    X(cudaErrorPeerAccessNotEnabled)                                                               \
    X(cudaErrorContextIsDestroyed)                                                                 \
    X(cudaErrorAssert)                                                                             \
    X(cudaErrorTooManyPeers)                                                                       \
    X(cudaErrorHostMemoryAlreadyRegistered)                                                        \
    X(cudaErrorHostMemoryNotRegistered)                                                            \
    X(cudaErrorHardwareStackError)                                                                 \
    X(cudaErrorIllegalInstruction)                                                                 \
    X(cudaErrorMisalignedAddress)                                                                  \
    X(cudaErrorInvalidAddressSpace)                                                                \
    X(cudaErrorInvalidPc)                                                                          \
    X(cudaErrorLaunchFailure)                                                                      \
    X(cudaErrorNotPermitted)                                                                       \
    X(cudaErrorNotSupported)                                                                       \
    X(cudaErrorSystemNotReady)                                                                     \
    X(cudaErrorSystemDriverMismatch)                                                               \
    X(cudaErrorStreamCaptureUnsupported)                                                           \
    X(cudaErrorStreamCaptureInvalidated)                                                           \
    X(cudaErrorStreamCaptureMerge)                                                                 \
    X(cudaErrorStreamCaptureUnmatched)                                                             \
    X(cudaErrorStreamCaptureUnjoined)                                                              \
    X(cudaErrorStreamCaptureIsolation)                                                             \
    X(cudaErrorStreamCaptureImplicit)                                                              \
    X(cudaErrorCapturedEvent)                                                                      \
    X(cudaErrorStreamCaptureWrongThread)                                                           \
    X(cudaErrorTimeout)                                                                            \
    X(cudaErrorExternalDevice)                                                                     \
    X(cudaErrorUnknown)

#define NAME(error)                                                                                \
    case error:                                                                                    \
        return #error;

static const char *name(cudaError_t error) {
    switch ((int)error) {
        ERRORS(NAME)
    default:
        return "unrecognized error code";
    }
}

static void count(const char *function) {
    fake_lock();
    fake_count_call(function, false);
    fake_unlock();
}

FAKE_EXPORT const char *cudaGetErrorName(cudaError_t error) {
    count(__func__);
    return name(error);
}

/* The name stands in for NVIDIA's text. */
FAKE_EXPORT const char *cudaGetErrorString(cudaError_t error) {
    count(__func__);
    return name(error);
}

/* A dead context's error stays the last error, however often it is read. */
static cudaError_t last(const char *function, bool forget) {
    fake_lock();
    fake_count_call(function, false);
    fake_thread *thread = fake_self();
    cudaError_t error = fake_first(fake_context_error(thread->device), thread->last);
    if (forget)
        thread->last = cudaSuccess;
    fake_unlock();
    return error;
}

FAKE_EXPORT cudaError_t cudaGetLastError(void) {
    return last(__func__, true);
}

FAKE_EXPORT cudaError_t cudaPeekAtLastError(void) {
    return last(__func__, false);
}
