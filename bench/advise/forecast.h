/* Predictions of moves from a cost table. Without the CUDA module there are none. */
#ifndef KVF_BENCH_FORECAST_H
#define KVF_BENCH_FORECAST_H

#include <kvferry/kvferry.h>

/* A predicted move. */
typedef struct prediction {
    double us;      /* NaN: no prediction */
    const char *by; /* the strategy; NULL if there is only one, or no prediction */
    bool held;      /* pieces are larger than any measured: the largest one's speed is used */
} prediction;

typedef struct forecast_options {
    const char *costs;  /* a cost table's file, from any machine; NULL: none given */
    bool builtin_costs; /* use the built-in cost table */
    int device;
} forecast_options;

typedef struct forecast forecast;

/* Opens the cost table that the options name; by default the cached one for the GPU here, else the
 * built-in one. Returns NULL without a GPU. Ends the program if a named table cannot be used. */
forecast *forecast_open(const forecast_options *options);
void forecast_close(forecast *forecast); /* does nothing for NULL */

/* The cost table's path, or "built-in". */
const char *forecast_from(const forecast *forecast);

/* The limits to lower moves for; NULL (no limits) without the CUDA module. */
const kvf_box_limits *forecast_limits(void);

prediction forecast_move(const forecast *forecast, const kvf_move *move, bool to_device);

#endif
