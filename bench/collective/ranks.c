#include "collective/ranks.h"

#include "base/base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_RANKS = 0x1200,
    KEY_RANK,
    KEY_ADDRESS,
    KEY_DEVICE,
};

static const struct argp_option options[] = {
    {"ranks", KEY_RANKS, "N", 0,
     "Ranks in the group, each with its own GPU (default: what the environment says, else 1)", 70},
    {"rank", KEY_RANK, "R", 0, "Be rank R of --ranks N (default: what the environment says)", 70},
    {"address", KEY_ADDRESS, "HOST:PORT", 0,
     "Where rank 0 listens for the group's id and results (default: MASTER_ADDR and MASTER_PORT)",
     70},
    {"device", KEY_DEVICE, "N", 0,
     "This rank's GPU (default: its number among the ranks of this machine, modulo the GPUs)", 70},
    {0},
};

const rank_options rank_options_none = {.rank = -1, .ranks = -1, .device = -1};

static const option_rule rules[] = {
    SETS_WITHIN(KEY_RANKS, rank_options, ranks, 1, MOST_RANKS),
    SETS_WITHIN(KEY_RANK, rank_options, rank, 0, MOST_RANKS - 1),
    SETS(KEY_ADDRESS, rank_options, address),
    SETS_WITHIN(KEY_DEVICE, rank_options, device, 0, INT_MAX),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    return option_set(options, rules, key, argument, state);
}

const struct argp ranks_argp = {.options = options, .parser = parse};

/* The environment */

/* How a launcher names a rank, how many there are, and its number within the machine. */
typedef struct launcher {
    const char *rank, *ranks, *local;
} launcher;

/* The nearest first: torchrun and mpirun are themselves started by srun. */
static const launcher launchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"},
};

/* A variable's number; -1 when it is not set. */
static int variable(const char *name, uint64_t least, uint64_t most) {
    const char *text = getenv(name);
    uint64_t number = 0;
    if (!text)
        return -1;
    if (!parse_number(text, &number) || number < least || number > most) {
        fail(EXIT_USAGE, "%s='%s' is not a number from %llu to %llu", name, text,
             (unsigned long long)least, (unsigned long long)most);
    }
    return (int)number;
}

/* A variable counts only beside the one that says how many ranks there are. */
static bool ask_environment(rank_self *self) {
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        if (getenv(launchers[i].rank) && getenv(launchers[i].ranks)) {
            self->rank = variable(launchers[i].rank, 0, MOST_RANKS - 1);
            self->ranks = variable(launchers[i].ranks, 1, MOST_RANKS);
            self->local = variable(launchers[i].local, 0, MOST_RANKS - 1);
            return true;
        }
    }
    return false;
}

/* -1 when no launcher says it. */
static int local_rank(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        int local = variable(launchers[i].local, 0, MOST_RANKS - 1);
        if (local >= 0)
            return local;
    }
    return -1;
}

/* MASTER_ADDR and MASTER_PORT as one address; NULL when they are not both set. */
static char *master_address(void) {
    const char *host = getenv("MASTER_ADDR");
    const char *port = getenv("MASTER_PORT");
    char *address = NULL;
    if (!host || !port)
        return NULL;
    bool bare = strchr(host, ':') && host[0] != '['; /* an IPv6 address */
    if (asprintf(&address, "%s%s%s:%s", bare ? "[" : "", host, bare ? "]" : "", port) < 0)
        fail(EXIT_CHECK, "out of memory for an address");
    return address;
}

/* Putting both together */

static char *find_address(const rank_options *chosen) {
    char *address = chosen->address ? strdup(chosen->address) : master_address();
    if (!address) {
        fail(EXIT_USAGE, "several ranks need --address HOST:PORT, or MASTER_ADDR and MASTER_PORT, "
                         "to find rank 0");
    }
    return address;
}

void ranks_find(const rank_options *chosen, rank_self *self) {
    *self = (rank_self){.ranks = 1, .device = chosen->device, .local = -1};
    if (chosen->rank >= 0 && chosen->ranks < 0)
        fail(EXIT_USAGE, "--rank needs --ranks");
    if (chosen->rank < 0 && chosen->ranks > 1)
        fail(EXIT_USAGE,
             "--ranks %d needs --rank; mpirun, srun, torchrun and, on one machine, "
             "bench/ranks start all ranks, without either option",
             chosen->ranks);
    if (chosen->ranks > 0) {
        self->rank = chosen->rank > 0 ? chosen->rank : 0;
        self->local = local_rank();
        self->ranks = chosen->ranks;
    } else if (!ask_environment(self) && chosen->address)
        fail(EXIT_USAGE, "--address needs --rank, or a launcher that says which rank this is");
    if (self->rank >= self->ranks)
        fail(EXIT_USAGE, "there is no rank %d of %d: they are 0 to %d", self->rank, self->ranks,
             self->ranks - 1);
    self->local = self->local >= 0 ? self->local : self->rank;
    self->address = self->ranks > 1 ? find_address(chosen) : NULL;
}
