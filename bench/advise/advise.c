/* kvferry advise: recommends layouts for a model's KV cache, and predicts transfer times. */
#include "advise/advice.h"
#include "base/command.h"
#include "advise/llm_config.h"
#include "base/options.h"
#include "base/base.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_CONFIG = 1,
    KEY_TP,
    KEY_BLOCK_TOKENS,
    KEY_KV_DTYPE,
    KEY_LAYERS,
    KEY_PATTERN,
    KEY_HOST_PATTERN,
    KEY_COSTS,
    KEY_BUILTIN_COSTS,
    KEY_RESULTS,
    KEY_DEVICE,
};

typedef struct advise_options {
    const char *config, *kv_dtype, *results;
    layer_choice layers;
    uint64_t tp, block_tokens;
    name_list pattern_names;
    id_pattern *patterns; /* one per name */
    id_pattern host_pattern;
    forecast_options forecast;
    output_options output;
} advise_options;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "The model:", 1},
    {"model-config", KEY_CONFIG, "FILE", 0, "The model's Hugging Face config.json (required)", 1},
    {"tp", KEY_TP, "N", 0, "Tensor-parallel ranks that share the heads (default 1)", 1},
    {"block-tokens", KEY_BLOCK_TOKENS, "N", 0, "Tokens per block (default 16)", 1},
    {"kv-dtype", KEY_KV_DTYPE, "TYPE", 0,
     "Data type of the cache: auto (the model's own; default), fp8, bf16, fp16 or fp32", 1},
    {"layers", KEY_LAYERS, "WHICH", 0,
     "Layers to count in models with sliding windows: all (as if none had a window; default) or "
     "full (those without a window)",
     1},
    {NULL, 0, NULL, 0, "Block ids:", 2},
    {"pattern", KEY_PATTERN, "LIST", 0,
     "How block ids advance on the device side: contiguous, run:K (runs of K ids in random order), "
     "stride:K or random (default contiguous,random)",
     2},
    {"host-pattern", KEY_HOST_PATTERN, "PATTERN", 0,
     "One pattern like those of --pattern, for the host side (default contiguous)", 2},
    {NULL, 0, NULL, 0, "What to predict from:", 3},
    {"costs", KEY_COSTS, "FILE", 0,
     "A cost table that `kvferry calibrate` wrote, on any machine (default: the one in the cache "
     "directory for the GPU, else the built-in one; without a GPU: none)",
     3},
    {"built-in-costs", KEY_BUILTIN_COSTS, NULL, 0,
     "The library's built-in cost table, from published figures; needs no GPU", 3},
    {"results", KEY_RESULTS, "FILE", 0, "Results of `kvferry bench transfer --json FILE`", 3},
    {"device", KEY_DEVICE, "N", 0, "Number of the GPU (default 0)", 3},
    {NULL, 0, NULL, 0, "Output:", 90},
    {0},
};

static const char doc[] =
    "Recommend layouts for a model's KV cache, and predict how long moving it takes."
    "\v"
    "Nothing is copied. The library lowers moves of 32,768 and 1,048,576 tokens between layouts at "
    "made-up addresses. A cost table or stored results predict their times.\n"
    "\n"
    "Device layouts:\n"
    "  k_v_apart    two buffers per layer, for K and for V\n"
    "  layer_k_v    a buffer per layer: K of all blocks, then V of all blocks\n"
    "  layer_block  a buffer per layer, block by block: K, then V\n"
    "  layer_mla    a buffer per layer, of MLA vectors\n"
    "  contiguous   whole blocks: all layers of a block together\n"
    "  page_first   K of whole blocks, then V of whole blocks\n"
    "  token_first  like page_first, token by token\n"
    "\n"
    "Host layouts:\n"
    "  whole         recommended by the library for whole blocks\n"
    "  layer         recommended by the library for moves by layer\n"
    "  same          the device's layout\n"
    "  whole_turned  whole blocks, heads outermost instead of tokens\n"
    "\n"
    "Examples:\n"
    "  kvferry advise --model-config config.json --tp 8\n"
    "  kvferry advise --model-config config.json --costs costs.json --kv-dtype fp8\n"
    "  kvferry advise --model-config config.json --results transfer.json --json -\n";

