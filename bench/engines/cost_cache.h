/* Which cost table of what transfers cost the CUDA engine goes by, and where a calibrated one is
 * kept.
 */
#ifndef KVF_BENCH_COST_CACHE_H
#define KVF_BENCH_COST_CACHE_H

#include "engines/backend.h"

#include <kvferry/cuda.h>

/* $XDG_CACHE_HOME/kvferry/cuda-NAME.json, with ~/.cache for a variable that is not set and the
 * GPU's name in NAME; the caller frees it. NULL where there is no home either. */
char *cost_cache_path(const char *gpu);

/* Makes the folders on the way to a file. false with errno where that fails. */
bool cost_cache_make_folders(const char *path);

/* The cost table that the options choose, and where it is from: a path or "built-in" (the caller
 * frees it). A file that was asked for must be there and be one of this device; of the cache's, one
 * that is not only gets a warning. */
kvf_cuda_costs *cost_cache_choose(const backend_options *options, const char *gpu, char **from);

#endif
