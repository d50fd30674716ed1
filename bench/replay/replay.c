/* kvferry replay: serves a request trace over two tiers, and measures the transfers. */
#include "base/command.h"

#include "output/json_file.h"
#include "output/measure.h"
#include "base/options.h"
#include "output/output.h"
#include "replay/server.h"
#include "replay/synthetic.h"
#include "base/base.h"
#include "replay/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_TRACE = 1,
    KEY_SYNTHETIC,
    KEY_SEED,
    KEY_REQUESTS,
    KEY_DEVICE_BLOCKS,
    KEY_HOST_BLOCKS,
    KEY_BLOCK_BYTES,
    KEY_BLOCK_TOKENS,
    KEY_REGIONS,
    KEY_INTEGRITY,
    KEY_NO_VERIFY,
};

typedef struct replay_options {
    const char *trace; /* NULL: synthetic */
    bool synthetic;
    uint64_t seed;
    size_t requests; /* 0: all */
    size_t block_bytes;
    server_options server;
    backend_options backend;
    output_options output;
} replay_options;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Requests:", 1},
    {"trace", KEY_TRACE, "FILE", 0, "Replay a trace in Mooncake's format, one JSON object per line",
     1},
    {"synthetic", KEY_SYNTHETIC, NULL, 0,
     "Replay made-up requests with the statistics of Mooncake's conversation trace", 1},
    {"seed", KEY_SEED, "N", 0, "Seed of the made-up requests (default 1)", 1},
    {"requests", KEY_REQUESTS, "N", 0,
     "Number of requests (default: the whole trace, or 12031 made-up ones)", 1},
    {NULL, 0, NULL, 0, "Tiers:", 2},
    {"device-blocks", KEY_DEVICE_BLOCKS, "N", 0,
     "Blocks of the device tier (default 8192; 0: as many as the trace needs)", 2},
    {"host-blocks", KEY_HOST_BLOCKS, "N", 0,
     "Blocks of the host tier (default 0: as many as the trace needs)", 2},
    {"block-bytes", KEY_BLOCK_BYTES, "N", 0, "Bytes of a whole block (default 8K)", 2},
    {"block-tokens", KEY_BLOCK_TOKENS, "N", 0, "Tokens of a block (default 512)", 2},
    {"regions", KEY_REGIONS, "N", 0,
     "Regions of a block on the device, each in a buffer of its own; must divide --block-bytes "
     "(default 8)",
     2},
    {NULL, 0, NULL, 0, "Engine and checks:", 80},
    {"integrity", KEY_INTEGRITY, NULL, 0,
     "Have the library keep checksums of the host tier's blocks", 82},
    {"no-verify", KEY_NO_VERIFY, NULL, 0, "Do not poison and check destinations", 82},
    {NULL, 0, NULL, 0, "Output:", 90},
    {0},
};

static const char doc[] =
    "Serve the requests of a trace, one after the other, over a device and a host tier.\v"
    "Each prompt is hashed block by block. The longest prefix that the tiers hold is a hit. Blocks "
    "of it that only the host has are onboarded, the other blocks are computed (here: filled with "
    "a pattern), and blocks that the host lacks are offloaded. Full tiers evict the least recently "
    "used blocks. A prompt longer than a tier is served in parts; a block is a hit if a tier holds "
    "it when its part is served.\n"
    "\n"
    "Unless --no-verify is given, every destination is poisoned before a transfer and compared "
    "byte by byte after it. The exit status is 1 if any byte differs.\n"
    "\n"
    "Trace format:\n"
    "One JSON object per line, as in the traces of Mooncake's FAST'25 release:\n"
    "\n"
    "  {\"timestamp\": 0, \"input_length\": 500, \"output_length\": 5, \"hash_ids\": [7]}\n"
    "\n"
    "hash_ids has an integer of at least 0 for each block of the prompt, in order. Requests whose "
    "lists start alike share that prefix. The other three keys are optional; they must be numbers "
    "of at least 0, and are ignored. Further keys are ignored too. Anything else, such as an empty "
    "line or a duplicate key, is an error that names the line.\n"
    "\n"
    "Examples:\n"
    "  kvferry replay --synthetic\n"
    "  kvferry replay --synthetic --seed 7 --requests 2000 --device-blocks 4096\n"
    "  kvferry replay --trace conversation.jsonl --host-blocks 65536 --json -\n";

