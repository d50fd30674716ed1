/* How fast a move will be: by a cost table of what transfers cost, or by what was measured
 * elsewhere. */
#ifndef KVF_BENCH_FORECAST_H
#define KVF_BENCH_FORECAST_H

#include <kvferry/kvferry.h>

/* What is expected of a move. */
typedef struct prediction {
    double us;      /* NaN: nothing can be said */
    const char *by; /* the strategy; NULL where there is only one, or nothing is said */
    bool held;      /* pieces are larger than any measured: the largest one's speed is taken */
} prediction;

/* By a cost table: of the CUDA module, where the tool has it. */

typedef struct forecast_options {
    const char *costs;  /* a file of `kvferry calibrate`, of whatever machine; NULL: none given */
    bool builtin_costs; /* asked for */
    int device;
} forecast_options;

typedef struct forecast forecast;

/* The cost table asked for; without one the cache's for the GPU here, or else the built-in one;
 * without a GPU none: NULL. Ends the program when what was asked for cannot be had. */
forecast *forecast_open(const forecast_options *options);
void forecast_close(forecast *forecast); /* NULL is fine */

/* Where it is from: a path, or "built-in". */
const char *forecast_from(const forecast *forecast);

/* What moves are to be lowered for; NULL without the CUDA module: everything goes. */
const kvf_box_limits *forecast_limits(void);

prediction forecast_move(const forecast *forecast, const kvf_move *move, bool to_device);

#endif
