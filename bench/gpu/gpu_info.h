/* Describes a GPU and its link in the context of a result. */
#ifndef KVF_BENCH_GPU_INFO_H
#define KVF_BENCH_GPU_INFO_H

#include "gpu/device.h"

#include <jansson.h>

/*
 * Sets gpu, driver ("580.65.06"), cuda_driver, cuda_runtime ("13.0"), link and link_at_most ("PCIe
 * gen 5 x16"), link_gbps, imitated, and the clocks and power of output.h; null if unknown. Measures
 * link_gbps with `link_bytes` bytes of memory on each side. That also wakes the link: an idle link
 * slows down to save power, and reports its lower speed. With 0, link_gbps is left out.
 */
void gpu_info_describe(device *device, size_t link_bytes, json_t *context);

#endif
