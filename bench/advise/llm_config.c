#include "advise/llm_config.h"

#include "output/json_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The most that any number may be: far above that of any model, and small enough for the sums. */
#define MOST        (UINT64_C(1) << 24)
#define MOST_LAYERS 4096

typedef struct reader {
    const json_t *at; /* the object that describes the language model */
    const json_t *root;
    const char *inside; /* "text_config." or "" */
    llm_config *out;
    char *message;
    size_t size;
} reader;

static bool refuse(const reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(const reader *reader, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->message, reader->size, format, arguments);
    va_end(arguments);
    return false;
}

static void note(llm_config *config, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(llm_config *config, const char *format, ...) {
    va_list arguments;
    if (config->note_count == CONFIG_NOTES)
        return;
    va_start(arguments, format);
    vsnprintf(config->notes[config->note_count++], CONFIG_NOTE, format, arguments);
    va_end(arguments);
}

/* NULL for a key that is missing or null. */
static const json_t *look(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static bool is_set(const reader *reader, const char *key) {
    return json_is_true(look(reader->at, key));
}

static bool take(const reader *reader, const json_t *object, const char *prefix, const char *key,
                 config_number *out) {
    const json_t *value = look(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        (uint64_t)json_integer_value(value) > MOST)
        return refuse(reader, "%s%s is not a whole number of 1 to %" PRIu64, prefix, key, MOST);
    out->value = (uint64_t)json_integer_value(value);
    snprintf(out->from, sizeof out->from, "%s%s", prefix, key);
    return true;
}

/* The value of the first key that is present; 0 if none is. */
static bool take_any(const reader *reader, const char *const *keys, config_number *out) {
    *out = (config_number){0};
    for (; *keys; keys++)
        if (look(reader->at, *keys))
            return take(reader, reader->at, reader->inside, *keys, out);
    return true;
}

static bool take_one(const reader *reader, const char *const *keys, config_number *out) {
    if (!take_any(reader, keys, out))
        return false;
    return out->value > 0 ||
           refuse(reader, "there is no %s%s%s%s, and the default of the model's class is unknown",
                  reader->inside, keys[0], keys[1] ? " or " : "", keys[1] ? keys[1] : "");
}

static const char *const layer_keys[] = {"num_hidden_layers", "n_layer", "n_layers", "num_layers",
                                         NULL};
static const char *const head_keys[] = {"num_attention_heads", "n_head", "n_heads", NULL};
static const char *const hidden_keys[] = {"hidden_size", "n_embd", "d_model", NULL};
static const char *const dim_keys[] = {"head_dim", "kv_channels", NULL};
static const char *const kv_keys[] = {"num_key_value_heads", "num_kv_heads", "n_head_kv", NULL};

/* In models of text and images, the language model is a nested object. */
static void find_object(reader *reader) {
    static const char *const inside[][2] = {{"text_config", "text_config."},
                                            {"llm_config", "llm_config."},
                                            {"language_config", "language_config."}};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        const json_t *object = look(reader->root, inside[i][0]);
        bool has_layers = false;
        for (size_t j = 0; layer_keys[j]; j++)
            has_layers = has_layers || look(object, layer_keys[j]);
        if (has_layers) {
            reader->at = object;
            reader->inside = inside[i][1];
            return;
        }
    }
}

/* Refuses models whose bytes would be counted wrong. */
static bool refuse_unknown(const reader *reader) {
    static const char *const unknown[] = {"attn_layer_period",  "attn_layer_indices",
                                          "attn_type_list",     "hybrid_override_pattern",
                                          "linear_attn_config", "ssm_cfg",
                                          "block_configs",      "compress_ratios",
                                          "global_head_dim",    "num_global_key_value_heads"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        if (look(reader->at, unknown[i])) {
            return refuse(reader, "%s%s: layers that differ in this way are not supported",
                          reader->inside, unknown[i]);
        }
    }
    const json_t *shared = look(reader->at, "num_kv_shared_layers");
    if (shared && !(json_is_integer(shared) && json_integer_value(shared) == 0)) {
        return refuse(
            reader, "%snum_kv_shared_layers: layers without blocks of their own are not supported",
            reader->inside);
    }
    return !is_set(reader, "is_encoder_decoder") ||
           refuse(reader, "is_encoder_decoder: only decoders are supported");
}

/* Layers */

typedef struct layer_counts {
    uint64_t full, windowed, without;
} layer_counts;

static bool count_type(const reader *reader, const char *key, const json_t *type,
                       layer_counts *counts) {
    static const char *const full[] = {"full_attention", "attention"};
    static const char *const windowed[] = {"sliding_attention", "chunked_attention"};
    static const char *const without[] = {"linear_attention", "mamba", "mamba2", "conv",
                                          "recurrent"};
    const char *name = json_string_value(type);
    for (size_t i = 0; name && i < sizeof without / sizeof without[0]; i++) {
        bool pair = i < sizeof full / sizeof full[0];
        if (strcmp(name, without[i]) == 0) {
            counts->without++;
            return true;
        }
        if (pair && strcmp(name, full[i]) == 0) {
            counts->full++;
            return true;
        }
        if (pair && strcmp(name, windowed[i]) == 0) {
            counts->windowed++;
            return true;
        }
    }
    return refuse(reader, "%s%s has a layer of type '%.40s', which is not supported",
                  reader->inside, key, name ? name : "(not a text)");
}

static bool count_list(const reader *reader, const char *key, uint64_t layers,
                       layer_counts *counts) {
    const json_t *list = look(reader->at, key);
    if (!json_is_array(list) || json_array_size(list) != layers) {
        return refuse(reader, "%s%s is not a list of %" PRIu64 " layers", reader->inside, key,
                      layers);
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!count_type(reader, key, json_array_get(list, i), counts))
            return false;
    return true;
}

/* One layer in `key` is full. The others have a window, or no blocks. */
static bool count_every(const reader *reader, const char *key, uint64_t layers, uint64_t *others,
                        layer_counts *counts) {
    config_number every;
    if (!take(reader, reader->at, reader->inside, key, &every))
        return false;
    counts->full = layers / every.value;
    *others = layers - counts->full;
    return true;
}

static bool count_windows(const reader *reader, uint64_t layers, layer_counts *counts) {
    const json_t *used = look(reader->at, "use_sliding_window");
    config_number full = {0};
    counts->full = layers;
    if (!look(reader->at, "sliding_window") || json_is_false(used))
        return true;
    const json_t *most = look(reader->at, "max_window_layers");
    if (json_is_true(used) && most && !(json_is_integer(most) && json_integer_value(most) == 0)) {
        if (!take(reader, reader->at, reader->inside, "max_window_layers", &full))
            return false;
    }
    counts->full = full.value < layers ? full.value : layers;
    counts->windowed = layers - counts->full;
    return true;
}

/* `from` gets the key that the counts are from. */
static bool count_layers(const reader *reader, uint64_t layers, const char **from,
                         layer_counts *counts) {
    static const char *const lists[] = {"layer_types", "layers_block_type"};
    *counts = (layer_counts){0};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (look(reader->at, lists[i]))
            return count_list(reader, *from = lists[i], layers, counts);
    if (look(reader->at, "sliding_window_pattern")) {
        return count_every(reader, *from = "sliding_window_pattern", layers, &counts->windowed,
                           counts);
    }
    if (look(reader->at, "full_attention_interval")) {
        return count_every(reader, *from = "full_attention_interval", layers, &counts->without,
                           counts);
    }
    *from = "sliding_window";
    return count_windows(reader, layers, counts);
}

static void note_layers(const reader *reader, layer_choice choice, const char *from,
                        const layer_counts *counts) {
    if (counts->windowed > 0 && choice == LAYERS_ALL) {
        note(reader->out,
             "%" PRIu64
             " layers with a window (%s) are counted as if they kept all tokens: an upper "
             "bound; --layers full leaves them out",
             counts->windowed, from);
    }
    if (counts->windowed > 0 && choice == LAYERS_FULL) {
        note(reader->out,
             "%" PRIu64
             " layers with a window (%s) are left out, although they keep the last tokens",
             counts->windowed, from);
    }
    if (counts->without > 0) {
        note(reader->out,
             "%" PRIu64 " layers without a KV cache (%s) are left out, including their state",
             counts->without, from);
    }
}

static bool read_layers(const reader *reader, layer_choice choice) {
    config_number *layers = &reader->out->layers;
    layer_counts counts;
    const char *from;
    if (!take_one(reader, layer_keys, layers))
        return false;
    if (layers->value > MOST_LAYERS)
        return refuse(reader, "%s: more than %d layers", layers->from, MOST_LAYERS);
    if (!count_layers(reader, layers->value, &from, &counts))
        return false;
    uint64_t kept = counts.full + (choice == LAYERS_ALL ? counts.windowed : 0);
    if (kept == 0) {
        return refuse(reader, "%s%s leaves no layer%s", reader->inside, from,
                      choice == LAYERS_FULL ? " that attends to everything" : " with a KV cache");
    }
    note_layers(reader, choice, from, &counts);
    if (kept != layers->value)
        snprintf(layers->from, sizeof layers->from, "%s%s", reader->inside, from);
    layers->value = kept;
    return true;
}

/* Heads */

/* Falcon: multi_query overrides num_kv_heads, except in the new architecture. */
static bool read_kv_heads(const reader *reader) {
    config_number *kv_heads = &reader->out->kv_heads;
    const json_t *attention = look(reader->at, "attn_config");
    if (is_set(reader, "multi_query") && !is_set(reader, "new_decoder_architecture")) {
        *kv_heads = (config_number){.value = 1, .from = "multi_query"};
        return true;
    }
    if (is_set(reader, "multi_query_attention"))
        return take(reader, reader->at, reader->inside, "multi_query_group_num", kv_heads);
    if (look(attention, "kv_n_heads"))
        return take(reader, attention, "attn_config.", "kv_n_heads", kv_heads);
    if (!take_any(reader, kv_keys, kv_heads))
        return false;
    if (kv_heads->value == 0) {
        kv_heads->value = reader->out->heads.value;
        snprintf(kv_heads->from, sizeof kv_heads->from, "%.40s, without %.40s",
                 reader->out->heads.from, kv_keys[0]);
    }
    return true;
}

static bool read_head_dim(const reader *reader) {
    config_number *dim = &reader->out->head_dim;
    const config_number *heads = &reader->out->heads;
    config_number hidden;
    if (!take_any(reader, dim_keys, dim) || dim->value > 0)
        return dim->value > 0;
    if (!take_one(reader, hidden_keys, &hidden))
        return false;
    if (hidden.value % heads->value != 0) {
        return refuse(reader, "there is no %shead_dim, and %s is not a multiple of %s",
                      reader->inside, hidden.from, heads->from);
    }
    dim->value = hidden.value / heads->value;
    snprintf(dim->from, sizeof dim->from, "%.40s / %.40s", hidden.from, heads->from);
    return true;
}

static bool read_heads(const reader *reader) {
    llm_config *out = reader->out;
    config_number values;
    static const char *const value_keys[] = {"v_head_dim", NULL};
    if (!take_one(reader, head_keys, &out->heads) || !read_kv_heads(reader) ||
        !read_head_dim(reader) || !take_any(reader, value_keys, &values))
        return false;
    if (out->heads.value % out->kv_heads.value != 0)
        return refuse(reader, "%s is not a multiple of %s", out->heads.from, out->kv_heads.from);
    if (values.value > 0 && values.value != out->head_dim.value) {
        return refuse(reader, "%s differs from %s: K and V of different sizes are not supported",
                      values.from, out->head_dim.from);
    }
    return true;
}

/* DeepSeek's MLA: the latent vector, and the part of the keys with positions. */
static bool read_mla(const reader *reader) {
    static const char *const rope_keys[] = {"qk_rope_head_dim", NULL};
    llm_config *out = reader->out;
    config_number latent = {0}, rope = {0};
    if (!take(reader, reader->at, reader->inside, "kv_lora_rank", &latent) ||
        !take_one(reader, rope_keys, &rope) || !take_any(reader, head_keys, &out->heads))
        return false;
    out->mla = true;
    out->kv_heads = (config_number){.value = 1, .from = "MLA"};
    out->head_dim.value = latent.value + rope.value;
    snprintf(out->head_dim.from, sizeof out->head_dim.from, "%.40s + %.40s", latent.from,
             rope.from);
    if (look(reader->at, "index_head_dim"))
        note(out, "the indexer's own cache (index_head_dim) is not counted");
    return true;
}

/* Types */

typedef struct dtype {
    const char *name;
    uint64_t bytes;
    bool is_option;
} dtype;

static const dtype dtypes[] = {{"fp8", 1, true},         {"bf16", 2, true},
                               {"fp16", 2, true},        {"fp32", 4, true},
                               {"bfloat16", 2, false},   {"float16", 2, false},
                               {"float32", 4, false},    {"half", 2, false},
                               {"float", 4, false},      {"float8_e4m3fn", 1, false},
                               {"float8_e5m2", 1, false}};

static const dtype *find_dtype(const char *name, bool option) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i].is_option == option && strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

