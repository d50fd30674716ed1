/* Reading config.json of models, and dividing heads among ranks. The numbers are those that the
 * models' makers publish. */
#include "support/support.h"

#include <advise/llm_config.h>
#include <stdlib.h>
#include <string.h>

static json_t *document(const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, JSON_DECODE_ANY, &error);
    if (!root)
        fail_msg("%s: %s", text, error.text);
    return root;
}

static llm_config read_with(const char *text, const char *kv_dtype, layer_choice layers) {
    char message[256] = "";
    llm_config config;
    json_t *root = document(text);
    if (!llm_config_parse(root, kv_dtype, layers, &config, message, sizeof message))
        fail_msg("%s", message);
    json_decref(root);
    return config;
}

static llm_config read_config(const char *text) {
    return read_with(text, NULL, LAYERS_ALL);
}

/* Refused with a message that contains `expected`, and nothing written. */
static void refuses_of(const char *text, layer_choice layers, const char *expected) {
    char message[256] = "";
    llm_config config, before;
    json_t *root = document(text);
    memset(&config, 0x5a, sizeof config);
    before = config;
    assert_false(llm_config_parse(root, NULL, layers, &config, message, sizeof message));
    if (!strstr(message, expected))
        fail_msg("'%s' instead of '%s'", message, expected);
    assert_memory_equal(&config, &before, sizeof config);
    json_decref(root);
}

static void refuses(const char *text, const char *expected) {
    refuses_of(text, LAYERS_ALL, expected);
}

static rank_share share_of(const llm_config *config, uint64_t tp) {
    char message[256] = "";
    rank_share share;
    if (!llm_config_share(config, tp, &share, message, sizeof message))
        fail_msg("%s", message);
    return share;
}

static uint64_t token_bytes(const llm_config *config, uint64_t tp) {
    return share_of(config, tp).token_bytes;
}

static void refuses_share(const llm_config *config, uint64_t tp, const char *expected) {
    char message[256] = "";
    rank_share share = {0};
    assert_false(llm_config_share(config, tp, &share, message, sizeof message));
    assert_non_null(strstr(message, expected));
    assert_int_equal(share.token_bytes, 0);
}

#define LLAMA_8B                                                                                   \
    "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"          \
    "\"hidden_size\": 4096, \"torch_dtype\": \"bfloat16\""

static void reads_grouped_heads(void **state) {
    (void)state;
    llm_config llama = read_config("{\"model_type\": \"llama\", " LLAMA_8B "}");
    assert_string_equal(llama.kind, "llama");
    assert_false(llama.mla);
    assert_int_equal(llama.layers.value, 32);
    assert_int_equal(llama.kv_heads.value, 8);
    assert_int_equal(llama.head_dim.value, 128);
    assert_string_equal(llama.head_dim.from, "hidden_size / num_attention_heads");
    assert_int_equal(token_bytes(&llama, 1), 128 << 10);
    assert_int_equal(share_of(&llama, 1).layer_bytes, 4096);
    assert_int_equal(llama.note_count, 0);
    llm_config large = read_config(
        "{\"num_hidden_layers\": 80, \"num_attention_heads\": 64, \"num_key_value_heads\": 8,"
        "\"hidden_size\": 8192, \"dtype\": \"torch.bfloat16\"}");
    assert_int_equal(token_bytes(&large, 1), 320 << 10);
    llm_config qwen = read_config(
        "{\"num_hidden_layers\": 28, \"num_attention_heads\": 28, \"num_key_value_heads\": 4,"
        "\"hidden_size\": 3584, \"torch_dtype\": \"bfloat16\", \"sliding_window\": 131072,"
        "\"max_window_layers\": 28, \"use_sliding_window\": false}");
    assert_int_equal(token_bytes(&qwen, 1), 56 << 10);
    assert_int_equal(qwen.note_count, 0);
}