/* Options */

static void set_patterns(advise_options *chosen, const char *list, const struct argp_state *state) {
    const name_list *names = &chosen->pattern_names;
    option_names(list, &chosen->pattern_names);
    chosen->patterns = must_grow(chosen->patterns, names->count, sizeof *chosen->patterns);
    for (size_t i = 0; i < names->count; i++)
        id_pattern_option(state, "pattern", names->names[i], &chosen->patterns[i]);
}

static void parse_layers(advise_options *chosen, const char *name, const struct argp_state *state) {
    if (strcmp(name, "all") != 0 && strcmp(name, "full") != 0)
        argp_error(state, "--layers: unknown value '%s' (expected all or full)", name);
    chosen->layers = strcmp(name, "all") == 0 ? LAYERS_ALL : LAYERS_FULL;
}

static void finish(advise_options *chosen, const struct argp_state *state) {
    const forecast_options *forecast = &chosen->forecast;
    if (!chosen->config)
        argp_error(state, "--model-config is required: the model's config.json");
    if ((forecast->costs != NULL) + forecast->builtin_costs + (chosen->results != NULL) > 1)
        argp_error(state, "--costs, --built-in-costs and --results are mutually exclusive");
    if (chosen->pattern_names.count == 0)
        set_patterns(chosen, "contiguous,random", state);
}

static const option_rule rules[] = {
    SETS(KEY_CONFIG, advise_options, config),
    SETS(KEY_RESULTS, advise_options, results),
    SETS(KEY_COSTS, advise_options, forecast.costs),
    SETS(KEY_BUILTIN_COSTS, advise_options, forecast.builtin_costs),
    SETS_WITHIN(KEY_DEVICE, advise_options, forecast.device, 0, INT32_MAX),
    SETS_WITHIN(KEY_TP, advise_options, tp, 1, 65536),
    SETS_WITHIN(KEY_BLOCK_TOKENS, advise_options, block_tokens, 1, 65536),
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state) {
    advise_options *chosen = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->output;
        return 0;
    case KEY_PATTERN:
        set_patterns(chosen, argument, state);
        return 0;
    case KEY_HOST_PATTERN:
        id_pattern_option(state, "host-pattern", argument, &chosen->host_pattern);
        return 0;
    case KEY_KV_DTYPE:
        if (!llm_config_is_dtype(argument))
            argp_error(state,
                       "--kv-dtype: unknown type '%s' (expected auto, fp8, bf16, fp16 or fp32)",
                       argument);
        chosen->kv_dtype = argument;
        return 0;
    case KEY_LAYERS:
        parse_layers(chosen, argument, state);
        return 0;
    case ARGP_KEY_END:
        finish(chosen, state);
        return 0;
    default:
        return option_set(options, rules, key, argument, state);
    }
}

/* The model */

typedef struct model {
    llm_config config;
    rank_share share;
    kv_blocks kv;
} model;

/* Whether addresses suffice for the long context's blocks, with the gaps of a stride. */
static bool fits(const advise_options *chosen, const model *model) {
    size_t block = 0, bytes = 0;
    size_t count =
        (size_t)((context_tokens[CONTEXT_LONG] + chosen->block_tokens - 1) / chosen->block_tokens);
    size_t widest = id_pattern_blocks(&chosen->host_pattern, count);
    for (size_t i = 0; i < chosen->pattern_names.count; i++) {
        size_t blocks = id_pattern_blocks(&chosen->patterns[i], count);
        widest = blocks > widest ? blocks : widest;
    }
    return !__builtin_mul_overflow(model->share.token_bytes, chosen->block_tokens, &block) &&
           !__builtin_mul_overflow(block, widest, &bytes) && bytes <= PAPER_LAYOUTS_MOST_BYTES &&
           widest <= KVF_MAX_BLOCKS;
}

