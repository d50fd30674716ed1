/* Machine keys: GPU, driver and link, from the runtime and sysfs. */
#include "cost/costs.h"

#include "runtime/runtime.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Reads the first line of a file, without its newline. false if it is missing or empty. */
static bool read_line(const char *folder, const char *name, char *text, size_t size) {
    char path[512];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool read = fgets(text, (int)size, file) != NULL;
    (void)fclose(file);
    if (read)
        text[strcspn(text, "\n")] = '\0';
    return read && text[0] != '\0';
}

/* The link's maximum, since an idle link slows down. */
void kvf__cuda_link_in(const char *folder, char *text, size_t size) {
    char speed[64], width[16];
    bool known = read_line(folder, "max_link_speed", speed, sizeof speed) &&
                 read_line(folder, "max_link_width", width, sizeof width) &&
                 strcmp(speed, "Unknown") != 0;
    if (known)
        (void)snprintf(text, size, "%s x%s", speed, width);
    else
        (void)snprintf(text, size, "unknown");
}

static kvf_status name_link(int device, kvf__cuda_machine_key *key, kvf_error *error) {
    char folder[64] = "/sys/bus/pci/devices/", *id = folder + strlen(folder);
    cudaError_t code = cudaDeviceGetPCIBusId(id, (int)(sizeof folder - strlen(folder)), device);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaDeviceGetPCIBusId", error);
    for (; *id; id++)
        *id = (char)tolower((unsigned char)*id);
    int coherent = 0;
    code = cudaDeviceGetAttribute(&coherent, cudaDevAttrPageableMemoryAccessUsesHostPageTables,
                                  device);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaDeviceGetAttribute", error);
    kvf__cuda_link_in(folder, key->link, sizeof key->link);
    if (coherent)
        (void)snprintf(key->link + strlen(key->link), sizeof key->link - strlen(key->link),
                       ", coherent");
    return KVF_OK;
}

static kvf_status name_device(int device, kvf__cuda_machine_key *key, kvf_error *error) {
    struct cudaDeviceProp properties;
    cudaError_t code = cudaGetDeviceProperties(&properties, device);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaGetDeviceProperties", error);
    (void)snprintf(key->gpu, sizeof key->gpu, "%s", properties.name);
    code = cudaDriverGetVersion(&key->driver);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaDriverGetVersion", error);
    return name_link(device, key, error);
}

kvf_status kvf__cuda_machine_key_of(int device, kvf__cuda_machine_key *key, kvf_error *error) {
    int devices = 0;
    cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaGetDeviceCount", error);
    if (device < 0 || device >= devices)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = (uint64_t)devices,
                         .what = "device must be below the number of devices");
    *key = (kvf__cuda_machine_key){.driver = 0};
    return name_device(device, key, error);
}