static void reads_heads_of_other_kinds(void **state) {
    (void)state;
    llm_config gpt2 =
        read_with("{\"n_layer\": 12, \"n_head\": 12, \"n_embd\": 768}", "fp16", LAYERS_ALL);
    assert_int_equal(token_bytes(&gpt2, 1), 36864);
    assert_string_equal(gpt2.element.from, "--kv-dtype fp16");
    llm_config gemma =
        read_config(/* head_dim is not hidden_size / heads */
                    "{\"num_hidden_layers\": 28, \"num_attention_heads\": 16, "
                    "\"num_key_value_heads\": 16,"
                    "\"hidden_size\": 3072, \"head_dim\": 256, \"torch_dtype\": \"bfloat16\"}");
    assert_int_equal(token_bytes(&gemma, 1), 448 << 10);
    llm_config falcon =
        read_config(/* multi_query overrides num_kv_heads */
                    "{\"num_hidden_layers\": 32, \"num_attention_heads\": 71, "
                    "\"num_kv_heads\": 71, \"hidden_size\": 4544, \"multi_query\": true, "
                    "\"new_decoder_architecture\": false, \"torch_dtype\": \"bfloat16\"}");
    assert_int_equal(token_bytes(&falcon, 1), 8192);
    llm_config newer = read_config(
        "{\"num_hidden_layers\": 60, \"num_attention_heads\": 128, \"num_kv_heads\": 8,"
        "\"hidden_size\": 8192, \"multi_query\": true, \"new_decoder_architecture\": true,"
        "\"torch_dtype\": \"bfloat16\"}");
    assert_int_equal(newer.kv_heads.value, 8);
    llm_config glm = read_config(
        "{\"num_layers\": 28, \"num_attention_heads\": 32, \"multi_query_attention\": true,"
        "\"multi_query_group_num\": 2, \"kv_channels\": 128, \"torch_dtype\": \"float16\"}");
    assert_int_equal(token_bytes(&glm, 1), 28672);
    llm_config mpt =
        read_config("{\"n_layers\": 40, \"n_heads\": 48, \"d_model\": 6144, \"attn_config\": "
                    "{\"kv_n_heads\": 8}, \"torch_dtype\": \"bfloat16\"}");
    assert_string_equal(mpt.kv_heads.from, "attn_config.kv_n_heads");
    assert_int_equal(token_bytes(&mpt, 1), 160 << 10);
}

#define DEEPSEEK_V3                                                                                \
    "\"num_hidden_layers\": 61, \"num_attention_heads\": 128, \"num_key_value_heads\": 128,"       \
    "\"hidden_size\": 7168, \"kv_lora_rank\": 512, \"v_head_dim\": 128,"                           \
    "\"torch_dtype\": \"bfloat16\", \"num_nextn_predict_layers\": 1"

static void reads_mla(void **state) {
    (void)state;
    llm_config config = read_config("{" DEEPSEEK_V3 ", \"qk_rope_head_dim\": 64}");
    assert_true(config.mla);
    assert_int_equal(config.layers.value, 61);
    assert_int_equal(config.head_dim.value, 576);
    assert_int_equal(token_bytes(&config, 1), 70272);
    assert_int_equal(config.note_count, 1);
    rank_share share = share_of(&config, 8); /* each keeps it whole */
    assert_int_equal(share.token_bytes, 70272);
    assert_int_equal(share.copies, 8);
    assert_int_equal(share.parts, 1);
    refuses("{" DEEPSEEK_V3 "}", "no qk_rope_head_dim");
}

static void reads_what_is_inside(void **state) {
    (void)state;
    llm_config config = read_config("{\"torch_dtype\": \"float32\", \"num_hidden_layers\": 2,"
                                    "\"text_config\": {" LLAMA_8B "}}");
    assert_int_equal(token_bytes(&config, 1), 128 << 10);
    assert_string_equal(config.layers.from, "text_config.num_hidden_layers");
    config = read_config("{\"torch_dtype\": \"float32\", \"text_config\": {\"num_layers\": 2,"
                         "\"n_head\": 2, \"head_dim\": 64}}");
    assert_string_equal(config.element.from, "torch_dtype float32");
    assert_int_equal(config.element.value, 4);
    refuses("{\"text_config\": {\"num_hidden_layers\": 34, \"hidden_size\": 2560}}",
            "no text_config.num_attention_heads");
}