static model read_model(const advise_options *chosen) {
    model model;
    char message[512];
    if (!llm_config_read(chosen->config, chosen->kv_dtype, chosen->layers, &model.config, message,
                         sizeof message))
        fail(EXIT_USAGE, "%s", message);
    if (!llm_config_share(&model.config, chosen->tp, &model.share, message, sizeof message))
        fail(EXIT_USAGE, "%s: --tp %" PRIu64 ": %s", chosen->config, chosen->tp, message);
    if (!fits(chosen, &model)) {
        fail(EXIT_USAGE, "%s: a context of %" PRIu64 " tokens is too large to be laid out",
             chosen->config, context_tokens[CONTEXT_LONG]);
    }
    model.kv = (kv_blocks){.layers = (size_t)model.config.layers.value,
                           .parts = (size_t)model.share.parts,
                           .part_bytes = (size_t)(model.share.part_bytes * chosen->block_tokens),
                           .tokens = (size_t)chosen->block_tokens,
                           .heads = (size_t)model.share.kv_heads};
    return model;
}

static void put_number(json_t *object, const char *key, const config_number *number) {
    json_t *entry = json_object();
    row_count(entry, "value", number->value);
    row_text(entry, "from", number->from);
    json_object_set_new(object, key, entry);
}

static void put_sizes(const advise_options *chosen, const model *model, json_t *object) {
    static const char *const names[CONTEXTS][2] = {{"rank_32k_bytes", "total_32k_bytes"},
                                                   {"rank_1m_bytes", "total_1m_bytes"}};
    row_count(object, "token_bytes", model->share.token_bytes);
    row_count(object, "layer_bytes", model->share.layer_bytes * chosen->block_tokens);
    row_count(object, "block_bytes", model->share.token_bytes * chosen->block_tokens);
    for (size_t i = 0; i < CONTEXTS; i++) {
        uint64_t bytes = model->share.token_bytes * context_tokens[i];
        row_count(object, names[i][0], bytes);
        row_count(object, names[i][1], bytes * chosen->tp);
    }
}

/* Adds the model to the context. */
static void put_model(const advise_options *chosen, const model *model, json_t *context) {
    json_t *object = json_object();
    json_t *notes = json_array();
    row_text(object, "file", chosen->config);
    row_text(object, "kind", model->config.kind[0] != '\0' ? model->config.kind : NULL);
    row_flag(object, "mla", model->config.mla);
    put_number(object, "layers", &model->config.layers);
    put_number(object, "kv_heads", &model->config.kv_heads);
    put_number(object, "head_dim", &model->config.head_dim);
    put_number(object, "element_bytes", &model->config.element);
    row_count(object, "tp", chosen->tp);
    row_count(object, "block_tokens", chosen->block_tokens);
    row_count(object, "rank_kv_heads", model->share.kv_heads);
    row_count(object, "copies", model->share.copies);
    put_sizes(chosen, model, object);
    for (size_t i = 0; i < model->config.note_count; i++)
        json_array_append_new(notes, json_string(model->config.notes[i]));
    json_object_set_new(object, "notes", notes);
    json_object_set_new(context, "config", object);
}

static void print_number(const char *what, const config_number *number) {
    printf("%-14s  %" PRIu64 "  (%s)\n", what, number->value, number->from);
}

static void print_contexts(const advise_options *chosen, const model *model) {
    for (size_t i = 0; i < CONTEXTS; i++) {
        double gib = (double)model->share.token_bytes * (double)context_tokens[i] / (1 << 30);
        printf("%-7" PRIu64 " tokens  %.2f GiB per rank, %.2f GiB on all ranks\n",
               context_tokens[i], gib, gib * (double)chosen->tp);
    }
}

