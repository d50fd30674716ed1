/* Ranks as threads, each with its own fake device, engine, tiers, group and wire. */
#ifndef KVF_TEST_GROUP_FIXTURE_H
#define KVF_TEST_GROUP_FIXTURE_H

#include "support/support.h"

#include <kvferry/kvferry.h>
#include <kvferry/nccl.h>

#include <pthread.h>

#include "fakecuda.h"
#include "fakenccl.h"

enum {
    FIXTURE_RANKS = 8,  /* the most */
    FIXTURE_SLOTS = 64, /* blocks of each tier */
    FIXTURE_LAYERS = 3,
    FIXTURE_PART = 256,
    FIXTURE_BLOCK = 2 * FIXTURE_LAYERS * FIXTURE_PART,
};

typedef struct group_fixture group_fixture;

typedef struct fixture_rank {
    group_fixture *fixture;
    int rank;
    kvf_engine *engine;
    kvf_cuda_pinned *memory;
    char *host;                   /* whole blocks, one after the other */
    size_t slots;                 /* of the device tier */
    bool page_first;              /* one allocation, layers[0]: [part][block][layer] */
    void *layers[FIXTURE_LAYERS]; /* otherwise each [block][part] */
    kvf_tier *host_tier, *device;
    struct CUstream_st *stream; /* of the ordered form */
    kvf_group *group;
    kvf_wire *wire;
} fixture_rank;

/* What drives a group. */
typedef enum fixture_form {
    FIXTURE_THREADED,
    FIXTURE_NO_THREAD,
    FIXTURE_ORDERED,
    FIXTURE_FORMS
} fixture_form;

typedef struct fixture_options {
    fixture_form form;
    int64_t timeout_us;  /* 0: 5 s */
    size_t chunk_blocks; /* of one rank's part; 0: 2 */
    size_t chunks;
    kvf_cuda_options engine; /* except the device */
    bool mixed;              /* odd ranks use page-first layouts with more slots */
    bool alone;              /* without groups and wires: fixture_join creates them */
    fakenccl_config nccl;
    int min_ctas, max_ctas, cta_policy;
} fixture_options;

struct group_fixture {
    int ranks;
    int only; /* fixture_process: this process's rank */
    fixture_options options;
    unsigned char id[KVF_GROUP_ID_BYTES];
    pthread_barrier_t barrier;
    fixture_rank of[FIXTURE_RANKS];
};

/* Runs `body` on one thread per rank, with its device current, and waits for all. */
void fixture_on_all(group_fixture *fixture, void (*body)(fixture_rank *rank));

/* Waits until all ranks have called it. */
void fixture_barrier(fixture_rank *rank);

/* Opens everything up to the wires. */
void fixture_open(group_fixture *fixture, int ranks, const fixture_options *options);

/* Creates a rank's group and wire. If one fails, the other stays until fixture_leave. */
kvf_status fixture_join(fixture_rank *rank, const kvf_group_options *changes, kvf_error *error);
void fixture_leave(fixture_rank *rank);

/* Runs the single rank `only` in this process: opens everything, runs `body`, closes everything.
 * The caller has set `ranks`, `options` and `id`. */
void fixture_process(group_fixture *fixture, void (*body)(fixture_rank *rank));

/* Closes everything; fails if misuse was recorded or anything is left over. */
void fixture_close(group_fixture *fixture);

/* Opens, runs `body` on all ranks and closes, in one form or in each form. */
void fixture_run(int ranks, const fixture_options *options, void (*body)(fixture_rank *rank));
void fixture_run_forms(int ranks, const fixture_options *options, void (*body)(fixture_rank *rank));

/* A position's bytes, written to or compared with a rank's host block or device slot. */
void fixture_fill_host(fixture_rank *rank, size_t id, unsigned position);
void fixture_fill_device(fixture_rank *rank, size_t id, unsigned position);
bool fixture_host_is(const fixture_rank *rank, size_t id, unsigned position);
bool fixture_device_is(const fixture_rank *rank, size_t id, unsigned position);

/* The same for device slots by copies, which also work on a real device. */
void fixture_put_device(fixture_rank *rank, size_t id, unsigned position);
bool fixture_got_device(const fixture_rank *rank, size_t id, unsigned position);

/* The hashes of positions, and assignments with those ids pending from a position on. */
void fixture_hashes(kvf_hash *hashes, uint64_t first_position, size_t count);
kvf_assignments *fixture_assignments(const uint64_t *ids, size_t count, uint64_t first_position);

/* Expects so many blocks in each phase, none staged, and no open flight. */
void fixture_expect_phases(const kvf_assignments *assignments, size_t assigned, size_t pending);

/* Expects that no transfer uses any block of the two tiers any more. */
void fixture_expect_idle(const fixture_rank *rank);

/* Waits up to 20 s for the operation, expects that status and releases the operation. The error's
 * text remains valid. */
void fixture_expect_end(kvf_wire_op *op, kvf_status expected);
void fixture_expect_end_with(kvf_wire_op *op, kvf_status expected, kvf_error *error);

/* Onboards `count` blocks from a position on, from host blocks `first`, `first + 1`, ..., which
 * their owners fill here, into slots of the same numbers; and whether they have arrived. */
kvf_wire_op *fixture_onboard(fixture_rank *rank, uint64_t first, size_t count, uint64_t position);
bool fixture_onboarded(const fixture_rank *rank, uint64_t first, size_t count, uint64_t position);

#endif
