/* What the CUDA tests share: an engine with a device and a pinned tier, and bytes to tell apart. */
#ifndef KVF_TEST_DEVICE_FIXTURE_H
#define KVF_TEST_DEVICE_FIXTURE_H

#include "support/support.h"

#include <kvferry/cuda.h>
#include <kvferry/kvferry.h>

#include "fakecuda.h"

enum { RIG_BLOCKS = 32, RIG_LAYERS = 4, RIG_BYTES = 512, RIG_BLOCK = 2 * RIG_LAYERS * RIG_BYTES };

/* The smallest ring for packing: a buffer holds a block. */
enum { RIG_RING = 4 * RIG_BLOCK };

typedef struct device_fixture {
    kvf_engine *engine;
    kvf_tier *device, *pinned;
    kvf_cuda_pinned *memory;
    char *host;               /* the pinned tier's memory, whole blocks in turn */
    void *layers[RIG_LAYERS]; /* the device tier's, [block][part] each */
} device_fixture;

void fixture_open(device_fixture *fixture, const kvf_cuda_options *options);

/* Ends a test on the fake: no misuse may have been recorded and nothing may be left. */
void fixture_reset(void);

/* Skips a test that steers the runtime, where that is a real one. */
void fixture_needs_fake(void);

/* Closes everything; no misuse may have been recorded and nothing may be left. */
void fixture_close(device_fixture *fixture);

/* Fills or checks a block with bytes made from a tag; checks return whether all are there. The
 * device's are looked at where the fake keeps them, with no order: wait first. */
void fixture_fill_host(device_fixture *fixture, size_t id, unsigned tag);
void fixture_fill_device(device_fixture *fixture, size_t id, unsigned tag);
bool fixture_host_is(const device_fixture *fixture, size_t id, unsigned tag);
bool fixture_device_is(const device_fixture *fixture, size_t id, unsigned tag);

/* Submits one plan of `count` pairs; the caller releases the transfer. */
kvf_transfer *fixture_submit(kvf_tier *src, kvf_tier *dst, const uint64_t *src_ids,
                             const uint64_t *dst_ids, size_t count,
                             const kvf_submit_options *options);

/* Waits, expects that status and releases. */
void fixture_finish(kvf_transfer *transfer, kvf_status expected);

#endif
