/* Who this process is among the ranks of a group: by options, or by the environment that torchrun,
 * mpirun or srun gives. */
#ifndef KVF_BENCH_RANKS_H
#define KVF_BENCH_RANKS_H

#include "base/options.h"

enum { MOST_RANKS = 4096 };

/* What the command line says; what it does not say is -1 or NULL. */
typedef struct rank_options {
    int rank, ranks, device;
    const char *address;
} rank_options;

extern const rank_options rank_options_none;

/* A child parser with --rank, --ranks and what belongs to them; its input is a rank_options. */
extern const struct argp ranks_argp;

typedef struct rank_self {
    int rank, ranks;
    int device;    /* -1: chosen by `local` */
    int local;     /* its number among the ranks of its machine, as far as that is known */
    char *address; /* where rank 0 listens, the holder's to free; NULL for one rank */
} rank_self;

/* The only rank of its group if neither the options nor the environment name one; --rank and
 * --ranks override the environment. Ends the program on bad usage. */
void ranks_find(const rank_options *chosen, rank_self *self);

#endif
