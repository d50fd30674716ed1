/*
 * The boundary to the CUDA runtime: it translates errors in one place, preserves the caller's
 * current device and capture mode, and finds driver functions that not every driver has.
 */
#ifndef KVF_CUDA_RUNTIME_H
#define KVF_CUDA_RUNTIME_H

#include "base/allocator.h"

#include <kvferry/cuda.h>

#include <cuda.h>
#include <cuda_runtime_api.h>

/* Translates a runtime error; `what` names the failed call. Also clears the runtime's last error,
 * so that no later call reports it. */
KVF__MODULES kvf_status kvf__cuda_fail(cudaError_t code, const char *what, kvf_error *error);

/* OK if the event has fired, PENDING if not, or an error. */
KVF__MODULES kvf_status kvf__cuda_query(cudaEvent_t event, kvf_error *error);

/*
 * Between enter and leave, the thread's current device is `device`, and its calls neither join nor
 * invalidate a stream capture of this or another thread. Code that ignores an error clears the
 * runtime's last error.
 */
typedef struct kvf__cuda_device_scope {
    int device, own; /* the caller's device and ours */
    enum cudaStreamCaptureMode mode;
} kvf__cuda_device_scope;

KVF__MODULES kvf_status kvf__cuda_enter(int device, kvf__cuda_device_scope *scope,
                                        kvf_error *error);
KVF__MODULES void kvf__cuda_leave(const kvf__cuda_device_scope *scope);

/* Driver functions of a given version; NULL where the driver lacks them. */
typedef CUresult kvf__cuda_batch_fn(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes,
                                    size_t count, CUmemcpyAttributes *attributes, size_t *starts,
                                    size_t attribute_count, size_t *failed, CUstream stream);
typedef CUresult kvf__cuda_batch_3d_fn(size_t count, CUDA_MEMCPY3D_BATCH_OP *operations,
                                       size_t *failed, unsigned long long flags, CUstream stream);
typedef CUresult kvf__cuda_attribute_fn(void *value, CUpointer_attribute attribute,
                                        CUdeviceptr address);

typedef struct kvf__cuda_driver {
    kvf__cuda_batch_fn *batch; /* cuMemcpyBatchAsync as of 12.8, which reports the failed copy */
    kvf__cuda_batch_3d_fn *batch_3d;   /* cuMemcpy3DBatchAsync as of 12.8 */
    bool many_parameters;              /* kernels take 32,764 bytes of parameters */
    kvf__cuda_attribute_fn *attribute; /* cuPointerGetAttribute */
} kvf__cuda_driver;

kvf_status kvf__cuda_load_driver(kvf__cuda_driver *driver, kvf_error *error);

/* limits.c: the boxes that one cudaMemcpy*Async call takes. */
extern const kvf_box_limits kvf__cuda_loop_limits;

#endif
