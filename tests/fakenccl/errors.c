/* Names and texts. */
#include "fake_nccl.h"

NFAKE_EXPORT const char *ncclGetErrorString(ncclResult_t result) {
    nfake_lock();
    fake_count_call("ncclGetErrorString", false);
    nfake_unlock();
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclUnhandledCudaError:
        return "unhandled cuda error";
    case ncclSystemError:
        return "unhandled system error";
    case ncclInternalError:
        return "internal error";
    case ncclInvalidArgument:
        return "invalid argument";
    case ncclInvalidUsage:
        return "invalid usage";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    case ncclInProgress:
        return "NCCL operation in progress";
    default:
        return "unknown result code";
    }
}

NFAKE_EXPORT ncclResult_t ncclGetVersion(int *version) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    if (result == ncclSuccess && !version)
        result = nfake_fail(ncclInvalidArgument, "version is NULL");
    if (result == ncclSuccess)
        *version = nfake_config()->version ? nfake_config()->version : NCCL_VERSION_CODE;
    return nfake_leave(result);
}

const char *nfake_kind_name(fakenccl_kind kind) {
    static const char *const names[FAKENCCL_KINDS] = {"ncclSend",      "ncclRecv",
                                                      "ncclBroadcast", "ncclAllGather",
                                                      "ncclAllReduce", "ncclReduceScatter"};
    return names[kind];
}
