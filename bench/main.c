#include "base/command.h"
#include "output/output.h"
#include "base/base.h"

#include <argp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *argp_program_version = "kvferry " KVF_VERSION_STRING;

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} command;

/* A set of commands and its help text. */
typedef struct menu {
    const char *doc;
    const command *commands; /* ends with a NULL name */
} menu;

/* The command that the command line names. */
typedef struct choice {
    const menu *menu;
    const command *command; /* NULL: none yet */
    int at;                 /* its index in argv */
} choice;

static error_t parse(int key, char *argument, struct argp_state *state) {
    choice *choice = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        choice->at = state->next - 1;
        for (const command *c = choice->menu->commands; c->name; c++)
            choice->command = strcmp(c->name, argument) == 0 ? c : choice->command;
        if (!choice->command)
            argp_error(state, "unknown command '%s'", argument);
        state->next = state->argc; /* the command parses the rest */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Runs the command that the arguments name, as "MENU COMMAND". */
static int choose(const menu *menu, int argc, char **argv) {
    char name[64];
    choice choice = {.menu = menu};
    const struct argp argp = {
        .parser = parse, .args_doc = "COMMAND [ARGUMENT...]", .doc = menu->doc};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &choice);
    snprintf(name, sizeof name, "%s %s", argv[0], choice.command->name);
    argv[choice.at] = name;
    return choice.command->run(argc - choice.at, argv + choice.at);
}

static int bench_main(int argc, char **argv) {
    static const command commands[] = {
        {"plan", bench_plan_main},
        {"transfer", bench_transfer_main},
        {"pinned", bench_pinned_main},
        {"collective", bench_collective_main},
        {0},
    };
    static const menu menu = {
        "Measure parts of kvferry.\v"
        "Commands:\n"
        "  plan        bookkeeping (hashes, assignments, plans, moves), in ns per block\n"
        "  transfer    transfers, compared with the machine's fastest plain copy\n"
        "  pinned      how long pinning host memory takes\n"
        "  collective  onboarding the same blocks to all GPUs of a group\n"
        "\n"
        "Examples:\n"
        "  kvferry bench plan --blocks 1024,65536\n"
        "  kvferry bench transfer --fragment-bytes 4K,64K --pattern random\n"
        "  kvferry bench transfer --help\n",
        commands};
    return choose(&menu, argc, argv);
}

#ifndef KVF_BENCH_CUDA
static int without_cuda(void) {
    fail(EXIT_USAGE, "this kvferry was built without engine cuda: building it needs the CUDA "
                     "toolkit with nvcc");
}

int calibrate_main(int argc, char **argv) {
    (void)argc, (void)argv;
    return without_cuda();
}

int bench_pinned_main(int argc, char **argv) {
    (void)argc, (void)argv;
    return without_cuda();
}
#endif

#ifndef KVF_BENCH_NCCL
int bench_collective_main(int argc, char **argv) {
    (void)argc, (void)argv;
    fail(EXIT_USAGE, "this kvferry was built without groups of GPUs: building them needs the CUDA "
                     "toolkit with nvcc, and NCCL's header and library");
}
#endif

int main(int argc, char **argv) {
    static const command commands[] = {
        {"replay", replay_main}, {"bench", bench_main},   {"calibrate", calibrate_main},
        {"advise", advise_main}, {"report", report_main}, {0},
    };
    static const menu menu = {
        "Measure how fast KV-cache blocks move between memory tiers, such as GPU and host memory.\v"
        "Commands:\n"
        "  replay            serve a request trace over two tiers and verify every byte\n"
        "  bench plan        measure bookkeeping: hashes, assignments, plans, moves\n"
        "  bench transfer    measure transfers from submit to completion\n"
        "  bench pinned      measure how long pinning host memory takes\n"
        "  bench collective  measure how fast the same blocks reach all GPUs of a group\n"
        "  calibrate         measure what transfers cost on a GPU and store that\n"
        "  advise            recommend KV-cache layouts and predict transfer times\n"
        "  report            show results as an HTML page\n"
        "\n"
        "Arguments:\n"
        "A LIST is one or more values separated by commas. Whole numbers may end in K, M or G: "
        "times 1024, 1024^2 or 1024^3.\n"
        "\n"
        "Output:\n"
        "The machine, link, driver and build, then a table. --json=FILE writes the same as one "
        "JSON object:\n"
        "\n"
        "  schema_version  2\n"
        "  command         \"replay\", \"bench transfer\", ...\n"
        "  context         command line, machine, link, driver and build\n"
        "  rows            an object for each row of the table\n"
        "  noise           the bound for spread, the number of rows and of noisy rows\n"
        "  compare         with --compare: both runs of each row, ratio and verdict\n"
        "\n"
        "Keys end in the unit: _ns, _us, _ms, _s, _bytes, _gbps (10^9 bytes/s). null means not "
        "measured or not applicable. Every measured row (calibrate and advise have none) has:\n"
        "\n"
        "  samples         the number of samples\n"
        "  median_UNIT     in ns (bench plan), s (bench pinned) or us (the others)\n"
        "  p10_UNIT        and p90_UNIT, p99_UNIT: percentiles; p99 needs 100 samples\n"
        "  max_UNIT        the slowest\n"
        "  spread          (p90 - p10) / median; null for a single sample and in replay\n"
        "  noisy           whether spread exceeds the bound; null if spread is null\n"
        "  verified        whether every check passed; null if nothing was checked\n"
        "\n"
        "Limits:\n"
        "A number out of range is an error that names the range. The largest values are:\n"
        "\n"
        "  sizes           2^32 - 1 bytes per block or fragment, 2^48 bytes in total\n"
        "  blocks          2^31 - 1 per tier, 2^24 in bench plan\n"
        "  regions         65536 per block\n"
        "  samples         1000000, 1000 in bench pinned\n"
        "  patterns        4096 for K of run:K and stride:K\n"
        "  ranks           4096\n"
        "  traces          16M bytes per line and 2^20 blocks per request\n"
        "  results         32M bytes and 10000 rows per file\n"
        "\n"
        "Exit status:\n"
        "  0  success\n"
        "  1  a check or the machine failed\n"
        "  2  bad usage or input\n"
        "\n"
        "Environment:\n"
        "  XDG_CACHE_HOME  the directory of cached files (default: .cache in HOME)\n"
        "\n"
        "bench collective also reads the variables of launchers, see its --help.\n"
        "\n"
        "Files:\n"
        "  $XDG_CACHE_HOME/kvferry/cuda-NAME.json\n"
        "                    the cost table of the GPU of that name, which calibrate\n"
        "                    writes and the other commands read\n"
        "\n"
        "Examples:\n"
        "  kvferry replay --synthetic\n"
        "  kvferry replay --trace conversation.jsonl --device-blocks 4096 --json -\n"
        "  kvferry bench transfer --engine cuda --direction h2d,d2h --strategy all\n"
        "  kvferry bench plan --help\n",
        commands};
    argp_err_exit_status = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is reported as a failed write */
    /* The next file to be opened would become standard output. */
    if (fcntl(STDOUT_FILENO, F_GETFD) < 0)
        fail(EXIT_CHECK, "standard output is closed");
    atexit(close_stdout);
    if (argc > 0)
        argv[0] = "kvferry";
    return choose(&menu, argc, argv);
}
