/*
 * Predicting what moving bytes costs. Apart from machine keys and files, all of this is arithmetic:
 *
 *     move -> move profile (its pieces, counted) \
 *                                                 cost table -> microseconds for each strategy
 *     samples (measured transfers) -> fit        /
 *
 * A strategy takes a fixed time plus a time for each piece, which depends on the piece's size. No
 * strategy is faster than the link:
 *
 *     loop, batch    fixed + max(wire, pieces + boxes with rows: each box and each of its rows)
 *     kernel         fixed + max(wire, lines)
 *     staged         fixed + chunks + max(pack, copy) + min(pack, copy) / chunks
 *                    where pack is lines and copy max(wire, host boxes)
 *
 * The last term of staged is the part of the pipeline that does not overlap: packing the first
 * chunk or unpacking the last. Times are in nanoseconds, speeds in bytes per nanosecond.
 */
#ifndef KVF_CUDA_COSTS_H
#define KVF_CUDA_COSTS_H

#include <kvferry/cuda.h>

#include "base/allocator.h"

enum {
    KVF__CUDA_AGAIN = 32,      /* samples measured twice, at most */
    KVF__CUDA_SIZES = 128,     /* classes of a tally */
    KVF__CUDA_POINTS = 32,     /* in a curve, at most */
    KVF__CUDA_NAME = 256,      /* bytes of each text in a machine key */
    KVF__CUDA_CHUNK = 8 << 20, /* bytes that staged packs at a time */
};

/* Move profiles */

/* Pieces by size, in four classes an octave. Each class has a count and a total size, so that the
 * size is exact when all pieces of a class are equal. */
typedef struct kvf__cuda_tally {
    struct {
        uint64_t count, bytes;
    } classes[KVF__CUDA_SIZES];
    uint64_t count;
} kvf__cuda_tally;

/* Adds `count` pieces of `bytes` in total; count may be 0. */
void kvf__cuda_tally_add(kvf__cuda_tally *tally, uint64_t count, uint64_t bytes);

/* What a move consists of, for prediction. */
typedef struct kvf__cuda_move_profile {
    uint64_t bytes;
    kvf__cuda_tally pieces; /* boxes of one row */
    kvf__cuda_tally rows;   /* the rows of all other boxes */
    uint64_t row_calls;     /* the number of these other boxes */
    kvf__cuda_tally lines;  /* rows of each block, even where blocks touch: as kernels copy */
    uint64_t host_boxes;    /* pieces, if only the host side had to be contiguous */
    uint32_t layers;        /* that can be waited for alone; 1: the move as a whole */
} kvf__cuda_move_profile;

/* Counts a move's boxes within loop's limits. Time: runs + distinct strips * distinct run lengths;
 * for moves lowered within other limits, strips * runs. `host_boxes` is an estimate, since runs are
 * joined only in the move's order. */
void kvf__cuda_move_profile_of(const kvf_move *move, kvf_cuda_direction direction,
                               kvf__cuda_move_profile *profile);

/* Cost tables */

/* Nanoseconds for a piece by its size: power laws between the points, and those of the first and
 * last pair extended outside. */
typedef struct kvf__cuda_curve {
    size_t count; /* 0: unknown */
    size_t bytes[KVF__CUDA_POINTS];
    double ns[KVF__CUDA_POINTS];
    double power[KVF__CUDA_POINTS]; /* from this point on; computed by seal */
} kvf__cuda_curve;

double kvf__cuda_curve_at(const kvf__cuda_curve *curve, double bytes);

typedef struct kvf__cuda_cost {
    double fixed_ns, layer_ns; /* for the transfer; for each layer after the first */
    kvf__cuda_curve piece;     /* unknown: so is the whole strategy. For staged: packing only */
    double row_call_ns;        /* loop and batch: for each box with rows */
    kvf__cuda_curve row;       /* loop and batch: for each of its rows; unknown: as a piece */
    double chunk_ns;           /* staged: for each chunk */
} kvf__cuda_cost;

