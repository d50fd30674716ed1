/* kvferry calibrate: measures what transfers cost on a GPU, and keeps that for the other commands.
 */
#include "base/command.h"

#include "engines/backend.h"
#include "gpu/device.h"
#include "machine/cost_table.h"
#include "gpu/gpu_info.h"
#include "output/measure.h"
#include "engines/cost_cache.h"
#include "base/options.h"
#include "output/rows.h"
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_DEVICE = 1, KEY_OUTPUT, KEY_SCRATCH_BYTES, KEY_MOST_NOISE };

typedef struct calibrate_options {
    const char *output; /* NULL: the cache's */
    double most_noise;  /* NaN: the usual */
    kvf_cuda_calibrate_options calibrate;
    report_options report;
} calibrate_options;

static const struct argp_option options[] = {
    {"device", KEY_DEVICE, "N", 0, "The GPU (default 0)", 0},
    {"output", KEY_OUTPUT, "FILE", 0,
     "Write the model to FILE, for --model (default: to the cache directory, for this GPU)", 0},
    {"scratch-bytes", KEY_SCRATCH_BYTES, "N", 0,
     "GPU memory, and as much pinned memory, to use (default 256M, 8M at least; with less the "
     "largest transfers are not measured)",
     0},
    {"most-noise", KEY_MOST_NOISE, "F", 0,
     "Store the model only if repeated measurements differ by at most F (default 0.1; no limit on "
     "an imitated GPU)",
     0},
    {0},
};

static const char doc[] =
    "Measure what transfers cost on a GPU, by every strategy, and keep the model."
    "\v"
    "Takes about two seconds. The GPU and its link should have nothing else to do meanwhile: a "
    "model that is noisier than --most-noise is not kept, what was kept before stays, and the exit "
    "status is 1. The model goes to $XDG_CACHE_HOME/kvferry/cuda-NAME.json (~/.cache without that "
    "variable), where the other commands find it when they run on a GPU of that name, with that "
    "driver and behind such a link. The library itself reads no file that it was not given.\n"
    "\n"
    "The table is what the model says of moving 64 MiB in blocks of 64 regions, with random ids on "
    "the device and whole blocks in pinned memory.\n"
    "\n"
    "Examples:\n"
    "  kvferry calibrate\n"
    "  kvferry calibrate --device 1 --output gpu1.json\n"
    "  kvferry bench transfer --engine cuda --model gpu1.json --device 1\n";

static const option_rule rules[] = {
    SETS(KEY_OUTPUT, calibrate_options, output),
    SETS(KEY_MOST_NOISE, calibrate_options, most_noise),
    SETS_WITHIN(KEY_DEVICE, calibrate_options, calibrate.device, 0, INT32_MAX),
    SETS_WITHIN(KEY_SCRATCH_BYTES, calibrate_options, calibrate.scratch_bytes, 8 << 20,
                UINT64_C(1) << 40),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    calibrate_options *chosen = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &chosen->report;
        return 0;
    }
    return option_set(options, rules, key, argument, state);
}

/* Whether a file can be made there, so that nothing is measured in vain. */
static bool can_be_made(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = strdup(slash == NULL ? "." : path);
    if (folder == NULL) {
        return false;
    }
    if (slash != NULL) {
        folder[slash > path ? slash - path : 1] = '\0'; /* "/" itself keeps its slash */
    }
    bool can = access(folder, W_OK | X_OK) == 0;
    free(folder);
    return can;
}

/* Where the model goes; the caller frees it. */
static char *choose_path(const calibrate_options *chosen, const char *gpu) {
    char *path = chosen->output != NULL ? strdup(chosen->output) : model_cache_path(gpu);
    if (path == NULL) {
        fail(EXIT_USAGE, "there is no cache directory: set HOME or XDG_CACHE_HOME, or --output");
    }
    if (chosen->output == NULL && !model_make_folders(path)) {
        fail(EXIT_USAGE, "%s: cannot make its directory: %s", path, strerror(errno));
    }
    if (!can_be_made(path)) {
        fail(EXIT_USAGE, "%s: cannot be written: %s", path, strerror(errno));
    }
    return path;
}

static void save(const kvf_cuda_model *model, const char *path) {
    kvf_error error = {0};
    char text[256];
    kvf_status status = kvf_cuda_model_save(model, path, &error);
    if (status == KVF_ERR_ENGINE) {
        fail(EXIT_USAGE, "%s: cannot be written: %s", path, strerror(error.native_code));
    }
    if (status != KVF_OK) {
        kvf_error_format(&error, text, sizeof(text));
        fail(EXIT_CHECK, "%s: %s", path, text);
    }
}

static double most_noise(const calibrate_options *chosen, const device *device) {
    return !isnan(chosen->most_noise) ? chosen->most_noise
           : device->imitated         ? INFINITY
                                      : KVF_CUDA_NOISY;
}

/* Returns the noise. A model with more than `most` is not kept, and what was there stays. */
static double calibrate(const calibrate_options *chosen, double most, const char *path,
                        report *report) {
    json_t *context = report_context(report);
    kvf_cuda_model *model = NULL;
    kvf_error error = {0};
    uint64_t start = clock_ns();
    must(kvf_cuda_model_calibrate(&chosen->calibrate, &model, &error), &error, "calibrating");
    double seconds = (double)(clock_ns() - start) / 1e9, noise = kvf_cuda_model_noise(model);
    if (noise <= most) {
        save(model, path);
    } else {
        json_object_set_new(context, "model", json_null());
    }
    expectation_rows(model, report);
    json_object_set_new(context, "calibration_seconds", json_real(seconds));
    json_object_set_new(context, "calibration_noise", json_real(noise));
    kvf_cuda_model_destroy(model);
    return noise;
}

int calibrate_main(int argc, char **argv) {
    static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    calibrate_options chosen = {.most_noise = NAN};
    device device;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    device_open(&device, chosen.calibrate.device);
    report *report = report_open(&chosen.report, "calibrate", "cuda");
    char *path = choose_path(&chosen, device.name);
    facts_describe(&device, (size_t)8 << 20, report_context(report));
    json_object_set_new(report_context(report), "model", json_string(path));
    report_begin(report);
    double most = most_noise(&chosen, &device), noise = calibrate(&chosen, most, path, report);
    report_note(report, "_us: microseconds the model expects; wire_us: at the link's best");
    report_close(report);
    device_close(&device);
    if (noise > most) {
        fail(EXIT_CHECK,
             "%s: not written: repeated measurements differ by %.1f %%, more than "
             "%.1f %% (--most-noise): was anything else using the GPU, its link or the processors?",
             path, noise * 100, most * 100);
    }
    free(path);
    return 0;
}
