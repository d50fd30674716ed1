/* A computation of the application's, on the device: what transfers are ordered with. */
#ifndef KVF_TEST_COMPUTE_H
#define KVF_TEST_COMPUTE_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Works for some time, then writes `bytes` from `from` to `to`, or `value` where `from` is NULL;
 * device or pinned memory. On the fake it takes no time: there streams can be held. */
typedef struct compute_work {
    unsigned char *to;
    const unsigned char *from;
    unsigned bytes;
    unsigned char value;
    unsigned long long ns;
} compute_work;

cudaError_t compute_enqueue(const compute_work *work, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
