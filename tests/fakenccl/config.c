/* The configuration of a communicator, checked like the real one's. */
#include "fake_nccl.h"

#include <string.h>

#define MAGIC 0xcafebeefu

static bool flag(int value) {
    return value == NCCL_CONFIG_UNDEF_INT || value == 0 || value == 1;
}

static bool positive(int value) {
    return value == NCCL_CONFIG_UNDEF_INT || value > 0;
}

static const char *wrong_field(const ncclConfig_t *config) {
    bool bounded =
        config->minCTAs != NCCL_CONFIG_UNDEF_INT && config->maxCTAs != NCCL_CONFIG_UNDEF_INT;
    bool policy = config->CTAPolicy == NCCL_CONFIG_UNDEF_INT ||
                  (config->CTAPolicy >= NCCL_CTA_POLICY_DEFAULT &&
                   config->CTAPolicy <= (NCCL_CTA_POLICY_EFFICIENCY | NCCL_CTA_POLICY_ZERO));
    if (!flag(config->blocking))
        return "blocking";
    if (config->cgaClusterSize != NCCL_CONFIG_UNDEF_INT && config->cgaClusterSize < 0)
        return "cgaClusterSize";
    if (!positive(config->minCTAs) || (bounded && config->minCTAs > config->maxCTAs))
        return "minCTAs";
    if (!positive(config->maxCTAs))
        return "maxCTAs";
    if (!flag(config->splitShare))
        return "splitShare";
    if (!flag(config->collnetEnable))
        return "collnetEnable";
    return policy ? NULL : "CTAPolicy";
}

/* An older program's is shorter; what it lacks is undefined. */
ncclResult_t nfake_config_read(const ncclConfig_t *config, ncclConfig_t *out) {
    *out = (ncclConfig_t)NCCL_CONFIG_INITIALIZER;
    if (!config)
        return ncclSuccess;
    if (config->magic != MAGIC || config->size < offsetof(ncclConfig_t, cgaClusterSize)) {
        fake_violation("%s: a configuration that was not initialised", nfake_function());
        return nfake_fail(ncclInvalidArgument, "ncclConfig_t not initialised");
    }
    size_t size = config->size < sizeof *out ? config->size : sizeof *out;
    memcpy(out, config, size);
    out->netName = out->commName = NULL;
    const char *field = wrong_field(out);
    return field ? nfake_fail(ncclInvalidArgument, "invalid config.%s", field) : ncclSuccess;
}
