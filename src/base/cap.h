/*
 * A cap on bandwidth: the time from which the next bytes may go. Every charge postpones it.
 *
 *     charge of n bytes   |<-- n / gbps -->|
 *                         now              next: the next charge may start here
 */
#ifndef KVF_CAP_H
#define KVF_CAP_H

#include "base/status.h"

/* Charges `bytes` to a cap of `gbps`, that is bytes a nanosecond; 0 is no cap and changes nothing.
 * Bytes that go before `*next` postpone it, too. */
KVF__MODULES void kvf__cap_charge(uint64_t *next, double gbps, uint64_t bytes, uint64_t now);

#endif
