/* Checksums of blocks in host memory, keyed by slot. Slots order whoever touches one block. */
#ifndef KVF_INTEGRITY_H
#define KVF_INTEGRITY_H

#include "engine.h"

/* Gives a tier its sums, all unsealed. false without memory. */
bool kvf__integrity_init(kvf_tier *tier);
void kvf__integrity_fini(kvf_tier *tier);

/* Takes the block's sum as its bytes are now. */
void kvf__integrity_seal(kvf_tier *tier, size_t id);

/* Whether the block's bytes still have its sum. A block never sealed passes. */
bool kvf__integrity_verify(const kvf_tier *tier, size_t id);

#endif
