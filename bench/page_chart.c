#include "page_chart.h"

#include "page_results.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS = 8 };

#define CHARACTER 7.0 /* the most that one takes on average */

/* Names */

size_t names_take(names *names, char *name) {
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->all[i], name) == 0) {
            free(name);
            return i;
        }
    }
    names->all = must_grow(names->all, names->count + 1, sizeof(*names->all));
    names->all[names->count] = name;
    return names->count++;
}

void names_free(names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->all[i]);
    }
    free(names->all);
}

unsigned look_of(const char *name, size_t number) {
    static const char *const strategies[] = {"auto", "loop", "batch", "kernel", "staged"};
    static const unsigned order[] = {2, 1, 3, 4, 5, 6, 7, 0};
    for (unsigned i = 0; i < sizeof(strategies) / sizeof(strategies[0]); i++) {
        if (strcmp(strategies[i], name) == 0) {
            return i;
        }
    }
    return order[number % LOOKS];
}

/* Frames */

void put_figure_begin(FILE *out, const char *title, const char *explain) {
    fputs("<figure>\n<figcaption><h3>", out);
    put_text(out, title, 0);
    fprintf(out, "</h3>\n<p>%s</p></figcaption>\n", explain);
}

void put_figure_end(FILE *out) {
    fputs("</figure>\n", out);
}

void put_left_out(FILE *out, size_t panels) {
    if (panels > CHART_MOST_PANELS) {
        fprintf(out, "<p class=\"note\">%zu more panels are not drawn; the table has all.</p>\n",
                panels - CHART_MOST_PANELS);
    }
}

void put_panel_begin(FILE *out, const char *caption, const char *label, int width, int height) {
    fputs("<div class=\"panel\">", out);
    if (caption != NULL && caption[0] != '\0') {
        fputs("<p class=\"caption\">", out);
        put_text(out, caption, 0);
        fputs("</p>", out);
    }
    fprintf(out, "<svg role=\"img\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" aria-label=\"",
            width, height, width, height);
    put_text(out, label, 0);
    if (caption != NULL && caption[0] != '\0') {
        fputs(": ", out);
        put_text(out, caption, 0);
    }
    fputs("\">\n", out);
}

void put_panel_end(FILE *out) {
    fputs("</svg></div>\n", out);
}

void put_imitated(FILE *out, int width, int height) {
    fprintf(out,
            "<text class=\"imitated\" x=\"%d\" y=\"%d\" transform=\"rotate(-14 %d %d)\">"
            "IMITATED</text>\n",
            width / 2, height / 2, width / 2, height / 2);
}

/* Axes */

/* The middle of a label at a tick, moved so far that no text of its length is cut off. */
static double label_middle(double at, const char *label) {
    double half = (double)strlen(label) * CHARACTER / 2 + 1;
    return fmax(half, fmin(at, CHART_WIDTH - half));
}

static void put_x_ticks(FILE *out, const axes *axes) {
    double ticks[SCALE_MOST_TICKS];
    size_t count = scale_ticks(&axes->x, ticks);
    for (size_t i = 0; i < count; i++) {
        double at = scale_at(&axes->x, ticks[i]);
        text label = axes->x_text(ticks[i]);
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/><text class=\"mid\" x=\"%.1f\" "
                "y=\"%.1f\">%s</text>\n",
                at, axes->y.from, axes->y.to, label_middle(at, label.s), axes->y.from + 15,
                label.s);
    }
}

static void put_y_ticks(FILE *out, const axes *axes) {
    double ticks[SCALE_MOST_TICKS];
    size_t count = scale_ticks(&axes->y, ticks);
    for (size_t i = 0; i < count; i++) {
        double at = scale_at(&axes->y, ticks[i]);
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text class=\"end\" x=\"%.1f\" "
                "y=\"%.1f\">%s</text>\n",
                axes->x.from, at, axes->x.to, axes->x.from - 6, at + 4, axes->y_text(ticks[i]).s);
    }
}

