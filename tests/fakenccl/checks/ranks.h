/* Shared by the tests of the fake NCCL: ranks as threads, each with its own device. */
#ifndef KVF_TEST_RANKS_H
#define KVF_TEST_RANKS_H

#include "fakenccl.h"

#include "checks/check.h"

/* Long enough for a slow machine, in tests that wait for the patience to end. */
#define RANKS_PATIENCE_MS 400

/* cmocka does not report failures in other threads: these print them and end the program. */
#define same(value, expected)                                                                      \
    ranks_same((long long)(value), (long long)(expected), #value, __FILE__, __LINE__)
#define holds(condition) same(!!(condition), true)
#define good(call)       same(call, ncclSuccess)
#undef ok
#define ok(call) same(call, cudaSuccess)

void ranks_same(long long value, long long expected, const char *text, const char *file, int line);

typedef struct rank {
    int rank, ranks;
    ncclUniqueId id;
    ncclComm_t comm;
    cudaStream_t stream;
    char *device; /* CHECK_BYTES; so has the next */
    char *other;
    char *host;   /* pinned */
    void *shared; /* of the test */
    bool bare;    /* without a communicator */
    void (*body)(struct rank *self);
} rank;

/* Runs the body in a thread for each rank, with a communicator of all ranks and its own stream and
 * buffers. check_fill has filled the device's and the host's bytes, with the rank as seed. The body
 * may end its communicator and set it to NULL; otherwise the caller ends it. */
void ranks_run(int ranks, void (*body)(rank *self), void *shared);

/* The same without a communicator. */
void ranks_run_bare(int ranks, void (*body)(rank *self), void *shared);

/* The body of one rank's thread. */
void *ranks_main(void *argument);

/* Around every test: devices for all ranks; expects no leaks and no violations. */
int ranks_begin(void **state);
int ranks_end(void **state);

/* The number of ranks for which tests on either library have devices. */
int ranks_available(void);

#define RANKS(test) cmocka_unit_test_setup_teardown(test, ranks_begin, ranks_end)

/* A test of one body, run by so many ranks (0: as many as possible), or by bare ranks. */
typedef struct ranks_body {
    int ranks;
    bool bare;
    void (*body)(rank *self);
} ranks_body;

void ranks_test(void **state);

#define RANKS_OF(count, body)   RANKS_BODY(count, false, body)
#define RANKS_BARE(count, body) RANKS_BODY(count, true, body)
#define RANKS_BODY(count, bare, body)                                                              \
    {                                                                                              \
#body, ranks_test, ranks_begin, ranks_end, &(ranks_body) {                                 \
            count, bare, body                                                                      \
        }                                                                                          \
    }

/* Copies between the device and `host`, and waits. */
void ranks_upload(rank *self, char *device, size_t bytes);
void ranks_download(rank *self, const char *device, size_t bytes);

/* Expects these bytes on the device: filled with a seed, or the garbage of a failed operation. */
void ranks_expect(rank *self, const char *device, size_t bytes, unsigned seed);
void ranks_garbage(rank *self, const char *device, size_t bytes);

/* From `device`, into `other`, within `device`, and from `device` into `other`: bytes. */
ncclResult_t ranks_send(const rank *self, size_t bytes, int peer);
ncclResult_t ranks_receive(const rank *self, size_t bytes, int peer);
ncclResult_t ranks_cast(const rank *self, size_t bytes, int root);
ncclResult_t ranks_gather(const rank *self, size_t bytes);

/* Waits until the communicator is no longer in progress, and returns its state. */
ncclResult_t ranks_settled(ncclComm_t comm);

/* Expects exactly one violation, whose text contains this part, and drops it. */
void ranks_violation(const char *part);

/* Expects at least one violation; all contain this part. */
void ranks_violations(const char *part);

/* Waits until all ranks have called it, without NCCL. */
void ranks_meet(rank *self);

#endif
