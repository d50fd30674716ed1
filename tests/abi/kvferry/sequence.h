#ifndef KVFERRY_SEQUENCE_H
#define KVFERRY_SEQUENCE_H
#include "hash.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_sequence kvf_sequence;
typedef struct kvf_sequence_options {
    size_t block_size;
    uint64_t salt;
    kvf_hash_layout layout;
    const kvf_allocator *allocator;
} kvf_sequence_options;
typedef struct kvf_token_block {
    uint64_t position;
    uint64_t block_hash;
    uint64_t sequence_hash;
    uint64_t parent;
    bool has_parent;
    kvf_hash lineage;
    kvf_hash positional;
    const uint32_t *tokens;
} kvf_token_block;
KVF_API kvf_status kvf_sequence_create(const kvf_sequence_options *options, kvf_sequence **out,
                                       kvf_error *error);
KVF_API void kvf_sequence_destroy(kvf_sequence *sequence);
KVF_API kvf_status kvf_sequence_clone(const kvf_sequence *sequence, kvf_sequence **out,
                                      kvf_error *error);
KVF_API kvf_status kvf_sequence_extend(kvf_sequence *sequence, const uint32_t *tokens, size_t count,
                                       kvf_range *completed, kvf_error *error);
KVF_API kvf_status kvf_sequence_extend_mm(kvf_sequence *sequence, const uint32_t *tokens,
                                          size_t count, const kvf_mm_run *runs, size_t run_count,
                                          kvf_range *completed, kvf_error *error);
KVF_API kvf_status kvf_sequence_append(kvf_sequence *sequence, uint32_t token, kvf_range *completed,
                                       kvf_error *error);
KVF_API kvf_status kvf_sequence_truncate(kvf_sequence *sequence, size_t token_count,
                                         kvf_error *error);
KVF_API kvf_status kvf_sequence_reserve(kvf_sequence *sequence, size_t token_count,
                                        kvf_error *error);
KVF_API size_t kvf_sequence_block_size(const kvf_sequence *sequence);
KVF_API uint64_t kvf_sequence_salt(const kvf_sequence *sequence);
KVF_API kvf_hash_layout kvf_sequence_hash_layout(const kvf_sequence *sequence);
KVF_API size_t kvf_sequence_block_count(const kvf_sequence *sequence);
KVF_API size_t kvf_sequence_token_count(const kvf_sequence *sequence);
KVF_API const uint32_t *kvf_sequence_tokens(const kvf_sequence *sequence);
KVF_API const kvf_hash *kvf_sequence_hashes(const kvf_sequence *sequence);
KVF_API kvf_status kvf_sequence_block(const kvf_sequence *sequence, size_t index,
                                      kvf_token_block *out, kvf_error *error);
KVF_API size_t kvf_sequence_memory(const kvf_sequence *sequence);
#ifdef __cplusplus
}
#endif
#endif
