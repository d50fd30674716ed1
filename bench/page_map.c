#include "page_map.h"

#include "page_results.h"
#include "page_table.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_WIDTH = 64, CELL_HEIGHT = 54, TOP = 40, GAP = 3, MOST_COLUMNS = 32 };
enum { LEAST_LABEL = 10, MOST_LABEL = 24, LABEL_CHARACTER = 6, MOST_NAME = 9 };
enum { LEAST_CELLS = 110 }; /* wide enough for the name above them */

static bool is_auto(const map *map, const entry *entry) {
    return strcmp(map->strategies.all[entry->strategy], "auto") == 0;
}

void map_add(map *map, char *panel, char *line, char *strategy, entry entry) {
    size_t before = map->strategies.count;
    entry.panel = names_take(&map->panels, panel);
    entry.line = names_take(&map->lines, line);
    entry.strategy = names_take(&map->strategies, strategy);
    map->contenders += map->strategies.count > before && !is_auto(map, &entry);
    if (!scale_takes(SCALE_LOG2, entry.x) || !scale_takes(SCALE_LOG10, entry.gbps) ||
        !isfinite(entry.order)) {
        return;
    }
    map->entries = must_grow(map->entries, map->count + 1, sizeof(*map->entries));
    map->entries[map->count++] = entry;
}

void map_free(map *map) {
    names_free(&map->panels);
    names_free(&map->lines);
    names_free(&map->strategies);
    free(map->entries);
}

/* Cells */

/* Who won there, who came second, what the engine's own choice did; NULL for none. */
typedef struct cell {
    const entry *winner, *second, *chosen;
} cell;

static int sign(double a, double b) {
    return (a > b) - (a < b);
}

/* By place, and the fastest first. */
static int compare(const void *a, const void *b) {
    const entry *left = a, *right = b;
    const double differences[] = {sign((double)left->panel, (double)right->panel),
                                  sign(left->order, right->order),
                                  sign((double)left->line, (double)right->line),
                                  sign(left->x, right->x), sign(right->gbps, left->gbps)};
    for (size_t i = 0; i < sizeof(differences) / sizeof(differences[0]); i++) {
        if (differences[i] != 0) {
            return (int)differences[i];
        }
    }
    return 0;
}

static bool same_line(const entry *a, const entry *b) {
    return a->panel == b->panel && a->line == b->line;
}

/* The cell from `begin` on; its end is set. The fastest are first. */
static cell find_cell(const map *map, size_t begin, size_t *end) {
    cell cell = {0};
    const entry *first = &map->entries[begin];
    size_t i = begin;
    for (; i < map->count; i++) {
        const entry *entry = &map->entries[i];
        if (!same_line(first, entry) || entry->x > first->x) {
            break;
        }
        if (is_auto(map, entry)) {
            cell.chosen = cell.chosen != NULL ? cell.chosen : entry;
        } else if (cell.winner == NULL) {
            cell.winner = entry;
        } else if (cell.second == NULL && entry->strategy != cell.winner->strategy) {
            cell.second = entry;
        }
    }
    *end = i;
    return cell;
}

static double lead_of(const cell *cell) {
    return cell->second != NULL ? cell->winner->gbps / cell->second->gbps - 1 : NAN;
}

static unsigned cell_doubts(const cell *cell) {
    return cell->winner->doubts | (cell->second != NULL ? cell->second->doubts : 0);
}

/* Whether the engine took another than the winner. */
static bool took_another(const map *map, const cell *cell) {
    return cell->chosen != NULL && cell->chosen->taken != NULL &&
           strcmp(cell->chosen->taken, map->strategies.all[cell->winner->strategy]) != 0;
}

/* Columns */

typedef struct columns {
    double all[MOST_COLUMNS];
    size_t count;
} columns;

static int compare_numbers(const void *a, const void *b) {
    return sign(*(const double *)a, *(const double *)b);
}

/* The first sizes, should there be more than anybody can look at. */
static columns find_columns(const map *map) {
    columns found = {.count = 0};
    double *sizes = must_grow(NULL, map->count, sizeof(*sizes));
    for (size_t i = 0; i < map->count; i++) {
        sizes[i] = map->entries[i].x;
    }
    qsort(sizes, map->count, sizeof(*sizes), compare_numbers);
    for (size_t i = 0; i < map->count && found.count < MOST_COLUMNS; i++) {
        if (found.count == 0 || sizes[i] > found.all[found.count - 1]) {
            found.all[found.count++] = sizes[i];
        }
    }
    free(sizes);
    return found;
}

/* The column of a size; `count` for one that is left out. */
static size_t column_of(const columns *columns, double x) {
    size_t at = 0;
    while (at < columns->count && columns->all[at] < x) {
        at++;
    }
    return at;
}

/* Drawing */

