#include "gpu/gpu_info.h"

#include "gpu/link.h"
#include "output/measure.h"
#include "gpu/nvml.h"

enum { LINK_SAMPLES = 5 };

/* "13.0" from 13000, as the runtime encodes versions. */
static json_t *version_text(int version) {
    return version > 0 ? json_sprintf("%d.%d", version / 1000, version % 1000 / 10) : json_null();
}

static json_t *link_text(unsigned generation, unsigned width) {
    bool known = generation > 0 && width > 0;
    return known ? json_sprintf("PCIe gen %u x%u", generation, width) : json_null();
}

/* The median of some large copies, in 10^9 bytes/s. */
static json_t *measure_way(link_limit *link, bool to_device) {
    double samples[LINK_SAMPLES];
    link_sample_ns(link, to_device, false); /* wakes the link */
    for (size_t i = 0; i < LINK_SAMPLES; i++)
        samples[i] = link_sample_ns(link, to_device, false);
    return json_real(1 / median(samples, LINK_SAMPLES));
}

static json_t *measure_link(device *device, size_t bytes) {
    link_limit *link = link_open(device, bytes);
    json_t *limits = json_object();
    json_object_set_new(limits, "h2d", measure_way(link, true));
    json_object_set_new(limits, "d2h", measure_way(link, false));
    link_close(link);
    return limits;
}

static json_t *known(unsigned number) {
    return number > 0 ? json_integer(number) : json_null();
}

/* Called right after the link is measured: an idle GPU lowers its clocks. */
static void describe_state(const nvml_info *info, json_t *context) {
    json_object_set_new(context, "sm_clock_mhz", known(info->sm_mhz));
    json_object_set_new(context, "sm_clock_most_mhz", known(info->most_sm_mhz));
    json_object_set_new(context, "memory_clock_mhz", known(info->memory_mhz));
    json_object_set_new(context, "memory_clock_most_mhz", known(info->most_memory_mhz));
    json_object_set_new(context, "power_w", known(info->power_mw / 1000));
    json_object_set_new(context, "power_limit_w", known(info->power_limit_mw / 1000));
    json_object_set_new(context, "persistence",
                        info->persistence >= 0 ? json_boolean(info->persistence) : json_null());
    json_object_set_new(context, "gpu_virtualisation",
                        info->virtualisation ? json_string(info->virtualisation) : json_null());
}

void gpu_info_describe(device *device, size_t link_bytes, json_t *context) {
    json_t *limits = link_bytes > 0 ? measure_link(device, link_bytes) : NULL;
    nvml_info info = {.persistence = -1};
    char bus_id[32];
    int driver = 0, runtime = 0;
    must_cuda(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device->index), "cudaDeviceGetPCIBusId");
    must_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    must_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    if (!device->imitated)
        nvml_get(bus_id, &info);
    json_object_set_new(context, "gpu", json_string(device->name));
    json_object_set_new(context, "driver",
                        info.driver[0] != '\0' ? json_string(info.driver) : json_null());
    json_object_set_new(context, "cuda_driver", version_text(driver));
    json_object_set_new(context, "cuda_runtime", version_text(runtime));
    json_object_set_new(context, "link", link_text(info.pcie_generation, info.pcie_width));
    json_object_set_new(context, "link_at_most", link_text(info.most_generation, info.most_width));
    if (limits)
        json_object_set_new(context, "link_gbps", limits);
    describe_state(&info, context);
    json_object_set_new(context, "imitated", json_boolean(device->imitated));
}
