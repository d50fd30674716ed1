/* Without the CUDA module there are no cost tables, and no predictions from them. */
#include "advise/forecast.h"

#include "base/base.h"

#include <math.h>

forecast *forecast_open(const forecast_options *options) {
    if (options->costs || options->builtin_costs) {
        fail(EXIT_USAGE,
             "this kvferry was built without engine cuda: --costs and --built-in-costs need it, "
             "--results does not");
    }
    return NULL;
}

void forecast_close(forecast *forecast) {
    (void)forecast;
}

const char *forecast_from(const forecast *forecast) {
    (void)forecast;
    return NULL;
}

const kvf_box_limits *forecast_limits(void) {
    return NULL;
}

prediction forecast_move(const forecast *forecast, const kvf_move *move, bool to_device) {
    (void)forecast, (void)move, (void)to_device;
    return (prediction){.us = NAN};
}
