/* Measures the link's own speed: large copies between memory like the tiers', queued while their
 * stream is held and timed by events. */
#ifndef KVF_BENCH_LINK_H
#define KVF_BENCH_LINK_H

#include "gpu/device.h"

typedef struct link link_limit;

/* Allocates `bytes` bytes of device memory and as many of pinned memory. */
link_limit *link_open(device *device, size_t bytes);
void link_close(link_limit *link);

/* Nanoseconds per byte in one direction. `opposed`: while twice as much moves in the other. */
double link_sample_ns(link_limit *link, bool to_device, bool opposed);

#endif
