/* What NVIDIA's management library tells of a GPU; it is loaded when asked. */
#ifndef KVF_BENCH_NVML_H
#define KVF_BENCH_NVML_H

#include <stdbool.h>

typedef struct nvml_info {
    char driver[96];          /* "580.65.06"; empty when unknown */
    unsigned pcie_generation; /* of the link as it is now: an idle one is slower; 0 when unknown */
    unsigned pcie_width;      /* lanes */
    unsigned most_generation; /* that the GPU and its slot can have */
    unsigned most_width;
    unsigned sm_mhz, most_sm_mhz; /* clocks now, and at most; 0 when unknown, as what follows */
    unsigned memory_mhz, most_memory_mhz;
    unsigned power_mw, power_limit_mw; /* drawn now, and enforced */
    int persistence;                   /* 0, 1; -1 when unknown */
    const char *virtualisation;        /* static text; NULL when unknown */
} nvml_info;

/* `bus_id` as "0000:01:00.0". What cannot be found out stays empty. */
void nvml_get(const char *bus_id, nvml_info *out);

#endif
