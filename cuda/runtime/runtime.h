/*
 * The CUDA runtime behind a boundary: statuses translated in one place, the caller's device and
 * capture mode left alone, and entry points that a driver may lack.
 */
#ifndef KVF_CUDA_RUNTIME_H
#define KVF_CUDA_RUNTIME_H

#include "base/allocator.h"

#include <kvferry/cuda.h>

#include <cuda.h>
#include <cuda_runtime_api.h>

/*
 * What a runtime error means to us. Also takes the error off the runtime's list, so that it does
 * not turn up at somebody else's call. `what` names the call.
 */
KVF__MODULES kvf_status kvf__cuda_fail(cudaError_t code, const char *what, kvf_error *error);

/* Whether a context that answered so is beyond use. */
bool kvf__cuda_is_fatal(cudaError_t code);

/* OK for an event that has fired, PENDING for one that has not, or an error. */
KVF__MODULES kvf_status kvf__cuda_query(cudaEvent_t event, kvf_error *error);

/*
 * Between enter and leave a thread works on `device`, and its calls neither obey nor disturb a
 * stream capture of its own or of another thread. Nothing that our calls leave behind as the
 * runtime's last error stays there; whoever ignores an error clears it.
 */
typedef struct kvf__cuda_device_scope {
    int device, own; /* the caller's, and the one worked on */
    enum cudaStreamCaptureMode mode;
} kvf__cuda_device_scope;

KVF__MODULES kvf_status kvf__cuda_enter(int device, kvf__cuda_device_scope *scope,
                                        kvf_error *error);
KVF__MODULES void kvf__cuda_leave(const kvf__cuda_device_scope *scope);

/* Driver functions, asked for by version; NULL where the driver has none. */
typedef CUresult kvf__cuda_batch_fn(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes,
                                    size_t count, CUmemcpyAttributes *attributes, size_t *starts,
                                    size_t attribute_count, size_t *failed, CUstream stream);
typedef CUresult kvf__cuda_batch_3d_fn(size_t count, CUDA_MEMCPY3D_BATCH_OP *operations,
                                       size_t *failed, unsigned long long flags, CUstream stream);
typedef CUresult kvf__cuda_attribute_fn(void *value, CUpointer_attribute attribute,
                                        CUdeviceptr address);

typedef struct kvf__cuda_driver {
    kvf__cuda_batch_fn *batch; /* cuMemcpyBatchAsync as of 12.8, which names the copy that failed */
    kvf__cuda_batch_3d_fn *batch_3d;   /* cuMemcpy3DBatchAsync as of 12.8 */
    bool many_parameters;              /* a kernel may have 32,764 bytes of them */
    kvf__cuda_attribute_fn *attribute; /* cuPointerGetAttribute */
} kvf__cuda_driver;

kvf_status kvf__cuda_load_driver(kvf__cuda_driver *driver, kvf_error *error);

/* limits.c: the boxes that one cudaMemcpy*Async takes. */
extern const kvf_box_limits kvf__cuda_loop_limits;

#endif
