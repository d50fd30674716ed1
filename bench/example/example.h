/*
 * A small runtime with paged attention and no model. It shows how a program uses kvferry.
 *
 * Many sequences want to run, but the device tier holds the blocks of only a few of them. Each
 * sequence runs for some tokens, then its blocks are offloaded; when its turn comes again, they are
 * onboarded layer by layer. Attention is a checksum over the bytes of a sequence's blocks. Every
 * step compares it with the checksum that follows from the tokens, so a byte that is wrong, missing
 * or late is found in the step that reads it.
 *
 * Read the files in this order, in which they also include each other:
 *
 *     content.h               the expected bytes of a block, for the processor and for kernels
 *     machine.h               what differs between the host engine and a GPU
 *     machine_host.c, machine_cuda.c with kernels.cu
 *     pool.h, pool.c          the blocks of a tier: which are free, which are shared
 *     sequence.h, sequence.c  a sequence, its two assignments objects, its transfers, its steps
 *     scheduler.h, .c         which sequences run, wait or leave the device
 *     main.c, options.c       the main loop, and the line that it prints at the end
 *
 * The example in README.md is the smallest form of this: one sequence, one offload, no scheduler.
 */
#ifndef KVF_EXAMPLE_H
#define KVF_EXAMPLE_H

#include <kvferry/kvferry.h>

enum { PARTS = 2 /* K and V */, MOST_LANES = 16 };

typedef struct options {
    const char *engine; /* "host" or "cuda" */
    bool no_threads, integrity;
    size_t threads, device, max_transfers, offload_mbps; /* of the engine; 0: its default */
    size_t seed;
    size_t sequences;      /* sequences to finish */
    size_t live;           /* sequences at a time, running or waiting */
    size_t tokens;         /* most tokens of a sequence */
    size_t slice;          /* steps of a turn while other sequences wait */
    size_t lanes;          /* steps in progress at a time: streams of compute */
    size_t steps, seconds; /* end after so many steps or seconds; 0: no limit */
    size_t hang_ups, rot;  /* average rounds from one to the next; 0: none */
    size_t device_blocks, host_blocks, block_tokens, layers, token_bytes;
} options;

/* Reads the command line; ends the program if an option is invalid. */
options options_parse(int argc, char **argv);

/* Ends the program with a message. */
_Noreturn void die(const char *what, const char *why);

/* Ends the program unless the status is KVF_OK. */
void check(kvf_status status, const kvf_error *error);

/* Allocates zeroed memory; ends the program if there is none. */
void *must_have(size_t count, size_t size);

#endif
