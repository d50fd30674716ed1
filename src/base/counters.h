/*
 * Counters as Prometheus text, for any struct of uint64_t counters:
 *
 *     # HELP kvferry_moved_bytes_total Bytes of transfers that succeeded.
 *     # TYPE kvferry_moved_bytes_total counter
 *     kvferry_moved_bytes_total{engine="a",direction="host_to_device"} 65536
 */
#ifndef KVF_COUNTERS_H
#define KVF_COUNTERS_H

#include <kvferry/hooks.h>

#include "base/status.h"

enum { KVF__NS_PER_S = 1000000000 };

/* How one member of the struct is printed; a table has one for each member, in their order. Members
 * of one metric are neighbours, and only the first of them has a text. */
typedef struct kvf__counter {
    uint64_t per; /* the metric's unit, in the member's; a power of ten */
    const char *metric, *label, *text;
} kvf__counter;

/* One engine or group to print. */
typedef struct kvf__counted {
    const uint64_t *numbers; /* the struct, all of whose members are counters */
    const kvf_label *labels;
    size_t label_count;
} kvf__counted;

/* The i-th of the caller's list. */
typedef kvf__counted kvf__counted_at(const void *sets, size_t i);

/* See kvf_counters_print. */
KVF__MODULES int kvf__counters_print(const kvf__counter *counters, size_t counter_count,
                                     kvf__counted_at *at, const void *sets, size_t set_count,
                                     char *text, size_t size);

#endif
