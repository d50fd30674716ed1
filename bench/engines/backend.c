#include "engines/backend.h"

#include "base/options.h"

#include <string.h>

enum {
    KEY_ENGINE = 0x1100,
    KEY_THREADS,
    KEY_DEVICE,
    KEY_COSTS,
    KEY_BUILTIN_COSTS,
    KEY_IMITATE_GBPS,
    KEY_IMITATE_LATENCY,
};

static const backend_type *const types[] = {
    &backend_host,
#ifdef KVF_BENCH_CUDA
    &backend_cuda,
#endif
};

static const struct argp_option engine_options[] = {
    {"engine", KEY_ENGINE, "NAME", 0, "The engine: host (default) or cuda", 80},
    {"threads", KEY_THREADS, "N", 0,
     "Threads of engine host (default: one per CPU that the tool may run on, at most 8)", 80},
    {"device", KEY_DEVICE, "N", 0, "Number of the GPU of engine cuda (default 0)", 80},
    {0},
};

static const struct argp_option cost_options[] = {
    {"costs", KEY_COSTS, "FILE", 0,
     "The cost table by which engine cuda chooses strategies (default: the one that `kvferry "
     "calibrate` stored in the cache directory for this GPU, else the built-in one)",
     80},
    {"built-in-costs", KEY_BUILTIN_COSTS, NULL, 0, "Use the library's built-in cost table", 80},
    {0},
};

static const struct argp_option imitate_options[] = {
    {"imitate-gbps", KEY_IMITATE_GBPS, "GBPS", 0,
     "Imitate a link of this speed, in 10^9 bytes/s (engine host only; marks the results)", 81},
    {"imitate-latency-us", KEY_IMITATE_LATENCY, "US", 0,
     "Imitate a link with this delay, in microseconds, before each transfer (engine host only; "
     "marks the results)",
     81},
    {0},
};

static const option_rule engine_rules[] = {
    SETS_WITHIN(KEY_THREADS, backend_options, threads, 1, 64),
    SETS_WITHIN(KEY_DEVICE, backend_options, device, 0, INT32_MAX),
    {0},
};

static const option_rule imitate_rules[] = {
    SETS(KEY_IMITATE_GBPS, backend_options, imitate_gbps),
    SETS(KEY_IMITATE_LATENCY, backend_options, imitate_latency_us),
    {0},
};

const backend_type *backend_find(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!name || strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

static void parse_engine_name(backend_options *options, const char *name,
                              const struct argp_state *state) {
    options->engine = name;
    if (backend_find(name))
        return;
    if (strcmp(name, "cuda") == 0) {
        argp_error(state, "--engine: this kvferry was built without engine cuda: building it needs "
                          "the CUDA toolkit with nvcc");
    }
    argp_error(state, "--engine: unknown engine '%s' (expected host or cuda)", name);
}

static error_t parse_engine(int key, char *argument, struct argp_state *state) {
    backend_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case KEY_ENGINE:
        parse_engine_name(options, argument, state);
        return 0;
    default:
        return option_set(engine_options, engine_rules, key, argument, state);
    }
}

static error_t parse_costs(int key, char *argument, struct argp_state *state) {
    backend_options *options = state->input;
    switch (key) {
    case KEY_COSTS:
        options->costs = argument;
        options->builtin_costs = false;
        return 0;
    case KEY_BUILTIN_COSTS:
        options->costs = NULL;
        options->builtin_costs = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_imitate(int key, char *argument, struct argp_state *state) {
    return option_set(imitate_options, imitate_rules, key, argument, state);
}

const struct argp costs_argp = {.options = cost_options, .parser = parse_costs};

static const struct argp_child engine_children[] = {{&costs_argp, 0, NULL, 80}, {0}};

const struct argp backend_argp = {
    .options = engine_options, .parser = parse_engine, .children = engine_children};
const struct argp imitate_argp = {.options = imitate_options, .parser = parse_imitate};

void backend_open(backend *backend, const backend_options *options) {
    *backend = (struct backend){.type = backend_find(options->engine)};
    backend->type->open(backend, options);
}

void backend_close(backend *backend) {
    kvf_engine_destroy(backend->engine);
    backend->type->close(backend);
}

void backend_describe(backend *backend, json_t *context) {
    if (backend->type->describe)
        backend->type->describe(backend, context);
    json_object_set_new(context, "imitated", json_boolean(backend->imitated));
}

void backend_conclude(backend *backend, json_t *context) {
    if (backend->type->conclude)
        backend->type->conclude(backend, context);
}
