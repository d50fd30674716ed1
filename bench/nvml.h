/* What NVIDIA's management library tells of a GPU; it is loaded when asked. */
#ifndef KVF_BENCH_NVML_H
#define KVF_BENCH_NVML_H

#include <stdbool.h>

typedef struct gpu_facts {
    char driver[96];          /* "580.65.06"; empty when unknown */
    unsigned pcie_generation; /* of the link as it is now: an idle one is slower; 0 when unknown */
    unsigned pcie_width;      /* lanes */
    unsigned most_generation; /* that the GPU and its slot can have */
    unsigned most_width;
} gpu_facts;

/* `bus_id` as "0000:01:00.0". What cannot be found out stays empty. */
void gpu_facts_get(const char *bus_id, gpu_facts *out);

#endif
