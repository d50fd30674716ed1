/* The context of a result: build, machine, engine. */
#ifndef KVF_BENCH_CONTEXT_H
#define KVF_BENCH_CONTEXT_H

#include <jansson.h>
#include <stdio.h>

/* The keys of output.h that concern version, build, machine and engine; gpu and driver are null. */
json_t *context_make(const char *engine);

/* Prints the context in a few lines: build, machine, engine, GPU and link. */
void context_print(const json_t *context, FILE *out);

#endif