/* The machine that a cost table was measured on. */
typedef struct kvf__cuda_machine_key {
    char gpu[KVF__CUDA_NAME], link[KVF__CUDA_NAME];
    int driver; /* as cudaDriverGetVersion returns it */
} kvf__cuda_machine_key;

struct kvf_cuda_costs {
    kvf_allocator allocator;
    bool calibrated;
    kvf__cuda_machine_key key;
    char date[32];                    /* of the calibration; "": none */
    int32_t noise_ppm;                /* of the calibration; -1: unknown */
    double link[KVF_CUDA_DIRECTIONS]; /* the best speed measured */
    kvf__cuda_cost cost[KVF_CUDA_DIRECTIONS][KVF_CUDA_STRATEGIES];
};

/* An empty cost table, in which everything is unknown. NULL when there is no memory. */
kvf_cuda_costs *kvf__cuda_costs_make(const kvf_allocator *allocator);
kvf_cuda_costs *kvf__cuda_costs_copy(const kvf_cuda_costs *costs, const kvf_allocator *allocator);

/* Completes a table whose numbers are filled in: rounds them to whole picoseconds, so that a file
 * holds them exactly, and computes the powers. */
void kvf__cuda_costs_seal(kvf_cuda_costs *costs);

/* Predicts microseconds by strategy; NaN for AUTO and for strategies the table does not know. */
void kvf__cuda_costs_predict(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                             const kvf__cuda_move_profile *profile, double us[KVF_CUDA_STRATEGIES],
                             double *wire_us);

/* Chooses the cheapest of the available strategies, bits 1 << KVF_CUDA_LOOP, ... of `available`,
 * which is not empty. A strategy that occupies thread blocks must be cheaper than those that do not
 * by a tenth, or by a quarter while compute needs the blocks. Strategies that the table does not
 * know come last. Fills in the whole explanation; the caller changes `chosen`, `reason` and
 * us[AUTO] where it decides otherwise. */
void kvf__cuda_costs_choose(const kvf_cuda_costs *costs, kvf_cuda_direction direction,
                            const kvf__cuda_move_profile *profile, unsigned available,
                            bool computing, kvf_cuda_explanation *out);

/* Fitting */

/* One measured transfer of equal pieces, which touch on the host side, layer by layer. */
typedef struct kvf__cuda_sample {
    kvf_cuda_direction direction;
    kvf_cuda_strategy strategy;
    size_t bytes;       /* of a piece */
    uint64_t pieces;    /* or rows, if row_calls > 0 */
    uint64_t row_calls; /* boxes with rows; 0: pieces */
    uint32_t layers;    /* 1 or more */
    double ns;
} kvf__cuda_sample;

/* Fits link speeds and costs to samples and seals the table; what no sample measures stays unknown.
 * Errors: NO_MEMORY; ENGINE when some direction has no samples of loop, which every prediction
 * needs. */
kvf_status kvf__cuda_costs_fit(kvf_cuda_costs *costs, const kvf__cuda_sample *samples, size_t count,
                               kvf_error *error);

/* The noise of samples: the larger of two medians, that of their spreads, each (largest - smallest)
 * / median, and that of the relative distances of the last `again` samples from the first of the
 * same kind. Reorders the spreads. */
double kvf__cuda_noise(const kvf__cuda_sample *samples, double *spreads, size_t count,
                       size_t again);

/* Machine keys */

/* The machine key of a device. Errors: as for the device in kvf_cuda_costs_load. */
kvf_status kvf__cuda_machine_key_of(int device, kvf__cuda_machine_key *key, kvf_error *error);

/* The link as described in a PCI device's folder in sysfs: "32.0 GT/s PCIe x16", or "unknown". */
void kvf__cuda_link_in(const char *folder, char *text, size_t size);

#endif
