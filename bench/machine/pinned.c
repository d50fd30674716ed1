/* kvferry bench pinned: how long pinning host memory takes. */
#include "base/command.h"

#include "gpu/device.h"
#include "gpu/gpu_info.h"
#include "output/measure.h"
#include "base/options.h"
#include "output/output.h"
#include "base/base.h"

#include <kvferry/cuda.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Memory on each side to measure the link with, for the context. */
#define LINK_BYTES ((size_t)64 << 20)

enum { KEY_BYTES = 1, KEY_DEVICE, KEY_SAMPLES };

typedef struct pinned_options {
    number_list bytes;
    int device;
    size_t samples;
    output_options output;
} pinned_options;

static const struct argp_option options[] = {
    {"bytes", KEY_BYTES, "LIST", 0, "Bytes to pin (default 1G)", 0},
    {"device", KEY_DEVICE, "N", 0, "Number of the GPU (default 0)", 0},
    {"samples", KEY_SAMPLES, "N", 0, "Samples per row (default 3)", 0},
    {0},
};

static const char doc[] =
    "Measure how long pinning host memory takes: by kvf_cuda_pinned_create, with and without huge "
    "pages, and by cudaHostAlloc.\v"
    "Memory is freed between samples. touch_s and register_s are the parts of a sample: mapping "
    "and first touch by several threads, and page locking.\n"
    "\n"
    "Examples:\n"
    "  kvferry bench pinned\n"
    "  kvferry bench pinned --bytes 1G,16G --json pinned.json\n";

static const option_rule rules[] = {
    SETS_WITHIN(KEY_BYTES, pinned_options, bytes, 1, UINT64_MAX),
    SETS_WITHIN(KEY_DEVICE, pinned_options, device, 0, 1023),
    SETS_WITHIN(KEY_SAMPLES, pinned_options, samples, 1, 1000),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    pinned_options *chosen = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &chosen->output;
        return 0;
    }
    return option_set(options, rules, key, argument, state);
}

/* Not timed: whether the runtime regards the memory as pinned, and every page keeps what is
 * written. */
static bool check_memory(char *memory, size_t bytes) {
    const char *ends[] = {memory, memory + bytes - 1};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool right = true;
    for (size_t i = 0; i < 2; i++) {
        struct cudaPointerAttributes attributes;
        must_cuda(cudaPointerGetAttributes(&attributes, ends[i]), "cudaPointerGetAttributes");
        right = right && attributes.type == cudaMemoryTypeHost;
    }
    for (size_t at = 0; at < bytes; at += page)
        memory[at] = (char)(at / page * 31 + 1);
    consume(memory);
    for (size_t at = 0; at < bytes; at += page)
        right = right && memory[at] == (char)(at / page * 31 + 1);
    return right;
}

/* Takes one sample in seconds. Clears `right` if the memory is wrong. `info` gets what the library
 * reports. */
static double sample_library(const pinned_options *chosen, size_t bytes, bool huge,
                             kvf_cuda_pinned_info *info, bool *right) {
    const kvf_cuda_pinned_options wanted = {
        .bytes = bytes, .device = chosen->device, .near_device = true, .no_huge_pages = !huge};
    kvf_cuda_pinned *memory = NULL;
    kvf_error error = {0};
    uint64_t start = clock_ns();
    must(kvf_cuda_pinned_create(&wanted, &memory, info, &error), &error, "pinning memory");
    double seconds = (double)(clock_ns() - start) / 1e9;
    *right = check_memory(kvf_cuda_pinned_base(memory), bytes) && *right;
    kvf_cuda_pinned_destroy(memory);
    return seconds;
}

static double sample_runtime(size_t bytes, bool *right) {
    void *memory = NULL;
    uint64_t start = clock_ns();
    must_cuda(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "cudaHostAlloc");
    double seconds = (double)(clock_ns() - start) / 1e9;
    *right = check_memory(memory, bytes) && *right;
    must_cuda(cudaFreeHost(memory), "cudaFreeHost");
    return seconds;
}

/* Returns whether all memory was right. */
static bool measure_way(const pinned_options *chosen, size_t bytes, const char *way, json_t *row) {
    enum { MOST = 1000 };
    static double seconds[MOST];
    kvf_cuda_pinned_info info = {.numa_node = -1};
    bool runtime = strcmp(way, "cudaHostAlloc") == 0, huge = strcmp(way, "huge pages") == 0;
    bool right = true;
    for (size_t i = 0; i < chosen->samples; i++) {
        seconds[i] = runtime ? sample_runtime(bytes, &right)
                             : sample_library(chosen, bytes, huge, &info, &right);
    }
    summary summary = summarize(seconds, chosen->samples);
    row_text(row, "way", way);
    row_count(row, "bytes", bytes);
    row_real(row, "s_per_gib", summary.median / ((double)bytes / (double)(1 << 30)));
    row_summary(row, "s", 1, &summary);
    row_real(row, "touch_s", runtime ? NAN : info.touch_seconds);
    row_real(row, "register_s", runtime ? NAN : info.register_seconds);
    row_real(row, "huge_fraction", runtime ? NAN : (double)info.huge_bytes / (double)info.bytes);
    row_real(row, "numa_node", runtime || info.numa_node < 0 ? NAN : (double)info.numa_node);
    row_verified(row, true, right);
    return right;
}

int bench_pinned_main(int argc, char **argv) {
    static const char *const ways[] = {"huge pages", "small pages", "cudaHostAlloc"};
    static const struct argp_child children[] = {{&output_argp, 0, NULL, 90}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    pinned_options chosen = {.samples = 3};
    device device;
    option_list(NULL, "bytes", "1G", 1, UINT64_MAX, &chosen.bytes);
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    device_open(&device, chosen.device);
    output *output = output_open(&chosen.output, "bench pinned", "cuda");
    gpu_info_describe(&device, LINK_BYTES, output_context(output));
    output_begin(output);
    size_t wrong = 0;
    for (size_t i = 0; i < chosen.bytes.count; i++) {
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            wrong +=
                !measure_way(&chosen, (size_t)chosen.bytes.values[i], ways[w], output_row(output));
        }
    }
    output_note(output,
                "s_per_gib = median_s / (bytes / 2^30); touch_s and register_s are the last "
                "sample's; verified: pinned, and every page keeps what is written");
    device_close(&device);
    output_close(output);
    free(chosen.bytes.values);
    if (wrong > 0)
        fail(EXIT_CHECK, "memory of %zu rows failed verification", wrong);
    return 0;
}
