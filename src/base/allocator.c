#include "base/allocator.h"

#include <stdlib.h>
#include <string.h>

static void *default_resize(void *user, void *block, size_t old_size, size_t new_size) {
    (void)user;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_size);
}

kvf_allocator kvf__allocator(const kvf_allocator *allocator) {
    return allocator && allocator->resize ? *allocator : (kvf_allocator){.resize = default_resize};
}

/* Changes an array from `old_count` to `new_count` elements; 0 of them frees it. On failure it
 * returns NULL and the old array stays valid. */
static void *resize(const kvf_allocator *allocator, void *block, size_t old_count, size_t new_count,
                    size_t size) {
    size_t bytes;
    if (!kvf__mul(new_count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    return allocator->resize(allocator->user, block, old_count * size, bytes);
}

void *kvf__alloc(const kvf_allocator *allocator, size_t count, size_t size) {
    return resize(allocator, NULL, 0, count, size);
}

void *kvf__alloc_zero(const kvf_allocator *allocator, size_t count, size_t size) {
    void *block = kvf__alloc(allocator, count, size);
    if (block)
        memset(block, 0, count * size);
    return block;
}

void kvf__free(const kvf_allocator *allocator, void *block, size_t count, size_t size) {
    if (block)
        allocator->resize(allocator->user, block, count * size, 0);
}

/* `block` is the address of a pointer of some type; only its bytes may be touched here. */
bool kvf__reserve(const kvf_allocator *allocator, void *block, size_t *capacity, size_t needed,
                  size_t size) {
    if (needed <= *capacity)
        return true;
    void *array;
    memcpy(&array, block, sizeof array);
    array = resize(allocator, array, *capacity, needed, size);
    if (!array)
        return false;
    memcpy(block, &array, sizeof array);
    *capacity = needed;
    return true;
}

bool kvf__grow(const kvf_allocator *allocator, void *block, size_t *capacity, size_t needed,
               size_t size) {
    if (needed <= *capacity)
        return true;
    size_t wanted = *capacity + *capacity / 2 + 8;
    return kvf__reserve(allocator, block, capacity, kvf__max(wanted, needed), size);
}
