/* What the sanitizers are told. The fake's own lock must not order the program's accesses, or it
 * would hide the program's races: ThreadSanitizer looks away while the lock is held, and is told
 * the edges that CUDA promises instead. AddressSanitizer is told which bytes are nobody's. */
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
/* Exported by the sanitizer's runtime; there is no public header for most. */
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

/* What was released on an edge has happened before what follows; while hidden. */
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

/* Device memory is touched through its shadow by copies, but by kernels under its own name: tell
 * the accesses under that name. */
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
