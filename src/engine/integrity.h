/*
 * Checksums of blocks in host memory, one for each block and layout: writing one layout's part of a
 * block says nothing about the other parts. Slots order all accesses to a block.
 */
#ifndef KVF_INTEGRITY_H
#define KVF_INTEGRITY_H

#include "engine/engine.h"

/* Allocates a tier's sums; all blocks are unknown. false: out of memory. */
bool kvf__integrity_init(kvf_tier *tier);
void kvf__integrity_fini(kvf_tier *tier);

/* Stores the sum of the block's current bytes in one of the tier's layouts. */
void kvf__integrity_seal(kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Whether the block's bytes in that layout match their sum. A block never written or sealed passes;
 * one that was written but not sealed since fails. */
bool kvf__integrity_verify(const kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Marks the block's bytes in that layout as changing. Idempotent, from any thread. */
void kvf__integrity_write(kvf_tier *tier, const kvf_layout *layout, size_t id);

/* Before and after writing only a part of the layout. A block that fails its check before the write
 * keeps failing: it is not sealed after it. */
void kvf__integrity_before_part(kvf_tier *tier, const kvf_layout *layout, size_t id);
void kvf__integrity_seal_part(kvf_tier *tier, const kvf_layout *layout, size_t id);

#endif
