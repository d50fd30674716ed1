/* An allocator that reuses its memory, so that the library is timed and not the kernel's delivery
 * of new pages. */
#ifndef KVF_BENCH_CACHED_ALLOCATOR_H
#define KVF_BENCH_CACHED_ALLOCATOR_H

#include <kvferry/status.h>

#include <pthread.h>

#define CACHED_ALLOCATOR_CLASSES 64

/* Thread-safe. Pass &cache.allocator to the library. */
typedef struct cached_allocator {
    kvf_allocator allocator;
    pthread_mutex_t lock;
    void *free[CACHED_ALLOCATOR_CLASSES]; /* lists of blocks of 2^class bytes, linked through their
                                             start */
} cached_allocator;

void cached_allocator_open(cached_allocator *cache);

/* All memory must have been freed before. */
void cached_allocator_close(cached_allocator *cache);

#endif
