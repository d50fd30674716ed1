/* Fixture of the CUDA tests: an engine, a device and a pinned tier, blocks filled from tags. */
#ifndef KVF_TEST_DEVICE_FIXTURE_H
#define KVF_TEST_DEVICE_FIXTURE_H

#include "support/support.h"

#include <kvferry/cuda.h>
#include <kvferry/kvferry.h>

#include "fakecuda.h"

enum {
    FIXTURE_BLOCKS = 32,
    FIXTURE_LAYERS = 4,
    FIXTURE_BYTES = 512,
    FIXTURE_BLOCK = 2 * FIXTURE_LAYERS * FIXTURE_BYTES
};

/* The smallest packing_bytes: a packing buffer holds one block. */
enum { FIXTURE_RING = 4 * FIXTURE_BLOCK };

typedef struct device_fixture {
    kvf_engine *engine;
    kvf_tier *device, *pinned;
    kvf_cuda_pinned *memory;
    char *host;                   /* the pinned tier's memory, whole blocks */
    void *layers[FIXTURE_LAYERS]; /* the device tier's, [block][part] each */
} device_fixture;

void fixture_open(device_fixture *fixture, const kvf_cuda_options *options);

/* Ends a test on the fake; fails it on violations and leaks. */
void fixture_reset(void);

/* Skips a test that controls the fake when the runtime is a real one. */
void fixture_needs_fake(void);

/* Closes everything; fails the test on violations and leaks. */
void fixture_close(device_fixture *fixture);

/* Fills a block with bytes derived from a tag, or returns whether it holds them. Does not
 * synchronise with streams: wait first. */
void fixture_fill_host(device_fixture *fixture, size_t id, unsigned tag);
void fixture_fill_device(device_fixture *fixture, size_t id, unsigned tag);
bool fixture_host_is(const device_fixture *fixture, size_t id, unsigned tag);
bool fixture_device_is(const device_fixture *fixture, size_t id, unsigned tag);

/* Submits one plan of `count` pairs; the caller releases the transfer. */
kvf_transfer *fixture_submit(kvf_tier *src, kvf_tier *dst, const uint64_t *src_ids,
                             const uint64_t *dst_ids, size_t count,
                             const kvf_submit_options *options);

/* Waits for the transfer, expects this status, and releases it. */
void fixture_finish(kvf_transfer *transfer, kvf_status expected);

#endif
