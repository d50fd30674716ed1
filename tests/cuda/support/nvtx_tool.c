/* An NVTX tool, a library that NVTX loads. Records the events of the domain "kvferry"; nvtx_tool.h
 * reads them. */
#include "nvtx_tool.h"

#include <nvtx3/nvToolsExt.h>

#include <pthread.h>
#include <string.h>

/* Handles of strings and domains are pointers to their names. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static nvtx_tool_record info;
static _Thread_local size_t depth;
static _Thread_local const char *stack[NVTX_TOOL_DEPTH];

static const char *const names[] = NVTX_TOOL_NAMES;

static nvtxDomainHandle_t create(const char *name) {
    info.domains++;
    info.wrong += strcmp(name, "kvferry") != 0;
    return (nvtxDomainHandle_t)(uintptr_t)name;
}

static nvtxStringHandle_t intern(nvtxDomainHandle_t domain, const char *text) {
    (void)domain;
    return (nvtxStringHandle_t)(uintptr_t)text;
}

static int push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *range) {
    const char *name = (const char *)range->message.registered;
    (void)domain;
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < NVTX_TOOL_RANGES && (!name || strcmp(names[i], name) != 0))
        i++;
    bool fits = i < NVTX_TOOL_RANGES && depth < NVTX_TOOL_DEPTH &&
                range->messageType == NVTX_MESSAGE_TYPE_REGISTERED;
    info.wrong += !fits;
    if (fits) {
        info.begun[i]++;
        info.in_submit[i] += depth > 0 && strcmp(stack[0], "submit") == 0;
        stack[depth++] = name;
    }
    pthread_mutex_unlock(&lock);
    return (int)depth;
}

static int pop(nvtxDomainHandle_t domain) {
    (void)domain;
    pthread_mutex_lock(&lock);
    info.wrong += depth == 0;
    depth -= depth > 0;
    info.ended++;
    pthread_mutex_unlock(&lock);
    return (int)depth;
}

__attribute__((visibility("default"))) void nvtx_tool_read(nvtx_tool_record *out) {
    pthread_mutex_lock(&lock);
    *out = info;
    pthread_mutex_unlock(&lock);
}

__attribute__((visibility("default"))) int
InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable table = NULL;
    unsigned int size = 0;
    if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) ||
        size <= NVTX_CBID_CORE2_DomainCreateA)
        return 0;
    *table[NVTX_CBID_CORE2_DomainCreateA] = (NvtxFunctionPointer)create;
    *table[NVTX_CBID_CORE2_DomainRegisterStringA] = (NvtxFunctionPointer)intern;
    *table[NVTX_CBID_CORE2_DomainRangePushEx] = (NvtxFunctionPointer)push;
    *table[NVTX_CBID_CORE2_DomainRangePop] = (NvtxFunctionPointer)pop;
    return 1;
}
