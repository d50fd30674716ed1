/* What the tests' NVTX tool has noted. */
#ifndef KVF_TEST_NVTX_TOOL_H
#define KVF_TEST_NVTX_TOOL_H

#include <stdbool.h>
#include <stddef.h>

enum { NVTX_TOOL_RANGES = 6, NVTX_TOOL_DEPTH = 8 };

#define NVTX_TOOL_NAMES                                                                            \
    { "plan", "submit", "copy", "verify", "wait", "share" }

typedef struct nvtx_tool_report {
    size_t domains;
    size_t begun[NVTX_TOOL_RANGES], ended;
    size_t in_submit[NVTX_TOOL_RANGES]; /* those that began within a submit of their thread */
    size_t wrong;                       /* other names, ends without a beginning, ... */
} nvtx_tool_report;

/* The library's one function beside NVTX's own. */
void nvtx_tool_read(nvtx_tool_report *out);

#endif
