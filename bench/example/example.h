/*
 * A small runtime with paged attention and no model: what a program that adopts kvferry looks like.
 *
 * Many sequences want to run, and the device tier holds the blocks of a few of them. Each runs for
 * some tokens, has its blocks offloaded, and gets them back, layer by layer, when it is its turn
 * again. The attention step is a checksum over all bytes that a sequence's blocks should have; it
 * is compared with what the tokens say, so that a byte that is wrong, missing or late is found in
 * the step that reads it.
 *
 * Read on in this order, in which files also include each other:
 *
 *     content.h           what the bytes of a block must be, for the processor and for kernels
 *     machine.h           what differs between host and GPU: memory, and how compute is ordered
 *     machine_host.c, machine_cuda.c, kernels.cu
 *     pool.h, pool.c      the blocks of a tier, and which may be given to whom
 *     sequence.h, .c      a sequence, its two trackers, and the transfers between them
 *     scheduler.h, .c     who runs, who waits, who has to leave
 *     main.c              options, and the last line
 *
 * Here: the options, and ending with a message.
 */
#ifndef KVF_EXAMPLE_H
#define KVF_EXAMPLE_H

#include <kvferry/kvferry.h>

/* K and V. */
enum { PARTS = 2, MOST_LANES = 16 };

typedef struct options {
    const char *engine; /* "host" or "cuda" */
    bool no_threads, integrity;
    size_t threads, device;
    size_t seed;
    size_t sequences;      /* to finish before the end */
    size_t live;           /* of them at a time, running or waiting */
    size_t tokens;         /* of the longest */
    size_t slice;          /* steps of a turn, while others wait for theirs */
    size_t lanes;          /* steps under way at a time: streams of compute */
    size_t steps, seconds; /* when to end at the latest; 0: never */
    size_t hang_ups, rot;  /* one every so many steps, about; 0: none */
    size_t device_blocks, host_blocks, block_tokens, layers, token_bytes;
    size_t max_transfers;
} options;

/* Ends the program with a message. */
_Noreturn void die(const char *what, const char *why);

/* Goes on when the status is KVF_OK. */
void must(kvf_status status, const kvf_error *error, const char *what);

/* Zeroed memory, or the end. */
void *must_have(size_t count, size_t size);

#endif
