/* Made-up traces with the statistics of a real one. */
#ifndef KVF_BENCH_SYNTHETIC_H
#define KVF_BENCH_SYNTHETIC_H

#include "replay/trace.h"

/* Requests of the trace that the figures are taken from. */
#define SYNTHETIC_REQUESTS 12031

/* Appends `requests` requests. The same seed gives the same ones everywhere. */
void synthetic_make(uint64_t seed, size_t requests, trace *out);

#endif
