/*
 * Checksums of blocks in host memory, keyed by slot and layout: whoever writes one layout's part of
 * a block cannot vouch for what the others hold. Slots order whoever touches one block.
 */
#ifndef KVF_INTEGRITY_H
#define KVF_INTEGRITY_H

#include "engine.h"

/* Gives a tier its sums, all unsealed. false without memory. */
bool kvf__integrity_init(kvf_tier *tier);
void kvf__integrity_fini(kvf_tier *tier);

/* Takes the block's sum in one of the tier's layouts as its bytes are now. */
void kvf__integrity_seal(kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Whether the block's bytes in that layout still have their sum. A block never sealed passes. */
bool kvf__integrity_verify(const kvf_tier *tier, const kvf_layout *layout, size_t id);

#endif
