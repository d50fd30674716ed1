#include "page_kinds.h"

#include "page_curves.h"
#include "page_dots.h"
#include "page_facets.h"
#include "page_map.h"
#include "page_replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GIGA "10<sup>9</sup> bytes/s"

/* bench transfer, bench collective */

static const facet known_facets[] = {
    {.key = "engine", "engine ", ""},
    {.key = "direction", "", ""},
    {.key = "host_layout", "host layout ", ""},
    {.key = "pattern", "", ""},
    {.key = "host_pattern", "host ids ", ""},
    {.key = "regions", "", " regions"},
    {.key = "both_ways", "both ways ", ""},
    {.key = "polled", "polled ", ""},
    {.key = "compute", "beside ", ""},
    {.key = "mode", "", ""},
    {.key = "ranks", "", " ranks"},
    {.key = "strategy", "", ""},
    {0},
};

/* Not among them: where a total was given, each size has a count of its own. */
static const facet count_facet = {.key = "fragments", "", " fragments"};

static double number(const json_t *row, const char *key) {
    return value_number(json_object_get(row, key));
}

/* The first of the keys that varies, whose values become lines of their own; NULL for none. */
static const char *choose_series(const json_t *rows) {
    static const char *const keys[] = {"strategy", "mode", "pattern", "host_layout", "direction"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (key_varies(rows, keys[i])) {
            return keys[i];
        }
    }
    return NULL;
}