static void divides_heads(void **state) {
    (void)state;
    llm_config config = read_config("{" LLAMA_8B "}");
    assert_int_equal(token_bytes(&config, 2), 64 << 10);
    assert_int_equal(share_of(&config, 8).copies, 1);
    assert_int_equal(share_of(&config, 8).kv_heads, 1);
    assert_int_equal(token_bytes(&config, 16), 16 << 10);
    assert_int_equal(share_of(&config, 16).copies, 2);
    refuses_share(&config, 3, "32 attention heads");
    refuses_share(&config, 64, "32 attention heads");
    config = read_config("{\"n_layer\": 1, \"n_head\": 12, \"num_kv_heads\": 6, \"head_dim\": 64,"
                         "\"dtype\": \"half\"}");
    assert_int_equal(share_of(&config, 3).kv_heads, 2);
    refuses_share(&config, 4, "6 KV heads");
    assert_int_equal(share_of(&config, 12).copies, 2);
    config = read_config("{\"n_layer\": 1, \"n_head\": 18, \"num_kv_heads\": 6, \"head_dim\": 64,"
                         "\"dtype\": \"half\"}");
    refuses_share(&config, 9, "6 KV heads");
}

#define FOUR_LAYERS                                                                                \
    "\"num_hidden_layers\": 4, \"num_attention_heads\": 2, \"head_dim\": 64, \"dtype\": "          \
    "\"float16\""

static uint64_t layers_of(const char *text, layer_choice choice, size_t notes) {
    llm_config config = read_with(text, NULL, choice);
    assert_int_equal(config.note_count, notes);
    return config.layers.value;
}

static void counts_layers(void **state) {
    (void)state;
    static const char listed[] =
        "{" FOUR_LAYERS ", \"layer_types\": [\"sliding_attention\", \"linear_attention\","
        "\"full_attention\", \"chunked_attention\"]}";
    assert_int_equal(layers_of(listed, LAYERS_ALL, 2), 3);
    assert_int_equal(layers_of(listed, LAYERS_FULL, 2), 1);
    static const char every[] =
        "{" FOUR_LAYERS ", \"sliding_window\": 512, \"sliding_window_pattern\": 3}";
    assert_int_equal(layers_of(every, LAYERS_ALL, 1), 4);
    assert_int_equal(layers_of(every, LAYERS_FULL, 1), 1);
    static const char interval[] = "{" FOUR_LAYERS ", \"full_attention_interval\": 4}";
    assert_int_equal(layers_of(interval, LAYERS_ALL, 1), 1);
    static const char windowed[] = "{" FOUR_LAYERS ", \"sliding_window\": 4096}";
    assert_int_equal(layers_of(windowed, LAYERS_ALL, 1), 4);
    refuses_of(windowed, LAYERS_FULL, "sliding_window leaves no layer");
    static const char some[] = "{" FOUR_LAYERS ", \"sliding_window\": 4096,"
                               "\"use_sliding_window\": true, \"max_window_layers\": 3}";
    assert_int_equal(layers_of(some, LAYERS_FULL, 1), 3);
    static const char none[] = "{" FOUR_LAYERS ", \"sliding_window\": null}";
    assert_int_equal(layers_of(none, LAYERS_FULL, 0), 4);
    refuses("{" FOUR_LAYERS ", \"layer_types\": [\"full_attention\"]}", "list of 4 layers");
    refuses("{" FOUR_LAYERS ", \"layer_types\": 4}", "list of 4 layers");
    refuses("{" FOUR_LAYERS ", \"layer_types\": [\"attention\", 1, 1, 1]}", "(not a text)");
    refuses("{" FOUR_LAYERS ", \"layer_types\": [\"attention\", \"warp\", \"a\", \"b\"]}",
            "'warp'");
    refuses("{" FOUR_LAYERS ", \"layer_types\": [\"conv\", \"conv\", \"mamba\", \"mamba\"]}",
            "leaves no layer with a KV cache");
    refuses("{" FOUR_LAYERS ", \"full_attention_interval\": 5}", "leaves no layer");
}

