/* This process's rank, from options or from the environment that torchrun, mpirun or srun sets. */
#ifndef KVF_BENCH_RANKS_H
#define KVF_BENCH_RANKS_H

#include "base/options.h"

enum { MAX_RANKS = 4096 };

/* The command line's values; -1 or NULL: not given. */
typedef struct rank_options {
    int rank, ranks, device;
    const char *address;
} rank_options;

extern const rank_options rank_options_none;

/* A child parser for --rank, --ranks, --address and --device; its input is a rank_options. */
extern const struct argp ranks_argp;

typedef struct rank_self {
    int rank, ranks;
    int device;    /* -1: chosen by `local` */
    int local;     /* its rank on its machine; its rank when that is unknown */
    char *address; /* where rank 0 listens; the caller frees it; NULL for one rank */
} rank_self;

/* Combines options and environment; --rank and --ranks override the environment. Without either,
 * this is the only rank. Ends the program on bad usage. */
void ranks_find(const rank_options *chosen, rank_self *self);

#endif
