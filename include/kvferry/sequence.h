/** @file
 * A sequence of tokens, cut into blocks and hashed as it grows.
 *
 * A sequence keeps its tokens, block hashes, sequence hashes and lineage hashes in four arrays;
 * assignments stage directly from the array of lineage hashes. No memory is allocated per block.
 *
 * @par Threads
 * A sequence belongs to one owner: calls on it must not overlap in time.
 *
 * @par Ownership
 * The caller destroys what create and clone return. Tokens and runs passed to a sequence are
 * copied; arrays read from it remain its own.
 *
 * @par Lifetimes
 * Arrays read from a sequence are valid until the next extend, append or reserve, whether or not
 * that succeeds, and until truncate or destroy.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; functions that only read
 * must not be passed NULL.
 */
#ifndef KVFERRY_SEQUENCE_H
#define KVFERRY_SEQUENCE_H

#include "hash.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A sequence of tokens. */
typedef struct kvf_sequence kvf_sequence;

/** Options of kvf_sequence_create: zero-initialise, then set what differs. */
typedef struct kvf_sequence_options {
    size_t block_size;              /**< Tokens per block, 1 or more. */
    uint64_t salt;                  /**< Seeds the block hashes; 0: no salt. */
    kvf_hash_layout layout;         /**< Default KVF_HASH_V1_2. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_sequence_options;

/** A complete block. */
typedef struct kvf_token_block {
    uint64_t position;      /**< Index of the block in its sequence. */
    uint64_t block_hash;    /**< Hash of the block's own tokens. */
    uint64_t sequence_hash; /**< Hash of everything up to the block's end. */
    uint64_t parent;        /**< The sequence hash of the previous block; 0 for a root. */
    bool has_parent;        /**< false at position 0. */
    kvf_hash lineage;       /**< Lineage hash: kvbm-logical's SequenceHash. */
    kvf_hash positional;    /**< dynamo-tokens' PositionalSequenceHash. */
    const uint32_t *tokens; /**< [block_size] In the sequence's array. */
} kvf_token_block;

/**
 * Makes an empty sequence.
 * Errors: INVALID for NULL, block size 0 or an unknown layout; NO_MEMORY.
 */
KVF_API kvf_status kvf_sequence_create(const kvf_sequence_options *options, kvf_sequence **out,
                                       kvf_error *error);

/** Frees the sequence. Does nothing for NULL. */
KVF_API void kvf_sequence_destroy(kvf_sequence *sequence);

/** Makes an independent copy with the same allocator (a fork, a beam). Errors: INVALID, NO_MEMORY.
 */
KVF_API kvf_status kvf_sequence_clone(const kvf_sequence *sequence, kvf_sequence **out,
                                      kvf_error *error);

/**
 * Appends `count` tokens, which must not lie in the sequence's own array. `completed`, if not NULL,
 * receives the range of block indexes that became complete (start equals end if none did).
 * Errors: INVALID; NO_MEMORY; RANGE if a block would exceed KVF_MAX_POSITION (`position`).
 */
KVF_API kvf_status kvf_sequence_extend(kvf_sequence *sequence, const uint32_t *tokens, size_t count,
                                       kvf_range *completed, kvf_error *error);

/**
 * As kvf_sequence_extend, with runs of multimodal placeholders among the new tokens. Runs are in
 * token positions of the whole sequence, lie within the new tokens and do not overlap; their order
 * does not matter. Errors: those of kvf_sequence_extend; UNSUPPORTED for runs in a v1.2 sequence;
 * INVALID for an empty run or an overlap and RANGE for a run outside the new tokens (`index` names
 * the run).
 */
KVF_API kvf_status kvf_sequence_extend_mm(kvf_sequence *sequence, const uint32_t *tokens,
                                          size_t count, const kvf_mm_run *runs, size_t run_count,
                                          kvf_range *completed, kvf_error *error);

/** Appends one token; otherwise as kvf_sequence_extend. */
KVF_API kvf_status kvf_sequence_append(kvf_sequence *sequence, uint32_t token, kvf_range *completed,
                                       kvf_error *error);

/**
 * Keeps the first `token_count` tokens. Blocks that lose a token are no longer complete; runs are
 * cut along with their tokens. Errors: INVALID; RANGE if the sequence has fewer tokens.
 */
KVF_API kvf_status kvf_sequence_truncate(kvf_sequence *sequence, size_t token_count,
                                         kvf_error *error);

/** Makes room for `token_count` tokens in total, so that extending up to there cannot run out of
 *  memory, except for multimodal runs. Errors: INVALID, RANGE, NO_MEMORY. */
KVF_API kvf_status kvf_sequence_reserve(kvf_sequence *sequence, size_t token_count,
                                        kvf_error *error);

/** Tokens per block. */
KVF_API size_t kvf_sequence_block_size(const kvf_sequence *sequence);

/** The salt, which seeds the block hashes; 0: none. */
KVF_API uint64_t kvf_sequence_salt(const kvf_sequence *sequence);

/** The version of dynamo-tokens whose hashes the sequence has. */
KVF_API kvf_hash_layout kvf_sequence_hash_layout(const kvf_sequence *sequence);

/** Number of complete blocks. */
KVF_API size_t kvf_sequence_block_count(const kvf_sequence *sequence);

/** Number of tokens, including those of the incomplete last block. */
KVF_API size_t kvf_sequence_token_count(const kvf_sequence *sequence);

/** The tokens, kvf_sequence_token_count of them; NULL if there are none. */
KVF_API const uint32_t *kvf_sequence_tokens(const kvf_sequence *sequence);

/** The lineage hashes of all complete blocks, indexed by position; NULL if there are none. */
KVF_API const kvf_hash *kvf_sequence_hashes(const kvf_sequence *sequence);

/** Reads one complete block. Errors: INVALID; RANGE past the last complete block. */
KVF_API kvf_status kvf_sequence_block(const kvf_sequence *sequence, size_t index,
                                      kvf_token_block *out, kvf_error *error);

/** Bytes the sequence occupies, including the object itself. */
KVF_API size_t kvf_sequence_memory(const kvf_sequence *sequence);

#ifdef __cplusplus
}
#endif
#endif
