/* What a test program needs of the runtime that it finds itself on. The first line of main:
 *
 *     if (!needs_device())   its tests run on every runtime, real ones included
 *     if (!needs_fake())     they steer the fake, or look into it
 *         return NEEDS_SKIPPED;
 *
 * CMake reads these lines too: what needs the fake has the label `fake`, and what needs a device
 * runs on the pseudo-real runtime as well. */
#ifndef KVF_TEST_NEEDS_H
#define KVF_TEST_NEEDS_H

#include "fakecuda.h"

#include <stdio.h>

/* What ctest takes for "skipped". */
enum { NEEDS_SKIPPED = 77 };

/* Says what is missing when there is no device. */
static inline bool needs_device(void) {
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code == cudaSuccess && devices > 0)
        return true;
    (void)fprintf(stderr, "skipped: no GPU (%s)\n", cudaGetErrorString(code));
    return false;
}

/* Says what is missing when it is not there. */
static inline bool needs(bool there, const char *what) {
    if (!there)
        (void)fprintf(stderr, "skipped: this needs %s\n", what);
    return there;
}

static inline bool needs_fake(void) {
    return needs(FAKECUDA, "the fake CUDA runtime");
}

#endif
