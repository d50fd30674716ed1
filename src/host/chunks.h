/*
 * What the host engine does with a transfer, in chunks that threads take one by one.
 *
 *     phase        units                     done to them
 *     VERIFY       blocks of the plans       check the source's sums
 *     VERIFY_DST   destination blocks        check those of which only some layers will be written
 *     COPY         blocks, strip by strip      copy
 *     SEAL         destination blocks        take the destination's sums
 *
 * A phase that has nothing to do has no units.
 */
#ifndef KVF_CHUNKS_H
#define KVF_CHUNKS_H

#include "host/copy.h"
#include "engine/transfer.h"

typedef enum kvf__phase {
    KVF__VERIFY,
    KVF__VERIFY_DST,
    KVF__COPY,
    KVF__SEAL,
    KVF__PHASES
} kvf__phase;

/* Some units in a row, of a transfer that is in that phase. */
typedef struct kvf__chunk {
    kvf_transfer *transfer; /* NULL: none */
    kvf__phase phase;
    size_t first, count;
    uint64_t due; /* lands at this time at the earliest; 0: at once */
} kvf__chunk;

/* Units of a phase, and the bytes of one; with `lock` held. */
size_t kvf__phase_units(const kvf_transfer *transfer, kvf__phase phase);
size_t kvf__phase_unit_bytes(const kvf_transfer *transfer, kvf__phase phase, size_t unit);

/* Does a chunk; without any lock. `streaming` copies what is too much for caches. */
void kvf__chunk_do(const kvf__chunk *chunk, kvf__copy *streaming);

/* Behind VERIFY: the first block that failed its check; false when none did. */
bool kvf__find_corrupt(const kvf_transfer *transfer, kvf_error *error);

#endif