bool llm_config_is_dtype(const char *name) {
    return strcmp(name, "auto") == 0 || find_dtype(name, true);
}

static bool read_dtype_of(const reader *reader, const json_t *object, const char *prefix,
                          const char *key) {
    config_number *element = &reader->out->element;
    const json_t *value = look(object, key);
    const char *name = json_string_value(value);
    size_t skip = name && strncmp(name, "torch.", 6) == 0 ? 6 : 0;
    const dtype *found = name ? find_dtype(name + skip, false) : NULL;
    if (!found) {
        return refuse(reader, "%s%s: unknown type '%.40s'; give --kv-dtype", prefix, key,
                      name ? name : "(not a text)");
    }
    element->value = found->bytes;
    snprintf(element->from, sizeof element->from, "%s%s %s", prefix, key, found->name);
    return true;
}

static bool read_dtype(const reader *reader, const char *kv_dtype) {
    static const char *const keys[] = {"torch_dtype", "dtype"};
    config_number *element = &reader->out->element;
    if (kv_dtype && strcmp(kv_dtype, "auto") != 0) {
        element->value = find_dtype(kv_dtype, true)->bytes;
        snprintf(element->from, sizeof element->from, "--kv-dtype %s", kv_dtype);
        return true;
    }
    const json_t *quantization = look(reader->root, "quantization_config");
    if (look(quantization, "kv_cache_scheme"))
        note(reader->out, "quantization_config.kv_cache_scheme is ignored: see --kv-dtype");
    for (size_t i = 0; i < 2; i++)
        if (look(reader->at, keys[i]))
            return read_dtype_of(reader, reader->at, reader->inside, keys[i]);
    for (size_t i = 0; i < 2; i++)
        if (look(reader->root, keys[i]))
            return read_dtype_of(reader, reader->root, "", keys[i]);
    return refuse(reader, "there is no torch_dtype or dtype; give --kv-dtype");
}

