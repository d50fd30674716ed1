/* Results as one page of HTML that needs nothing else: no network, no script. It is well-formed XML
 * as well. */
#ifndef KVF_BENCH_PAGE_H
#define KVF_BENCH_PAGE_H

#include "page_results.h"

#include <stdio.h>

/* Writes the page of `count` results, 1 or more, in their order. */
void put_page(FILE *out, const results *results, size_t count);

#endif
