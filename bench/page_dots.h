/* Values of several things side by side: a line for each, with a dot for every series. */
#ifndef KVF_BENCH_PAGE_DOTS_H
#define KVF_BENCH_PAGE_DOTS_H

#include "page_chart.h"

typedef struct dot {
    size_t line, series; /* numbers of names */
    double value;
    unsigned doubts;
} dot;

/* Zero-initialise, but for what is said of them. */
typedef struct dots {
    const char *title, *explain, *x_name;
    scale_type type;
    names lines, series;
    dot *all;
    size_t count;
} dots;

/* Takes the names, which were allocated. What the axis cannot show is dropped. */
void dots_add(dots *dots, char *line, char *series, dot dot);

void put_dots(FILE *out, const dots *dots);
void dots_free(dots *dots);

#endif