static void put_hint(FILE *out, const map *map, const cell *cell, size_t begin, size_t end) {
    char *doubts = doubts_text(cell_doubts(cell));
    fputs("<title>", out);
    put_text(out, text_bytes(cell->winner->x).s, 0);
    for (size_t i = begin; i < end; i++) {
        const entry *entry = &map->entries[i];
        fputs(i == begin ? ": " : ", ", out);
        put_text(out, map->strategies.all[entry->strategy], 0);
        if (entry->taken != NULL) {
            fputs(" (", out);
            put_text(out, entry->taken, 0);
            fputs(")", out);
        }
        fprintf(out, " %s GB/s", text_real(entry->gbps).s);
    }
    fprintf(out, "%s%s</title>", doubts[0] != '\0' ? "; " : "", doubts);
    free(doubts);
}

/* Whether the lead is no more than what differs between samples: two spreads together, 2 % at
 * least. */
static bool is_unsure(const cell *cell) {
    double noise = cell->second != NULL ? hypot(cell->winner->spread, cell->second->spread) : NAN;
    return (cell_doubts(cell) & DOUBT_NOISY) != 0 ||
           (isfinite(noise) && lead_of(cell) <= fmax(noise, 0.02));
}

static void put_lead(FILE *out, const cell *cell) {
    double lead = lead_of(cell);
    if (isfinite(lead)) {
        fprintf(out, "%s%s", text_percent(lead).s, is_unsure(cell) ? " ?" : "");
    } else {
        fputs("alone", out);
    }
}

/* The stronger the colour, the longer the lead; up to double. */
static double strength(const cell *cell) {
    double lead = lead_of(cell);
    return 0.16 + 0.4 * (isfinite(lead) ? fmin(lead, 1) : 0);
}

static void put_cell(FILE *out, const map *map, const cell *cell, double left, double top) {
    const char *name = map->strategies.all[cell->winner->strategy];
    double middle = left + (CELL_WIDTH - GAP) / 2.0;
    fprintf(out,
            "<rect class=\"fill\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" rx=\"3\" "
            "fill-opacity=\"%.2f\"/>",
            left, top, CELL_WIDTH - GAP, CELL_HEIGHT - GAP, strength(cell));
    fprintf(out, "<rect class=\"fill\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"3\"/>", left,
            top, CELL_WIDTH - GAP);
    fprintf(out, "<text class=\"mid small\" x=\"%.1f\" y=\"%.1f\">", middle, top + 16);
    put_text(out, name, MOST_NAME);
    fprintf(out, "</text><text class=\"mid strong\" x=\"%.1f\" y=\"%.1f\">%s</text>", middle,
            top + 31, text_real(cell->winner->gbps).s);
    fprintf(out, "<text class=\"mid small\" x=\"%.1f\" y=\"%.1f\">", middle, top + 45);
    put_lead(out, cell);
    fputs("</text>", out);
    if (took_another(map, cell)) {
        fprintf(out, "<path class=\"corner\" d=\"M%.1f %.1fh-12l12 12Z\"/>",
                left + CELL_WIDTH - GAP, top);
    }
    if ((cell_doubts(cell) & (DOUBT_UNVERIFIED | DOUBT_CORRUPT)) != 0) {
        fprintf(out, "<path class=\"corrupt\" d=\"M%.1f %.1fh%d\"/>", left,
                top + CELL_HEIGHT - GAP - 1, CELL_WIDTH - GAP);
    }
}

/* Where the cells begin, behind the labels of lines. */
static int left_of(const map *map) {
    size_t longest = LEAST_LABEL;
    for (size_t i = 0; i < map->lines.count; i++) {
        size_t length = strlen(map->lines.all[i]);
        longest = length > longest ? length : longest;
    }
    return LABEL_CHARACTER * (int)(longest < MOST_LABEL ? longest : MOST_LABEL) + LABEL_CHARACTER;
}

static void put_head(FILE *out, const map *map, const columns *columns) {
    int left = left_of(map);
    fprintf(out, "<text class=\"name\" x=\"%d\" y=\"13\">%s</text>", left, map->x_name);
    fprintf(out, "<text class=\"name\" x=\"0\" y=\"32\">%s</text>", map->line_name);
    for (size_t i = 0; i < columns->count; i++) {
        fprintf(out, "<text class=\"mid\" x=\"%.1f\" y=\"32\">%s</text>\n",
                left + ((double)i + 0.5) * CELL_WIDTH - GAP / 2.0, text_bytes(columns->all[i]).s);
    }
}

static void put_line_label(FILE *out, const map *map, const entry *entry, double top) {
    fprintf(out, "<text x=\"0\" y=\"%.1f\"><title>", top + CELL_HEIGHT / 2.0);
    put_text(out, map->lines.all[entry->line], 0);
    fputs("</title>", out);
    put_text(out, map->lines.all[entry->line], MOST_LABEL);
    fputs("</text>\n", out);
}

static void put_cells(FILE *out, const map *map, const columns *columns, size_t begin, size_t end) {
    double top = TOP - CELL_HEIGHT;
    int left = left_of(map);
    for (size_t i = begin, next; i < end; i = next) {
        cell cell = find_cell(map, i, &next);
        size_t column = column_of(columns, map->entries[i].x);
        if (i == begin || !same_line(&map->entries[i - 1], &map->entries[i])) {
            top += CELL_HEIGHT;
            put_line_label(out, map, &map->entries[i], top);
        }
        if (cell.winner == NULL || column == columns->count) {
            continue;
        }
        fprintf(out, "<g class=\"cell s%u\">",
                look_of(map->strategies.all[cell.winner->strategy], cell.winner->strategy));
        put_hint(out, map, &cell, i, next);
        put_cell(out, map, &cell, left + (double)column * CELL_WIDTH, top);
        fputs("</g>\n", out);
    }
}

