/*
 * Who uses the blocks of a tier: for each block its last writer and, per lane, its last reader.
 *
 * A lane is a queue that runs in order: waiting for one of its transfers covers all before it. What
 * a new user must wait for is therefore one number for each lane:
 *
 *     after[l]   everything on lane l up to this sequence number
 *
 * A writer waits for the last writer and for all readers since. Waiting for the writer therefore
 * covers them, and their entries are dropped. Calls are under the engine's `order`; see engine.h.
 */
#ifndef KVF_SLOTS_H
#define KVF_SLOTS_H

#include "move/pairs.h"

#include <stdatomic.h>

enum { KVF__LANES = 32 };

typedef struct kvf__slots {
    size_t blocks;
    uint64_t *writer;             /* sequence * KVF__LANES + lane; 0: none */
    uint32_t *readers;            /* lanes that have read since, one bit each */
    uint64_t *reader[KVF__LANES]; /* sequence of the last reader on that lane */
} kvf__slots;

bool kvf__slots_init(kvf__slots *slots, const kvf_allocator *allocator, size_t blocks);
void kvf__slots_free(kvf__slots *slots, const kvf_allocator *allocator);

/* Makes room for readers on a lane. false: out of memory. */
KVF__MODULES bool kvf__slots_prepare(kvf__slots *slots, const kvf_allocator *allocator,
                                     unsigned lane);

/* Registers `sequence` on `lane` as the last reader of the runs' sources, or as the writer of their
 * destinations, and raises after[] to what it must wait for. */
void kvf__slots_read(kvf__slots *slots, const kvf__runs *runs, unsigned lane, uint64_t sequence,
                     uint64_t after[KVF__LANES]);
void kvf__slots_write(kvf__slots *slots, const kvf__runs *runs, unsigned lane, uint64_t sequence,
                      uint64_t after[KVF__LANES]);

/* Registers a reader or writer of one block; raises nothing. */
KVF__MODULES void kvf__slots_mark(kvf__slots *slots, size_t id, bool write, unsigned lane,
                                  uint64_t sequence);

/* Raises after[] to the writer of one block, or to all its users. */
KVF__MODULES void kvf__slots_writer(const kvf__slots *slots, size_t id, uint64_t after[KVF__LANES]);
KVF__MODULES void kvf__slots_users(const kvf__slots *slots, size_t id, uint64_t after[KVF__LANES]);

#endif
