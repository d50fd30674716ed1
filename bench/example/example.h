/*
 * A small runtime with paged attention, but no model: how a program uses kvferry.
 *
 * There are many sequences, and the device tier holds the blocks of only a few. A sequence runs for
 * some tokens, then its blocks are offloaded. When its turn comes again, they are onboarded, layer
 * by layer. Attention is a checksum over all bytes of a sequence's blocks. The checksum is compared
 * with the one that follows from the tokens, so that a wrong, missing or late byte is detected in
 * the step that reads it.
 *
 * Read the files in this order, which is also that of their includes:
 *
 *     error.c, options.c      messages that end the program; the command line
 *     content.h               the bytes of blocks, for the CPU and for kernels
 *     machine.h               what differs between the host engine and a GPU
 *     machine_host.c, machine_cuda.c with kernels.cu
 *     pool.h, pool.c          the blocks of a tier: free, in use, shared
 *     sequence.h, sequence.c  a sequence: its assignments, its transfers, its steps
 *     scheduler.h, .c         which sequence runs, waits or leaves
 *     main.c                  the loop and the summary
 *
 * The README's example is the smallest form of this: one sequence, one offload, no scheduler.
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
    size_t sequences;      /* to finish */
    size_t live;           /* the most at a time, running or waiting */
    size_t tokens;         /* the longest sequence */
    size_t slice;          /* steps of a turn while others wait */
    size_t lanes;          /* steps in flight at a time: streams of compute */
    size_t steps, seconds; /* when to stop; 0: never */
    size_t hang_ups, rot;  /* about one per so many rounds; 0: none */
    size_t device_blocks, host_blocks, block_tokens, layers, token_bytes;
} options;

/* Parses the command line. Ends the program on bad usage. */
options options_parse(int argc, char **argv);

/* Ends the program with an error message. */
_Noreturn void die(const char *what, const char *why);

/* Ends the program unless the status is KVF_OK. */
void check(kvf_status status, const kvf_error *error);

/* Allocates zeroed memory. Ends the program when memory runs out. */
void *must_have(size_t count, size_t size);

#endif
