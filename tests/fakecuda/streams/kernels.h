/* The registry of kernels, shared with the host stubs that nvcc makes. */
#ifndef KVF_TEST_FAKE_KERNELS_H
#define KVF_TEST_FAKE_KERNELS_H

#include "fake_internal.h"

#define FAKE_ARGUMENTS 64

typedef struct fake_kernel {
    struct fake_kernel *next;
    char *name;
    const void *functions[4]; /* the addresses that launch it */
    size_t function_count;
    fakecuda_body body; /* NULL until registered */
    size_t sizes[FAKE_ARGUMENTS], count;
    bool loaded[FAKECUDA_DEVICES]; /* by device */
} fake_kernel;

/* Creates the kernel when there is none of that name. */
fake_kernel *fake_kernel_named(const char *name);
fake_kernel *fake_kernel_of(const void *function);
void fake_kernel_alias(fake_kernel *kernel, const void *function);
cudaError_t fake_kernel_launch(fake_kernel *kernel, const fakecuda_launch *launch, void **arguments,
                               cudaStream_t handle);

#endif
