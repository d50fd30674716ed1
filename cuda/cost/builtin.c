/*
 * The built-in cost table: conservative figures that others published for H100s on PCIe Gen5. Where
 * two figures differ, this takes the slower one. Where there is none, it favours the driver's
 * copies over kernels, which take multiprocessors away from compute.
 */
#include "cost/costs.h"

typedef struct point {
    size_t bytes;
    double ns;
} point;

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* GB/s. The link limits large pieces: copy engines reach 50 (vLLM, 2026-01) to 55 (nvbandwidth). */
#define LINK 50.0

/* A call takes 2.3 us (vllm #48434). */
static const point call[] = {{512, 2300}, {64 * KIB, 2300}, {128 * KIB, 2622}, {4 * MIB, 83887}};

/* A guess for lack of figures: close to the small pieces of a batch. */
static const point row[] = {{512, 500}, {16 * KIB, 500}, {32 * KIB, 660}, {4 * MIB, 83887}};

/* Batches of 10,000 pieces reach 6.8 GB/s at 4 KiB and 38.8 at 64 KiB; batches of 50,000 reach 7
 * GB/s at 24 KiB and 40 at 28 KiB (vllm #42212). The jump is real: the driver copies differently
 * from there on. */
static const point batched[] = {{512, 600},      {4 * KIB, 602},   {24 * KIB, 3510},
                                {28 * KIB, 739}, {64 * KIB, 1689}, {128 * KIB, 2700},
                                {4 * MIB, 83887}};

/* An H100 reaches 35 GB/s to the device and 53 from it (nvbandwidth #24); Gen4, which is half as
 * fast, 17.5 and 8.5 GiB/s (TensorRT-LLM). A few thread blocks are enough from 8 KiB on (vLLM). The
 * values for smaller pieces are guesses. */
static const point kernel_to[] = {{512, 40}, {8 * KIB, 234}, {4 * MIB, 119838}};
static const point kernel_from[] = {{512, 60}, {8 * KIB, 455}, {4 * MIB, 233017}};

/* The highest published figure, 60 multiprocessor-milliseconds per GB, with 12 thread blocks. */
static const point pack[] = {{512, 5}, {1 * KIB, 5.2}, {4 * MIB, 20972}};

/* Copies within an H100 reach 1,627 GiB/s (nccl #2177). The costs of small pieces there are
 * guesses. */
#define INSIDE 1500.0
static const point call_inside[] = {{512, 2300}, {2 * MIB, 2300}, {4 * MIB, 2796}};
static const point row_inside[] = {{512, 10}, {8 * KIB, 20}, {4 * MIB, 10240}};
static const point batched_inside[] = {{512, 600}, {512 * KIB, 600}, {4 * MIB, 4200}};
static const point kernel_inside[] = {{512, 2}, {8 * KIB, 10}, {4 * MIB, 4200}};

#define CURVE(points) curve_of(points, sizeof(points) / sizeof *(points))

static kvf__cuda_curve curve_of(const point *points, size_t count) {
    kvf__cuda_curve c = {.count = count};
    for (size_t i = 0; i < count; i++) {
        c.bytes[i] = points[i].bytes;
        c.ns[i] = points[i].ns;
    }
    return c;
}

/* A layer's event, and its own launch or call where a whole transfer otherwise needs one. */
enum { EVENT = 1500, LAUNCH = 5000 };

/* Fixed times: submitting, starting on the device, and noticing the final event. */
enum { DIRECT = 12000, BATCH_CALL = 3000, STAGED = 30000, CHUNK = 10000 };

static void fill_link(kvf__cuda_cost cost[KVF_CUDA_STRATEGIES], kvf__cuda_curve kernel) {
    cost[KVF_CUDA_LOOP] = (kvf__cuda_cost){.fixed_ns = DIRECT,
                                           .layer_ns = EVENT,
                                           .piece = CURVE(call),
                                           .row_call_ns = call[0].ns,
                                           .row = CURVE(row)};
    cost[KVF_CUDA_BATCH] = (kvf__cuda_cost){
        .fixed_ns = DIRECT + BATCH_CALL, .layer_ns = EVENT + LAUNCH, .piece = CURVE(batched)};
    cost[KVF_CUDA_KERNEL] =
        (kvf__cuda_cost){.fixed_ns = DIRECT, .layer_ns = EVENT + LAUNCH, .piece = kernel};
    cost[KVF_CUDA_STAGED] = (kvf__cuda_cost){
        .fixed_ns = STAGED, .layer_ns = EVENT, .piece = CURVE(pack), .chunk_ns = CHUNK};
}

static void fill_inside(kvf__cuda_cost cost[KVF_CUDA_STRATEGIES]) {
    fill_link(cost, CURVE(kernel_inside));
    cost[KVF_CUDA_LOOP].piece = CURVE(call_inside);
    cost[KVF_CUDA_LOOP].row = CURVE(row_inside);
    cost[KVF_CUDA_BATCH].piece = CURVE(batched_inside);
    cost[KVF_CUDA_STAGED] = (kvf__cuda_cost){0};
}

kvf_status kvf_cuda_costs_builtin(const kvf_allocator *allocator, kvf_cuda_costs **out,
                                  kvf_error *error) {
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_cuda_costs *costs = kvf__cuda_costs_make(allocator);
    if (!costs)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    costs->link[KVF_CUDA_TO_DEVICE] = costs->link[KVF_CUDA_FROM_DEVICE] = LINK;
    costs->link[KVF_CUDA_ON_DEVICE] = INSIDE;
    fill_link(costs->cost[KVF_CUDA_TO_DEVICE], CURVE(kernel_to));
    fill_link(costs->cost[KVF_CUDA_FROM_DEVICE], CURVE(kernel_from));
    fill_inside(costs->cost[KVF_CUDA_ON_DEVICE]);
    kvf__cuda_costs_seal(costs);
    *out = costs;
    return KVF_OK;
}
