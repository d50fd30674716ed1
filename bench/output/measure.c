#include "output/measure.h"

#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

/* Samples of repeated runs last at least this long. Reading the clock costs some 30 ns of it. */
#define SAMPLE_NS 100000

/* The warm-up: at least one sample and this long. A processor that was idle starts slowly. */
#define WARM_UP_NS 20000000

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count) {
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* The smallest value that at least `percent` of all values do not exceed. `count` is at least 1. */
static double nearest_rank(const double *sorted, size_t count, size_t percent) {
    return sorted[(count / 100 * percent + (count % 100 * percent + 99) / 100) - 1];
}

summary summarize(double *values, size_t count) {
    summary summary = {.count = count,
                       .median = median(values, count),
                       .p10 = NAN,
                       .p90 = NAN,
                       .p99 = NAN,
                       .max = NAN,
                       .spread = NAN};
    if (count > 0) {
        summary.p10 = nearest_rank(values, count, 10);
        summary.p90 = nearest_rank(values, count, 90);
        summary.max = values[count - 1];
    }
    if (count >= 100)
        summary.p99 = nearest_rank(values, count, 99);
    if (count >= 2 && summary.median != 0)
        summary.spread = (summary.p90 - summary.p10) / summary.median;
    return summary;
}

double part_within(uint64_t begin, uint64_t end, uint64_t from, uint64_t to) {
    uint64_t first = begin > from ? begin : from;
    uint64_t last = end < to ? end : to;
    return last > first ? (double)(last - first) / (double)(end - begin) : 0;
}

static uint64_t time_repeats(const measured *measured, size_t repeats) {
    uint64_t start = clock_ns();
    for (size_t i = 0; i < repeats; i++)
        measured->run(measured->context, 0);
    return clock_ns() - start;
}

static double repeated_sample(const measured *measured, size_t repeats) {
    return (double)time_repeats(measured, repeats) / (double)repeats;
}

/* Doubles the number of repeats until a sample is long enough. */
static size_t calibrate(const measured *measured) {
    size_t repeats = 1;
    while (time_repeats(measured, repeats) < SAMPLE_NS)
        repeats *= 2;
    return repeats;
}

/* Prepares all instances, then times one run of each. */
static double prepared_sample(const measured *measured, size_t repeats) {
    (void)repeats;
    for (size_t i = 0; i < measured->instances; i++)
        measured->prepare(measured->context, i);
    uint64_t start = clock_ns();
    for (size_t i = 0; i < measured->instances; i++)
        measured->run(measured->context, i);
    return (double)(clock_ns() - start) / (double)measured->instances;
}

/* Warms up, then takes the samples. */
static void take_samples(double (*sample)(const measured *, size_t), const measured *measured,
                         size_t repeats, double *times, size_t samples) {
    uint64_t start = clock_ns();
    do {
        sample(measured, repeats);
    } while (clock_ns() - start < WARM_UP_NS);
    for (size_t i = 0; i < samples; i++)
        times[i] = sample(measured, repeats);
}

summary measure(const measured *measured, size_t samples) {
    double *times = must_grow(NULL, samples, sizeof *times);
    if (!measured->prepare)
        take_samples(repeated_sample, measured, calibrate(measured), times, samples);
    else
        take_samples(prepared_sample, measured, 1, times, samples);
    summary result = summarize(times, samples);
    free(times);
    return result;
}
