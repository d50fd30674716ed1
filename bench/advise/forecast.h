/* How fast a move will be: by a cost table of what transfers cost, or by what was measured
 * elsewhere. */
#ifndef KVF_BENCH_FORECAST_H
#define KVF_BENCH_FORECAST_H

#include "output/results.h"

#include <kvferry/kvferry.h>

/* What is expected of a move. */
typedef struct expected {
    double us;      /* NaN: nothing can be said */
    const char *by; /* the strategy; NULL where there is only one, or nothing is said */
    bool held;      /* pieces are larger than any measured: the largest one's speed is taken */
} expected;

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

expected forecast_move(const forecast *forecast, const kvf_move *move, bool to_device);

/* By results that `kvferry bench transfer --json` stored. */

typedef struct stored stored;

/* NULL and "NAME: why" in `message` for a file that is none, or has no row to go by. */
stored *stored_read(const char *path, char *message, size_t size);

/* The same of results that were read, which become its own, also on failure. */
stored *stored_take(results results, char *message, size_t size);
void stored_close(stored *stored);

/* Whether the copies were from host memory to host memory, and no GPU's link had a part in it. */
bool stored_is_host(const stored *stored);

/* Whether an imitation was measured. */
bool stored_is_imitated(const stored *stored);

/* A move of `bytes` in pieces of `piece_bytes`, of block ids in that pattern: by rows of this
 * direction and pattern, between two sizes linearly in the logarithm of the size. Nothing is said
 * of pieces smaller than any measured. */
expected stored_move(const stored *stored, bool to_device, const char *pattern, double piece_bytes,
                     double bytes);

#endif
