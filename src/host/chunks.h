/*
 * What the host engine does to a transfer: phases, each in chunks that threads take one by one.
 *
 *     phase        units                    work
 *     VERIFY       blocks of the plans      check the source's sums
 *     VERIFY_DST   destination blocks       check the sums, if only some layers will be written
 *     COPY         blocks, strip by strip   copy
 *     SEAL         destination blocks       store the destination's sums
 *
 * A phase with nothing to do has 0 units.
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

/* Consecutive units of one phase of a transfer. */
typedef struct kvf__chunk {
    kvf_transfer *transfer; /* NULL: none */
    kvf__phase phase;
    size_t first, count;
    uint64_t due; /* the earliest time at which it may land; 0: at once */
} kvf__chunk;

/* The number of units of a phase, and the bytes of one unit. With `lock` held. */
size_t kvf__phase_units(const kvf_transfer *transfer, kvf__phase phase);
size_t kvf__phase_unit_bytes(const kvf_transfer *transfer, kvf__phase phase, size_t unit);

/* Does a chunk. Without any lock held. `streaming` copies data that is too large for the caches. */
void kvf__chunk_do(const kvf__chunk *chunk, kvf__copy *streaming);

/* After VERIFY: the first corrupt block; false: there is none. */
bool kvf__find_corrupt(const kvf_transfer *transfer, kvf_error *error);

#endif
