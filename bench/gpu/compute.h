/* A computation to run during transfers: a matrix product of cuBLAS if that can be loaded, else a
 * kernel of the tool. */
#ifndef KVF_BENCH_COMPUTE_H
#define KVF_BENCH_COMPUTE_H

#include "gpu/device.h"

typedef struct compute compute;

compute *compute_open(const device *device);
void compute_close(compute *compute);

/* Describes one unit of it. Valid as long as `compute`. */
const char *compute_name(const compute *compute);

/* Starts `units` units, one after the other; tells whether they still run; waits for their end and
 * returns the nanoseconds they took on the device. */
void compute_begin(compute *compute, size_t units);
bool compute_running(const compute *compute);
double compute_end(compute *compute);

#endif
