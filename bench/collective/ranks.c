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
     "Number of ranks, each with its own GPU (default: from the environment, else 1)", 70},
    {"rank", KEY_RANK, "R", 0, "This process's rank, below --ranks (default: from the environment)",
     70},
    {"address", KEY_ADDRESS, "HOST:PORT", 0,
     "Where rank 0 listens for the other ranks (default: MASTER_ADDR and MASTER_PORT)", 70},
    {"device", KEY_DEVICE, "N", 0,
     "This rank's GPU (default: its rank on this machine, modulo the number of GPUs)", 70},
    {0},
};

const rank_options rank_options_none = {.rank = -1, .ranks = -1, .device = -1};

static const option_rule rules[] = {
    SETS_WITHIN(KEY_RANKS, rank_options, ranks, 1, MAX_RANKS),
    SETS_WITHIN(KEY_RANK, rank_options, rank, 0, MAX_RANKS - 1),
    SETS(KEY_ADDRESS, rank_options, address),
    SETS_WITHIN(KEY_DEVICE, rank_options, device, 0, INT_MAX),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    return option_set(options, rules, key, argument, state);
}

const struct argp ranks_argp = {.options = options, .parser = parse};

/* The environment */

/* Variables in which a launcher gives the rank, the number of ranks, the rank on the machine. */
typedef struct launcher {
    const char *rank, *ranks, *local;
} launcher;

/* The innermost launcher first: srun may have started torchrun or mpirun. */
static const launcher launchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"},
};

/* The number in a variable; -1 when it is not set. */
static int variable(const char *name, uint64_t least, uint64_t most) {
    const char *text = getenv(name);
    uint64_t number = 0;
    if (!text)
        return -1;
    if (!parse_number(text, &number) || number < least || number > most)
        fail(EXIT_USAGE, "%s='%s' is not a number from %llu to %llu", name, text,
             (unsigned long long)least, (unsigned long long)most);
    return (int)number;
}

/* A rank counts only together with a number of ranks. */
static bool read_environment(rank_self *self) {
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        if (getenv(launchers[i].rank) && getenv(launchers[i].ranks)) {
            self->rank = variable(launchers[i].rank, 0, MAX_RANKS - 1);
            self->ranks = variable(launchers[i].ranks, 1, MAX_RANKS);
            self->local = variable(launchers[i].local, 0, MAX_RANKS - 1);
            return true;
        }
    }
    return false;
}

/* The rank on this machine; -1 when no launcher gives it. */
static int local_rank(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        int local = variable(launchers[i].local, 0, MAX_RANKS - 1);
        if (local >= 0)
            return local;
    }
    return -1;
}

/* MASTER_ADDR and MASTER_PORT as one address; NULL unless both are set. */
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

/* Options and environment together */

static char *choose_address(const rank_options *chosen) {
    char *address = chosen->address ? strdup(chosen->address) : master_address();
    if (!address)
        fail(EXIT_USAGE, "several ranks need --address HOST:PORT, or MASTER_ADDR and MASTER_PORT, "
                         "to find rank 0");
    return address;
}

void ranks_find(const rank_options *chosen, rank_self *self) {
    *self = (rank_self){.ranks = 1, .device = chosen->device, .local = -1};
    if (chosen->rank >= 0 && chosen->ranks < 0)
        fail(EXIT_USAGE, "--rank needs --ranks");
    if (chosen->rank < 0 && chosen->ranks > 1)
        fail(EXIT_USAGE,
             "--ranks %d needs --rank; omit both when mpirun, srun, torchrun or bench/ranks starts "
             "the ranks",
             chosen->ranks);
    if (chosen->ranks > 0) {
        self->rank = chosen->rank > 0 ? chosen->rank : 0;
        self->local = local_rank();
        self->ranks = chosen->ranks;
    } else if (!read_environment(self) && chosen->address)
        fail(EXIT_USAGE, "--address needs --rank, or a launcher that sets the rank");
    if (self->rank >= self->ranks)
        fail(EXIT_USAGE, "there is no rank %d of %d: ranks are 0 to %d", self->rank, self->ranks,
             self->ranks - 1);
    self->local = self->local >= 0 ? self->local : self->rank;
    self->address = self->ranks > 1 ? choose_address(chosen) : NULL;
}
