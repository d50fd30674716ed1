/* What a test program requires of the CUDA runtime it runs on. Its main starts with one of these:
 *
 *     if (!needs_device())          // any runtime, real ones included
 *         return NEEDS_SKIPPED;
 *
 *     if (!needs_fake())            // controls or inspects the fake
 *         return NEEDS_SKIPPED;
 *
 * CMake reads these lines: a program that needs the fake gets the label `fake`; one that needs a
 * device and no NCCL is also run on the pseudo-real runtime. */
#ifndef KVF_TEST_NEEDS_H
#define KVF_TEST_NEEDS_H

#include "fakecuda.h"

#include <stdio.h>
#include <stdlib.h>

/* The exit code that ctest reports as "skipped". */
enum { NEEDS_SKIPPED = 77 };

/* With KVF_TEST_RUNTIME in the environment, finding the fake is an error. */
static inline void needs_no_mistake(void) {
    if (!FAKECUDA || !getenv("KVF_TEST_RUNTIME"))
        return;
    (void)fprintf(stderr, "KVF_TEST_RUNTIME is set, but this is the fake CUDA runtime\n");
    exit(1);
}

/* Returns `met`; when false, prints what is missing. */
static inline bool needs(bool met, const char *what) {
    needs_no_mistake();
    if (!met)
        (void)fprintf(stderr, "skipped: this needs %s\n", what);
    return met;
}

static inline bool needs_device(void) {
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    const bool found = code == cudaSuccess && devices > 0;
    if (!found)
        (void)fprintf(stderr, "%s: ", cudaGetErrorString(code));
    return needs(found, "a GPU");
}

static inline bool needs_fake(void) {
    return needs(FAKECUDA, "the fake CUDA runtime");
}

#endif
