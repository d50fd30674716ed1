/* What a model keeps in its KV cache, as its Hugging Face config.json tells. */
#ifndef KVF_BENCH_LLM_CONFIG_H
#define KVF_BENCH_LLM_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which layers are taken to keep blocks. Windows are not looked at: a layer keeps all or nothing.
 */
typedef enum layer_choice {
    LAYERS_ALL,  /* all that attend, as if none had a window */
    LAYERS_FULL, /* those alone that attend to everything */
} layer_choice;

/* A number and where it is from: a key, or a formula of keys. */
typedef struct config_number {
    uint64_t value;
    char from[96];
} config_number;

enum { CONFIG_NOTES = 8, CONFIG_NOTE = 200 };

typedef struct llm_config {
    char kind[64];                         /* model_type; "" where it is not said */
    bool mla;                              /* one latent vector a token, and no heads */
    config_number layers;                  /* that keep blocks */
    config_number heads;                   /* of queries; 0 with MLA where it is not said */
    config_number kv_heads;                /* 1 with MLA */
    config_number head_dim;                /* elements; with MLA of a token's vector */
    config_number element;                 /* bytes */
    uint64_t positions;                    /* max_position_embeddings; 0: not said */
    char notes[CONFIG_NOTES][CONFIG_NOTE]; /* what was assumed or left out */
    size_t note_count;
} llm_config;

/* Reads a config.json. `kv_dtype` NULL or "auto": the cache has the model's type. On failure false
 * and "NAME: what" in `message`. Nothing is guessed: a key that is missing is named. */
bool llm_config_read(const char *path, const char *kv_dtype, layer_choice layers, llm_config *out,
                     char *message, size_t size);

/* As llm_config_read, of a document. */
bool llm_config_parse(const json_t *root, const char *kv_dtype, layer_choice layers,
                      llm_config *out, char *message, size_t size);

/* Whether that is a type an option may name: auto, fp8, bf16, fp16, fp32. */
bool llm_config_is_dtype(const char *name);

/* What a rank of a group of `tp` keeps. */
typedef struct rank_share {
    uint64_t kv_heads;
    uint64_t copies;      /* ranks that keep the same */
    uint64_t layer_bytes; /* of one token in one layer: K and V, or MLA's one vector */
    uint64_t part_bytes;  /* of one token in one part of one layer */
    uint64_t parts;       /* 2; MLA: 1 */
    uint64_t token_bytes; /* of all layers */
} rank_share;

/* Heads are divided evenly among ranks; fewer than there are ranks are kept as often as it takes,
 * and MLA's vector by each rank. false and a message where heads do not come out even, or the bytes
 * overflow. */
bool llm_config_share(const llm_config *config, uint64_t tp, rank_share *out, char *message,
                      size_t size);

#endif
