/* The configuration of a communicator, checked like the real one's. */
#include "fake_nccl.h"

#include <limits.h>
#include <string.h>

#define MAGIC 0xcafebeefu

static bool between(int value, int least, int most) {
    return value == NCCL_CONFIG_UNDEF_INT || (value >= least && value <= most);
}

static bool right(const ncclConfig_t *config) {
    return between(config->blocking, 0, 1) && between(config->minCTAs, 1, INT_MAX) &&
           between(config->maxCTAs, 1, INT_MAX) &&
           (config->maxCTAs == NCCL_CONFIG_UNDEF_INT || config->minCTAs <= config->maxCTAs) &&
           between(config->CTAPolicy, NCCL_CTA_POLICY_DEFAULT,
                   NCCL_CTA_POLICY_EFFICIENCY | NCCL_CTA_POLICY_ZERO);
}

/* An older program's configuration is shorter; the fields it lacks are undefined. */
ncclResult_t nfake_config_read(const ncclConfig_t *config, ncclConfig_t *out) {
    *out = (ncclConfig_t)NCCL_CONFIG_INITIALIZER;
    if (!config)
        return ncclSuccess;
    if (config->magic != MAGIC || config->size < offsetof(ncclConfig_t, cgaClusterSize)) {
        fake_violation("%s: a configuration that was not initialised", nfake_function());
        return ncclInvalidArgument;
    }
    size_t size = config->size < sizeof *out ? config->size : sizeof *out;
    memcpy(out, config, size);
    out->netName = out->commName = NULL;
    return right(out) ? ncclSuccess : ncclInvalidArgument;
}
