#include "page.h"

#include "page_kinds.h"
#include "page_style.h"
#include "page_table.h"
#include "page_text.h"

#include <kvferry/kvferry.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The context */

static const char *context_text(const results *results, const char *key) {
    return json_string_value(json_object_get(results->context, key));
}

static void put_term(FILE *out, const char *name) {
    fprintf(out, "<div><dt>%s</dt><dd>", name);
}

/* The texts of keys that are not null, each with what stands before it; no comma before the first.
 */
static void put_texts(FILE *out, const results *results, const char *name,
                      const char *const *parts) {
    bool any = false;
    for (; parts[0] != NULL; parts += 2) {
        const char *text = context_text(results, parts[1]);
        if (text != NULL) {
            if (!any) {
                put_term(out, name);
            }
            fputs(parts[0] + (any ? 0 : strspn(parts[0], ", ")), out);
            put_text(out, text, 0);
            any = true;
        }
    }
    if (any) {
        fputs("</dd></div>\n", out);
    }
}

static void put_machine(FILE *out, const results *results) {
    const char *cpu = context_text(results, "cpu");
    double cores = value_number(json_object_get(results->context, "cores"));
    double memory = value_number(json_object_get(results->context, "memory_bytes"));
    put_term(out, "machine");
    put_text(out, cpu != NULL ? cpu : "unknown processor", 0);
    if (cores > 0) {
        fprintf(out, ", %s cores", text_count(cores).s);
    }
    if (memory > 0) {
        fprintf(out, ", %s", text_bytes(memory).s);
    }
    fputs("</dd></div>\n", out);
}

/* What is said of a machine in words of its own; the rest of a context follows key by key. */
static const char *const told[] = {
    "version", "cpu",  "cores",        "memory_bytes", "compiler", "build_type",   "engine",  "gpu",
    "driver",  "date", "cuda_runtime", "cuda_driver",  "link",     "link_at_most", "imitated"};

