/* What the results of each command become on the page. */
#ifndef KVF_BENCH_PAGE_KINDS_H
#define KVF_BENCH_PAGE_KINDS_H

#include "page_results.h"

#include <stdio.h>

/* The command that made the results, as "bench transfer"; NULL if there is no saying. The
 * results'. */
const char *results_command(const results *results);

/* The charts; nothing for a command that has none. */
void put_charts(FILE *out, const results *results);

#endif
