/* Predictions from results that `kvferry bench transfer --json` stored. */
#ifndef KVF_BENCH_STORED_RESULTS_H
#define KVF_BENCH_STORED_RESULTS_H

#include "advise/forecast.h"
#include "output/results.h"

typedef struct stored_results stored_results;

/* NULL, with "NAME: why" in `message`, for a file that cannot be read, has no results of bench
 * transfer, or has no usable row. */
stored_results *stored_results_read(const char *path, char *message, size_t size);

/* The same for results in memory. Takes them over, also on failure. */
stored_results *stored_results_take(results file, char *message, size_t size);
void stored_results_close(stored_results *results); /* does nothing for NULL */

/* Whether the copies were within host memory, without a GPU's link. */
bool stored_results_is_host(const stored_results *results);

/* Whether the link was imitated. */
bool stored_results_is_imitated(const stored_results *results);

/* Predicts a move of `bytes` bytes in pieces of `piece_bytes`, with block ids in that pattern. Uses
 * rows of this direction and pattern; between two sizes, speed is linear in the logarithm of the
 * size. Predicts nothing for pieces smaller than any measured. */
prediction stored_results_move(const stored_results *results, bool to_device, const char *pattern,
                               double piece_bytes, double bytes);

#endif
