/* Queries NVIDIA's management library, which is loaded for each call. */
#ifndef KVF_BENCH_NVML_H
#define KVF_BENCH_NVML_H

#include <stdbool.h>

typedef struct nvml_info {
    char driver[96];          /* "580.65.06"; empty: unknown */
    unsigned pcie_generation; /* of the link now, which is lower when idle; 0: unknown */
    unsigned pcie_width;      /* lanes */
    unsigned most_generation; /* that the GPU and its slot support */
    unsigned most_width;
    unsigned sm_mhz, most_sm_mhz; /* clocks now and at most; 0: unknown, also below */
    unsigned memory_mhz, most_memory_mhz;
    unsigned power_mw, power_limit_mw; /* drawn now, and enforced limit */
    int persistence;                   /* 0 or 1; -1: unknown */
    const char *virtualisation;        /* static text; NULL: unknown */
} nvml_info;

/* `bus_id` is of the form "0000:01:00.0". What cannot be queried is left as unknown. */
void nvml_get(const char *bus_id, nvml_info *out);

#endif
