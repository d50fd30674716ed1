#include "gpu/nvml.h"

#include "base/base.h"

#include <dlfcn.h>

/* The parts of nvml.h in use, since a toolkit may lack it. */
typedef struct nvmlDevice_st *nvml_device;
typedef int number_fn(nvml_device device, unsigned *out);
typedef int clock_fn(nvml_device device, int clock, unsigned *mhz);

enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*driver)(char *out, unsigned size);
    int (*find)(const char *bus_id, nvml_device *out);
} nvml;

static unsigned ask(void *library, const char *name, nvml_device device, unsigned unknown) {
    number_fn *function = NULL;
    unsigned number = 0;
    bool known = find_function(library, name, &function) && function(device, &number) == 0;
    return known ? number : unknown;
}

static unsigned ask_clock(void *library, const char *name, nvml_device device, int clock) {
    clock_fn *function = NULL;
    unsigned mhz = 0;
    bool known = find_function(library, name, &function) && function(device, clock, &mhz) == 0;
    return known ? mhz : 0;
}

static void get_state(void *library, nvml_device device, nvml_info *out) {
    static const char *const modes[] = {"none", "passthrough", "vgpu", "host vgpu", "host vsga"};
    const char *now = "nvmlDeviceGetClockInfo", *most = "nvmlDeviceGetMaxClockInfo";
    out->sm_mhz = ask_clock(library, now, device, CLOCK_SM);
    out->most_sm_mhz = ask_clock(library, most, device, CLOCK_SM);
    out->memory_mhz = ask_clock(library, now, device, CLOCK_MEMORY);
    out->most_memory_mhz = ask_clock(library, most, device, CLOCK_MEMORY);
    out->power_mw = ask(library, "nvmlDeviceGetPowerUsage", device, 0);
    out->power_limit_mw = ask(library, "nvmlDeviceGetEnforcedPowerLimit", device, 0);
    out->persistence = (int)ask(library, "nvmlDeviceGetPersistenceMode", device, (unsigned)-1);
    unsigned mode = ask(library, "nvmlDeviceGetVirtualizationMode", device, (unsigned)-1);
    out->virtualisation = mode < sizeof modes / sizeof modes[0] ? modes[mode] : NULL;
}

static void get_link(void *library, nvml_device device, nvml_info *out) {
    out->pcie_generation = ask(library, "nvmlDeviceGetCurrPcieLinkGeneration", device, 0);
    out->pcie_width = ask(library, "nvmlDeviceGetCurrPcieLinkWidth", device, 0);
    out->most_generation = ask(library, "nvmlDeviceGetMaxPcieLinkGeneration", device, 0);
    out->most_width = ask(library, "nvmlDeviceGetMaxPcieLinkWidth", device, 0);
}

static void get(void *library, const char *bus_id, nvml_info *out) {
    nvml nvml = {0};
    nvml_device device = NULL;
    if (!find_function(library, "nvmlInit_v2", &nvml.init) ||
        !find_function(library, "nvmlShutdown", &nvml.shutdown) ||
        !find_function(library, "nvmlSystemGetDriverVersion", &nvml.driver) ||
        !find_function(library, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.find) || nvml.init() != 0)
        return;
    if (nvml.driver(out->driver, sizeof out->driver) != 0)
        out->driver[0] = '\0';
    if (nvml.find(bus_id, &device) == 0) {
        get_link(library, device, out);
        get_state(library, device, out);
    }
    nvml.shutdown();
}

void nvml_get(const char *bus_id, nvml_info *out) {
    *out = (nvml_info){.persistence = -1};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) {
        get(library, bus_id, out);
        dlclose(library);
    }
}
