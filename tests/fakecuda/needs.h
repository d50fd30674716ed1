/* What a test program needs from its runtime. In main, before any test:
 *
 *     if (!needs_device())   the tests run on every runtime, real ones included
 *     if (!needs_fake())     they control the fake, or look into it
 *         return NEEDS_SKIPPED;
 *
 * CMake reads these lines too: what needs the fake has the label `fake`, and what needs a device
 * and no NCCL runs on the pseudo-real runtime as well. */
#ifndef KVF_TEST_NEEDS_H
#define KVF_TEST_NEEDS_H

#include "fakecuda.h"

#include <stdio.h>
#include <stdlib.h>

/* What ctest takes for "skipped". */
enum { NEEDS_SKIPPED = 77 };

/* With KVF_TEST_RUNTIME in the environment the program is not meant to find the fake. */
static inline void needs_no_mistake(void) {
    if (!FAKECUDA || !getenv("KVF_TEST_RUNTIME"))
        return;
    (void)fprintf(stderr, "this is the fake CUDA runtime, where another one was meant\n");
    exit(1);
}

/* Prints what is missing. */
static inline bool needs(bool there, const char *what) {
    needs_no_mistake();
    if (!there)
        (void)fprintf(stderr, "skipped: this needs %s\n", what);
    return there;
}

static inline bool needs_device(void) {
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    const bool there = code == cudaSuccess && devices > 0;
    if (!there)
        (void)fprintf(stderr, "%s: ", cudaGetErrorString(code));
    return needs(there, "a GPU");
}

static inline bool needs_fake(void) {
    return needs(FAKECUDA, "the fake CUDA runtime");
}

#endif
