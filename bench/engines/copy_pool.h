/* Plain memcpy by several threads: the yardstick beside an engine's own copies. */
#ifndef KVF_BENCH_COPY_POOL_H
#define KVF_BENCH_COPY_POOL_H

#include <stddef.h>

typedef struct copy_pool copy_pool;

/* Up to `threads` (1 or more) threads, the caller's included. Ends the program on failure. */
copy_pool *copy_pool_create(unsigned threads);
void copy_pool_destroy(copy_pool *pool);

/* Copies in `threads` equal parts, each by one thread and one memcpy. */
void copy_pool_run(copy_pool *pool, void *dst, const void *src, size_t bytes, unsigned threads);

#endif