static bool read_rest(const reader *reader) {
    const char *kind = json_string_value(look(reader->root, "model_type"));
    const json_t *positions = look(reader->at, "max_position_embeddings");
    const json_t *predicting = look(reader->at, "num_nextn_predict_layers");
    snprintf(reader->out->kind, sizeof reader->out->kind, "%s", kind ? kind : "");
    if (json_is_integer(positions) && json_integer_value(positions) > 0)
        reader->out->positions = (uint64_t)json_integer_value(positions);
    if (json_is_integer(predicting) && json_integer_value(predicting) > 0) {
        note(reader->out,
             "layers that predict further tokens (num_nextn_predict_layers) are not counted");
    }
    return true;
}

bool llm_config_parse(const json_t *root, const char *kv_dtype, layer_choice layers,
                      llm_config *out, char *message, size_t size) {
    llm_config read = {0};
    reader reader = {
        .at = root, .root = root, .inside = "", .out = &read, .message = message, .size = size};
    if (!json_is_object(root))
        return refuse(&reader, "not a JSON object");
    find_object(&reader);
    bool is_mla = look(reader.at, "kv_lora_rank");
    if (!refuse_unknown(&reader) || !read_layers(&reader, layers) ||
        !(is_mla ? read_mla(&reader) : read_heads(&reader)) || !read_dtype(&reader, kv_dtype) ||
        !read_rest(&reader))
        return false;
    *out = read;
    return true;
}

