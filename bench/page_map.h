/* The strategy map: which strategy wins at which size, and by how much. */
#ifndef KVF_BENCH_PAGE_MAP_H
#define KVF_BENCH_PAGE_MAP_H

#include "page_chart.h"

/* What one strategy reached in a cell of the map. */
typedef struct entry {
    size_t panel, line, strategy; /* numbers of names */
    double order;                 /* lines stand in this order */
    double x, gbps;
    double spread;     /* as a part of it; NaN for none */
    const char *taken; /* by "auto"; NULL for the others; not the map's */
    unsigned doubts;
} entry;

/* Zero-initialise, but for what is said of it. */
typedef struct map {
    const char *title, *explain, *x_name, *line_name;
    names panels, lines, strategies;
    entry *entries;
    size_t count;
    size_t contenders; /* distinct strategies that were forced */
} map;

/* Takes the names, which were allocated. What no axis can show is dropped. */
void map_add(map *map, char *panel, char *line, char *strategy, entry entry);

/* Nothing is written unless there are two strategies to choose from. Sorts the entries. */
void put_map(FILE *out, map *map);
void map_free(map *map);

#endif
