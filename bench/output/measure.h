/* Clocks, medians and the loop that times an operation. Independent of what it measures. */
#ifndef KVF_BENCH_MEASURE_H
#define KVF_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nanoseconds: of the monotonic clock, and of processor time used by all threads. */
uint64_t clock_ns(void);
uint64_t cpu_ns(void);

/* A row with a larger spread is noisy. */
#define NOISE_BOUND 0.1

/* A summary of samples of a time. NaN: not defined for so few samples. */
typedef struct summary {
    size_t count;
    double median; /* NaN without samples */
    double p10;    /* nearest-rank percentiles; NaN without samples */
    double p90;
    double p99;    /* NaN below 100 samples, where it would be the maximum */
    double max;    /* NaN without samples */
    double spread; /* (p90 - p10) / median; NaN below 2 samples and for a median of 0 */
} summary;

/* Sorts `values`. */
summary summarize(double *values, size_t count);

/* Sorts `values`. NaN for a count of 0. */
double median(double *values, size_t count);

/* The fraction of [begin, end) that lies within [from, to): 0 to 1. */
double part_within(uint64_t begin, uint64_t end, uint64_t from, uint64_t to);

/* Tells the compiler that the target of `pointer` is read, so that computing it is not optimised
 * away. */
static inline void consume(const void *pointer) {
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/* An operation on one of several prepared instances of something. */
typedef struct measured {
    /* Not timed. NULL: `run` leaves its instance unchanged, and only instance 0 is run, repeatedly.
     * Otherwise every instance is prepared for every sample. */
    void (*prepare)(void *context, size_t instance);
    void (*run)(void *context, size_t instance);
    void *context;
    size_t instances; /* at least 1 */
} measured;

/* Times one run, in nanoseconds, over `samples` samples after a warm-up. Short runs are repeated
 * within a sample until the cost of reading the clock does not matter. */
summary measure(const measured *measured, size_t samples);

#endif
