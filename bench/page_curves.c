#include "page_curves.h"

#include "page_results.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>

enum { HEIGHT = 240, LEFT = 42, RIGHT = 20, TOP = 24, BOTTOM = 36 };

void curves_add(curves *curves, char *panel, char *series, point point) {
    point.panel = names_take(&curves->panels, panel);
    point.series = names_take(&curves->series, series);
    if (!scale_takes(SCALE_LOG2, point.x) || !scale_takes(SCALE_LINEAR, point.y)) {
        curves->left_out++;
        return;
    }
    if (!scale_takes(SCALE_LINEAR, point.limit)) {
        point.limit = NAN;
    }
    curves->points = must_grow(curves->points, curves->count + 1, sizeof(*curves->points));
    curves->points[curves->count++] = point;
}

void curves_free(curves *curves) {
    names_free(&curves->panels);
    names_free(&curves->series);
    free(curves->points);
}

static int compare_sizes(size_t a, size_t b) {
    return (a > b) - (a < b);
}

static int compare(const void *a, const void *b) {
    const point *left = a, *right = b;
    int order = compare_sizes(left->panel, right->panel);
    order = order != 0 ? order : compare_sizes(left->series, right->series);
    return order != 0 ? order : (left->x > right->x) - (left->x < right->x);
}

/* Of all panels, so that they can be compared. */
static axes make_axes(const curves *curves) {
    double least_x = INFINITY, most_x = 0, least_y = 0, most_y = 0;
    for (size_t i = 0; i < curves->count; i++) {
        const point *point = &curves->points[i];
        least_x = fmin(least_x, point->x);
        most_x = fmax(most_x, point->x);
        least_y = fmin(least_y, point->y);
        most_y = fmax(most_y, fmax(point->y, curves->limit_name != NULL ? point->limit : 0));
    }
    return (axes){
        .x = scale_make(SCALE_LOG2, least_x, most_x, LEFT + 8, CHART_WIDTH - RIGHT),
        .y = scale_make(SCALE_LINEAR, least_y, most_y, HEIGHT - BOTTOM, TOP),
        .x_text = text_bytes,
        .y_text = text_tick,
        .x_name = curves->x_name,
        .y_name = curves->y_name,
    };
}

/* The points from `begin` on that belong to one line; returns its end. */
static size_t line_end(const curves *curves, size_t begin) {
    size_t end = begin;
    while (end < curves->count && curves->points[end].panel == curves->points[begin].panel &&
           curves->points[end].series == curves->points[begin].series) {
        end++;
    }
    return end;
}

static void put_line(FILE *out, const curves *curves, const axes *axes, size_t begin, size_t end) {
    const char *name = curves->series.all[curves->points[begin].series];
    fprintf(out, "<path class=\"line s%u\" d=\"", look_of(name, curves->points[begin].series));
    for (size_t i = begin; i < end; i++) {
        const point *point = &curves->points[i];
        fprintf(out, "%s%.1f %.1f", i == begin ? "M" : "L", scale_at(&axes->x, point->x),
                scale_at(&axes->y, point->y));
    }
    fputs("\"/>\n", out);
}

static char *hint(const curves *curves, const point *point) {
    sheet sheet;
    sheet_open(&sheet);
    const char *name = curves->series.all[point->series];
    char *doubts = doubts_text(point->doubts);
    fprintf(sheet.out, "%s%s%s: %s %s", name, name[0] != '\0' ? ", " : "", text_bytes(point->x).s,
            text_real(point->y).s, curves->unit);
    if (curves->limit_name != NULL && point->limit > 0) {
        fprintf(sheet.out, ", limit %s", text_real(point->limit).s);
    }
    if (point->spread > 0) {
        fprintf(sheet.out, ", spread %.0f %%", fmin(100 * point->spread, 1e6));
    }
    fprintf(sheet.out, "%s%s", doubts[0] != '\0' ? "; " : "", doubts);
    free(doubts);
    return sheet_close(&sheet);
}

/* How far the samples lie apart; without an end where that leaves the chart. The spread is that of
 * times, by which y is divided. */
static void put_whisker(FILE *out, const axes *axes, const point *point, unsigned look) {
    double half = point->spread > 0 ? fmin(point->spread / 2, 0.9) : 0;
    double x = scale_at(&axes->x, point->x);
    const double ends[] = {point->y / (1 + half), point->y / (1 - half)};
    if (!(half > 0)) {
        return;
    }
    fprintf(out, "<path class=\"whisker s%u\" d=\"M%.1f %.1fV%.1f", look, x,
            scale_at(&axes->y, ends[0]), scale_at(&axes->y, ends[1]));
    for (size_t i = 0; i < 2; i++) {
        if (ends[i] <= axes->y.high) {
            fprintf(out, "M%.1f %.1fh6", x - 3, scale_at(&axes->y, ends[i]));
        }
    }
    fputs("\"/>\n", out);
}

