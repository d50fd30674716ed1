#include "advise/forecast.h"

#include "gpu/kernels.h"
#include "engines/cost_cache.h"
#include "base/base.h"

#include <kvferry/cuda.h>
#include <stdlib.h>
#include <string.h>

struct forecast {
    kvf_cuda_costs *costs;
    char *from;
};

/* A named file may be of any machine. */
static kvf_cuda_costs *load(const char *path, char **from) {
    kvf_cuda_costs *costs = NULL;
    kvf_error error = {0};
    char text[256];
    if (kvf_cuda_costs_load(path, -1, NULL, &costs, &error) != KVF_OK) {
        kvf_error_format(&error, text, sizeof text);
        fail(EXIT_USAGE, "%s: %s", path, text);
    }
    *from = strcpy(must_grow(NULL, strlen(path) + 1, 1), path);
    return costs;
}

/* The cost table for the GPU here; NULL without a GPU. */
static kvf_cuda_costs *find(int device, char **from) {
    backend_options options = {.device = device};
    struct cudaDeviceProp properties;
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
        return NULL;
    if (device >= count || cudaGetDeviceProperties(&properties, device) != cudaSuccess)
        fail(EXIT_USAGE, "--device: there is no GPU %d (expected 0 to %d)", device, count - 1);
    return cost_cache_choose(&options, properties.name, from);
}

forecast *forecast_open(const forecast_options *options) {
    backend_options builtin = {.builtin_costs = true};
    char *from = NULL;
    kvf_cuda_costs *costs = options->costs           ? load(options->costs, &from)
                            : options->builtin_costs ? cost_cache_choose(&builtin, "", &from)
                                                     : find(options->device, &from);
    if (!costs)
        return NULL;
    forecast *opened = must_grow(NULL, 1, sizeof *opened);
    *opened = (forecast){.costs = costs, .from = from};
    return opened;
}

void forecast_close(forecast *forecast) {
    if (forecast) {
        kvf_cuda_costs_destroy(forecast->costs);
        free(forecast->from);
        free(forecast);
    }
}

const char *forecast_from(const forecast *forecast) {
    return forecast->from;
}

const kvf_box_limits *forecast_limits(void) {
    return kvf_cuda_limits();
}

prediction forecast_move(const forecast *forecast, const kvf_move *move, bool to_device) {
    kvf_cuda_explanation said;
    kvf_error error = {0};
    must(kvf_cuda_costs_explain(forecast->costs, move,
                                to_device ? KVF_CUDA_TO_DEVICE : KVF_CUDA_FROM_DEVICE, &said,
                                &error),
         &error, "predicting a move");
    return (prediction){.us = said.us[said.chosen], .by = kvf_cuda_strategy_name(said.chosen)};
}
