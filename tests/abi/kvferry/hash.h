#ifndef KVFERRY_HASH_H
#define KVFERRY_HASH_H
#include "status.h"
#ifdef __cplusplus
extern "C" {
#endif
#define KVF_MAX_POSITION UINT64_C(16777215)
typedef enum kvf_hash_layout {
    KVF_HASH_V1_2,
    KVF_HASH_V1_3,
} kvf_hash_layout;
typedef struct kvf_hash {
    uint64_t low;
    uint64_t high;
} kvf_hash;
typedef struct kvf_mm_run {
    uint64_t mm_hash;
    uint64_t offset;
    uint64_t length;
} kvf_mm_run;
KVF_API uint64_t kvf_hash_salt(const void *bytes, size_t size);
KVF_API uint64_t kvf_hash_block(const uint32_t *tokens, size_t count, uint64_t salt);
KVF_API kvf_status kvf_hash_block_bytes(const uint32_t *tokens, size_t count, uint64_t first,
                                        const kvf_mm_run *runs, size_t run_count, uint8_t *out,
                                        size_t capacity, size_t *size, kvf_error *error);
KVF_API uint64_t kvf_hash_chain(kvf_hash_layout layout, uint64_t salt, uint64_t parent,
                                uint64_t block_hash);
KVF_API kvf_status kvf_hash_lineage(kvf_hash_layout layout, uint64_t current,
                                    const uint64_t *parent, uint64_t position, kvf_hash *out);
KVF_API kvf_status kvf_hash_positional(uint64_t sequence_hash, uint64_t position,
                                       uint64_t block_hash, kvf_hash *out);
KVF_API unsigned kvf_hash_mode(kvf_hash hash);
KVF_API uint64_t kvf_hash_position(kvf_hash hash);
KVF_API uint64_t kvf_hash_current(kvf_hash_layout layout, kvf_hash hash);
KVF_API uint64_t kvf_hash_parent(kvf_hash_layout layout, kvf_hash hash);
KVF_API bool kvf_hash_follows(kvf_hash_layout layout, kvf_hash hash, kvf_hash next);
KVF_API int kvf_hash_compare(kvf_hash_layout layout, kvf_hash a, kvf_hash b);
KVF_API bool kvf_hash_equal(kvf_hash a, kvf_hash b);
KVF_API int kvf_hash_format(kvf_hash_layout layout, kvf_hash hash, char *buffer, size_t size);
#define KVF_HASH_TEXT_SIZE 48
KVF_API uint64_t kvf_hash_positional_position(kvf_hash hash);
KVF_API uint64_t kvf_hash_positional_block_hash(kvf_hash hash);
KVF_API uint64_t kvf_hash_positional_sequence_hash(kvf_hash hash);
#ifdef __cplusplus
}
#endif
#endif
