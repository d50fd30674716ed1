/* The commands. Each takes its own arguments, with its name in argv[0], and returns an exit code.
 * Usage errors end the program. */
#ifndef KVF_BENCH_COMMAND_H
#define KVF_BENCH_COMMAND_H

int replay_main(int argc, char **argv);
int bench_plan_main(int argc, char **argv);
int bench_transfer_main(int argc, char **argv);
int advise_main(int argc, char **argv);
int report_main(int argc, char **argv);

/* Only with engine cuda (KVF_BENCH_CUDA). */
int bench_pinned_main(int argc, char **argv);
int calibrate_main(int argc, char **argv);

/* Only with groups of GPUs (KVF_BENCH_NCCL). */
int bench_collective_main(int argc, char **argv);

#endif