static bool is_told(const char *key) {
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        if (strcmp(told[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* An object of objects, which takes a table. */
static bool is_nested(json_t *value) {
    const char *key;
    json_t *part;
    json_object_foreach(value, key, part) {
        if (json_is_object(part)) {
            return true;
        }
    }
    return false;
}

static void put_rest(FILE *out, const results *results) {
    const char *key;
    json_t *value;
    json_object_foreach(results->context, key, value) {
        if (!is_told(key) && !json_is_null(value) && !is_nested(value)) {
            put_pair(out, key, value);
        }
    }
}

static void put_objects(FILE *out, const results *results) {
    const char *key;
    json_t *value;
    json_object_foreach(results->context, key, value) {
        if (is_nested(value)) {
            put_object(out, key, value);
        }
    }
}

static void put_context(FILE *out, const results *results) {
    static const char *const gpu[] = {"", "gpu", NULL};
    static const char *const link[] = {"", "link", ", at most ", "link_at_most", NULL};
    static const char *const driver[] = {"", "driver", NULL};
    static const char *const cuda[] = {"", "cuda_runtime", ", the driver's ", "cuda_driver", NULL};
    static const char *const build[] = {"", "version", ", ", "compiler", ", ", "build_type", NULL};
    static const char *const engine[] = {"", "engine", NULL};
    static const char *const date[] = {"", "date", NULL};
    fputs("<dl class=\"pairs context\">\n", out);
    put_machine(out, results);
    put_texts(out, results, "GPU", gpu);
    put_texts(out, results, "link", link);
    put_texts(out, results, "driver", driver);
    put_texts(out, results, "CUDA", cuda);
    put_texts(out, results, "kvferry", build);
    put_texts(out, results, "engine", engine);
    put_texts(out, results, "date", date);
    put_rest(out, results);
    fputs("</dl>\n", out);
    put_objects(out, results);
}

/* Warnings */

static size_t count_doubts(const results *results, unsigned doubt) {
    const json_t *row;
    size_t i, count = 0;
    json_array_foreach(results->rows, i, row) {
        count += (row_doubts(results, row) & doubt) != 0;
    }
    return count;
}

static void put_warnings(FILE *out, const results *results) {
    static const struct {
        unsigned doubt;
        const char *kind, *text;
    } all[] = {
        {DOUBT_IMITATED, "imitated",
         "<strong>IMITATED.</strong> A link or a GPU was imitated: these times say nothing of a "
         "machine"},
        {DOUBT_CORRUPT, "bad", "<strong>CORRUPT.</strong> Blocks did not arrive as they were"},
        {DOUBT_NOISY, "", "<strong>NOISY.</strong> Samples differ too much to go by"},
        {DOUBT_UNVERIFIED, "", "<strong>Not verified.</strong> Nobody looked at what was moved"},
    };
    size_t rows = json_array_size(results->rows);
    double bound = value_number(json_object_get(json_object_get(results->root, "noise"), "bound"));
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t count = count_doubts(results, all[i].doubt);
        if (count > 0) {
            fprintf(out, "<p class=\"warning %s\">%s", all[i].kind, all[i].text);
            if (all[i].doubt == DOUBT_NOISY && bound > 0) {
                fprintf(out, ": a spread above %s", text_real(bound).s);
            }
            fprintf(out, " (%zu of %zu rows).</p>\n", count, rows);
        }
    }
}

/* Comparisons */

static void put_counts(FILE *out, const json_t *comparison) {
    static const struct {
        const char *key, *text;
    } all[] = {{"faster", "faster"},
               {"slower", "slower"},
               {"within_noise", "within noise"},
               {"unknown", "that cannot be told"},
               {"only_now", "only now"},
               {"only_before", "only before"}};
    const char *before = "";
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        double count = value_number(json_object_get(comparison, all[i].key));
        if (count > 0) {
            fprintf(out, "%s<strong>%s</strong> %s", before, text_count(count).s, all[i].text);
            before = ", ";
        }
    }
}

/* The run beside a stored one, where it was measured with --compare. */
static void put_comparison(FILE *out, const results *results) {
    json_t *comparison = json_object_get(results->root, "compare");
    json_t *rows = json_object_get(comparison, "rows");
    json_t *differs = json_object_get(comparison, "differs");
    const char *file = json_string_value(json_object_get(comparison, "file"));
    if (!json_is_array(rows) || json_array_size(rows) == 0) {
        return;
    }
    fputs("<figure>\n<figcaption><h3>Beside ", out);
    put_text(out, file != NULL ? file : "another run", 0);
    fputs("</h3>\n<p>Of the rows that both have: ", out);
    put_counts(out, comparison);
    fputs(". ratio: now by before; noise: what both runs' spreads allow for.</p></figcaption>\n",
          out);
    put_plain_rows(out, "Rows that both have", rows);
    if (json_object_size(differs) > 0) {
        put_object(out, "Where the contexts differ", differs);
    }
    fputs("</figure>\n", out);
}

/* Sections */

/* The file's name without its folders. */
static const char *file_name(const results *results) {
    const char *slash = strrchr(results->name, '/');
    if (strcmp(results->name, "-") == 0) {
        return "standard input";
    }
    return slash != NULL && slash[1] != '\0' ? slash + 1 : results->name;
}

static const char *title_of(const results *results) {
    const char *command = results_command(results);
    return command != NULL ? command : "results";
}

static void put_section(FILE *out, const results *results, size_t number) {
    fprintf(out, "<section id=\"r%zu\">\n<h2>", number);
    put_text(out, title_of(results), 0);
    fputs("</h2>\n<p class=\"file\">", out);
    put_text(out, file_name(results), 0);
    fputs("</p>\n", out);
    put_warnings(out, results);
    put_context(out, results);
    put_charts(out, results);
    put_comparison(out, results);
    put_rows(out, results);
    fputs("</section>\n", out);
}

static void put_title(FILE *out, const results *results, size_t count) {
    const char *gpu = context_text(&results[0], "gpu");
    const char *cpu = context_text(&results[0], "cpu");
    fputs("kvferry: ", out);
    put_text(out, title_of(&results[0]), 0);
    if (count > 1) {
        fprintf(out, " and %zu more", count - 1);
    }
    if (gpu != NULL || cpu != NULL) {
        fputs(", ", out);
        put_text(out, gpu != NULL ? gpu : cpu, 0);
    }
}

static void put_head(FILE *out, const results *results, size_t count) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
          "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
          "<meta http-equiv=\"Content-Security-Policy\" "
          "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n<title>",
          out);
    put_title(out, results, count);
    fputs("</title>\n<style>\n", out);
    for (const char *const *piece = page_style; *piece != NULL; piece++) {
        fputs(*piece, out);
    }
    fputs("</style>\n</head>\n<body>\n", out);
}

static void put_contents(FILE *out, const results *results, size_t count) {
    fputs("<nav><ul>\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "<li><a href=\"#r%zu\">", i);
        put_text(out, title_of(&results[i]), 0);
        fputs("</a> <span>", out);
        put_text(out, file_name(&results[i]), 0);
        fputs("</span></li>\n", out);
    }
    fputs("</ul></nav>\n", out);
}

void put_page(FILE *out, const results *results, size_t count) {
    size_t imitated = 0;
    for (size_t i = 0; i < count; i++) {
        imitated += (results_doubts(&results[i]) & DOUBT_IMITATED) != 0;
    }
    put_head(out, results, count);
    if (imitated > 0) {
        fprintf(out, "<p class=\"banner\">IMITATED%s</p>\n", imitated < count ? " IN PART" : "");
    }
    fputs("<main>\n<header><h1>kvferry</h1><p>Measurements of moving KV-cache blocks between "
          "memory tiers.</p></header>\n",
          out);
    if (count > 1) {
        put_contents(out, results, count);
    }
    for (size_t i = 0; i < count; i++) {
        put_section(out, &results[i], i);
    }
    fprintf(out, "<footer>Made by kvferry %s report.</footer>\n</main>\n</body>\n</html>\n",
            kvf_version());
}
