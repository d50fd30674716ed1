#include "host/copy.h"

#include <stdint.h>
#include <string.h>

/* The thread sanitizer does not see streaming stores, so that it gets plain copies. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BLIND
#endif
#elif defined(__SANITIZE_THREAD__)
#define BLIND
#endif

void kvf__copy_plain(char *dst, const char *src, size_t bytes, const char *next) {
    (void)next;
    memcpy(dst, src, bytes);
}

#if defined(__x86_64__) && !defined(BLIND)

#include <immintrin.h>

/* Hardware prefetches within a sequential read; AHEAD is how much of the next piece to prefetch. */
enum { LINE = 64, SMALLEST = 4 * LINE, AHEAD = 4096 };

/* Copies up to the destination's first cache line boundary. Returns the number of bytes. */
static size_t copy_head(char *dst, const char *src) {
    size_t head = (size_t)(-(uintptr_t)dst % LINE);
    memcpy(dst, src, head);
    return head;
}

__attribute__((target("avx512f"))) static void stream_512(char *dst, const char *src, size_t bytes,
                                                          const char *next) {
    size_t i = bytes < SMALLEST ? 0 : copy_head(dst, src);
    size_t last = bytes < SMALLEST ? 0 : bytes - (bytes - i) % LINE;
    for (; i + AHEAD < last; i += LINE)
        _mm512_stream_si512((void *)(dst + i), _mm512_loadu_si512(src + i));
    for (uintptr_t ahead = (uintptr_t)next; i < last; i += LINE, ahead += LINE) {
        _mm_prefetch((const void *)ahead, _MM_HINT_T0);
        _mm512_stream_si512((void *)(dst + i), _mm512_loadu_si512(src + i));
    }
    memcpy(dst + i, src + i, bytes - i);
}

__attribute__((target("avx2"))) static void line_256(char *dst, const char *src) {
    __m256i low = _mm256_loadu_si256((const void *)src);
    __m256i high = _mm256_loadu_si256((const void *)(src + LINE / 2));
    _mm256_stream_si256((void *)dst, low);
    _mm256_stream_si256((void *)(dst + LINE / 2), high);
}

__attribute__((target("avx2"))) static void stream_256(char *dst, const char *src, size_t bytes,
                                                       const char *next) {
    size_t i = bytes < SMALLEST ? 0 : copy_head(dst, src);
    size_t last = bytes < SMALLEST ? 0 : bytes - (bytes - i) % LINE;
    for (; i + AHEAD < last; i += LINE)
        line_256(dst + i, src + i);
    for (uintptr_t ahead = (uintptr_t)next; i < last; i += LINE, ahead += LINE) {
        _mm_prefetch((const void *)ahead, _MM_HINT_T0);
        line_256(dst + i, src + i);
    }
    memcpy(dst + i, src + i, bytes - i);
}

kvf__copy *kvf__copy_streaming(void) {
    if (__builtin_cpu_supports("avx512f"))
        return stream_512;
    if (__builtin_cpu_supports("avx2"))
        return stream_256;
    return kvf__copy_plain;
}

void kvf__copy_fence(void) {
    _mm_sfence();
}

#else

kvf__copy *kvf__copy_streaming(void) {
    return kvf__copy_plain;
}

void kvf__copy_fence(void) {
}

#endif
