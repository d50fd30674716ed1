/* What the link itself can do: large copies of memory as the tiers', timed by events behind a hold.
 */
#ifndef KVF_BENCH_LINK_H
#define KVF_BENCH_LINK_H

#include "gpu/device.h"

typedef struct link link_limit;

/* Takes `bytes` of device and as many of pinned memory. */
link_limit *link_open(device *device, size_t bytes);
void link_close(link_limit *link);

/* Nanoseconds a byte, one way; `opposed`: while twice as much goes the other way. */
double link_sample_ns(link_limit *link, bool to_device, bool opposed);

#endif
