/* kvferry calibrate: measures what transfers cost on a GPU, and stores the cost table. */
#include "base/command.h"

#include "engines/backend.h"
#include "gpu/device.h"
#include "machine/cost_table.h"
#include "gpu/gpu_info.h"
#include "output/measure.h"
#include "engines/cost_cache.h"
#include "base/options.h"
#include "output/output.h"
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_DEVICE = 1, KEY_OUTPUT, KEY_SCRATCH_BYTES, KEY_MOST_NOISE };

typedef struct calibrate_options {
    const char *file;  /* NULL: in the cache directory */
    double most_noise; /* NaN: the default */
    kvf_cuda_calibrate_options calibrate;
    output_options output;
} calibrate_options;

static const struct argp_option options[] = {
    {"device", KEY_DEVICE, "N", 0, "Number of the GPU (default 0)", 0},
    {"output", KEY_OUTPUT, "FILE", 0,
     "Write the cost table to FILE, for --costs (default: in the cache directory, for this GPU)",
     0},
    {"scratch-bytes", KEY_SCRATCH_BYTES, "N", 0,
     "Bytes of GPU memory, and of pinned memory, to use (default 256M, at least 8M; below 256M the "
     "largest transfers are not measured)",
     0},
    {"most-noise", KEY_MOST_NOISE, "F", 0,
     "Store the cost table only if repeated measurements differ by at most this fraction (default "
     "0.1; no limit on an imitated GPU)",
     0},
    {0},
};

static const char doc[] =
    "Measure what transfers cost on a GPU, by each strategy, and store the cost table.\v"
    "Takes about two seconds. Nothing else should use the GPU and its link during that time. If "
    "the cost table is noisier than --most-noise, it is not stored, a stored one stays, and the "
    "exit status is 1.\n"
    "\n"
    "The cost table is stored as $XDG_CACHE_HOME/kvferry/cuda-NAME.json (in ~/.cache without that "
    "variable). The other commands use it on a GPU of the same name, with the same driver and the "
    "same kind of link. The library itself reads only files that it is given.\n"
    "\n"
    "The rows are predictions of the cost table: moving 64 MiB in blocks of 64 regions, with "
    "random ids on the device and whole blocks in pinned memory.\n"
    "\n"
    "Examples:\n"
    "  kvferry calibrate\n"
    "  kvferry calibrate --device 1 --output gpu1.json\n"
    "  kvferry bench transfer --engine cuda --costs gpu1.json --device 1\n";

static const option_rule rules[] = {
    SETS(KEY_OUTPUT, calibrate_options, file),
    SETS(KEY_MOST_NOISE, calibrate_options, most_noise),
    SETS_WITHIN(KEY_DEVICE, calibrate_options, calibrate.device, 0, INT32_MAX),
    SETS_WITHIN(KEY_SCRATCH_BYTES, calibrate_options, calibrate.scratch_bytes, 8 << 20,
                UINT64_C(1) << 40),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    calibrate_options *chosen = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &chosen->output;
        return 0;
    }
    return option_set(options, rules, key, argument, state);
}

/* Whether a file can be created there. Checked before the measurement. */
static bool can_be_made(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = strdup(slash ? path : ".");
    if (!folder)
        return false;
    if (slash)
        folder[slash > path ? slash - path : 1] = '\0'; /* "/" itself keeps its slash */
    bool can = access(folder, W_OK | X_OK) == 0;
    free(folder);
    return can;
}

/* The path of the cost table; the caller frees it. */
static char *choose_path(const calibrate_options *chosen, const char *gpu) {
    char *path = chosen->file ? strdup(chosen->file) : cost_cache_path(gpu);
    if (!path)
        fail(EXIT_USAGE,
             "there is no cache directory: set HOME or XDG_CACHE_HOME, or give --output");
    if (!chosen->file && !cost_cache_make_folders(path))
        fail(EXIT_USAGE, "%s: cannot create its directory: %s", path, strerror(errno));
    if (!can_be_made(path))
        fail(EXIT_USAGE, "%s: cannot be written: %s", path, strerror(errno));
    return path;
}

static void save(const kvf_cuda_costs *costs, const char *path) {
    kvf_error error = {0};
    char text[256];
    kvf_status status = kvf_cuda_costs_save(costs, path, &error);
    if (status == KVF_ERR_ENGINE)
        fail(EXIT_USAGE, "%s: cannot be written: %s", path, strerror(error.native_code));
    if (status != KVF_OK) {
        kvf_error_format(&error, text, sizeof text);
        fail(EXIT_CHECK, "%s: %s", path, text);
    }
}

static double most_noise(const calibrate_options *chosen, const device *device) {
    return !isnan(chosen->most_noise) ? chosen->most_noise
           : device->imitated         ? INFINITY
                                      : KVF_CUDA_NOISY;
}

/* Returns the noise. A cost table with more than `most` is not stored, and a stored one stays. */
static double calibrate(const calibrate_options *chosen, double most, const char *path,
                        output *output) {
    json_t *context = output_context(output);
    kvf_cuda_costs *costs = NULL;
    kvf_error error = {0};
    uint64_t start = clock_ns();
    must(kvf_cuda_costs_calibrate(&chosen->calibrate, &costs, &error), &error, "calibrating");
    double seconds = (double)(clock_ns() - start) / 1e9, noise = kvf_cuda_costs_noise(costs);
    if (noise <= most)
        save(costs, path);
    else
        json_object_set_new(context, "costs", json_null());
    cost_table_rows(costs, output);
    json_object_set_new(context, "calibration_seconds", json_real(seconds));
    json_object_set_new(context, "calibration_noise", json_real(noise));
    kvf_cuda_costs_destroy(costs);
    return noise;
}

int calibrate_main(int argc, char **argv) {
    static const struct argp_child children[] = {{&output_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    calibrate_options chosen = {.most_noise = NAN};
    device device;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    device_open(&device, chosen.calibrate.device);
    output *output = output_open(&chosen.output, "calibrate", "cuda");
    char *path = choose_path(&chosen, device.name);
    gpu_info_describe(&device, (size_t)8 << 20, output_context(output));
    json_object_set_new(output_context(output), "costs", json_string(path));
    output_begin(output);
    double most = most_noise(&chosen, &device), noise = calibrate(&chosen, most, path, output);
    output_note(output,
                "_us: predicted microseconds, by strategy; wire_us: at the link's best speed");
    output_close(output);
    device_close(&device);
    if (noise > most) {
        fail(EXIT_CHECK,
             "%s: not written: repeated measurements differ by %.1f%%, more than --most-noise "
             "allows (%.1f%%); does anything else use the GPU, its link or the CPUs?",
             path, noise * 100, most * 100);
    }
    free(path);
    return 0;
}
