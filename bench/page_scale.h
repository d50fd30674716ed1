/* From values to places along an axis, and where its ticks are. */
#ifndef KVF_BENCH_PAGE_SCALE_H
#define KVF_BENCH_PAGE_SCALE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum scale_type { SCALE_LINEAR, SCALE_LOG2, SCALE_LOG10 } scale_type;

typedef struct scale {
    scale_type type;
    double low, high; /* values; low < high */
    double from, to;  /* their places */
} scale;

enum { SCALE_MOST_TICKS = 7 };

/* Whether a value has a place on such a scale: finite, and more than 0 on a logarithmic one. */
bool scale_takes(scale_type type, double value);

/* Takes low <= high, both of which such a scale takes, and widens them: a linear scale to 0 and the
 * next tick, a logarithmic one only when both are the same. */
scale scale_make(scale_type type, double low, double high, double from, double to);

/* The value's place, kept within the scale's. */
double scale_at(const scale *scale, double value);

/* Fills in round values within the scale, rising; returns how many. */
size_t scale_ticks(const scale *scale, double ticks[SCALE_MOST_TICKS]);

#endif
