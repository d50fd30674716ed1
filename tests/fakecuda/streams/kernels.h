/* The register of kernels, which host stubs made by nvcc refer to as well. */
#ifndef KVF_TEST_FAKE_KERNELS_H
#define KVF_TEST_FAKE_KERNELS_H

#include "fake_internal.h"

#define FAKE_ARGUMENTS 64

typedef struct fake_kernel {
    struct fake_kernel *next;
    char *name;
    const void *functions[4]; /* what it is launched by */
    size_t function_count;
    fakecuda_body body; /* NULL until somebody brings one */
    size_t sizes[FAKE_ARGUMENTS], count;
    bool loaded[FAKECUDA_DEVICES]; /* on a device */
} fake_kernel;

/* Made when there is none. */
fake_kernel *fake_kernel_named(const char *name);
fake_kernel *fake_kernel_of(const void *function);
void fake_kernel_alias(fake_kernel *kernel, const void *function);
cudaError_t fake_kernel_launch(fake_kernel *kernel, const fakecuda_launch *launch, void **arguments,
                               cudaStream_t handle);

#endif
