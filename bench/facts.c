#include "facts.h"

#include "nvml.h"

/* "13.0" of 13000; the runtime's way to number versions. */
static json_t *version_text(int version) {
    return version > 0 ? json_sprintf("%d.%d", version / 1000, version % 1000 / 10) : json_null();
}

static json_t *link_text(unsigned generation, unsigned width) {
    bool known = generation > 0 && width > 0;
    return known ? json_sprintf("PCIe gen %u x%u", generation, width) : json_null();
}

void facts_describe(const device *device, json_t *context) {
    gpu_facts facts = {0};
    char bus_id[32];
    int driver = 0, runtime = 0;
    must_cuda(cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), device->index),
              "cudaDeviceGetPCIBusId");
    must_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    must_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    if (!device->imitated) {
        gpu_facts_get(bus_id, &facts);
    }
    json_object_set_new(context, "gpu", json_string(device->name));
    json_object_set_new(context, "driver",
                        facts.driver[0] != '\0' ? json_string(facts.driver) : json_null());
    json_object_set_new(context, "cuda_driver", version_text(driver));
    json_object_set_new(context, "cuda_runtime", version_text(runtime));
    json_object_set_new(context, "link", link_text(facts.pcie_generation, facts.pcie_width));
    json_object_set_new(context, "link_at_most",
                        link_text(facts.most_generation, facts.most_width));
    json_object_set_new(context, "imitated", json_boolean(device->imitated));
}
