/* What a result was measured with and on. */
#ifndef KVF_BENCH_CONTEXT_H
#define KVF_BENCH_CONTEXT_H

#include <jansson.h>
#include <stdio.h>

/* What report.h says of version, build, machine and engine; gpu and driver null. */
json_t *context_make(const char *engine);

/* The context in some lines: build, machine, engine, GPU and link. */
void context_print(const json_t *context, FILE *out);

#endif
