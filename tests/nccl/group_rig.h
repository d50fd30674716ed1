/* Ranks as threads, each with a fake device, an engine, tiers, a group and a wire of its own. */
#ifndef KVF_TEST_GROUP_RIG_H
#define KVF_TEST_GROUP_RIG_H

#include "mail.h"
#include "support.h"

#include <kvferry/kvferry.h>

#include "fakecuda.h"
#include "fakenccl.h"

enum {
    RIG_SLOTS = 64, /* blocks of each tier */
    RIG_LAYERS = 3,
    RIG_PART = 256,
    RIG_BLOCK = 2 * RIG_LAYERS * RIG_PART,
};

typedef struct group_rig group_rig;

typedef struct rig_rank {
    group_rig *rig;
    int rank;
    kvf_engine *engine;
    kvf_cuda_pinned *memory;
    char *host;               /* whole blocks in turn */
    void *layers[RIG_LAYERS]; /* [block][part] each */
    kvf_tier *host_tier, *device;
    kvf_group *group;
    kvf_wire *wire;
} rig_rank;

typedef struct rig_options {
    int64_t timeout_us;  /* 0: 5 s */
    size_t chunk_blocks; /* of one rank's part; 0: 2 */
    size_t chunks;
    kvf_cuda_options engine; /* but the device */
} rig_options;

struct group_rig {
    int ranks;
    rig_options options;
    mail *mail;
    rig_rank of[MAIL_RANKS];
};

/* Runs `body` on a thread for every rank, on its device, and waits for all. */
void rig_on_all(group_rig *rig, void (*body)(rig_rank *rank));

/* Everything up to the wires. */
void rig_open(group_rig *rig, int ranks, const rig_options *options);

/* Everything back; no misuse may have been recorded and nothing may be left. */
void rig_close(group_rig *rig);

/* The bytes of a position: in a rank's host block, in its device slot. */
void rig_fill_host(rig_rank *rank, size_t id, unsigned position);
void rig_fill_device(rig_rank *rank, size_t id, unsigned position);
bool rig_host_is(const rig_rank *rank, size_t id, unsigned position);
bool rig_device_is(const rig_rank *rank, size_t id, unsigned position);

/* Waits up to 20 s for the operation, expects that status and releases it. */
void rig_end(kvf_wire_op *op, kvf_status expected);

#endif
