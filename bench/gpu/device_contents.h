/* Fills, poisons and checks blocks in device memory, by kernels. */
#ifndef KVF_BENCH_DEVICE_CONTENTS_H
#define KVF_BENCH_DEVICE_CONTENTS_H

#include "gpu/kernels.h"

#include <kvferry/layout.h>

typedef struct device_contents device_contents;

device_contents *device_contents_open(void);
void device_contents_close(device_contents *contents);

/* Like the functions of the same names in backend_type. */
void device_contents_fill(device_contents *contents, const kvf_layout *layout, const uint64_t *ids,
                          const uint64_t *seeds, size_t count);
void device_contents_poison(device_contents *contents, const kvf_layout *layout,
                            const uint64_t *ids, size_t count);
size_t device_contents_check(device_contents *contents, const kvf_layout *layout,
                             const uint64_t *ids, const uint64_t *seeds, size_t count);

#endif
