/* What a model keeps in its KV cache, according to its Hugging Face config.json. */
#ifndef KVF_BENCH_LLM_CONFIG_H
#define KVF_BENCH_LLM_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which layers keep blocks. Windows are not modelled: a layer keeps all tokens or none. */
typedef enum layer_choice {
    LAYERS_ALL,  /* all attention layers, as if none had a window */
    LAYERS_FULL, /* only those that attend to all tokens */
} layer_choice;

/* A number and its source: a key, or a formula of keys. */
typedef struct config_number {
    uint64_t value;
    char from[96];
} config_number;

enum { CONFIG_NOTES = 8, CONFIG_NOTE = 200 };

typedef struct llm_config {
    char kind[64];                         /* model_type; "": unknown */
    bool mla;                              /* one latent vector per token, no heads */
    config_number layers;                  /* that keep blocks */
    config_number heads;                   /* of queries; with MLA 0: unknown */
    config_number kv_heads;                /* 1 with MLA */
    config_number head_dim;                /* elements; with MLA those of a token's vector */
    config_number element;                 /* bytes */
    uint64_t positions;                    /* max_position_embeddings; 0: unknown */
    char notes[CONFIG_NOTES][CONFIG_NOTE]; /* what was assumed or left out */
    size_t note_count;
} llm_config;

/* Reads a config.json. `kv_dtype` NULL or "auto": the cache has the model's type. Returns false,
 * with "NAME: why" in `message`, on failure. Guesses nothing: the message names a missing key. */
bool llm_config_read(const char *path, const char *kv_dtype, layer_choice layers, llm_config *out,
                     char *message, size_t size);

/* Like llm_config_read, for a document. */
bool llm_config_parse(const json_t *root, const char *kv_dtype, layer_choice layers,
                      llm_config *out, char *message, size_t size);

/* Whether --kv-dtype accepts this name: auto, fp8, bf16, fp16, fp32. */
bool llm_config_is_dtype(const char *name);

/* What each of `tp` ranks keeps. */
typedef struct rank_share {
    uint64_t kv_heads;
    uint64_t copies;      /* ranks that keep the same blocks */
    uint64_t layer_bytes; /* of one token in one layer: K and V, or MLA's one vector */
    uint64_t part_bytes;  /* of one token in one part of one layer */
    uint64_t parts;       /* 2; MLA: 1 */
    uint64_t token_bytes; /* of all layers */
} rank_share;

/* Divides heads evenly among ranks. If there are fewer heads than ranks, several ranks keep the
 * same head; MLA's vector is kept by every rank. Returns false, with a message, if heads cannot be
 * divided evenly or the bytes overflow. */
bool llm_config_share(const llm_config *config, uint64_t tp, rank_share *out, char *message,
                      size_t size);

#endif
