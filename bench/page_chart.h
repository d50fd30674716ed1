/* The parts that the page's charts are made of: panels, axes, marks, legends. All panels are drawn
 * CHART_WIDTH units wide, which is about what a phone has, and several stand side by side where
 * there is room: so their text keeps its size. */
#ifndef KVF_BENCH_PAGE_CHART_H
#define KVF_BENCH_PAGE_CHART_H

#include "page_scale.h"
#include "page_text.h"

#include <stdbool.h>

enum { CHART_WIDTH = 340 };

/* Panels of a figure that are drawn; of more, all are in the table. */
enum { CHART_MOST_PANELS = 48 };

/* Distinct names in the order in which they came; zero-initialise. */
typedef struct names {
    char **all;
    size_t count;
} names;

/* Takes `name`, which was allocated; returns its number. */
size_t names_take(names *names, char *name);
void names_free(names *names);

/* The colour, dash and marker of a series: strategies have their own, in all charts alike. */
unsigned look_of(const char *name, size_t number);

/* How a tick's value is written. */
typedef text (*value_writer)(double value);

/* Where the axes are, and what they are called. */
typedef struct axes {
    scale x, y;
    value_writer x_text, y_text;
    const char *x_name, *y_name;
    int height;
} axes;

/* A figure: its title, what it shows, and panels, which stand in between. `explain` is static text.
 */
void put_figure_begin(FILE *out, const char *title, const char *explain);
void put_figure_end(FILE *out);

/* Says that there are more panels than are drawn, if there are. */
void put_left_out(FILE *out, size_t panels);

/* A panel under its caption (NULL or "" for none), `height` high. Everything drawn stands between
 * these. `label` says what it is to those who do not see it. */
void put_panel_begin(FILE *out, const char *caption, const char *label, int width, int height);
void put_panel_end(FILE *out);

/* Says across the panel that nothing in it was measured on a machine. */
void put_imitated(FILE *out, int width, int height);

/* Gridlines, ticks and names. */
void put_axes(FILE *out, const axes *axes);

/* A mark at a place; `hint` shows when pointed at. Doubts change how it is drawn. */
void put_marker(FILE *out, unsigned look, double x, double y, unsigned doubts, const char *hint);

/* The legend: an entry for each name, and for the doubts that occur. */
void put_legend_begin(FILE *out);
void put_legend_series(FILE *out, unsigned look, const char *name);
void put_legend_line(FILE *out, const char *name); /* the limit's */
void put_legend_box(FILE *out, unsigned look, const char *name);
void put_legend_doubts(FILE *out, unsigned doubts);
void put_legend_end(FILE *out);

#endif
