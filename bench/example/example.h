/*
 * A small runtime with paged attention and no model: how a program that adopts kvferry is built.
 *
 * Many sequences want to run, and the device tier holds the blocks of a few of them. Each runs for
 * some tokens, has its blocks offloaded, and gets them back, layer by layer, when it is its turn
 * again. Attention is a checksum over all bytes that a sequence's blocks should have. It is
 * compared with what the tokens say, so that a byte that is wrong, missing or late is found in the
 * step that reads it.
 *
 * To be read in this order, in which files also include each other:
 *
 *     content.h               what a block's bytes must be, for the processor and for kernels
 *     machine.h               what differs between the host engine and a GPU
 *     machine_host.c, machine_cuda.c with kernels.cu
 *     pool.h, pool.c          the blocks of a tier, and which may be given to whom
 *     sequence.h, sequence.c  a sequence, its two assignments objects, its transfers, its steps
 *     scheduler.h, .c         who runs, who waits, who has to leave
 *     main.c, options.c       the loop, and the last line
 *
 * README's example is the smallest form of this: one sequence, one offload, no scheduler.
 */
#ifndef KVF_EXAMPLE_H
#define KVF_EXAMPLE_H

#include <kvferry/kvferry.h>

enum { PARTS = 2 /* K and V */, MOST_LANES = 16 };

typedef struct options {
    const char *engine; /* "host" or "cuda" */
    bool no_threads, integrity;
    size_t threads, device, max_transfers, offload_mbps; /* of the engine; 0: its usual */
    size_t seed;
    size_t sequences;      /* to finish before the end */
    size_t live;           /* of them at a time, running or waiting */
    size_t tokens;         /* of the longest */
    size_t slice;          /* steps of a turn, while others wait for theirs */
    size_t lanes;          /* steps under way at a time: streams of compute */
    size_t steps, seconds; /* when to end at the latest; 0: never */
    size_t hang_ups, rot;  /* one every so many rounds, about; 0: none */
    size_t device_blocks, host_blocks, block_tokens, layers, token_bytes;
} options;

/* From the command line; ends the program when they are no good. */
options options_parse(int argc, char **argv);

/* Ends the program with a message. */
_Noreturn void die(const char *what, const char *why);

/* ... unless the status is KVF_OK. */
void check(kvf_status status, const kvf_error *error);

/* Zeroed memory, or the end. */
void *must_have(size_t count, size_t size);

#endif
