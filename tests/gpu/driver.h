/* Questions to a real driver whose answers the CUDA module relies on. Each is asked in a process of
 * its own, so that one that breaks its context or dies does not affect the others; kernels that
 * spin have a time limit. Answers are printed next to what the code assumes, and not judged. */
#ifndef KVF_TEST_GPU_DRIVER_H
#define KVF_TEST_GPU_DRIVER_H

#include "kernels.h"

#include <stdbool.h>
#include <stddef.h>

#include <cuda.h>

/* Use small sizes, for the fake runtime. */
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

/* Prints a failed call and clears the runtime's last error. */
#define TRY(call) try_call(call, #call)
bool try_call(cudaError_t code, const char *call);

double now_us(void);

cudaStream_t new_stream(int priority);
cudaEvent_t new_event(void);

/* The default and the highest priority of streams. */
void priorities(int *usual, int *highest);

/* Keeps the stream busy until release(), but at most `most_ms`. One stream at a time. */
void hold(cudaStream_t stream, double most_ms);
void release(void);

char *device_memory(size_t bytes);
char *pinned_memory(size_t bytes);

/* New memory aligned to 2 MiB, with every page written. */
char *touched_memory(size_t bytes, bool huge);
void drop_memory(char *memory, size_t bytes);

/* A driver function, or NULL. */
void *driver_function(const char *name, unsigned version);

/* cuMemcpyBatchAsync (12.8) of rows of `width` bytes, `pitch` apart on the device and adjacent on
 * the host. Returns the driver's result; *failed is the copy that it reports as invalid. */
typedef struct batch {
    CUdeviceptr *dsts, *srcs;
    size_t *sizes, count;
} batch;
batch make_batch(char *device, size_t pitch, char *host, size_t width, size_t count,
                 bool to_device);
CUresult submit_batch(const batch *b, cudaStream_t stream, size_t *failed);
void free_batch(batch *b);

#endif
