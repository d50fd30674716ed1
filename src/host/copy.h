/* Copying bytes that nobody reads soon. */
#ifndef KVF_COPY_H
#define KVF_COPY_H

#include <stddef.h>

/* Copies `bytes` from `src` to `dst`, which do not overlap. `next` is where the caller reads behind
 * that: its first bytes are fetched meanwhile. It may be any address. */
typedef void kvf__copy(char *dst, const char *src, size_t bytes, const char *next);

/* memcpy, for data that caches hold. */
void kvf__copy_plain(char *dst, const char *src, size_t bytes, const char *next);

/* The function to copy much data with: it does not fetch what it overwrites and leaves the caches
 * alone. kvf__copy_plain where the processor has nothing better. */
kvf__copy *kvf__copy_streaming(void);

/* Makes this thread's streaming copies visible to whoever learns of them from it. */
void kvf__copy_fence(void);

#endif
