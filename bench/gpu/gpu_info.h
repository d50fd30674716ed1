/* What a GPU and its link are, for the context of results. */
#ifndef KVF_BENCH_GPU_INFO_H
#define KVF_BENCH_GPU_INFO_H

#include "gpu/device.h"

#include <jansson.h>

/*
 * Sets gpu, driver ("580.65.06"), cuda_driver, cuda_runtime ("13.0"), link and link_at_most ("PCIe
 * gen 5 x16"), link_gbps and imitated; null for what is not known. Measures link_gbps with
 * `link_bytes` of memory on each side, which also wakes the link: an idle one slows down to save
 * power, and says so. 0: the link is busy anyway, or not of interest, and link_gbps is left out.
 */
void gpu_info_describe(device *device, size_t link_bytes, json_t *context);

#endif