void put_axes(FILE *out, const axes *axes) {
    put_x_ticks(out, axes);
    if (axes->y_text != NULL) {
        put_y_ticks(out, axes);
        fprintf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", axes->x.from - 34,
                axes->y.to - 9, axes->y_name);
    }
    fprintf(out,
            "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>"
            "<text class=\"name end\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
            axes->x.from, axes->y.from, axes->x.to, axes->x.to, axes->y.from + 30, axes->x_name);
}

/* Marks */

/* Around 0 0, as a path; told apart without colour. */
static const char *const shapes[LOOKS] = {
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",                  /* circle */
    "M0-5L4.8 3.6H-4.8Z",                                  /* triangle */
    "M-3.7-3.7H3.7V3.7H-3.7Z",                             /* square */
    "M0-5.2L5.2 0L0 5.2L-5.2 0Z",                          /* diamond */
    "M0 5L4.8-3.6H-4.8Z",                                  /* triangle, down */
    "M-1.6-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5V-1.6H-1.6Z", /* plus */
    "M0-5L4.8-1.5L2.9 4.1H-2.9L-4.8-1.5Z",                 /* pentagon */
    "M-5-2.6H5V2.6H-5Z",                                   /* bar */
};

static void put_shape(FILE *out, unsigned look, unsigned doubts) {
    bool hollow = (doubts & (DOUBT_UNVERIFIED | DOUBT_CORRUPT)) != 0;
    fprintf(out, "<path class=\"mark%s\" d=\"%s\"/>", hollow ? " hollow" : "",
            shapes[look % LOOKS]);
    if ((doubts & DOUBT_NOISY) != 0) {
        fputs("<circle class=\"noisy\" r=\"8.5\"/>", out);
    }
    if ((doubts & DOUBT_CORRUPT) != 0) {
        fputs("<path class=\"corrupt\" d=\"M-8-8L8 8M-8 8L8-8\"/>", out);
    }
}

void put_marker(FILE *out, unsigned look, double x, double y, unsigned doubts, const char *hint) {
    fprintf(out, "<g class=\"s%u\" transform=\"translate(%.1f %.1f)\"><title>", look % LOOKS, x, y);
    put_text(out, hint, 0);
    fputs("</title>", out);
    put_shape(out, look, doubts);
    fputs("</g>\n", out);
}

/* Legends */

#define SWATCH "<svg class=\"swatch\" viewBox=\"-17 -9 34 18\" aria-hidden=\"true\">"

void put_legend_begin(FILE *out) {
    fputs("<ul class=\"legend\">", out);
}

static void put_name(FILE *out, const char *name) {
    fputs("</svg>", out);
    put_text(out, name, 0);
    fputs("</li>", out);
}

void put_legend_series(FILE *out, unsigned look, const char *name) {
    fprintf(out, "<li class=\"s%u\">" SWATCH "<path class=\"line\" d=\"M-17 0H17\"/>",
            look % LOOKS);
    put_shape(out, look, 0);
    put_name(out, name);
}

void put_legend_line(FILE *out, const char *name) {
    fputs("<li>" SWATCH "<path class=\"limit\" d=\"M-17 0H17\"/>", out);
    put_name(out, name);
}

void put_legend_box(FILE *out, unsigned look, const char *name) {
    fprintf(out,
            "<li class=\"s%u\">" SWATCH "<rect class=\"fill\" x=\"-9\" y=\"-7\" width=\"18\" "
            "height=\"14\" rx=\"2\"/>",
            look % LOOKS);
    put_name(out, name);
}

void put_legend_doubts(FILE *out, unsigned doubts) {
    static const struct {
        unsigned doubt;
        const char *text;
    } all[] = {{DOUBT_UNVERIFIED, "not verified"},
               {DOUBT_NOISY, "NOISY: its samples differ too much"},
               {DOUBT_CORRUPT, "CORRUPT: not what was sent"}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if ((doubts & all[i].doubt) != 0) {
            fputs("<li class=\"s0\">" SWATCH, out);
            put_shape(out, 0, all[i].doubt);
            put_name(out, all[i].text);
        }
    }
}

void put_legend_end(FILE *out) {
    fputs("</ul>\n", out);
}
