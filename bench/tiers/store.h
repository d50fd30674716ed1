/* A tier with its own memory, in one of the tool's layouts. */
#ifndef KVF_BENCH_STORE_H
#define KVF_BENCH_STORE_H

#include "engines/backend.h"

/* A named way to lay out blocks. */
typedef struct arrangement arrangement;

/* The contents of a store. Each block has `regions` pieces of `region_bytes` bytes: K and V of
 * regions / 2 layers, or for an odd number the only part of as many layers. */
typedef struct store_spec {
    size_t blocks, regions, region_bytes;
    side side;
    const arrangement *arrangement;
    bool integrity;
} store_spec;

typedef struct store {
    backend *backend;
    side side;
    void *memory;
    size_t bytes;
    kvf_layout *layout;
    kvf_tier *tier;
} store;

/* "region": one buffer per region, as runtimes have on the device. For the host: "whole" and
 * "layer" (recommended by the library), "contiguous" and "page_first". NULL for an unknown name. */
const arrangement *arrangement_find(const char *name);
const char *arrangement_name(const arrangement *arrangement);

/* Allocates the memory and creates the tier. Ends the program on failure. */
void store_open(store *store, backend *backend, const store_spec *spec);
void store_close(store *store);

#endif
