/* Copying bytes past the caches. */
#ifndef KVF_COPY_H
#define KVF_COPY_H

#include <stddef.h>

typedef void *kvf__copy(void *restrict dst, const void *restrict src, size_t bytes);

/* The function to copy much data with that nobody reads soon: it does not fetch what it overwrites
 * and leaves the caches alone. Plain memcpy where the processor has nothing better. */
kvf__copy *kvf__copy_streaming(void);

/* Makes this thread's streaming copies visible to whoever learns of them from it. */
void kvf__copy_fence(void);

#endif
