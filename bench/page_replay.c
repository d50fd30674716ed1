#include "page_replay.h"

#include "page_chart.h"
#include "page_facets.h"

#include <math.h>
#include <stdlib.h>

enum { HITS_HEIGHT = 44, TRAFFIC_HEIGHT = 92, BAR_TOP = 20, BAR_HEIGHT = 22, LEAST_TEXT = 34 };

static const facet known_facets[] = {
    {.key = "device_blocks", "device tier ", " blocks"},
    {.key = "host_blocks", "host tier ", " blocks"},
    {.key = "block_bytes", "", " a block", .bytes = true},
    {.key = "block_tokens", "", " tokens a block"},
    {.key = "regions", "", " regions"},
    {.key = "engine", "engine ", ""},
    {.key = "integrity", "integrity ", ""},
    {0},
};

/* A part of the blocks that were asked for. */
typedef struct part {
    const char *key, *name;
    unsigned look;
} part;

static const part parts[] = {
    {"device_hits", "device hits", 3}, {"host_hits", "host hits", 2}, {"computed", "computed", 5}};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

/* 0 for what is no count. */
static double count_of(const json_t *row, const char *key) {
    double value = value_number(json_object_get(row, key));
    return scale_takes(SCALE_LINEAR, value) && value > 0 ? value : 0;
}

/* "1,521 (14 %)" */
static void put_share(FILE *out, double value, double total) {
    fprintf(out, "%s (%.1f %%)", text_count(value).s, 100 * value / total);
}

static void put_part(FILE *out, const part *part, double value, double total, double *left) {
    double width = value / total * CHART_WIDTH;
    fprintf(out, "<g class=\"s%u\"><title>%s: ", part->look, part->name);
    put_share(out, value, total);
    fprintf(out,
            "</title><rect class=\"fill\" fill-opacity=\"0.5\" x=\"%.1f\" y=\"%d\" "
            "width=\"%.1f\" height=\"%d\"/>",
            *left, BAR_TOP, fmax(width - 1, 0), BAR_HEIGHT);
    if (width >= LEAST_TEXT) {
        fprintf(out, "<text class=\"mid strong\" x=\"%.1f\" y=\"%d\">%.0f %%</text>",
                *left + width / 2, BAR_TOP + 15, 100 * value / total);
    }
    fputs("</g>\n", out);
    *left += width;
}

static void put_hits(FILE *out, const json_t *row, const char *caption, unsigned doubts) {
    double total = 0, left = 0;
    for (size_t i = 0; i < PARTS; i++) {
        total += count_of(row, parts[i].key);
    }
    put_panel_begin(out, caption, "Hits", CHART_WIDTH, HITS_HEIGHT);
    fprintf(out, "<text x=\"0\" y=\"13\">%s blocks in %s requests</text>", text_count(total).s,
            text_count(count_of(row, "requests")).s);
    for (size_t i = 0; i < PARTS && total > 0; i++) {
        put_part(out, &parts[i], count_of(row, parts[i].key), total, &left);
    }
    if ((doubts & DOUBT_IMITATED) != 0) {
        put_imitated(out, CHART_WIDTH, HITS_HEIGHT);
    }
    put_panel_end(out);
}

/* One direction of the traffic, `most` bytes being as wide as the panel. */
static void put_way(FILE *out, const json_t *row, bool onboard, double most, double top) {
    double bytes = count_of(row, onboard ? "onboard_bytes" : "offload_bytes");
    double gbps = value_number(json_object_get(row, onboard ? "onboard_gbps" : "offload_gbps"));
    double blocks = count_of(row, onboard ? "onboarded" : "offloaded");
    fprintf(out, "<g class=\"s%u\"><text x=\"0\" y=\"%.1f\">%s: %s blocks, %s", onboard ? 2U : 4U,
            top + 13, onboard ? "onboard, host to device" : "offload, device to host",
            text_count(blocks).s, text_bytes(bytes).s);
    if (isfinite(gbps)) {
        fprintf(out, ", %s GB/s", text_real(gbps).s);
    }
    fprintf(out,
            "</text><rect class=\"fill\" fill-opacity=\"0.6\" x=\"0\" y=\"%.1f\" width=\"%.1f\" "
            "height=\"14\"/></g>\n",
            top + 20, bytes > 0 ? fmax(bytes / most * CHART_WIDTH, 1) : 0);
}

static void put_traffic(FILE *out, const json_t *row, const char *caption, unsigned doubts,
                        double most) {
    put_panel_begin(out, caption, "Traffic", CHART_WIDTH, TRAFFIC_HEIGHT);
    put_way(out, row, true, most, 0);
    put_way(out, row, false, most, TRAFFIC_HEIGHT / 2.0);
    if ((doubts & DOUBT_IMITATED) != 0) {
        put_imitated(out, CHART_WIDTH, TRAFFIC_HEIGHT);
    }
    put_panel_end(out);
}

static double most_bytes(const json_t *rows) {
    const json_t *row;
    size_t i;
    double most = 1;
    json_array_foreach(rows, i, row) {
        most = fmax(most, fmax(count_of(row, "onboard_bytes"), count_of(row, "offload_bytes")));
    }
    return most;
}

/* Of each row, a panel of hits or one of traffic. */
static void put_panels(FILE *out, const results *results, bool hits) {
    facets facets = facets_find(results->rows, known_facets, NULL);
    double most = most_bytes(results->rows);
    const json_t *row;
    size_t i;
    fputs("<div class=\"panels\">\n", out);
    json_array_foreach(results->rows, i, row) {
        if (i == CHART_MOST_PANELS) {
            break;
        }
        unsigned doubts = row_doubts(results, row);
        char *caption = facets_label(&facets, row);
        if (hits) {
            put_hits(out, row, caption, doubts);
        } else {
            put_traffic(out, row, caption, doubts, most);
        }
        free(caption);
    }
    fputs("</div>\n", out);
    put_left_out(out, json_array_size(results->rows));
}

void put_replay(FILE *out, const results *results) {
    put_figure_begin(out, "Where the blocks came from",
                     "Blocks that the requests asked for: a <em>device hit</em> was in the device "
                     "tier, a <em>host hit</em> came back from the host tier, the rest was "
                     "computed.");
    put_legend_begin(out);
    for (size_t i = 0; i < PARTS; i++) {
        put_legend_box(out, parts[i].look, parts[i].name);
    }
    put_legend_doubts(out, results_doubts(results));
    put_legend_end(out);
    put_panels(out, results, true);
    put_figure_end(out);
    put_figure_begin(out, "Traffic between the tiers",
                     "GB/s: bytes by the time from submit to completion, over all transfers; "
                     "10<sup>9</sup> bytes/s.");
    put_panels(out, results, false);
    put_figure_end(out);
}
