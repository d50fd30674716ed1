#include "copy.h"

#include <stdint.h>
#include <string.h>

/* The thread sanitizer does not see streaming stores. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BLIND
#endif
#elif defined(__SANITIZE_THREAD__)
#define BLIND
#endif

#if defined(__x86_64__) && !defined(BLIND)

#include <immintrin.h>

enum { LINE = 64, SMALLEST = 4 * LINE };

/* Copies up to the first whole line of the destination. Returns how many bytes that was. */
static size_t copy_head(char *dst, const char *src) {
    size_t head = (size_t)(-(uintptr_t)dst % LINE);
    memcpy(dst, src, head);
    return head;
}

__attribute__((target("avx512f"))) static void *stream_512(void *restrict dst,
                                                           const void *restrict src, size_t bytes) {
    if (bytes < SMALLEST)
        return memcpy(dst, src, bytes);
    size_t i = copy_head(dst, src);
    char *to = dst;
    const char *from = src;
    for (; i + LINE <= bytes; i += LINE)
        _mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(from + i));
    memcpy(to + i, from + i, bytes - i);
    return dst;
}

__attribute__((target("avx2"))) static void *stream_256(void *restrict dst,
                                                        const void *restrict src, size_t bytes) {
    if (bytes < SMALLEST)
        return memcpy(dst, src, bytes);
    size_t i = copy_head(dst, src);
    char *to = dst;
    const char *from = src;
    for (; i + LINE <= bytes; i += LINE) {
        __m256i low = _mm256_loadu_si256((const void *)(from + i));
        __m256i high = _mm256_loadu_si256((const void *)(from + i + LINE / 2));
        _mm256_stream_si256((void *)(to + i), low);
        _mm256_stream_si256((void *)(to + i + LINE / 2), high);
    }
    memcpy(to + i, from + i, bytes - i);
    return dst;
}

kvf__copy *kvf__copy_streaming(void) {
    if (__builtin_cpu_supports("avx512f"))
        return stream_512;
    if (__builtin_cpu_supports("avx2"))
        return stream_256;
    return memcpy;
}

void kvf__copy_fence(void) {
    _mm_sfence();
}

#else

kvf__copy *kvf__copy_streaming(void) {
    return memcpy;
}

void kvf__copy_fence(void) {
}

#endif
