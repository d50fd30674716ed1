/*
 * Checksums of blocks in host memory, keyed by slot and layout: whoever writes one layout's part of
 * a block cannot vouch for what the others hold. Slots order whoever touches one block.
 */
#ifndef KVF_INTEGRITY_H
#define KVF_INTEGRITY_H

#include "engine/engine.h"

/* Gives a tier its sums, all blocks unknown. false without memory. */
bool kvf__integrity_init(kvf_tier *tier);
void kvf__integrity_fini(kvf_tier *tier);

/* Takes the block's sum in one of the tier's layouts as its bytes are now. */
void kvf__integrity_seal(kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Whether the block's bytes in that layout still have their sum. A block never written nor sealed
 * passes, one that was written and not sealed since does not. */
bool kvf__integrity_verify(const kvf_tier *tier, const kvf_layout *layout, size_t id);

/* The block's bytes in that layout are about to change. May be said again, by several at a time. */
void kvf__integrity_write(kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Around writing only a part of the layout: a block that fails its check beforehand goes on failing
 * it, and is not sealed behind the writing. */
void kvf__integrity_before_part(kvf_tier *tier, const kvf_layout *layout, size_t id);
void kvf__integrity_seal_part(kvf_tier *tier, const kvf_layout *layout, size_t id);

#endif
