/* Made-up traces with the statistics of a real trace. */
#ifndef KVF_BENCH_SYNTHETIC_H
#define KVF_BENCH_SYNTHETIC_H

#include "replay/trace.h"

/* The number of requests in the real trace. */
#define SYNTHETIC_REQUESTS 12031

/* Appends `requests` requests. A seed gives the same requests on every machine. */
void synthetic_make(uint64_t seed, size_t requests, trace *out);

#endif
