/* A tier with memory of its own, in one of the layouts the tool knows. */
#ifndef KVF_BENCH_STORE_H
#define KVF_BENCH_STORE_H

#include "engines/backend.h"

/* A way to lay blocks out, by name. */
typedef struct arrangement arrangement;

/* What a store is to hold. Blocks have `regions` pieces of `region_bytes`: K and V of regions / 2
 * layers, or for an odd number the only part of as many layers. */
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

/* "region": a buffer for every region, as runtimes have on the device; for the host "whole" and
 * "layer" (those that the library recommends), "contiguous", "page_first". NULL for another name.
 */
const arrangement *arrangement_find(const char *name);
const char *arrangement_name(const arrangement *arrangement);

/* Ends the program when it cannot be had. */
void store_open(store *store, backend *backend, const store_spec *spec);
void store_close(store *store);

#endif