bool llm_config_read(const char *path, const char *kv_dtype, layer_choice layers, llm_config *out,
                     char *message, size_t size) {
    char what[256];
    json_t *root = json_file_read(path, message, size);
    if (!root)
        return false;
    bool good = llm_config_parse(root, kv_dtype, layers, out, what, sizeof what);
    json_decref(root);
    if (!good)
        snprintf(message, size, "%s: %s", path, what);
    return good;
}

/* Ranks */

static bool divide(const llm_config *config, uint64_t tp, rank_share *out, char *message,
                   size_t size) {
    uint64_t heads = config->heads.value, kv_heads = config->kv_heads.value;
    if (config->mla) {
        *out = (rank_share){.kv_heads = 1, .copies = tp, .parts = 1};
        return true;
    }
    if (heads % tp != 0) {
        snprintf(message, size,
                 "%" PRIu64 " attention heads cannot be divided evenly among %" PRIu64 " ranks",
                 heads, tp);
        return false;
    }
    if (kv_heads >= tp ? kv_heads % tp != 0 : tp % kv_heads != 0) {
        snprintf(message, size,
                 "%" PRIu64 " KV heads cannot be divided evenly among %" PRIu64 " ranks", kv_heads,
                 tp);
        return false;
    }
    *out = (rank_share){.kv_heads = kv_heads >= tp ? kv_heads / tp : 1,
                        .copies = kv_heads >= tp ? 1 : tp / kv_heads,
                        .parts = 2};
    return true;
}

bool llm_config_share(const llm_config *config, uint64_t tp, rank_share *out, char *message,
                      size_t size) {
    rank_share share;
    if (!divide(config, tp, &share, message, size))
        return false;
    if (__builtin_mul_overflow(share.kv_heads, config->element.value, &share.part_bytes) ||
        __builtin_mul_overflow(share.part_bytes, config->head_dim.value, &share.part_bytes) ||
        __builtin_mul_overflow(share.part_bytes, share.parts, &share.layer_bytes) ||
        __builtin_mul_overflow(share.layer_bytes, config->layers.value, &share.token_bytes)) {
        snprintf(message, size, "the bytes of a token overflow 64 bits");
        return false;
    }
    *out = share;
    return true;
}
