/* Copying bytes that are not read soon. */
#ifndef KVF_COPY_H
#define KVF_COPY_H

#include <stddef.h>

/* Copies `bytes` from `src` to `dst`, which do not overlap. `next`, any address, is what the caller
 * copies next: its first bytes are prefetched. */
typedef void kvf__copy(char *dst, const char *src, size_t bytes, const char *next);

/* memcpy, for data that fits the caches. */
void kvf__copy_plain(char *dst, const char *src, size_t bytes, const char *next);

/* Returns the function for large copies, which bypasses the caches and does not read what it
 * overwrites; kvf__copy_plain if the processor has nothing better. */
kvf__copy *kvf__copy_streaming(void);

/* Orders this thread's streaming stores before its later stores. */
void kvf__copy_fence(void);

#endif
