/* The subcommands. Each takes its own arguments, argv[0] being its name, and returns an exit code;
 * usage errors end the program. */
#ifndef KVF_BENCH_COMMAND_H
#define KVF_BENCH_COMMAND_H

int replay_main(int argc, char **argv);
int bench_plan_main(int argc, char **argv);
int bench_transfer_main(int argc, char **argv);
int advise_main(int argc, char **argv);
int report_main(int argc, char **argv);

/* Where the tool has engine cuda: KVF_BENCH_CUDA. */
int bench_pinned_main(int argc, char **argv);
int calibrate_main(int argc, char **argv);

/* Where it has groups of GPUs, too: KVF_BENCH_NCCL. */
int bench_collective_main(int argc, char **argv);

#endif
