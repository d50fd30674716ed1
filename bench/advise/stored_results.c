#include "advise/stored_results.h"

#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A usable row. Its texts belong to the document. */
typedef struct point {
    const char *direction, *pattern;
    const char *strategy; /* as requested: "auto", ...; "" if the engine has only one */
    const char *taken;    /* NULL: unknown */
    double fragment_bytes, bytes, gbps;
} point;

struct stored_results {
    results file;
    point *points; /* sorted by fragment bytes */
    size_t count;
    bool host, imitated;
};

static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *text(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

/*
 * Only rows whose pieces have the size of a fragment: with whole blocks on the host and several
 * regions on the device none are joined. Excludes rows with opposing transfers and rows that failed
 * verification.
 */
static bool is_usable(const json_t *row, const point *point) {
    const char *layout = text(row, "host_layout");
    const char *host_pattern = text(row, "host_pattern");
    return point->direction && point->pattern && layout &&
           (strcmp(layout, "whole") == 0 || strcmp(layout, "contiguous") == 0) &&
           (!host_pattern || strcmp(host_pattern, "contiguous") == 0) &&
           number(row, "regions") > 1 && !json_is_true(json_object_get(row, "both_ways")) &&
           !json_is_false(json_object_get(row, "verified")) && point->fragment_bytes >= 1 &&
           point->bytes >= 1 && point->gbps > 0 && isfinite(point->gbps);
}

static void add(stored_results *results, const json_t *row) {
    const char *strategy = text(row, "strategy");
    point point = {
        .direction = text(row, "direction"),
        .pattern = text(row, "pattern"),
        .strategy = strategy ? strategy : "",
        .taken = text(row, "taken"),
        .fragment_bytes = number(row, "fragment_bytes"),
        .bytes = number(row, "bytes"),
        .gbps = number(row, "gbps"),
    };
    if (is_usable(row, &point)) {
        results->points = must_grow(results->points, results->count + 1, sizeof *results->points);
        results->points[results->count++] = point;
        results->imitated |= json_is_true(json_object_get(row, "imitated"));
        results->host |= strcmp(point.direction, "h2h") == 0;
    }
}

static int compare(const void *a, const void *b) {
    const point *x = a, *y = b;
    return (x->fragment_bytes > y->fragment_bytes) - (x->fragment_bytes < y->fragment_bytes);
}

stored_results *stored_results_take(results file, char *message, size_t size) {
    stored_results *read = must_grow(NULL, 1, sizeof *read);
    *read = (stored_results){.file = file};
    for (size_t i = 0; i < json_array_size(file.rows); i++)
        add(read, json_array_get(file.rows, i));
    if (read->count == 0) {
        snprintf(
            message, size,
            "%s: no row is usable: predictions need whole blocks on the host, several regions and "
            "no --both-ways",
            file.name);
        stored_results_close(read);
        return NULL;
    }
    qsort(read->points, read->count, sizeof *read->points, compare);
    return read;
}

stored_results *stored_results_read(const char *path, char *message, size_t size) {
    results file;
    bool read = results_read(path, "bench transfer", &file, message, size);
    return read ? stored_results_take(file, message, size) : NULL;
}

void stored_results_close(stored_results *results) {
    if (results) {
        results_free(&results->file);
        free(results->points);
        free(results);
    }
}

bool stored_results_is_host(const stored_results *results) {
    return results->host;
}

bool stored_results_is_imitated(const stored_results *results) {
    return results->imitated;
}

/* Of two rows of the same size, prefers the one that moved more, then the slower one. */
static bool is_better(const point *a, const point *b) {
    return !b || a->bytes > b->bytes || (a->bytes == b->bytes && a->gbps < b->gbps);
}

/* The points of a curve next to a size. */
typedef struct around {
    const point *below, *above; /* at most, and at least, that size; NULL: none */
} around;

static bool is_on(const point *point, const char *direction, const char *pattern,
                  const char *strategy) {
    return strcmp(point->direction, direction) == 0 && strcmp(point->pattern, pattern) == 0 &&
           strcmp(point->strategy, strategy) == 0;
}

static around find(const stored_results *results, const char *direction, const char *pattern,
                   const char *strategy, double bytes) {
    around found = {0};
    for (size_t i = 0; i < results->count; i++) {
        const point *p = &results->points[i];
        if (!is_on(p, direction, pattern, strategy))
            continue;
        if (p->fragment_bytes <= bytes &&
            (!found.below || p->fragment_bytes > found.below->fragment_bytes ||
             is_better(p, found.below)))
            found.below = p;
        if (p->fragment_bytes >= bytes &&
            (!found.above ||
             (p->fragment_bytes == found.above->fragment_bytes && is_better(p, found.above))))
            found.above = p;
    }
    return found;
}

static double between(const around *points, double bytes) {
    const point *a = points->below, *b = points->above;
    if (!b || a->fragment_bytes == b->fragment_bytes)
        return a->gbps;
    double share = log(bytes / a->fragment_bytes) / log(b->fragment_bytes / a->fragment_bytes);
    return a->gbps + share * (b->gbps - a->gbps);
}

static prediction by_strategy(const stored_results *results, const char *direction,
                              const char *pattern, const char *strategy, double piece_bytes,
                              double bytes) {
    around points = find(results, direction, pattern, strategy, piece_bytes);
    if (!points.below)
        return (prediction){.us = NAN};
    const char *taken = points.below->taken ? points.below->taken : strategy;
    return (prediction){.us = bytes / (1000 * between(&points, piece_bytes)),
                        .by = taken[0] != '\0' ? taken : NULL,
                        .held = !points.above};
}

prediction stored_results_move(const stored_results *results, bool to_device, const char *pattern,
                               double piece_bytes, double bytes) {
    const char *direction = results->host ? "h2h" : to_device ? "h2d" : "d2h";
    prediction best = by_strategy(results, direction, pattern, "auto", piece_bytes, bytes);
    if (!isnan(best.us))
        return best; /* the engine's own choice */
    for (size_t i = 0; i < results->count; i++) {
        prediction one = by_strategy(results, direction, pattern, results->points[i].strategy,
                                     piece_bytes, bytes);
        best = isnan(best.us) || one.us < best.us ? one : best;
    }
    return best;
}
