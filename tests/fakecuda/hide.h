/* Annotations for the sanitizers; empty functions in a build without them.
 *
 * ThreadSanitizer: the fake's own lock must not order the program's accesses, or it would hide the
 * program's races. While the lock is held, ThreadSanitizer therefore ignores all synchronisation
 * and accesses (fake_hide to fake_show), except the edges that CUDA promises (fake_release,
 * fake_acquire). AddressSanitizer: bytes outside live memory are poisoned. */
#ifndef KVF_TEST_FAKE_HIDE_H
#define KVF_TEST_FAKE_HIDE_H

#include <stddef.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define FAKE_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FAKE_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define FAKE_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define FAKE_TSAN 1
#endif

#ifdef FAKE_ASAN
#include <sanitizer/asan_interface.h>

static inline void fake_poison(const void *address, size_t size) {
    __asan_poison_memory_region(address, size);
}

static inline void fake_unpoison(const void *address, size_t size) {
    __asan_unpoison_memory_region(address, size);
}
#else
static inline void fake_poison(const void *address, size_t size) {
    (void)address;
    (void)size;
}

static inline void fake_unpoison(const void *address, size_t size) {
    (void)address;
    (void)size;
}
#endif

#ifdef FAKE_TSAN
/* Exported by the sanitizer's runtime; most have no public header. */
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
void __tsan_acquire(void *edge);
void __tsan_release(void *edge);
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);

static inline void fake_hide(void) {
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static inline void fake_show(void) {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
}

/* Everything before the release of an edge happens before what follows an acquire of it. Both are
 * called between fake_hide and fake_show. */
static inline void fake_acquire(void *edge) {
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    __tsan_acquire(edge);
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
}

static inline void fake_release(void *edge) {
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    __tsan_release(edge);
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
}

/* Copies touch device memory through its shadow, kernels at its device address: accesses through
 * the shadow are reported under the device address. */
static inline void fake_saw_read(char *address, size_t size) {
    __tsan_read_range(address, size);
}

static inline void fake_saw_write(char *address, size_t size) {
    __tsan_write_range(address, size);
}
#else
static inline void fake_hide(void) {
}

static inline void fake_show(void) {
}

static inline void fake_acquire(void *edge) {
    (void)edge;
}

static inline void fake_release(void *edge) {
    (void)edge;
}

static inline void fake_saw_read(char *address, size_t size) {
    (void)address;
    (void)size;
}

static inline void fake_saw_write(char *address, size_t size) {
    (void)address;
    (void)size;
}
#endif

#endif
