/* Curves as small multiples: panels with the same axes, in each a line for every series. */
#ifndef KVF_BENCH_PAGE_CURVES_H
#define KVF_BENCH_PAGE_CURVES_H

#include "page_chart.h"

typedef struct point {
    size_t panel, series; /* numbers of names */
    double x, y, limit;   /* limit: NaN for none */
    double spread;        /* of y, as a part of it; NaN for none */
    unsigned doubts;
} point;

/* Zero-initialise, but for what is said of them. */
typedef struct curves {
    const char *title, *explain, *x_name, *y_name, *unit;
    const char *limit_name; /* NULL: without the limit */
    names panels, series;
    point *points;
    size_t count;
    size_t left_out; /* rows that have no place on the axes */
} curves;

/* Takes the names, which were allocated. What the axes cannot show is counted only. */
void curves_add(curves *curves, char *panel, char *series, point point);

/* Sorts the points. */
void put_curves(FILE *out, curves *curves);
void curves_free(curves *curves);

#endif