static void refuses_what_is_not_known(void **state) {
    (void)state;
    refuses("[]", "not a JSON object");
    refuses("7", "not a JSON object");
    refuses("{}", "no num_hidden_layers or n_layer");
    refuses("{\"num_hidden_layers\": 4}", "no num_attention_heads or n_head");
    refuses("{\"n_layer\": 4, \"n_head\": 4}", "no hidden_size or n_embd");
    refuses("{\"n_layer\": 4, \"n_head\": 3, \"n_embd\": 64}", "not a multiple of n_head");
    refuses("{\"n_layer\": 4, \"n_head\": 4, \"n_embd\": 64}", "no torch_dtype or dtype");
    refuses("{\"n_layer\": 4, \"n_head\": 4, \"n_embd\": 64, \"dtype\": \"int4\"}", "'int4'");
    refuses("{\"n_layer\": 4, \"n_head\": 4, \"n_embd\": 64, \"dtype\": 2}", "(not a text)");
    refuses("{\"n_layer\": 4, \"n_head\": 4, \"n_embd\": 64, \"num_kv_heads\": 3}",
            "n_head is not a multiple of num_kv_heads");
    refuses("{\"n_layer\": 4, \"n_head\": 4, \"head_dim\": 64, \"v_head_dim\": 32}", "v_head_dim");
    refuses("{" FOUR_LAYERS ", \"is_encoder_decoder\": true}", "is_encoder_decoder");
    refuses("{" FOUR_LAYERS ", \"num_kv_shared_layers\": 2}", "num_kv_shared_layers");
    refuses("{" FOUR_LAYERS ", \"hybrid_override_pattern\": \"M*M*\"}", "hybrid_override_pattern");
    refuses("{" FOUR_LAYERS ", \"multi_query_attention\": true}", "multi_query_group_num");
}

static void refuses_numbers_that_are_none(void **state) {
    (void)state;
    static const char *const numbers[] = {"0",    "-1", "1.5",  "32.0",     "\"32\"",
                                          "[32]", "{}", "true", "16777217", "9223372036854775807"};
    static const char *const keys[] = {"num_hidden_layers", "num_attention_heads", "head_dim",
                                       "num_key_value_heads"};
    char text[256];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        for (size_t j = 0; j < 4; j++) {
            int used = snprintf(text, sizeof text, "{\"dtype\": \"float16\"");
            for (size_t k = 0; k < 4; k++) {
                used += snprintf(text + used, sizeof text - (size_t)used, ", \"%s\": %s", keys[k],
                                 k == j ? numbers[i] : "8");
            }
            snprintf(text + used, sizeof text - (size_t)used, "}");
            refuses(text, keys[j]);
        }
    }
    refuses("{\"num_hidden_layers\": 4097}", "more than 4096 layers");
}

static void checks_what_is_multiplied(void **state) {
    (void)state;
    llm_config config = read_config("{\"n_layer\": 4096, \"n_head\": 16777216, \"head_dim\": "
                                    "16777216, \"dtype\": \"float32\"}");
    assert_int_equal(token_bytes(&config, 1), UINT64_C(1) << 63); /* the most a file can ask for */
    config_number *const numbers[] = {&config.layers, &config.head_dim, &config.element};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t before = numbers[i]->value;
        numbers[i]->value = UINT64_MAX;
        refuses_share(&config, 1, "overflow 64 bits");
        numbers[i]->value = before;
    }
}

static void follows_types(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"fp8", 1}, {"bf16", 2}, {"fp16", 2}, {"fp32", 4}, {"auto", 2}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        llm_config config = read_with("{" FOUR_LAYERS "}", types[i].name, LAYERS_ALL);
        assert_true(llm_config_is_dtype(types[i].name));
        assert_int_equal(config.element.value, types[i].bytes);
    }
    assert_false(llm_config_is_dtype("float16"));
    assert_false(llm_config_is_dtype(""));
    llm_config config = read_config(
        "{" FOUR_LAYERS ", \"quantization_config\": {\"kv_cache_scheme\": {\"num_bits\": 8}}}");
    assert_int_equal(config.note_count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_grouped_heads),
        cmocka_unit_test(reads_heads_of_other_kinds),
        cmocka_unit_test(reads_mla),
        cmocka_unit_test(reads_what_is_inside),
        cmocka_unit_test(divides_heads),
        cmocka_unit_test(counts_layers),
        cmocka_unit_test(refuses_what_is_not_known),
        cmocka_unit_test(refuses_numbers_that_are_none),
        cmocka_unit_test(checks_what_is_multiplied),
        cmocka_unit_test(follows_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
