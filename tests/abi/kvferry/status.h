#ifndef KVFERRY_STATUS_H
#define KVFERRY_STATUS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#define KVF_API __attribute__((visibility("default")))
#else
#define KVF_API
#endif
#define KVF_VERSION_MAJOR 0
#define KVF_VERSION_MINOR 1
#define KVF_VERSION_PATCH 0
#define KVF_VERSION_STRING "0.1.0"
KVF_API const char *kvf_version(void);
#define KVF_STATUS_MAP(X)                                                                          \
    X(KVF_OK, "ok")                                                                                \
    X(KVF_PENDING, "not finished yet")                                                             \
    X(KVF_ERR_INVALID, "invalid argument")                                                         \
    X(KVF_ERR_NO_MEMORY, "out of memory")                                                          \
    X(KVF_ERR_RANGE, "out of range")                                                               \
    X(KVF_ERR_ORDERING_VIOLATION, "known block id after a new one")                                \
    X(KVF_ERR_POSITION_MISMATCH, "hash of another position")                                       \
    X(KVF_ERR_DUPLICATE_BLOCK_ID, "block id already present")                                      \
    X(KVF_ERR_GAP, "plan does not begin at the destination's next position")                       \
    X(KVF_ERR_LINEAGE, "source does not continue the destination's prefix")                        \
    X(KVF_ERR_BUSY, "blocks are in flight")                                                        \
    X(KVF_ERR_CLOSED, "no longer open")                                                            \
    X(KVF_ERR_CONFLICT, "blocks of one move conflict")                                             \
    X(KVF_ERR_LAYOUT, "invalid or disagreeing layout")                                             \
    X(KVF_ERR_AGAIN, "engine is full, nothing was changed")                                        \
    X(KVF_ERR_TIMEOUT, "timed out")                                                                \
    X(KVF_ERR_CANCELLED, "cancelled")                                                              \
    X(KVF_ERR_CORRUPT, "checksum mismatch")                                                        \
    X(KVF_ERR_UNSUPPORTED, "not supported")                                                        \
    X(KVF_ERR_ENGINE, "engine failed")                                                             \
    X(KVF_ERR_BROKEN, "engine is beyond use")                                                      \
    X(KVF_ERR_PEER, "another rank failed or disagrees")
typedef enum kvf_status {
#define KVF_X(name, text) name,
    KVF_STATUS_MAP(KVF_X)
#undef KVF_X
} kvf_status;
enum {
    KVF_ERROR_ID = 1 << 0,
    KVF_ERROR_OTHER_ID = 1 << 1,
    KVF_ERROR_INDEX = 1 << 2,
    KVF_ERROR_OTHER_INDEX = 1 << 3,
    KVF_ERROR_POSITION = 1 << 4,
    KVF_ERROR_EXPECTED = 1 << 5,
    KVF_ERROR_NATIVE_CODE = 1 << 6,
};
typedef struct kvf_error {
    kvf_status status;
    uint32_t fields;
    const char *what;
    int native_code;
    uint64_t id;
    uint64_t other_id;
    uint64_t index;
    uint64_t other_index;
    uint64_t position;
    uint64_t expected;
} kvf_error;
KVF_API const char *kvf_status_name(kvf_status status);
KVF_API const char *kvf_status_text(kvf_status status);
KVF_API int kvf_error_format(const kvf_error *error, char *buffer, size_t size);
typedef struct kvf_allocator {
    void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
    void *user;
} kvf_allocator;
typedef struct kvf_range {
    uint64_t start;
    uint64_t end;
} kvf_range;
#ifdef __cplusplus
}
#endif
#endif
