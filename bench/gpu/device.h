/* The tool's own use of a GPU, apart from the engine: properties, pinned memory, held streams. */
#ifndef KVF_BENCH_DEVICE_H
#define KVF_BENCH_DEVICE_H

#include "gpu/kernels.h"

#include <stdbool.h>

typedef struct device {
    int index;
    bool imitated; /* the runtime is a fake: its times mean nothing */
    char name[256];
    unsigned multiprocessors;
    kernel_hold *hold; /* pinned */
} device;

/* Ends the program unless `code` is success. `what` names the call. */
void must_cuda(cudaError_t code, const char *what);

/* The number of GPUs. Ends the program if there is none. */
int device_count(void);

/* Selects a GPU and makes it the current one. Ends the program if it does not exist. */
void device_open(device *device, int index);
void device_close(device *device);

/* Pinned memory that kernels reach at the same address. Ends the program when memory runs out. */
void *device_pinned(size_t bytes);

cudaStream_t device_stream(void);
cudaEvent_t device_event(void);

/*
 * Holds streams while work is queued in them, so that the work is timed and not its queueing:
 *
 *     device_hold_begin; device_hold(stream); record; copy, copy, ...; record; device_hold_end
 *
 * A stream holds some 1,000 entries, then blocks the caller: queue at most DEVICE_HELD_ENTRIES. A
 * hold times out after a second. device_held then returns false, and the sample must be discarded.
 */
enum { DEVICE_HELD_ENTRIES = 256 };

void device_hold_begin(device *device);
void device_hold(device *device, cudaStream_t stream);
void device_hold_end(device *device);

/* Whether no hold has timed out. Call it when all held streams have finished. */
bool device_held(const device *device);

#endif
