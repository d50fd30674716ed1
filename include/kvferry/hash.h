/** @file
 * Block hashes, sequence hashes and 128-bit positional hashes, bit for bit those of dynamo-tokens
 * 1.2 and 1.3.
 *
 * @par Threads
 * Any thread, at any time: all functions are pure.
 *
 * @par Ownership
 * Arguments and outputs are the caller's. Nothing is allocated or kept.
 *
 * @par Lifetimes
 * Hashes are values: they may be copied, stored and sent.
 *
 * @par Errors
 * As in status.h. A function that does not return a status cannot fail, whatever bits it is given.
 */
#ifndef KVFERRY_HASH_H
#define KVFERRY_HASH_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The last position a lineage hash can hold, 2^24 - 1. */
#define KVF_MAX_POSITION UINT64_C(16777215)

/** The version of dynamo-tokens whose hashes are computed. */
typedef enum kvf_hash_layout {
    KVF_HASH_V1_2, /**< dynamo-tokens 1.2.x, the default. */
    KVF_HASH_V1_3, /**< dynamo-tokens 1.3.x. */
} kvf_hash_layout;

/**
 * A 128-bit hash; in memory, a little-endian u128.
 *
 * Lineage hash, most significant bits first, with m the mode (0: position < 2^8, 1: < 2^16,
 * 2: < 2^24):
 *
 *     v1.2   | m 2 | position 8/16/24 | parent 59/55/51 | current 59/55/51 |
 *     v1.3   | m 2 | position 8/16/24 | current 64 | parent 54/46/38       |
 *
 * In v1.2 the current fragment is cut to the width of the next position's parent fragment, so a
 * child's parent fragment always equals its parent's current fragment.
 *
 * Positional sequence hash, with mode 3 for positions from 2^24 to 2^31 - 1:
 *
 *            | m 2 | position 8/16/24/31 | block hash 54/46/38/31 | sequence hash 64 |
 */
typedef struct kvf_hash {
    uint64_t low;  /**< The lower 64 bits. */
    uint64_t high; /**< The upper 64 bits. */
} kvf_hash;

/** A run of multimodal placeholder tokens, in token positions of the whole sequence. */
typedef struct kvf_mm_run {
    uint64_t mm_hash; /**< Identifies the image, sound, ... */
    uint64_t offset;  /**< Token position of the run's first token. */
    uint64_t length;  /**< Number of tokens, 1 or more. */
} kvf_mm_run;

/** XXH3-64 of `size` bytes with seed 0. `bytes` may be NULL if `size` is 0. */
KVF_API uint64_t kvf_hash_salt(const void *bytes, size_t size);

/** XXH3-64 of `count` tokens as little-endian u32, seeded with the salt. */
KVF_API uint64_t kvf_hash_block(const uint32_t *tokens, size_t count, uint64_t salt);

/**
 * The bytes that are hashed for a block of a sequence with multimodal runs (dynamo-tokens 1.3). If
 * no run overlaps the block, they are its tokens as little-endian u32; otherwise each token becomes
 * a frame of 13 bytes:
 *
 *     00 | token u32 | 0 u64                  a token
 *     01 | offset in its run u32 | mm_hash u64   a placeholder, whatever its token
 *
 * `tokens` are the block's `count` tokens, the first at token position `first`. `runs` ascend by
 * offset, do not overlap, and may lie outside the block. `*size` receives the number of bytes. The
 * bytes are written to `out`, which may be NULL, only if `capacity` holds them all; the call
 * succeeds either way, so compare `*size` with `capacity`.
 *
 * Errors: INVALID for NULL tokens or runs whose count is not 0, a run of length 0, and runs that
 * overlap or are out of order; RANGE if a run's offset + length overflows.
 */
KVF_API kvf_status kvf_hash_block_bytes(const uint32_t *tokens, size_t count, uint64_t first,
                                        const kvf_mm_run *runs, size_t run_count, uint8_t *out,
                                        size_t capacity, size_t *size, kvf_error *error);

/** The sequence hash of a block whose parent has the sequence hash `parent`. A root's sequence hash
 *  is its block hash. v1.2 seeds the chain with the salt, v1.3 with 1337. */
KVF_API uint64_t kvf_hash_chain(kvf_hash_layout layout, uint64_t salt, uint64_t parent,
                                uint64_t block_hash);

/**
 * Makes a lineage hash from the sequence hash `current`, the parent's sequence hash `*parent` (NULL
 * for a root) and the position.
 * Errors: RANGE for a position above KVF_MAX_POSITION; INVALID for a NULL `out` or an unknown
 * layout.
 */
KVF_API kvf_status kvf_hash_lineage(kvf_hash_layout layout, uint64_t current,
                                    const uint64_t *parent, uint64_t position, kvf_hash *out);

/** Makes a positional sequence hash. Errors: RANGE for a position of 2^31 or more; INVALID for a
 *  NULL `out`. */
KVF_API kvf_status kvf_hash_positional(uint64_t sequence_hash, uint64_t position,
                                       uint64_t block_hash, kvf_hash *out);

/** The mode, 0 to 3, of either kind of hash. */
KVF_API unsigned kvf_hash_mode(kvf_hash hash);

/** The position of a lineage hash, in either layout; UINT64_MAX for mode 3, which no lineage hash
 *  has. */
KVF_API uint64_t kvf_hash_position(kvf_hash hash);

/** The current fragment of a lineage hash (v1.2: 59, 55 or 51 bits; v1.3: the whole sequence
 *  hash). */
KVF_API uint64_t kvf_hash_current(kvf_hash_layout layout, kvf_hash hash);

/** The parent fragment of a lineage hash; 0 for a root. */
KVF_API uint64_t kvf_hash_parent(kvf_hash_layout layout, kvf_hash hash);

/** Whether `next` can follow `hash` directly: its position is the next one, and its parent fragment
 *  matches the current one of `hash`. */
KVF_API bool kvf_hash_follows(kvf_hash_layout layout, kvf_hash hash, kvf_hash next);

/** Total order of lineage hashes: by position, then current fragment, then all bits. Negative, 0 or
 *  positive. */
KVF_API int kvf_hash_compare(kvf_hash_layout layout, kvf_hash a, kvf_hash b);

/** Whether all bits are equal. */
KVF_API bool kvf_hash_equal(kvf_hash a, kvf_hash b);

/** Writes a lineage hash as "position:current:parent", a root as "position:current"; each hash is
 *  its eight big-endian bytes in base58. Returns the length as snprintf does. */
KVF_API int kvf_hash_format(kvf_hash_layout layout, kvf_hash hash, char *buffer, size_t size);

/** A buffer size, in bytes, that always holds the text of kvf_hash_format and its terminator. */
#define KVF_HASH_TEXT_SIZE 48

/** The position in a positional sequence hash. */
KVF_API uint64_t kvf_hash_positional_position(kvf_hash hash);

/** The block hash fragment (54, 46, 38 or 31 bits) in a positional sequence hash. */
KVF_API uint64_t kvf_hash_positional_block_hash(kvf_hash hash);

/** The sequence hash in a positional sequence hash. */
KVF_API uint64_t kvf_hash_positional_sequence_hash(kvf_hash hash);

#ifdef __cplusplus
}
#endif
#endif
