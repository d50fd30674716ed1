/* Plain memcpy by several threads, to compare an engine's copies with. */
#ifndef KVF_BENCH_COPY_POOL_H
#define KVF_BENCH_COPY_POOL_H

#include <stddef.h>

typedef struct copy_pool copy_pool;

/* A pool of `threads` threads (at least 1), including the caller's. Ends the program on failure. */
copy_pool *copy_pool_create(unsigned threads);
void copy_pool_destroy(copy_pool *pool);

/* Copies `bytes` bytes in `threads` nearly equal parts, each by one memcpy in a thread of its own.
 */
void copy_pool_run(copy_pool *pool, void *dst, const void *src, size_t bytes, unsigned threads);

#endif
