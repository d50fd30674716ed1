/* What the tests of the fake NCCL share: ranks as threads, each with its device. */
#ifndef KVF_TEST_RANKS_H
#define KVF_TEST_RANKS_H

#include "fakenccl.h"

#include "checks/check.h"

/* Enough patience for a slow machine, in tests that provoke its end. */
#define RANKS_PATIENCE_MS 400

/* cmocka keeps what fails in another thread to itself: these print it, and end the program there.
 */
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
    char *device; /* CHECK_BYTES, as is the next */
    char *other;
    char *host;   /* pinned */
    void *shared; /* of the test */
    bool bare;    /* without a communicator */
    void (*body)(struct rank *self);
} rank;

/* Runs the body in a thread for each rank, with a communicator of them all, a stream and buffers of
 * its own. The device's and the host's bytes are filled by check_fill with the rank as seed. The
 * body ends its communicator and sets it to NULL, or leaves that to the caller of the body. */
void ranks_run(int ranks, void (*body)(rank *self), void *shared);

/* The same without a communicator. */
void ranks_run_bare(int ranks, void (*body)(rank *self), void *shared);

/* A rank: what the thread of each does. */
void *ranks_main(void *argument);

/* Around every test: devices for all; nothing left behind and no violations. */
int ranks_begin(void **state);
int ranks_end(void **state);

/* How many ranks tests on either library have devices for. */
int ranks_available(void);

#define RANKS(test) cmocka_unit_test_setup_teardown(test, ranks_begin, ranks_end)

/* A test that is one body: run by so many ranks (0: as many as available), or by them bare. */
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

/* That the device has these bytes: filled with a seed, or what a failed operation leaves. */
void ranks_expect(rank *self, const char *device, size_t bytes, unsigned seed);
void ranks_garbage(rank *self, const char *device, size_t bytes);

/* From `device`, into `other`, within `device`, and from `device` into `other`: bytes. */
ncclResult_t ranks_send(const rank *self, size_t bytes, int peer);
ncclResult_t ranks_receive(const rank *self, size_t bytes, int peer);
ncclResult_t ranks_cast(const rank *self, size_t bytes, int root);
ncclResult_t ranks_gather(const rank *self, size_t bytes);

/* Waits until the communicator is no longer in progress, and returns what it is. */
ncclResult_t ranks_settled(ncclComm_t comm);

/* Exactly one violation was recorded, and its text has this part; it is forgiven. */
void ranks_violation(const char *part);

/* At least one was, and all have that part. */
void ranks_violations(const char *part);

/* A meeting of all ranks' threads, without NCCL. */
void ranks_meet(rank *self);

#endif
