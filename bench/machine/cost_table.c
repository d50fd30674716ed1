#include "machine/cost_table.h"

#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BYTES ((size_t)64 << 20)

enum { REGIONS = 64 };

/* Made-up addresses: the memory is never accessed. */
#define DEVICE_BASE ((uintptr_t)1 << 40)
#define HOST_BASE   ((uintptr_t)1 << 41)

static kvf_layout *make_layout(size_t fragment_bytes, size_t blocks, bool device) {
    kvf_shape shape = {
        .blocks = blocks, .layers = REGIONS / 2, .parts = 2, .bytes = fragment_bytes};
    kvf_buffer buffers[REGIONS];
    kvf_buffer whole = {.base = (void *)HOST_BASE, .bytes = BYTES};
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    for (size_t i = 0; i < REGIONS; i++) {
        buffers[i] = (kvf_buffer){.base = (void *)(DEVICE_BASE + i * 2 * (BYTES / REGIONS)),
                                  .bytes = BYTES / REGIONS};
    }
    kvf_status status = device ? kvf_layout_per_part(&shape, buffers, &layout, &error)
                               : kvf_layout_contiguous(&shape, whole, &layout, &error);
    must(status, &error, "making a layout");
    return layout;
}

/* Random ids on the device, consecutive ones on the host. */
static kvf_move *make_move(const kvf_layout *device, const kvf_layout *host, bool to_device) {
    size_t blocks = kvf_layout_blocks(device);
    uint64_t *ids = must_grow(NULL, 2 * blocks, sizeof *ids);
    uint64_t state = SEED;
    kvf_move *move = NULL;
    kvf_error error = {0};
    for (size_t i = 0; i < blocks; i++)
        ids[i] = ids[blocks + i] = i;
    shuffle(ids, blocks, &state);
    kvf_plan plan = {.count = blocks,
                     .src_ids = to_device ? ids + blocks : ids,
                     .dst_ids = to_device ? ids : ids + blocks};
    kvf_move_spec spec = {.src = to_device ? host : device,
                          .dst = to_device ? device : host,
                          .plans = &plan,
                          .plan_count = 1};
    must(kvf_move_create(&spec, kvf_cuda_limits(), NULL, &move, &error), &error, "making a move");
    free(ids);
    return move;
}

static void fill_row(json_t *row, const kvf_cuda_explanation *expected) {
    char key[64];
    row_text(row, "chosen", kvf_cuda_strategy_name(expected->chosen));
    for (unsigned i = 1; i < KVF_CUDA_STRATEGIES; i++) {
        snprintf(key, sizeof key, "%s_us", kvf_cuda_strategy_name((kvf_cuda_strategy)i));
        row_real(row, key, expected->us[i]);
    }
    row_real(row, "wire_us", expected->wire_us);
    row_real(row, "expected_gbps",
             (double)expected->bytes / (1000 * expected->us[expected->chosen]));
    row_flag(row, "calibrated", expected->calibrated);
}

static void add_row(const kvf_cuda_costs *costs, size_t fragment_bytes, bool to_device,
                    output *output) {
    size_t blocks = BYTES / REGIONS / fragment_bytes;
    kvf_layout *device = make_layout(fragment_bytes, blocks, true);
    kvf_layout *host = make_layout(fragment_bytes, blocks, false);
    kvf_move *move = make_move(device, host, to_device);
    kvf_cuda_explanation expected;
    kvf_error error = {0};
    must(kvf_cuda_costs_explain(costs, move, to_device ? KVF_CUDA_TO_DEVICE : KVF_CUDA_FROM_DEVICE,
                                &expected, &error),
         &error, "predicting a move");
    json_t *row = output_row(output);
    row_text(row, "direction", to_device ? "h2d" : "d2h");
    row_count(row, "fragment_bytes", fragment_bytes);
    fill_row(row, &expected);
    kvf_move_destroy(move);
    kvf_layout_destroy(device);
    kvf_layout_destroy(host);
}

void cost_table_rows(const kvf_cuda_costs *costs, output *output) {
    static const size_t fragment_bytes[] = {1 << 10,  4 << 10,   16 << 10,
                                            64 << 10, 256 << 10, 1 << 20};
    for (int to_device = 1; to_device >= 0; to_device--)
        for (size_t i = 0; i < sizeof fragment_bytes / sizeof fragment_bytes[0]; i++)
            add_row(costs, fragment_bytes[i], to_device == 1, output);
}
