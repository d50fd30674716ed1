/* What ranks tell each other over their control channel beside the group that uses it: numbers that
 * go to rank 0, and its answer. */
#ifndef KVF_BENCH_CIRCLE_H
#define KVF_BENCH_CIRCLE_H

#include "ranks.h"

#include <kvferry/nccl.h>

typedef struct circle circle;

/* What a rank says at a time. */
enum { CIRCLE_BYTES = 256 };

/* Returns when all ranks are there. This and all else ends the program when one is missing. */
circle *circle_open(const rank_self *self, int64_t timeout_us);
void circle_close(circle *circle);

/* For one group; NULL for one rank. It may live before, between and behind what is told here. */
const kvf_channel *circle_channel(circle *circle);

/*
 * One round: every rank says `bytes`, CIRCLE_BYTES at most, of which rank 0 gets [ranks] in `all`,
 * by rank; then rank 0 gives all its answer. No group may live meanwhile.
 */
void circle_gather(circle *circle, const void *mine, void *all, size_t bytes);

/* `answer` is read on rank 0 and written on the others. */
void circle_answer(circle *circle, uint64_t *answer);

#endif