static int compare_numbers(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* How many values a key has in all rows. */
static size_t distinct(const json_t *rows, const char *key) {
    size_t count = json_array_size(rows), found = 0;
    double *values = malloc(count * sizeof(*values));
    for (size_t i = 0; values != NULL && i < count; i++) {
        double value = number(json_array_get(rows, i), key);
        values[i] = isfinite(value) ? value : -1;
    }
    if (values != NULL) {
        qsort(values, count, sizeof(*values), compare_numbers);
        for (size_t i = 0; i < count; i++) {
            found += i == 0 || values[i] > values[i - 1];
        }
    }
    free(values);
    return found;
}

/* Whether sizes were measured with several counts each, rather than with the one that a total
 * leaves: then there are more rows than the values of other keys make up. */
static bool has_counts(const json_t *rows) {
    static const facet size = {.key = "fragment_bytes", "", ""};
    names seen = {0};
    bool several = false;
    facets others = facets_find(rows, known_facets, NULL);
    if (distinct(rows, "fragments") > 1 && others.count < MOST_FACETS) {
        others.all[others.count++] = &size;
        for (size_t i = 0; i < json_array_size(rows) && !several; i++) {
            size_t before = seen.count;
            names_take(&seen, facets_label(&others, json_array_get(rows, i)));
            several = seen.count == before;
        }
    }
    names_free(&seen);
    return several;
}

static char *series_name(const char *key, const json_t *row) {
    const facet one = {.key = key, "", ""};
    facets facets = {.all = {&one}, .count = key != NULL};
    return facets_label(&facets, row);
}

/* Which keys mean what in the rows of a command. */
typedef struct measures {
    const char *y, *limit;
} measures;

static void add_curves(const results *results, const measures *measures, bool counts,
                       curves *curves) {
    const char *series = choose_series(results->rows);
    facets panels = facets_find(results->rows, known_facets, series);
    if (counts && panels.count < MOST_FACETS) {
        panels.all[panels.count++] = &count_facet;
    }
    const json_t *row;
    size_t i;
    json_array_foreach(results->rows, i, row) {
        point point = {.x = number(row, "fragment_bytes"),
                       .y = number(row, measures->y),
                       .limit = number(row, measures->limit),
                       .spread = number(row, "spread"),
                       .doubts = row_doubts(results, row)};
        curves_add(curves, facets_label(&panels, row), series_name(series, row), point);
    }
}

static void add_map(const results *results, bool counts, map *map) {
    facets panels = facets_find(results->rows, known_facets, "strategy");
    facets none = {.count = 0};
    const json_t *row;
    size_t i;
    json_array_foreach(results->rows, i, row) {
        json_t *strategy = json_object_get(row, "strategy");
        bool is_auto = json_is_string(strategy) && strcmp(json_string_value(strategy), "auto") == 0;
        double count = number(row, "fragments");
        entry entry = {.order = counts ? count : 0,
                       .x = number(row, "fragment_bytes"),
                       .gbps = number(row, "gbps"),
                       .spread = number(row, "spread"),
                       .taken = is_auto ? json_string_value(json_object_get(row, "taken")) : NULL,
                       .doubts = row_doubts(results, row)};
        char *line =
            counts ? value_text(json_object_get(row, "fragments")) : facets_label(&panels, row);
        map_add(map, facets_label(counts ? &panels : &none, row), line, value_text(strategy),
                entry);
    }
}

static void put_transfer_map(FILE *out, const results *results, bool counts) {
    map map = {
        .title = "Strategy map",
        .explain = "Which strategy wins, what it reaches in GB/s, and how far it is ahead of the "
                   "second; the stronger the colour, the longer the lead. auto, the engine's own "
                   "choice, does not compete.",
        .x_name = "bytes a fragment",
        .line_name = counts ? "fragments" : "",
    };
    add_map(results, counts, &map);
    put_map(out, &map);
    map_free(&map);
}

static void put_transfer(FILE *out, const results *results) {
    static const measures measures = {"gbps", "link_gbps"};
    const char *engine = json_string_value(json_object_get(results->context, "engine"));
    bool on_host = engine != NULL && strcmp(engine, "host") == 0;
    bool counts = has_counts(results->rows);
    curves curves = {
        .title = "Bandwidth by fragment size",
        .explain = "Bytes by the median time from submit to completion; " GIGA ". A fragment is "
                   "what a block has in one region. Whiskers are as long as the middle "
                   "80 % of the samples, where that is known.",
        .x_name = "bytes a fragment",
        .y_name = "GB/s",
        .unit = "GB/s",
        .limit_name = on_host ? "the machine's own best copy of the same total"
                              : "the link, as large copies measured it in the same run",
    };
    put_transfer_map(out, results, counts); /* it says in short what the curves say at length */
    add_curves(results, &measures, counts, &curves);
    put_curves(out, &curves);
    curves_free(&curves);
}

static void put_collective(FILE *out, const results *results) {
    static const measures measures = {"algbw_gbps", "links_gbps"};
    curves curves = {
        .title = "The same blocks to all GPUs of a group",
        .explain = "Bytes that every rank has in the end, by the time until all have them; " GIGA
                   ". Reading each byte once over some link can reach the sum of the links.",
        .x_name = "bytes a fragment",
        .y_name = "GB/s",
        .unit = "GB/s",
        .limit_name = "the sum of all links",
    };
    add_curves(results, &measures, false, &curves);
    put_curves(out, &curves);
    curves_free(&curves);
}

/* calibrate */

static const char *const strategies[] = {"loop", "batch", "kernel", "staged"};

enum { STRATEGIES = sizeof(strategies) / sizeof(strategies[0]) };

/* What a strategy is expected to reach: from the bytes that the chosen one's speed and time tell.
 */
static double expected_gbps(const json_t *row, const char *strategy) {
    char key[32];
    const char *chosen = json_string_value(json_object_get(row, "chosen"));
    snprintf(key, sizeof(key), "%.16s_us", chosen != NULL ? chosen : "");
    double bytes = number(row, "expected_gbps") * number(row, key);
    snprintf(key, sizeof(key), "%s_us", strategy);
    return bytes / number(row, key);
}

static void add_expectations(const results *results, curves *curves, map *map) {
    static const facet known[] = {{.key = "direction", "", ""}, {0}};
    facets panels = facets_find(results->rows, known, NULL);
    const json_t *row;
    size_t i;
    json_array_foreach(results->rows, i, row) {
        unsigned doubts = row_doubts(results, row);
        double size = number(row, "fragment_bytes");
        double wire = expected_gbps(row, "wire");
        for (size_t s = 0; s < STRATEGIES; s++) {
            facets none = {.count = 0};
            double gbps = expected_gbps(row, strategies[s]);
            json_t *name = json_string(strategies[s]);
            point point = {.x = size, .y = gbps, .limit = wire, .spread = NAN, .doubts = doubts};
            entry entry = {.x = size, .gbps = gbps, .spread = NAN, .doubts = doubts};
            curves_add(curves, facets_label(&panels, row), value_text(name), point);
            map_add(map, facets_label(&none, row), facets_label(&panels, row), value_text(name),
                    entry);
            json_decref(name);
        }
    }
}

static void put_calibrate(FILE *out, const results *results) {
    curves curves = {
        .title = "What the model expects",
        .explain = "Of moving 64 MiB in blocks of 64 regions, with random ids on the device and "
                   "whole blocks in pinned memory; " GIGA ". Expected, not measured.",
        .x_name = "bytes a fragment",
        .y_name = "GB/s",
        .unit = "GB/s expected",
        .limit_name = "the link's best",
    };
    map map = {
        .title = "Strategy map, as expected",
        .explain = "Which strategy the model expects to win, at what GB/s, and how far ahead of "
                   "the second.",
        .x_name = "bytes a fragment",
        .line_name = "",
    };
    add_expectations(results, &curves, &map);
    put_map(out, &map);
    put_curves(out, &curves);
    curves_free(&curves);
    map_free(&map);
}

/* bench plan, bench pinned */

/* Which keys are the lines, the series and the values. */
static void add_dots(const results *results, const char *line, const facet *series,
                     const char *value, dots *dots) {
    const facet name = {.key = line, "", ""};
    facets lines = {.all = {&name}, .count = 1};
    facets found = facets_find(results->rows, series, NULL);
    const json_t *row;
    size_t i;
    json_array_foreach(results->rows, i, row) {
        dot dot = {.value = number(row, value), .doubts = row_doubts(results, row)};
        dots_add(dots, facets_label(&lines, row), facets_label(&found, row), dot);
    }
}

static void put_plan(FILE *out, const results *results) {
    static const facet series[] = {{.key = "blocks", "", " blocks"}, {0}};
    dots dots = {
        .title = "Bookkeeping, nanoseconds a block",
        .explain = "The median time of an operation over all blocks, by their number. What takes "
                   "the same time for any number, such as zip, gets ever smaller.",
        .x_name = "ns a block",
        .type = SCALE_LOG10,
    };
    add_dots(results, "op", series, "ns_per_block", &dots);
    put_dots(out, &dots);
    dots_free(&dots);
}

static void put_pinned(FILE *out, const results *results) {
    static const facet series[] = {{.key = "bytes", "", "", .bytes = true}, {0}};
    dots dots = {
        .title = "Having pinned memory, seconds a GiB",
        .explain = "The median time from asking to having, by how it is asked for.",
        .x_name = "s a GiB",
        .type = SCALE_LINEAR,
    };
    add_dots(results, "way", series, "s_per_gib", &dots);
    put_dots(out, &dots);
    dots_free(&dots);
}

/* Which is which */

typedef struct kind {
    const char *command;
    void (*put)(FILE *out, const results *results);
} kind;

static const kind kinds[] = {
    {"bench transfer", put_transfer},     {"bench plan", put_plan}, {"bench pinned", put_pinned},
    {"bench collective", put_collective}, {"replay", put_replay},   {"calibrate", put_calibrate},
};

/* NULL for none. */
static const kind *find_kind(const results *results) {
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(results->command, kinds[i].command) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

const char *results_command(const results *results) {
    return results->command;
}

void put_charts(FILE *out, const results *results) {
    const kind *kind = find_kind(results);
    if (kind != NULL) {
        kind->put(out, results);
    }
}
