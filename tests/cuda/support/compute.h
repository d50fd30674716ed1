/* The application's computation on the device, with which transfers are ordered. */
#ifndef KVF_TEST_COMPUTE_H
#define KVF_TEST_COMPUTE_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Works for some time, then copies `bytes` from `from` to `to`, or fills `to` with `value` if
 * `from` is NULL; device or pinned memory. Takes no time on the fake, where streams can be held. */
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