static void print_model(const advise_options *chosen, const model *model) {
    const llm_config *config = &model->config;
    const rank_share *share = &model->share;
    printf("%s: %s\n", chosen->config, config->kind[0] != '\0' ? config->kind : "(no model_type)");
    print_number("layers", &config->layers);
    print_number("KV heads", &config->kv_heads);
    print_number(config->mla ? "vector" : "head size", &config->head_dim);
    print_number("element bytes", &config->element);
    printf("ranks           %" PRIu64 ", each with %" PRIu64 " %s", chosen->tp, share->kv_heads,
           config->mla ? "whole vector" : "KV heads");
    printf(share->copies > 1 ? "; each part is on %" PRIu64 " ranks\n" : "\n", share->copies);
    printf("a token         %" PRIu64 " bytes per rank, %" PRIu64 " per layer\n",
           share->token_bytes, share->layer_bytes);
    printf("a block         %" PRIu64 " tokens: %" PRIu64 " bytes per rank, %" PRIu64
           " per layer\n",
           chosen->block_tokens, share->token_bytes * chosen->block_tokens,
           share->layer_bytes * chosen->block_tokens);
    print_contexts(chosen, model);
    if (config->positions > 0 && config->positions < context_tokens[CONTEXT_LONG]) {
        printf("The model supports only %" PRIu64 " positions (max_position_embeddings).\n",
               config->positions);
    }
    for (size_t i = 0; i < config->note_count; i++)
        printf("Note: %s.\n", config->notes[i]);
}

/* What predictions come from */

static const char *describe_results(const stored_results *results) {
    return stored_results_is_imitated(results) ? "results of an imitated link"
           : stored_results_is_host(results)
               ? "results of engine host: copies within host memory, no GPU's link"
               : "results of a GPU's link";
}

static const char *describe_forecast(const forecast *forecast) {
    return strcmp(forecast_from(forecast), "built-in") == 0
               ? "the built-in cost table: published figures, not this machine's"
               : "a calibrated cost table";
}

static void put_source(const advise_options *chosen, const advice_source *source, char *text,
                       size_t size, json_t *context) {
    if (source->results) {
        snprintf(text, size, "%s (%s)", chosen->results, describe_results(source->results));
    } else if (source->forecast) {
        snprintf(text, size, "%s (%s)", forecast_from(source->forecast),
                 describe_forecast(source->forecast));
    } else {
        snprintf(text, size,
                 "nothing: without a GPU, --costs, --built-in-costs or --results, no speed is "
                 "predicted");
    }
    row_text(context, "predicted_by", text);
    row_text(context, "limits", forecast_limits() ? "cuda" : NULL);
}

/* The advice */

static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...) {
    va_list arguments;
    size_t used = strlen(text);
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static void say_best(const verdict *best, const verdict *worst, char *text, size_t size) {
    const advice *one = best->worst, *other = worst->worst;
    append(text, size, "device %s, host %s: ", one->pair.device, one->pair.host);
    if (best->predicted) {
        append(
            text, size,
            "32768 tokens in at most %.2f ms (%s ids, pieces of %zu bytes, %.1f GB/s); the slowest "
            "pair, device %s and host %s, takes %.1f times as long (pieces of %zu bytes)",
            best->cost / 1000, one->pattern->name, one->moved.median_fragment, one->in_gbps,
            other->pair.device, other->pair.host, worst->cost / best->cost,
            other->moved.median_fragment);
    } else {
        append(
            text, size,
            "fewest pieces (no speed is measured or predicted): at most %.4g per block (%s ids); "
            "device %s and host %s have %.4g",
            best->cost / (double)one->moved.blocks, one->pattern->name, other->pair.device,
            other->pair.host, worst->cost / (double)other->moved.blocks);
    }
}

/* Ranks that keep the same blocks can each onboard a share and exchange it. Pure arithmetic. */
static void say_striped(const model *model, const verdict *best, char *text, size_t size) {
    uint64_t copies = model->share.copies;
    if (copies < 2)
        return;
    append(text, size,
           "%" PRIu64 " ranks keep the same blocks: each can onboard 1/%" PRIu64
           " over its own link and exchange it with the others (`kvferry bench collective` "
           "measures that)",
           copies, copies);
    if (best->predicted) {
        append(text, size,
               "; by arithmetic alone, %" PRIu64 " x %.1f = %.1f GB/s before the exchange", copies,
               best->worst->in_gbps, (double)copies * best->worst->in_gbps);
    }
}

/* The best host layout for each device layout, for runtimes that cannot change theirs. */
static void print_each(const advice *advice, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *device = advice[i].pair.device;
        verdict best, worst;
        if (i > 0 && strcmp(advice[i - 1].pair.device, device) == 0)
            continue;
        if (advice_best(advice, count, device, &best, &worst)) {
            printf("  if the device has %-11s  host %s", device, best.worst->pair.host);
            printf(best.predicted ? ", %.2f ms\n" : ", %.4g pieces per block\n",
                   best.predicted ? best.cost / 1000
                                  : best.cost / (double)best.worst->moved.blocks);
        }
    }
}

