/* Clocks, medians and the loop that times an operation. Knows nothing of what it measures. */
#ifndef KVF_BENCH_MEASURE_H
#define KVF_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of the monotonic clock, and of processor time used by all threads. */
uint64_t clock_ns(void);
uint64_t cpu_ns(void);

/* Above this spread a row is noisy. */
#define NOISE_BOUND 0.1

/* What samples of a time say. NaN is what so few cannot tell. */
typedef struct summary {
    size_t count;
    double median; /* NaN for none, as max */
    double p10;    /* the nearest-rank percentiles; NaN for none */
    double p90;
    double p99; /* as these; NaN under 100 samples, where it is the largest */
    double max;
    double spread; /* (p90 - p10) / median; NaN under 2, and for a median of 0 */
} summary;

/* Sorts `values`. */
summary summarize(double *values, size_t count);

/* Sorts `values`. NaN when there are none. */
double median(double *values, size_t count);

/* What part of [begin, end) lies within [from, to): 0 to 1. */
double part_within(uint64_t begin, uint64_t end, uint64_t from, uint64_t to);

/* Tells the compiler that `pointer`'s target is read, so that making it cannot be dropped. */
static inline void consume(const void *pointer) {
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/* An operation on one of several prepared instances of something. */
typedef struct measured {
    /* Not timed. NULL when `run` leaves its instance as it found it: then instance 0 alone is run
     * again and again. Else each instance is prepared anew for each sample. */
    void (*prepare)(void *context, size_t instance);
    void (*run)(void *context, size_t instance);
    void *context;
    size_t instances; /* 1 or more */
} measured;

/* Nanoseconds of one run over `samples` samples, warm-up apart. Short runs are repeated within a
 * sample until the clock's own cost no longer counts. */
summary measure(const measured *measured, size_t samples);

#endif
