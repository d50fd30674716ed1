/* Which of a row's keys tell rows apart, and how that is said. */
#ifndef KVF_BENCH_PAGE_FACETS_H
#define KVF_BENCH_PAGE_FACETS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A key, and what is said before and behind its value. */
typedef struct facet {
    const char *key, *before, *behind;
    bool bytes; /* the value is said as "4 KiB" */
} facet;

enum { MOST_FACETS = 16 };

/* The keys that vary among some rows, but for those that are shown in another way. */
typedef struct facets {
    const facet *all[MOST_FACETS];
    size_t count;
} facets;

/* Whether the rows differ in it. */
bool key_varies(const json_t *rows, const char *key);

/* Of `known`, up to one without a key, those that vary; but not `but`, which may be NULL. */
facets facets_find(const json_t *rows, const facet *known, const char *but);

/* "h2d, random, 64 regions" of a row; "" where nothing varies. The caller frees it. */
char *facets_label(const facets *facets, const json_t *row);

#endif
