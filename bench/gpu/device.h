/* A GPU as the tool uses it beside the engine: what it is, memory, and streams that are held. */
#ifndef KVF_BENCH_DEVICE_H
#define KVF_BENCH_DEVICE_H

#include "gpu/kernels.h"

#include <stdbool.h>

typedef struct device {
    int index;
    bool imitated; /* the runtime is a fake one: times mean nothing */
    char name[256];
    unsigned multiprocessors;
    kernel_hold *hold; /* pinned */
} device;

/* Ends the program when a call of the runtime has failed. */
void must_cuda(cudaError_t code, const char *what);

/* How many GPUs there are. Ends the program when there is none. */
int device_count(void);

/* Makes the device the current one. Ends the program when there is none. */
void device_open(device *device, int index);
void device_close(device *device);

/* Pinned memory that kernels reach at the same address. Ends the program when there is none. */
void *device_pinned(size_t bytes);

cudaStream_t device_stream(void);
cudaEvent_t device_event(void);

/*
 * Holds streams while work for them is queued, so that what is timed is the work and not the
 * queueing of it:
 *
 *     device_hold(stream); record; copy, copy, ...; record; device_release
 *
 * A stream holds some 1,000 entries and then blocks the caller; no more than DEVICE_HELD_ENTRIES go
 * in. A hold ends by itself after a second: device_release then returns false, and what was timed
 * is to be thrown away.
 */
enum { DEVICE_HELD_ENTRIES = 256 };

void device_hold_begin(device *device);
void device_hold(device *device, cudaStream_t stream);
void device_hold_end(device *device);

/* Once all held streams are through: whether no hold has ended by itself. */
bool device_held(const device *device);

#endif