static const option_rule rules[] = {
    SETS(KEY_TRACE, replay_options, trace),
    SETS(KEY_SYNTHETIC, replay_options, synthetic),
    SETS_WITHIN(KEY_SEED, replay_options, seed, 0, INT64_MAX),
    SETS_WITHIN(KEY_REQUESTS, replay_options, requests, 1, UINT32_MAX),
    SETS_WITHIN(KEY_DEVICE_BLOCKS, replay_options, server.device_blocks, 0, INT32_MAX),
    SETS_WITHIN(KEY_HOST_BLOCKS, replay_options, server.host_blocks, 0, INT32_MAX),
    SETS_WITHIN(KEY_BLOCK_BYTES, replay_options, block_bytes, 1, UINT32_MAX),
    SETS_WITHIN(KEY_BLOCK_TOKENS, replay_options, server.block_tokens, 1, 1 << 20),
    SETS_WITHIN(KEY_REGIONS, replay_options, server.regions, 1, 1 << 16),
    SETS(KEY_INTEGRITY, replay_options, server.integrity),
    {0},
};

static void finish(replay_options *chosen, struct argp_state *state) {
    if ((chosen->trace != NULL) == chosen->synthetic)
        argp_error(state, "give --trace or --synthetic, not both");
    if (chosen->block_bytes % chosen->server.regions != 0) {
        argp_error(state, "--block-bytes: %zu is not a multiple of --regions (%zu)",
                   chosen->block_bytes, chosen->server.regions);
    }
    chosen->server.region_bytes = chosen->block_bytes / chosen->server.regions;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    replay_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &chosen->backend;
        state->child_inputs[2] = &chosen->output;
        return 0;
    case KEY_NO_VERIFY:
        chosen->server.verify = false;
        return 0;
    case ARGP_KEY_END:
        finish(chosen, state);
        return 0;
    default:
        return option_set(options, rules, key, argument, state);
    }
}

