/* Chooses the CUDA engine's cost table, and locates calibrated ones in the cache directory. */
#ifndef KVF_BENCH_COST_CACHE_H
#define KVF_BENCH_COST_CACHE_H

#include "engines/backend.h"

#include <kvferry/cuda.h>

/* $XDG_CACHE_HOME/kvferry/cuda-NAME.json, where NAME is made from the GPU's name. Without the
 * variable,
 * ~/.cache replaces it. Returns NULL without a home directory. The caller frees the path. */
char *cost_cache_path(const char *gpu);

/* Creates the folders of a file's path. Returns false, with errno set, on failure. */
bool cost_cache_make_folders(const char *path);

/* The cost table that the options choose. `from` gets its path, or "built-in"; the caller frees it.
 * A file that the options name must be a cost table of this device, or the program ends. A cached
 * file that is not gets a warning. */
kvf_cuda_costs *cost_cache_choose(const backend_options *options, const char *gpu, char **from);

#endif