static size_t panel_end(const map *map, size_t begin, unsigned *doubts, int *lines) {
    size_t end = begin;
    *lines = 0;
    *doubts = 0;
    for (; end < map->count && map->entries[end].panel == map->entries[begin].panel; end++) {
        *lines += end == begin || !same_line(&map->entries[end - 1], &map->entries[end]);
        *doubts |= map->entries[end].doubts;
    }
    return end;
}

static size_t put_panel(FILE *out, const map *map, const columns *columns, size_t begin) {
    unsigned doubts;
    int lines;
    size_t end = panel_end(map, begin, &doubts, &lines);
    int cells = (int)columns->count * CELL_WIDTH;
    int width = left_of(map) + (cells > LEAST_CELLS ? cells : LEAST_CELLS),
        height = TOP + lines * CELL_HEIGHT;
    put_panel_begin(out, map->panels.all[map->entries[begin].panel], map->title, width, height);
    put_head(out, map, columns);
    if ((doubts & DOUBT_IMITATED) != 0) {
        put_imitated(out, width, height);
    }
    put_cells(out, map, columns, begin, end);
    put_panel_end(out);
    return end;
}

/* The table */

static void put_table_line(FILE *out, const map *map, const cell *cell) {
    double lead = lead_of(cell);
    const entry *winner = cell->winner, *second = cell->second, *chosen = cell->chosen;
    char *doubts = doubts_text(cell_doubts(cell));
    fputs("<tr>", out);
    put_cell_text(out, map->panels.all[winner->panel]);
    put_cell_text(out, map->lines.all[winner->line]);
    put_cell_number(out, winner->x, text_count(winner->x).s);
    put_cell_text(out, map->strategies.all[winner->strategy]);
    put_cell_number(out, winner->gbps, text_real(winner->gbps).s);
    put_cell_text(out, second != NULL ? map->strategies.all[second->strategy] : "-");
    put_cell_number(out, second != NULL ? second->gbps : NAN,
                    second != NULL ? text_real(second->gbps).s : "");
    put_cell_number(out, lead, text_percent(lead).s);
    put_cell_text(out, chosen != NULL && chosen->taken != NULL ? chosen->taken : "-");
    put_cell_number(out, chosen != NULL ? chosen->gbps : NAN,
                    chosen != NULL ? text_real(chosen->gbps).s : "");
    put_cell_text(out, doubts);
    fputs("</tr>\n", out);
    free(doubts);
}

static void put_table(FILE *out, const map *map) {
    static const char *const columns[] = {"panel",     "line",   "fragment bytes", "winner",
                                          "GB/s",      "second", "GB/s",           "lead",
                                          "auto took", "GB/s",   "beware",         NULL};
    put_table_begin(out, "The map as a table", columns);
    for (size_t i = 0, next; i < map->count; i = next) {
        cell cell = find_cell(map, i, &next);
        if (cell.winner != NULL) {
            put_table_line(out, map, &cell);
        }
    }
    put_table_end(out);
}

static void put_legend(FILE *out, const map *map) {
    bool another = false, unsure = false;
    for (size_t i = 0, next; i < map->count; i = next) {
        cell cell = find_cell(map, i, &next);
        another = another || (cell.winner != NULL && took_another(map, &cell));
        unsure = unsure || (cell.winner != NULL && is_unsure(&cell));
    }
    put_legend_begin(out);
    for (size_t i = 0; i < map->strategies.count; i++) {
        if (strcmp(map->strategies.all[i], "auto") != 0) {
            put_legend_box(out, look_of(map->strategies.all[i], i), map->strategies.all[i]);
        }
    }
    if (another) {
        fputs("<li><svg class=\"swatch\" viewBox=\"-17 -9 34 18\" aria-hidden=\"true\">"
              "<path class=\"corner\" d=\"M6-6h-12l12 12Z\"/></svg>auto took another</li>",
              out);
    }
    if (unsure) {
        fputs("<li><strong>?</strong> a lead within the noise</li>", out);
    }
    put_legend_end(out);
}

void put_map(FILE *out, map *map) {
    if (map->contenders < 2 || map->count == 0) {
        return;
    }
    qsort(map->entries, map->count, sizeof(*map->entries), compare);
    columns columns = find_columns(map);
    size_t drawn = 0;
    put_figure_begin(out, map->title, map->explain);
    put_legend(out, map);
    fputs("<div class=\"maps\">\n", out);
    for (size_t i = 0; i < map->count && drawn < CHART_MOST_PANELS; drawn++) {
        i = put_panel(out, map, &columns, i);
    }
    fputs("</div>\n", out);
    put_table(out, map);
    put_left_out(out, map->panels.count);
    put_figure_end(out);
}
