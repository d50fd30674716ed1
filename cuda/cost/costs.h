/*
 * What a move costs. Nothing here but key, calibrate and file touches the world outside; the rest
 * is arithmetic:
 *
 *     move -> profile (what it consists of, counted) \
 *                                                  cost table -> microseconds a strategy
 *     samples (what was measured) -> fit          /
 *
 * A strategy takes a fixed time and so much a piece, which depends on the piece's size; no strategy
 * is quicker than the link:
 *
 *     loop, batch    fixed + max(wire, pieces + boxes with rows: each box and each of its rows)
 *     kernel         fixed + max(wire, lines)
 *     staged         fixed + chunks + max(pack, copy) + min(pack, copy) / chunks
 *                    where pack is lines and copy max(wire, host boxes)
 *
 * The last line of staged is the pipeline's: what is not hidden is the first chunk's packing, or
 * the last one's unpacking. Times are nanoseconds, speeds bytes a nanosecond.
 */
#ifndef KVF_CUDA_COSTS_H
#define KVF_CUDA_COSTS_H

#include <kvferry/cuda.h>

#include "base/allocator.h"

enum {
    KVF__CUDA_AGAIN = 32,      /* samples that are measured twice, at most */
    KVF__CUDA_SIZES = 128,     /* classes of a tally */
    KVF__CUDA_POINTS = 32,     /* of a curve, at most */
    KVF__CUDA_NAME = 256,      /* bytes of the texts of a key */
    KVF__CUDA_CHUNK = 8 << 20, /* bytes that `staged` packs at a time */
};

/* Loads */

/* Pieces by size: four classes an octave, each with how many there are and how large they are
 * together, so that pieces of one size are known exactly. */
typedef struct kvf__cuda_tally {
    struct {
        uint64_t count, bytes;
    } classes[KVF__CUDA_SIZES];
    uint64_t count;
} kvf__cuda_tally;

/* Adds `count` pieces that are `bytes` together. None at all is fine. */
void kvf__cuda_tally_add(kvf__cuda_tally *tally, uint64_t count, uint64_t bytes);

/* What a move consists of. */
typedef struct kvf__cuda_move_profile {
    uint64_t bytes;
    kvf__cuda_tally pieces; /* boxes that are one piece */
    kvf__cuda_tally rows;   /* rows of all other boxes, one by one */
    uint64_t row_calls;     /* these boxes */
    kvf__cuda_tally lines;  /* rows of blocks, whether or not blocks touch: what kernels see */
    uint64_t host_boxes;    /* pieces when only the host's side has to be contiguous */
    uint32_t layers;        /* that have to be told apart; 1: the whole */
} kvf__cuda_move_profile;

/* Counts a move for `loop`'s limits. Takes as long as there are runs, plus strips that differ times
 * lengths of runs that differ; with moves lowered for other limits, strips times runs. `host_boxes`
 * is an estimate: it takes the runs in the move's order. */
void kvf__cuda_move_profile_of(const kvf_move *move, kvf_cuda_direction direction,
                               kvf__cuda_move_profile *profile);

/* cost tables */

/* Nanoseconds a piece by its size; in between by power laws, outside by those of the ends. */
typedef struct kvf__cuda_curve {
    size_t count; /* 0: not known */
    size_t bytes[KVF__CUDA_POINTS];
    double ns[KVF__CUDA_POINTS];
    double power[KVF__CUDA_POINTS]; /* ... behind this point; made by seal */
} kvf__cuda_curve;

double kvf__cuda_curve_at(const kvf__cuda_curve *curve, double bytes);

typedef struct kvf__cuda_cost {
    double fixed_ns, layer_ns; /* ... and for every layer behind the first */
    kvf__cuda_curve piece;     /* not known: nor is the strategy. Of staged: packing only */
    double row_call_ns;        /* loop and batch: a box with rows */
    kvf__cuda_curve row;       /* ... and each of them; not known: as pieces */
    double chunk_ns;           /* staged */
} kvf__cuda_cost;

/* What a cost table was made on. */
typedef struct kvf__cuda_machine_key {
    char gpu[KVF__CUDA_NAME], link[KVF__CUDA_NAME];
    int driver; /* as cudaDriverGetVersion says it */
} kvf__cuda_machine_key;

struct kvf_cuda_costs {
    kvf_allocator allocator;
    bool calibrated;
    kvf__cuda_machine_key key;
    char date[32];                    /* of calibrating; "" */
    int32_t noise_ppm;                /* of calibrating, in millionths; -1: not known */
    double link[KVF_CUDA_DIRECTIONS]; /* the best that was seen */
    kvf__cuda_cost cost[KVF_CUDA_DIRECTIONS][KVF_CUDA_STRATEGIES];
};

/* An empty cost table: nothing is known. NULL when there is no memory. */
kvf_cuda_costs *kvf__cuda_costs_make(const kvf_allocator *allocator);
kvf_cuda_costs *kvf__cuda_costs_copy(const kvf_cuda_costs *costs, const kvf_allocator *allocator);

/* What is left to do once the numbers are in: whole picoseconds, so that a file holds them exactly,
 * and the powers. */
void kvf__cuda_costs_seal(kvf_cuda_costs *costs);

/* Microseconds by strategy, NaN for what the cost table does not know; AUTO is NaN. */
void kvf__cuda_costs_predict(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                             const kvf__cuda_move_profile *profile, double us[KVF_CUDA_STRATEGIES],
                             double *wire_us);

/* The cheapest of the strategies at hand: bit 1 << KVF_CUDA_LOOP, ... of `at_hand`, which is not
 * empty; but one that takes thread blocks must be cheaper than all others by a tenth, or by a
 * quarter while there is compute that would miss them. Those the cost table does not know come
 * last. Fills in everything of the explanation; the caller changes `chosen`, `reason` and us[AUTO]
 * where something else decides. */
void kvf__cuda_costs_choose(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                            const kvf__cuda_move_profile *profile, unsigned at_hand, bool computing,
                            kvf_cuda_explanation *out);

/* Fitting */

/* What a transfer took. Of its pieces each has `bytes`; on the host's side they touch, layer by
 * layer. */
typedef struct kvf__cuda_sample {
    kvf_cuda_direction direction;
    kvf_cuda_strategy strategy;
    size_t bytes;
    uint64_t pieces;    /* or rows, of ... */
    uint64_t row_calls; /* ... so many boxes; 0: pieces */
    uint32_t layers;    /* 1 or more */
    double ns;
} kvf__cuda_sample;

/* Fits links and costs to what was measured and seals the cost table; what no sample tells stays
 * unknown. May reorder the samples. Errors: NO_MEMORY; ENGINE when there are no samples of `loop`
 * for some direction, without which no move can be judged. */
kvf_status kvf__cuda_costs_fit(kvf_cuda_costs *costs, const kvf__cuda_sample *samples, size_t count,
                               kvf_error *error);

/* How noisy samples are: the median of their spreads, each (largest - smallest) / median, or of how
 * far the last `again` are from the first of the same kind, whichever is more. Reorders the
 * spreads.
 */
double kvf__cuda_noise(const kvf__cuda_sample *samples, double *spreads, size_t count,
                       size_t again);

/* Keys */

/* The key of a device here and now. Errors as kvf_cuda_costs_load's for a device. */
kvf_status kvf__cuda_machine_key_of(int device, kvf__cuda_machine_key *key, kvf_error *error);

/* What a PCI device's folder in sysfs says of its link: "32.0 GT/s PCIe x16", or "unknown". */
void kvf__cuda_link_in(const char *folder, char *text, size_t size);

#endif
