/* Questions to a real driver, on whose answers the CUDA module depends. Each is asked in a process
 * of its own, so that one that breaks its context, or dies, costs no other answer; what spins on
 * the GPU ends by itself. An answer is printed, not judged: it stands next to what the code takes
 * for granted. */
#ifndef KVF_TEST_GPU_DRIVER_H
#define KVF_TEST_GPU_DRIVER_H

#include "kernels.h"

#include <stdbool.h>
#include <stddef.h>

#include <cuda.h>

/* Small sizes, for the fake runtime. */
extern bool tiny;

/* driver_errors.c */
void ask_lazy_loading(void);
void ask_last_error(void);
void ask_capture(void);
void ask_bad_batch(void);

/* driver_memory.c */
void ask_ranges(void);
void ask_fork_reads(void);
void ask_fork_cost(void);
void ask_registration(void);

/* driver_time.c */
void ask_call_costs(void);
void ask_allocation_costs(void);
void ask_queue_depth(void);
void ask_shared_queues(void);

/* driver_rates.c */
void ask_copy_rates(void);

/* ---- driver_support.c ---- */

/* Prints a call that fails, and takes its error off the runtime's list. */
#define TRY(call) try_call(call, #call)
bool try_call(cudaError_t code, const char *call);

double now_us(void);

cudaStream_t new_stream(int priority);
cudaEvent_t new_event(void);

/* Streams of the usual priority and of the highest. */
void priorities(int *usual, int *highest);

/* Keeps the stream busy until release(), but no longer than `most_ms`. One stream at a time. */
void hold(cudaStream_t stream, double most_ms);
void release(void);

char *device_memory(size_t bytes);
char *pinned_memory(size_t bytes);

/* Fresh memory whose first byte is on a border of 2 MiB, every page of it written. */
char *touched_memory(size_t bytes, bool huge);
void drop_memory(char *memory, size_t bytes);

/* A driver's function, or NULL. */
void *driver_function(const char *name, unsigned version);

/* cuMemcpyBatchAsync as of 12.8 from or to rows of `width` bytes, `pitch` apart on the device side
 * and touching on the host's; the driver's answer, and the copy that it names as bad in *failed. */
typedef struct batch {
    CUdeviceptr *dsts, *srcs;
    size_t *sizes, count;
} batch;
batch make_batch(char *device, size_t pitch, char *host, size_t width, size_t count,
                 bool to_device);
CUresult submit_batch(const batch *b, cudaStream_t stream, size_t *failed);
void free_batch(batch *b);

#endif
