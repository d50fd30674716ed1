/* What a GPU and its link are, for the context of results. */
#ifndef KVF_BENCH_FACTS_H
#define KVF_BENCH_FACTS_H

#include "device.h"

#include <jansson.h>

/*
 * Sets gpu, driver ("580.65.06"), cuda_driver, cuda_runtime ("13.0"), link and link_at_most ("PCIe
 * gen 5 x16") and imitated; null for what is not known. To be called after the work: an idle link
 * slows down to save power.
 */
void facts_describe(const device *device, json_t *context);

#endif
