/* For everything in src: the caller's allocator, errors, and arithmetic. */
#ifndef KVF_MEMORY_H
#define KVF_MEMORY_H

#include <kvferry/status.h>

/* Before what the CUDA and the NCCL module use of the libraries below them: a shared library
 * exports it to them alone, under a version that no other release has. */
#define KVF__MODULES KVF_API

/* One more than the last status. */
enum { KVF__STATUSES = KVF_ERR_PEER + 1 };

/* The caller's allocator, or malloc for NULL; always a copy that can be called. */
KVF__MODULES kvf_allocator kvf__allocator(const kvf_allocator *allocator);

/* `count` * `size` bytes more, less or none; NULL when that overflows or there is no memory, and
 * the old array stands. */
void *kvf__resize(const kvf_allocator *allocator, void *block, size_t old_count, size_t new_count,
                  size_t size);

KVF__MODULES void *kvf__alloc(const kvf_allocator *allocator, size_t count, size_t size);
KVF__MODULES void *kvf__alloc_zero(const kvf_allocator *allocator, size_t count, size_t size);
KVF__MODULES void kvf__free(const kvf_allocator *allocator, void *block, size_t count, size_t size);

/* Makes room in a growing array: `*block` of `*capacity` elements gets at least `needed`, growing
 * by half. false when there is no memory; nothing has changed then. */
KVF__MODULES bool kvf__grow(const kvf_allocator *allocator, void *block, size_t *capacity,
                            size_t needed, size_t size);

/* As kvf__grow, to exactly `needed`. */
bool kvf__reserve(const kvf_allocator *allocator, void *block, size_t *capacity, size_t needed,
                  size_t size);

/* Fills in the details, if anybody wants them, and returns their status. */
static inline kvf_status kvf__fail(kvf_error *error, kvf_error details) {
    if (error)
        *error = details;
    return details.status;
}

#define KVF__FAIL(error, ...) kvf__fail((error), (kvf_error){__VA_ARGS__})

static inline bool kvf__add(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool kvf__mul(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

/* Of sizes as well, which have 64 bits too. */
static inline uint64_t kvf__min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t kvf__max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

#endif
