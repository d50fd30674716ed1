#include "base/cap.h"

#include "base/arithmetic.h"

/* Some 30 years, so that times can be added up. */
static const uint64_t longest = UINT64_C(1000000000000000000);

void kvf__cap_charge(uint64_t *next, double gbps, uint64_t bytes, uint64_t now) {
    if (!(gbps > 0))
        return;
    double ns = (double)bytes / gbps;
    *next = kvf__max(*next, now) + (ns < 1e18 ? (uint64_t)ns : longest);
}
