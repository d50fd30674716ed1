#include "page_dots.h"

#include "page_results.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>

enum { LINE_HEIGHT = 36, TOP = 6, BOTTOM = 34, LEFT = 10, RIGHT = 12, MOST_LABEL = 30 };
enum { MOST_LINES = 8, LONGEST_PANEL = 400 /* lines */ };
enum { MOST_VALUES = 3 }; /* that are written beside the label */

void dots_add(dots *dots, char *line, char *series, dot dot) {
    dot.line = names_take(&dots->lines, line);
    dot.series = names_take(&dots->series, series);
    if (!scale_takes(dots->type, dot.value)) {
        return;
    }
    dots->all = must_grow(dots->all, dots->count + 1, sizeof(*dots->all));
    dots->all[dots->count++] = dot;
}

void dots_free(dots *dots) {
    names_free(&dots->lines);
    names_free(&dots->series);
    free(dots->all);
}

static scale make_scale(const dots *dots) {
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < dots->count; i++) {
        least = fmin(least, dots->all[i].value);
        most = fmax(most, dots->all[i].value);
    }
    return scale_make(dots->type, least, most, LEFT, CHART_WIDTH - RIGHT);
}

/* What a line has, in the order of the series: written at the right. */
static void put_values(FILE *out, const dots *dots, size_t line, double y) {
    size_t written = 0;
    fprintf(out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", CHART_WIDTH - RIGHT, y);
    for (size_t i = 0; i < dots->count && written < MOST_VALUES; i++) {
        const dot *dot = &dots->all[i];
        if (dot->line == line) {
            fprintf(out, "%s<tspan class=\"ink s%u\">%s</tspan>", written > 0 ? " \xc2\xb7 " : "",
                    look_of(dots->series.all[dot->series], dot->series), text_real(dot->value).s);
            written++;
        }
    }
    fputs("</text>\n", out);
}

static void put_marks(FILE *out, const dots *dots, const scale *scale, size_t line, double y) {
    for (size_t i = 0; i < dots->count; i++) {
        const dot *dot = &dots->all[i];
        if (dot->line != line) {
            continue;
        }
        const char *series = dots->series.all[dot->series];
        char *doubts = doubts_text(dot->doubts);
        sheet hint;
        sheet_open(&hint);
        fprintf(hint.out, "%s%s%s: %s%s%s", dots->lines.all[line], series[0] != '\0' ? ", " : "",
                series, text_real(dot->value).s, doubts[0] != '\0' ? "; " : "", doubts);
        char *said = sheet_close(&hint);
        put_marker(out, look_of(series, dot->series), scale_at(scale, dot->value), y, dot->doubts,
                   said);
        free(said);
        free(doubts);
    }
}

static void put_line(FILE *out, const dots *dots, const scale *scale, size_t line, double top) {
    fprintf(out, "<text x=\"%d\" y=\"%.1f\">", LEFT, top + 13);
    put_text(out, dots->lines.all[line], MOST_LABEL);
    fprintf(out, "</text><path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, top + 25,
            CHART_WIDTH - RIGHT);
    put_values(out, dots, line, top + 13);
    put_marks(out, dots, scale, line, top + 25);
}

static void put_panel(FILE *out, const dots *dots, size_t begin, size_t end) {
    int height = TOP + (int)(end - begin) * LINE_HEIGHT + BOTTOM;
    unsigned doubts = 0;
    axes axes = {
        .x = make_scale(dots), .x_text = text_tick, .x_name = dots->x_name, .height = height};
    axes.y = scale_make(SCALE_LINEAR, 0, 1, height - BOTTOM, TOP);
    put_panel_begin(out, NULL, dots->title, CHART_WIDTH, height);
    put_axes(out, &axes);
    for (size_t line = begin; line < end; line++) {
        put_line(out, dots, &axes.x, line, TOP + (double)(line - begin) * LINE_HEIGHT);
    }
    for (size_t i = 0; i < dots->count; i++) {
        doubts |= dots->all[i].doubts;
    }
    if ((doubts & DOUBT_IMITATED) != 0) {
        put_imitated(out, CHART_WIDTH, height);
    }
    put_panel_end(out);
}

static void put_legend(FILE *out, const dots *dots) {
    unsigned doubts = 0;
    put_legend_begin(out);
    for (size_t i = 0; i < dots->series.count; i++) {
        if (dots->series.all[i][0] != '\0') {
            put_legend_series(out, look_of(dots->series.all[i], i), dots->series.all[i]);
        }
    }
    for (size_t i = 0; i < dots->count; i++) {
        doubts |= dots->all[i].doubts;
    }
    put_legend_doubts(out, doubts);
    put_legend_end(out);
}

void put_dots(FILE *out, const dots *dots) {
    size_t lines = dots->lines.count < LONGEST_PANEL ? dots->lines.count : LONGEST_PANEL;
    if (dots->count == 0) {
        return;
    }
    put_figure_begin(out, dots->title, dots->explain);
    put_legend(out, dots);
    fputs("<div class=\"panels\">\n", out);
    for (size_t begin = 0; begin < lines; begin += MOST_LINES) {
        put_panel(out, dots, begin, begin + MOST_LINES < lines ? begin + MOST_LINES : lines);
    }
    fputs("</div>\n", out);
    if (lines < dots->lines.count) {
        fprintf(out, "<p class=\"note\">%zu more are not drawn; the table has all.</p>\n",
                dots->lines.count - lines);
    }
    put_figure_end(out);
}