static void put_markers(FILE *out, const curves *curves, const axes *axes, size_t begin,
                        size_t end) {
    for (size_t i = begin; i < end; i++) {
        const point *point = &curves->points[i];
        unsigned look = look_of(curves->series.all[point->series], point->series);
        char *said = hint(curves, point);
        put_whisker(out, axes, point, look);
        put_marker(out, look, scale_at(&axes->x, point->x), scale_at(&axes->y, point->y),
                   point->doubts, said);
        free(said);
    }
}

static int compare_x(const void *a, const void *b) {
    const point *left = a, *right = b;
    return (left->x > right->x) - (left->x < right->x);
}

/* The mean of the limits that were measured at each x. */
static void put_limit(FILE *out, const curves *curves, const axes *axes, size_t begin, size_t end) {
    point *sorted = must_grow(NULL, end - begin, sizeof(*sorted));
    size_t count = 0;
    const char *step = "M";
    for (size_t i = begin; i < end; i++) {
        if (isfinite(curves->points[i].limit)) {
            sorted[count++] = curves->points[i];
        }
    }
    qsort(sorted, count, sizeof(*sorted), compare_x);
    fputs("<path class=\"limit\" d=\"", out);
    for (size_t i = 0, next; i < count; i = next) {
        double sum = 0;
        for (next = i; next < count && sorted[next].x <= sorted[i].x; next++) {
            sum += sorted[next].limit;
        }
        double at = scale_at(&axes->y, sum / (double)(next - i));
        fprintf(out, "%s%.1f %.1f", step, scale_at(&axes->x, sorted[i].x), at);
        step = "L";
        if (next == count && i == 0) { /* one size only: a line across */
            fprintf(out, "M%.1f %.1fH%.1f", axes->x.from, at, axes->x.to);
        }
    }
    fputs("\"/>\n", out);
    free(sorted);
}

static void put_panel(FILE *out, const curves *curves, const axes *axes, size_t begin, size_t end) {
    unsigned doubts = 0;
    put_panel_begin(out, curves->panels.all[curves->points[begin].panel], curves->title,
                    CHART_WIDTH, HEIGHT);
    put_axes(out, axes);
    for (size_t i = begin; i < end; i++) {
        doubts |= curves->points[i].doubts;
    }
    if ((doubts & DOUBT_IMITATED) != 0) {
        put_imitated(out, CHART_WIDTH, HEIGHT);
    }
    if (curves->limit_name != NULL) {
        put_limit(out, curves, axes, begin, end);
    }
    for (size_t i = begin, next; i < end; i = next) {
        next = line_end(curves, i);
        put_line(out, curves, axes, i, next);
    }
    put_markers(out, curves, axes, begin, end);
    put_panel_end(out);
}

static void put_legend(FILE *out, const curves *curves) {
    unsigned doubts = 0;
    bool limited = false;
    for (size_t i = 0; i < curves->count; i++) {
        doubts |= curves->points[i].doubts;
        limited = limited || isfinite(curves->points[i].limit);
    }
    put_legend_begin(out);
    for (size_t i = 0; i < curves->series.count; i++) {
        if (curves->series.all[i][0] != '\0') {
            put_legend_series(out, look_of(curves->series.all[i], i), curves->series.all[i]);
        }
    }
    if (curves->limit_name != NULL && limited) {
        put_legend_line(out, curves->limit_name);
    }
    put_legend_doubts(out, doubts);
    put_legend_end(out);
}

static void put_rest(FILE *out, size_t left_out) {
    if (left_out > 0) {
        fprintf(out,
                "<p class=\"note\">%zu rows lack what the axes show; they are in the table "
                "only.</p>\n",
                left_out);
    }
}

void put_curves(FILE *out, curves *curves) {
    put_figure_begin(out, curves->title, curves->explain);
    if (curves->count > 0) {
        qsort(curves->points, curves->count, sizeof(*curves->points), compare);
        axes axes = make_axes(curves);
        size_t drawn = 0;
        put_legend(out, curves);
        fputs("<div class=\"panels\">\n", out);
        for (size_t i = 0, next; i < curves->count && drawn < CHART_MOST_PANELS; i = next) {
            for (next = i;
                 next < curves->count && curves->points[next].panel == curves->points[i].panel;
                 next++) {
            }
            put_panel(out, curves, &axes, i, next);
            drawn++;
        }
        fputs("</div>\n", out);
    }
    put_left_out(out, curves->panels.count);
    put_rest(out, curves->left_out);
    put_figure_end(out);
}