static void print_choice(const char *choice, const char *striped, const advice *advice,
                         size_t count) {
    printf("\nchoose: %s.\n", choice);
    print_each(advice, count);
    if (striped[0] != '\0')
        printf("%s.\n", striped);
}

static void note_columns(output *output) {
    output_note(output, "piece_bytes: median of the pieces that are contiguous on both sides; "
                        "copies_per_block: strided copies; onboard: host to device");
    output_note(output, "gbps, first_layer_ms: of 32768 tokens; gbps = bytes / time, 10^9 bytes/s, "
                        "on a link per rank, with nothing else on it");
}

static void advise(const advise_options *chosen, const model *model, const advice_source *source) {
    char choice[512] = "", striped[512] = "", by[512];
    verdict best, worst;
    size_t count;
    output *output = output_open(&chosen->output, "advise", NULL);
    advice *advice = advice_make(&model->kv, chosen->patterns, chosen->pattern_names.count,
                                 &chosen->host_pattern, source, &count);
    bool has_text = !chosen->output.json || strcmp(chosen->output.json, "-") != 0;
    json_t *context = output_context(output);
    put_model(chosen, model, context);
    put_source(chosen, source, by, sizeof by, context);
    for (size_t i = 0; i < count; i++)
        advice_row(&advice[i], &model->kv, output_row(output));
    advice_best(advice, count, NULL, &best, &worst);
    say_best(&best, &worst, choice, sizeof choice);
    say_striped(model, &best, striped, sizeof striped);
    row_text(context, "choose_device", best.worst->pair.device);
    row_text(context, "choose_host", best.worst->pair.host);
    row_text(context, "choose", choice);
    row_text(context, "striped", striped[0] != '\0' ? striped : NULL);
    output_begin(output);
    if (has_text) {
        print_model(chosen, model);
        printf("Predicted by %s.\n\n", by);
    }
    note_columns(output);
    output_close(output);
    if (has_text)
        print_choice(choice, striped, advice, count);
    free(advice);
}

int advise_main(int argc, char **argv) {
    static const struct argp_child children[] = {{&output_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = doc, .children = children};
    advise_options chosen = {.tp = 1, .block_tokens = 16};
    char message[512];
    stored_results *results = NULL;
    id_pattern_parse("contiguous", &chosen.host_pattern);
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    model model = read_model(&chosen);
    if (chosen.results) {
        results = stored_results_read(chosen.results, message, sizeof message);
        if (!results)
            fail(EXIT_USAGE, "%s", message);
    }
    forecast *forecast = results ? NULL : forecast_open(&chosen.forecast);
    advice_source source = {.forecast = forecast, .results = results};
    advise(&chosen, &model, &source);
    forecast_close(forecast);
    stored_results_close(results);
    free(chosen.patterns);
    option_names_free(&chosen.pattern_names);
    return 0;
}