static void read_trace(const char *name, trace *out) {
    char message[512];
    FILE *file = fopen(name, "r");
    if (!file)
        fail(EXIT_USAGE, "%s: cannot be opened: %s", name, strerror(errno));
    if (!trace_read(file, name, out, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        exit(EXIT_USAGE);
    }
    fclose(file);
}

/* A size of 0 becomes the number of distinct blocks. */
static void size_tiers(const trace *trace, server_options *server) {
    size_t distinct = trace_distinct(trace);
    size_t needed = distinct > 0 ? distinct : 1;
    server->device_blocks = server->device_blocks > 0 ? server->device_blocks : needed;
    server->host_blocks = server->host_blocks > 0 ? server->host_blocks : needed;
}

/* Serves all requests. Returns the seconds that took. */
static double serve(server *server, const trace *trace) {
    progress progress = {.what = "requests"};
    uint64_t start = clock_ns();
    for (size_t i = 0; i < trace->requests; i++) {
        size_t count;
        const uint64_t *ids = trace_request(trace, i, &count);
        server_serve(server, ids, count);
        progress_step(&progress, i + 1, trace->requests);
    }
    progress_end(&progress);
    return (double)(clock_ns() - start) / 1e9;
}

static void describe_trace(const replay_options *chosen, const trace *trace, json_t *context) {
    bool from_file = chosen->trace;
    json_object_set_new(context, "seed",
                        from_file ? json_null() : json_integer((json_int_t)chosen->seed));
    json_object_set_new(context, "trace", json_text(chosen->trace));
    json_object_set_new(context, "trace_digest",
                        from_file ? json_sprintf("xxh64:%016" PRIx64, trace->digest) : json_null());
}

static double gbps(uint64_t bytes, uint64_t ns) {
    return ns > 0 ? (double)bytes / (double)ns : NAN;
}

static void fill_row(json_t *row, server *server, const server_options *options, double seconds) {
    const server_counts *counts = server_get_counts(server);
    size_t transfers;
    double *latencies = server_latencies(server, &transfers);
    summary summary = summarize(latencies, transfers);
    summary.spread = NAN; /* transfers differ in size, which is not noise */
    row_count(row, "requests", counts->requests);
    row_count(row, "blocks", counts->blocks);
    row_count(row, "device_hits", counts->device_hits);
    row_count(row, "host_hits", counts->host_hits);
    row_count(row, "computed", counts->computed);
    row_real(row, "hit_rate",
             (double)(counts->device_hits + counts->host_hits) / (double)counts->blocks);
    row_count(row, "onboarded", counts->onboarded);
    row_count(row, "offloaded", counts->offloaded);
    row_count(row, "onboard_bytes", counts->onboard_bytes);
    row_count(row, "offload_bytes", counts->offload_bytes);
    row_count(row, "transfers", transfers);
    row_count(row, "boxes", counts->boxes);
    row_count(row, "verified_blocks", counts->verified_blocks);
    if (options->verify)
        row_count(row, "corrupt_blocks", counts->corrupt_blocks);
    else
        row_text(row, "corrupt_blocks", NULL);
    row_real(row, "onboard_gbps", gbps(counts->onboard_bytes, counts->onboard_ns));
    row_real(row, "offload_gbps", gbps(counts->offload_bytes, counts->offload_ns));
    row_summary(row, "us", 1, &summary);
    row_real(row, "wall_seconds", seconds);
    row_count(row, "device_blocks", options->device_blocks);
    row_count(row, "host_blocks", options->host_blocks);
    row_count(row, "block_bytes", options->regions * options->region_bytes);
    row_count(row, "block_tokens", options->block_tokens);
    row_count(row, "regions", options->regions);
    row_flag(row, "integrity", options->integrity);
    row_verified(row, options->verify, counts->corrupt_blocks == 0);
}

static int run(const replay_options *chosen, const trace *trace) {
    backend backend;
    server_options options_sized = chosen->server;
    size_tiers(trace, &options_sized);
    backend_open(&backend, &chosen->backend);
    output *output = output_open(&chosen->output, "replay", backend.type->name);
    backend_describe(&backend, output_context(output));
    describe_trace(chosen, trace, output_context(output));
    output_begin(output);
    server *server = server_open(&backend, &options_sized);
    double seconds = serve(server, trace);
    json_t *row = output_row(output);
    fill_row(row, server, &options_sized, seconds);
    row_flag(row, "imitated", backend.imitated);
    row_text(row, "engine", backend.type->name);
    output_note(output, "onboard_gbps, offload_gbps: bytes / time from submit to completion, over "
                        "all transfers; 10^9 bytes/s");
    uint64_t corrupt = server_get_counts(server)->corrupt_blocks;
    server_close(server);
    backend_conclude(&backend, output_context(output));
    backend_close(&backend);
    output_close(output);
    if (corrupt > 0)
        fail(EXIT_CHECK, "%llu blocks did not arrive intact", (unsigned long long)corrupt);
    return 0;
}

int replay_main(int argc, char **argv) {
    static const struct argp_child children[] = {{&backend_argp, 0, NULL, 80},
                                                 {&imitate_argp, 0, NULL, 81},
                                                 {&output_argp, 0, NULL, 90},
                                                 {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    replay_options chosen = {
        .seed = SEED,
        .block_bytes = 8192,
        .server = {.device_blocks = 8192, .regions = 8, .block_tokens = 512, .verify = true},
    };
    trace trace = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    if (chosen.trace) {
        read_trace(chosen.trace, &trace);
    } else {
        size_t requests = chosen.requests > 0 ? chosen.requests : SYNTHETIC_REQUESTS;
        synthetic_make(chosen.seed, requests, &trace);
    }
    if (chosen.requests > 0)
        trace_truncate(&trace, chosen.requests);
    int code = run(&chosen, &trace);
    trace_free(&trace);
    return code;
}
