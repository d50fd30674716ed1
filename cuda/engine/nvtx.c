/* Ranges for NVTX tools, for example Nsight Systems. */
#include "engine/engine_cuda.h"

#include <nvtx3/nvToolsExt.h>

static nvtxStringHandle_t find(const kvf__cuda_nvtx *nvtx, const char *name) {
    for (size_t i = 0; i < KVF__RANGES; i++)
        if (kvf__range_names[i] == name)
            return nvtx->names[i];
    return NULL;
}

static void begin(void *user, const char *name) {
    const kvf__cuda_nvtx *nvtx = user;
    nvtxEventAttributes_t range = {
        .version = NVTX_VERSION,
        .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
        .messageType = NVTX_MESSAGE_TYPE_REGISTERED,
        .message.registered = find(nvtx, name),
    };
    (void)nvtxDomainRangePushEx(nvtx->domain, &range);
}

static void end(void *user) {
    const kvf__cuda_nvtx *nvtx = user;
    (void)nvtxDomainRangePop(nvtx->domain);
}

/* NVTX initialises itself in its first call, with a check that is not thread-safe. */
static pthread_mutex_t first_call = PTHREAD_MUTEX_INITIALIZER;

/* The domain is never destroyed: tools may share it among engines. */
bool kvf__cuda_attach_nvtx(kvf__cuda_nvtx *nvtx, kvf_ranges *ranges) {
    pthread_mutex_lock(&first_call);
    nvtx->domain = nvtxDomainCreateA("kvferry");
    pthread_mutex_unlock(&first_call);
    if (!nvtx->domain)
        return false;
    for (size_t i = 0; i < KVF__RANGES; i++)
        nvtx->names[i] = nvtxDomainRegisterStringA(nvtx->domain, kvf__range_names[i]);
    *ranges = (kvf_ranges){begin, end, nvtx};
    return true;
}
