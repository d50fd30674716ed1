/* The caller's allocator. All memory of the library comes from it. Sizes are given as a count of
 * elements and the size of one; a product that overflows is out of memory. */
#ifndef KVF_ALLOCATOR_H
#define KVF_ALLOCATOR_H

#include "base/arithmetic.h"
#include "base/status.h"

/* A copy of the caller's allocator; malloc for NULL. */
KVF__MODULES kvf_allocator kvf__allocator(const kvf_allocator *allocator);

KVF__MODULES void *kvf__alloc(const kvf_allocator *allocator, size_t count, size_t size);
KVF__MODULES void *kvf__alloc_zero(const kvf_allocator *allocator, size_t count, size_t size);

/* Does nothing for NULL. */
KVF__MODULES void kvf__free(const kvf_allocator *allocator, void *block, size_t count, size_t size);

/* Makes room for at least `needed` elements in `*block`, an array of `*capacity`, growing it by
 * half. false: out of memory, and nothing has changed. */
KVF__MODULES bool kvf__grow(const kvf_allocator *allocator, void *block, size_t *capacity,
                            size_t needed, size_t size);

/* As kvf__grow, to exactly `needed`. */
bool kvf__reserve(const kvf_allocator *allocator, void *block, size_t *capacity, size_t needed,
                  size_t size);

#endif
