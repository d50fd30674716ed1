/* Errors: the status returned, the details in the caller's struct. */
#ifndef KVF_STATUS_H
#define KVF_STATUS_H

#include <kvferry/status.h>

/* Marks what the CUDA and NCCL modules use of the libraries below them. A shared library exports it
 * under a version of its own, so that modules and libraries of different releases do not mix. */
#define KVF__MODULES KVF_API

/* One more than the last status. */
enum { KVF__STATUSES = KVF_ERR_PEER + 1 };

/* Stores the details unless `error` is NULL, and returns their status. */
static inline kvf_status kvf__fail(kvf_error *error, kvf_error details) {
    if (error)
        *error = details;
    return details.status;
}

#define KVF__FAIL(error, ...) kvf__fail((error), (kvf_error){__VA_ARGS__})

#endif
