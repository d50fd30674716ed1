/* What the tests' NVTX tool has recorded. */
#ifndef KVF_TEST_NVTX_TOOL_H
#define KVF_TEST_NVTX_TOOL_H

#include <stdbool.h>
#include <stddef.h>

enum { NVTX_TOOL_RANGES = 6, NVTX_TOOL_DEPTH = 8 };

#define NVTX_TOOL_NAMES                                                                            \
    { "plan", "submit", "copy", "verify", "wait", "share" }

typedef struct nvtx_tool_record {
    size_t domains;
    size_t begun[NVTX_TOOL_RANGES], ended;
    size_t in_submit[NVTX_TOOL_RANGES]; /* those that started within a submit of their thread */
    size_t wrong;                       /* unknown names, ends without a start, ... */
} nvtx_tool_record;

/* The library's only function besides NVTX's. */
void nvtx_tool_read(nvtx_tool_record *out);

#endif
