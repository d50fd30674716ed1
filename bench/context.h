/* What a result was measured with and on. */
#ifndef KVF_BENCH_CONTEXT_H
#define KVF_BENCH_CONTEXT_H

#include <jansson.h>
#include <stdio.h>

/* version, cpu, cores, memory_bytes, compiler, build_type, engine, gpu, driver, date; gpu and
 * driver null. */
json_t *context_make(const char *engine);

/* The context in a line or two. */
void context_print(const json_t *context, FILE *out);

#endif
