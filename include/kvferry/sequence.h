/** @file
 * A sequence of tokens, cut into blocks and hashed as it grows.
 *
 * It holds its tokens, block hashes, sequence hashes and lineage hashes in four arrays, so that a
 * tracker stages from the lineage hashes as they lie. No memory is allocated per block.
 *
 * @par Threads
 * A sequence belongs to one owner: calls on it must not overlap in time.
 *
 * @par Ownership
 * Whoever is given a sequence, by create or clone, destroys it. Tokens and runs given to it are
 * copied; the arrays it shows are its own.
 *
 * @par Lifetimes
 * Arrays that were read from a sequence are valid until the next extend, append, reserve (whether
 * or not these succeed), truncate or destroy.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others that read need
 * a sequence.
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
    size_t block_size;              /**< Tokens a block, 1 or more. */
    uint64_t salt;                  /**< Seeds the block hashes; 0 for none. */
    kvf_hash_layout layout;         /**< Default KVF_HASH_V1_2. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_sequence_options;

/** One complete block. */
typedef struct kvf_token_block {
    uint64_t position;      /**< Index of the block in its sequence. */
    uint64_t block_hash;    /**< Of its own tokens. */
    uint64_t sequence_hash; /**< Of everything up to its end. */
    uint64_t parent;        /**< The sequence hash before it; 0 for a root. */
    bool has_parent;        /**< false for position 0. */
    kvf_hash lineage;       /**< The reference's SequenceHash. */
    kvf_hash positional;    /**< The reference's PositionalSequenceHash. */
    const uint32_t *tokens; /**< block_size tokens, in the sequence's array. */
} kvf_token_block;

/**
 * Makes an empty sequence.
 * Errors: INVALID for NULL, block size 0 or an unknown layout; NO_MEMORY.
 */
KVF_API kvf_status kvf_sequence_create(const kvf_sequence_options *options, kvf_sequence **out,
                                       kvf_error *error);

/** Frees the sequence. NULL is fine. */
KVF_API void kvf_sequence_destroy(kvf_sequence *sequence);

/** An independent copy with the same allocator (a fork, a beam). Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_sequence_clone(const kvf_sequence *sequence, kvf_sequence **out,
                                      kvf_error *error);

/**
 * Appends tokens, which must not be the sequence's own array. `completed`, when not NULL, gets the
 * range of block indexes that became complete (start equals end when none did). Errors: INVALID;
 * NO_MEMORY; RANGE when a block would pass KVF_MAX_POSITION (`position` names it).
 */
KVF_API kvf_status kvf_sequence_extend(kvf_sequence *sequence, const uint32_t *tokens, size_t count,
                                       kvf_range *completed, kvf_error *error);

/**
 * As kvf_sequence_extend, with multimodal runs among the new tokens. Runs are in token positions
 * of the whole sequence, in any order, inside the new tokens, without overlap.
 * Errors, besides those of extend: UNSUPPORTED for a v1.2 sequence when there are runs; INVALID for
 * an empty run or an overlap, RANGE for a run outside the new tokens (`index` names the run).
 */
KVF_API kvf_status kvf_sequence_extend_mm(kvf_sequence *sequence, const uint32_t *tokens,
                                          size_t count, const kvf_mm_run *runs, size_t run_count,
                                          kvf_range *completed, kvf_error *error);

/** Appends one token: kvf_sequence_extend of one. */
KVF_API kvf_status kvf_sequence_append(kvf_sequence *sequence, uint32_t token, kvf_range *completed,
                                       kvf_error *error);

/**
 * Keeps the first `token_count` tokens; blocks that lose a token are no longer complete. Runs are
 * cut with their tokens. Errors: INVALID; RANGE for more tokens than there are.
 */
KVF_API kvf_status kvf_sequence_truncate(kvf_sequence *sequence, size_t token_count,
                                         kvf_error *error);

/** Makes room for `token_count` tokens in all, so that extending up to there cannot run out of
 *  memory (runs aside). Errors: INVALID, RANGE, NO_MEMORY. */
KVF_API kvf_status kvf_sequence_reserve(kvf_sequence *sequence, size_t token_count,
                                        kvf_error *error);

/** Tokens a block. */
KVF_API size_t kvf_sequence_block_size(const kvf_sequence *sequence);

/** What seeds the block hashes. */
KVF_API uint64_t kvf_sequence_salt(const kvf_sequence *sequence);

/** Whose hashes these are. */
KVF_API kvf_hash_layout kvf_sequence_hash_layout(const kvf_sequence *sequence);

/** Complete blocks. */
KVF_API size_t kvf_sequence_block_count(const kvf_sequence *sequence);

/** All tokens, those of the incomplete last block included. */
KVF_API size_t kvf_sequence_token_count(const kvf_sequence *sequence);

/** The tokens, kvf_sequence_token_count of them; NULL when there are none. */
KVF_API const uint32_t *kvf_sequence_tokens(const kvf_sequence *sequence);

/** The lineage hashes of all complete blocks, [i] that of position i; NULL when there are none. */
KVF_API const kvf_hash *kvf_sequence_hashes(const kvf_sequence *sequence);

/** Reads one complete block. Errors: INVALID; RANGE past the last complete block. */
KVF_API kvf_status kvf_sequence_block(const kvf_sequence *sequence, size_t index,
                                      kvf_token_block *out, kvf_error *error);

/** Bytes the sequence holds, itself included. */
KVF_API size_t kvf_sequence_memory(const kvf_sequence *sequence);

#ifdef __cplusplus
}
#endif
#endif
