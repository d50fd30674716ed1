/* Ranks as threads, each with a fake device, an engine, tiers, a group and a wire of its own. */
#ifndef KVF_TEST_GROUP_FIXTURE_H
#define KVF_TEST_GROUP_FIXTURE_H

#include "support/support.h"

#include <kvferry/kvferry.h>
#include <kvferry/nccl.h>

#include <pthread.h>

#include "fakecuda.h"
#include "fakenccl.h"

enum {
    RIG_RANKS = 8,  /* at most */
    RIG_SLOTS = 64, /* blocks of each tier */
    RIG_LAYERS = 3,
    RIG_PART = 256,
    RIG_BLOCK = 2 * RIG_LAYERS * RIG_PART,
};

typedef struct group_fixture group_fixture;

typedef struct fixture_rank {
    group_fixture *fixture;
    int rank;
    kvf_engine *engine;
    kvf_cuda_pinned *memory;
    char *host;               /* whole blocks in turn */
    size_t slots;             /* of the device tier */
    bool page_first;          /* all in layers[0]: [part][block][layer] */
    void *layers[RIG_LAYERS]; /* else [block][part] each */
    kvf_tier *host_tier, *device;
    struct CUstream_st *stream; /* of the ordered form */
    kvf_group *group;
    kvf_wire *wire;
} fixture_rank;

/* Who drives a group. */
typedef enum fixture_form { RIG_THREADED, RIG_NO_THREAD, RIG_ORDERED, RIG_FORMS } fixture_form;

typedef struct fixture_options {
    fixture_form form;
    int64_t timeout_us;  /* 0: 5 s */
    size_t chunk_blocks; /* of one rank's part; 0: 2 */
    size_t chunks;
    kvf_cuda_options engine; /* but the device */
    bool mixed;              /* odd ranks have their pages first, and more of them */
    bool alone;              /* no groups and wires yet: fixture_join makes them */
    fakenccl_config nccl;
    int min_ctas, max_ctas, cta_policy;
} fixture_options;

struct group_fixture {
    int ranks;
    int only; /* fixture_process: the rank that this process is */
    fixture_options options;
    unsigned char id[KVF_GROUP_ID_BYTES];
    pthread_barrier_t barrier;
    fixture_rank of[RIG_RANKS];
};

/* Runs `body` on a thread for every rank, on its device, and waits for all. */
void fixture_on_all(group_fixture *fixture, void (*body)(fixture_rank *rank));

/* Waits for all ranks' bodies to come here. */
void fixture_meet(fixture_rank *rank);

/* Everything up to the wires. */
void fixture_open(group_fixture *fixture, int ranks, const fixture_options *options);

/* A rank's group and wire, which may fail; what was made stays until fixture_leave. */
kvf_status fixture_join(fixture_rank *rank, const kvf_group_options *changes, kvf_error *error);
void fixture_leave(fixture_rank *rank);

/* One rank alone, `only`, as a process: opens everything, runs `body`, closes everything. `ranks`,
 * `options` and `id` are set. */
void fixture_process(group_fixture *fixture, void (*body)(fixture_rank *rank));

/* Everything back; no misuse may have been recorded and nothing may be left. */
void fixture_close(group_fixture *fixture);

/* Opens, runs `body` on all ranks and closes: in one form, or in each of them. */
void fixture_run(int ranks, const fixture_options *options, void (*body)(fixture_rank *rank));
void fixture_run_forms(int ranks, const fixture_options *options, void (*body)(fixture_rank *rank));

/* The bytes of a position: in a rank's host block, in its device slot. */
void fixture_fill_host(fixture_rank *rank, size_t id, unsigned position);
void fixture_fill_device(fixture_rank *rank, size_t id, unsigned position);
bool fixture_host_is(const fixture_rank *rank, size_t id, unsigned position);
bool fixture_device_is(const fixture_rank *rank, size_t id, unsigned position);

/* The device's by copies, for those that run on a real one too. */
void fixture_put_device(fixture_rank *rank, size_t id, unsigned position);
bool fixture_got_device(const fixture_rank *rank, size_t id, unsigned position);

/* The hash of a position, and assignments with that many ids pending from a position on. */
void fixture_hashes(kvf_hash *hashes, uint64_t first_position, size_t count);
kvf_assignments *fixture_assignments(const uint64_t *ids, size_t count, uint64_t first_position);

/* That so many blocks are in each phase, and no flight is open. */
void fixture_expect_phases(const kvf_assignments *assignments, size_t assigned, size_t pending);

/* The ids that no transfer may touch any more: all of both tiers. */
void fixture_expect_idle(const fixture_rank *rank);

/* Waits up to 20 s for the operation, expects that status and releases it. The error's text
 * outlives it. */
void fixture_end(kvf_wire_op *op, kvf_status expected);
void fixture_end_with(kvf_wire_op *op, kvf_status expected, kvf_error *error);

/* Submits `count` blocks from a position on, of which each owner has the ids `first`, `first + 1`
 * ... in its host tier, filled here, into the slots of the same numbers; and whether they are
 * there. */
kvf_wire_op *fixture_onboard(fixture_rank *rank, uint64_t first, size_t count, uint64_t position);
bool fixture_onboarded(const fixture_rank *rank, uint64_t first, size_t count, uint64_t position);

#endif
