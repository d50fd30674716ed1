#include "plan/cached_allocator.h"

#include <stdlib.h>
#include <string.h>

/* The exponent of the smallest power of two that holds `size`; at least 16 bytes, for a link. */
static unsigned class_of(size_t size) {
    return size <= 16 ? 4 : (unsigned)(64 - __builtin_clzll(size - 1));
}

static void put(cached_allocator *cache, void *block, unsigned class) {
    pthread_mutex_lock(&cache->lock);
    memcpy(block, &cache->free[class], sizeof(void *));
    cache->free[class] = block;
    pthread_mutex_unlock(&cache->lock);
}

static void *get(cached_allocator *cache, unsigned class) {
    if (class >= CACHED_ALLOCATOR_CLASSES - 1)
        return NULL;
    pthread_mutex_lock(&cache->lock);
    void *block = cache->free[class];
    if (block)
        memcpy(&cache->free[class], block, sizeof(void *));
    pthread_mutex_unlock(&cache->lock);
    return block ? block : malloc((size_t)1 << class);
}

static void *resize(void *user, void *block, size_t old_size, size_t new_size) {
    cached_allocator *cache = user;
    if (block && new_size > 0 && class_of(old_size) == class_of(new_size))
        return block;
    void *grown = new_size > 0 ? get(cache, class_of(new_size)) : NULL;
    if (new_size > 0 && !grown)
        return NULL;
    if (block) {
        if (grown)
            memcpy(grown, block, old_size < new_size ? old_size : new_size);
        put(cache, block, class_of(old_size));
    }
    return grown;
}

void cached_allocator_open(cached_allocator *cache) {
    *cache = (struct cached_allocator){.allocator = {.resize = resize, .user = cache}};
    pthread_mutex_init(&cache->lock, NULL);
}

void cached_allocator_close(cached_allocator *cache) {
    for (size_t i = 0; i < CACHED_ALLOCATOR_CLASSES; i++) {
        while (cache->free[i]) {
            void *block = cache->free[i];
            memcpy(&cache->free[i], block, sizeof(void *));
            free(block);
        }
    }
    pthread_mutex_destroy(&cache->lock);
}
