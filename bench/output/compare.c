#include "output/compare.h"

#include "output/json_file.h"
#include "output/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two runs differ by this much even if the samples within each hardly do. */
#define LEAST_NOISE 0.02

enum { MOST_KEYS = 14 };

/* How rows of two runs of a command are matched, and which figure is compared. */
typedef struct identity {
    const char *command;
    const char *figure;
    bool more_is_faster;
    const char *keys[MOST_KEYS]; /* ends with NULL; a key that a stored row lacks is null */
} identity;

static const identity identities[] = {
    {"bench plan", "ns_per_block", false, {"op", "blocks", "ids"}},
    {"bench transfer",
     "gbps",
     true,
     {"engine", "direction", "fragment_bytes", "fragments", "regions", "host_layout", "pattern",
      "host_pattern", "both_ways", "polled", "strategy"}},
    {"bench pinned", "s_per_gib", false, {"way", "bytes"}},
    {"bench collective",
     "algbw_gbps",
     true,
     {"mode", "ranks", "fragment_bytes", "regions", "blocks", "pattern"}},
    {"replay",
     "wall_seconds",
     false,
     {"engine", "requests", "blocks", "device_blocks", "host_blocks", "block_bytes", "block_tokens",
      "regions", "integrity"}},
    {"calibrate", "expected_gbps", true, {"direction", "fragment_bytes"}},
    {"advise",
     "h2d_gbps",
     true,
     {"device_layout", "host_layout", "pattern", "block_bytes", "layer_bytes"}},
};

/* Keys of the context. If one differs, the figures are not comparable as they are. */
static const char *const circumstances[] = {
    "seed",        "trace_digest", "version",  "compiler",      "flags",   "build_type", "kernel",
    "cpu",         "cores",        "affinity", "huge_pages",    "threads", "gpu",        "driver",
    "cuda_driver", "cuda_runtime", "link",     "power_limit_w", "costs",   "nccl",       "imitated",
};

static const identity *find_identity(const char *command) {
    for (size_t i = 0; i < sizeof identities / sizeof identities[0]; i++)
        if (strcmp(identities[i].command, command) == 0)
            return &identities[i];
    return NULL;
}

/* Comparing */

/* A missing key is null. */
static bool same_value(const json_t *a, const json_t *b) {
    bool none_a = !a || json_is_null(a), none_b = !b || json_is_null(b);
    return none_a || none_b ? none_a == none_b : json_equal(a, b) == 1;
}

static bool same_thing(const identity *of, const json_t *a, const json_t *b) {
    for (size_t i = 0; i < MOST_KEYS && of->keys[i]; i++)
        if (!same_value(json_object_get(a, of->keys[i]), json_object_get(b, of->keys[i])))
            return false;
    return true;
}

static json_t *find_row(const identity *of, const json_t *rows, const json_t *like) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (same_thing(of, row, like))
            return row;
    }
    return NULL;
}

/* NaN unless the value is a number above 0. */
static double figure_of(const json_t *row, const char *key) {
    double value = json_number_value(json_object_get(row, key));
    return value > 0 && isfinite(value) ? value : NAN;
}

/* NaN if unknown. 0 is allowed. */
static double spread_of(const json_t *row) {
    const json_t *spread = json_object_get(row, "spread");
    double value = json_number_value(spread);
    return json_is_number(spread) && value >= 0 && isfinite(value) ? value : NAN;
}

static double noise_of(const json_t *now, const json_t *before) {
    double noise = hypot(spread_of(now), spread_of(before));
    return isnan(noise) ? NAN : fmax(noise, LEAST_NOISE);
}

/* NULL if unknown. */
static const char *judge(const identity *of, double ratio, double noise) {
    if (isnan(ratio) || isnan(noise))
        return NULL;
    if (fmax(ratio, 1 / ratio) - 1 <= noise)
        return "within noise";
    return (ratio > 1) == of->more_is_faster ? "faster" : "slower";
}

static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static bool set_keys(const identity *of, const json_t *now, json_t *pair) {
    bool set = true;
    for (size_t i = 0; i < MOST_KEYS && of->keys[i]; i++) {
        json_t *value = json_object_get(now, of->keys[i]);
        set = set &&
              json_object_set_new(pair, of->keys[i], value ? json_incref(value) : json_null()) == 0;
    }
    return set;
}

static const char *const counts[] = {"faster", "slower", "within_noise", "unknown"};

static void count(json_t *comparison, const char *key) {
    json_t *number = json_object_get(comparison, key);
    json_integer_set(number, json_integer_value(number) + 1);
}

static void count_verdict(json_t *comparison, const char *verdict) {
    if (!verdict)
        count(comparison, "unknown");
    else
        count(comparison, strcmp(verdict, "within noise") == 0 ? "within_noise" : verdict);
}

static bool add_pair(const identity *of, const json_t *now, const json_t *before,
                     json_t *comparison) {
    double figure = figure_of(now, of->figure), was = figure_of(before, of->figure);
    double noise = noise_of(now, before);
    const char *verdict = judge(of, figure / was, noise);
    json_t *pair = json_object();
    bool set =
        set_keys(of, now, pair) && json_object_set_new(pair, "now", real_or_null(figure)) == 0 &&
        json_object_set_new(pair, "before", real_or_null(was)) == 0 &&
        json_object_set_new(pair, "ratio", real_or_null(figure / was)) == 0 &&
        json_object_set_new(pair, "noise", real_or_null(noise)) == 0 &&
        json_object_set_new(pair, "verdict", verdict ? json_string(verdict) : json_null()) == 0;
    count_verdict(comparison, verdict);
    return json_array_append_new(json_object_get(comparison, "rows"), pair) == 0 && set;
}

static bool add_rows(const identity *of, const json_t *now, const json_t *before,
                     json_t *comparison) {
    size_t i;
    json_t *row;
    bool added = true;
    json_array_foreach(now, i, row) {
        const json_t *partner = find_row(of, before, row);
        if (partner)
            added = add_pair(of, row, partner, comparison) && added;
        else
            count(comparison, "only_now");
    }
    json_array_foreach(before, i, row) {
        if (!find_row(of, now, row))
            count(comparison, "only_before");
    }
    return added;
}

/* Lists the keys that both contexts have, with different values. */
static bool add_differences(const json_t *now, const json_t *before, json_t *differs) {
    bool added = true;
    for (size_t i = 0; i < sizeof circumstances / sizeof circumstances[0]; i++) {
        const char *key = circumstances[i];
        json_t *a = json_object_get(now, key), *b = json_object_get(before, key);
        if (a && b && !same_value(a, b))
            added = json_object_set_new(differs, key, json_pack("[O, O]", a, b)) == 0 && added;
    }
    return added;
}

static json_t *make_empty(const identity *of, const json_t *before, const char *file) {
    const json_t *context = json_object_get(before, "context");
    json_t *comparison = json_pack("{s:o, s:s?, s:s, s:[]}", "file", json_text(file), "date",
                                   json_string_value(json_object_get(context, "date")), "figure",
                                   of->figure, "rows");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_object_set_new(comparison, counts[i], json_integer(0));
    json_object_set_new(comparison, "only_now", json_integer(0));
    json_object_set_new(comparison, "only_before", json_integer(0));
    json_object_set_new(comparison, "differs", json_object());
    return comparison;
}

json_t *compare_documents(const char *command, const json_t *now, const json_t *before,
                          const char *file) {
    const identity *of = find_identity(command);
    json_t *comparison = of ? make_empty(of, before, file) : NULL;
    if (!comparison)
        return NULL;
    bool added =
        add_rows(of, json_object_get(now, "rows"), json_object_get(before, "rows"), comparison) &&
        add_differences(json_object_get(now, "context"), json_object_get(before, "context"),
                        json_object_get(comparison, "differs"));
    if (!added) {
        json_decref(comparison);
        return NULL;
    }
    return comparison;
}

bool compare_found(const json_t *document) {
    const json_t *comparison = json_object_get(document, "compare");
    return json_array_size(json_object_get(comparison, "rows")) > 0;
}

/* Printing */

static long long number_of(const json_t *comparison, const char *key) {
    return (long long)json_integer_value(json_object_get(comparison, key));
}

static void print_text(const json_t *value, FILE *out) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    fputs(text ? text : "?", out);
    free(text);
}

static void print_differences(const json_t *comparison, FILE *out) {
    const char *key;
    json_t *both;
    json_object_foreach(json_object_get(comparison, "differs"), key, both) {
        fprintf(out, "WARNING: %s is ", key);
        print_text(json_array_get(both, 0), out);
        fprintf(out, ", was ");
        print_text(json_array_get(both, 1), out);
        fprintf(out, ": this may explain differences\n");
    }
}

static void print_counts(const json_t *comparison, FILE *out) {
    fprintf(out, "%lld faster, %lld slower, %lld within noise, %lld unknown",
            number_of(comparison, "faster"), number_of(comparison, "slower"),
            number_of(comparison, "within_noise"), number_of(comparison, "unknown"));
    fprintf(out, "; rows without a partner: %lld now, %lld before\n",
            number_of(comparison, "only_now"), number_of(comparison, "only_before"));
}

void compare_print(const json_t *comparison, FILE *out) {
    const char *date = json_string_value(json_object_get(comparison, "date"));
    const json_t *rows = json_object_get(comparison, "rows");
    fprintf(out, "%s compared with %s (%s)\n",
            json_string_value(json_object_get(comparison, "figure")),
            json_string_value(json_object_get(comparison, "file")), date ? date : "no date");
    if (json_array_size(rows) > 0)
        table_print(rows, out);
    fputc('\n', out);
    fprintf(out,
            "ratio = now / before; noise = sqrt(spread_now^2 + spread_before^2), at least %.0f%%; "
            "within noise: max(ratio, 1 / ratio) - 1 <= noise; unknown without both spreads. "
            "Spreads are within one run: repeat both runs before trusting a small difference\n",
            LEAST_NOISE * 100);
    print_counts(comparison, out);
    print_differences(comparison, out);
}
