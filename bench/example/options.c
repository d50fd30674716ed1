/* Command-line options. Nothing here concerns kvferry. */
#include "example.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Options with a number. */
static const struct number {
    const char *name, *doc;
    size_t offset, usual, least, most;
} numbers[] = {
#define NUMBER(name, member, usual, least, most, doc)                                              \
    { name, doc, offsetof(options, member), usual, least, most }
    NUMBER("seed", seed, 1, 0, SIZE_MAX, "Seed of the made-up sequences (default 1)"),
    NUMBER("sequences", sequences, 100, 1, 1 << 30, "Sequences to finish (default 100)"),
    NUMBER("steps", steps, 0, 0, SIZE_MAX, "Stop after N steps (default 0: no limit)"),
    NUMBER("seconds", seconds, 0, 0, 1 << 30, "Stop after N seconds (default 0: no limit)"),
    NUMBER("live", live, 16, 1, 1 << 16, "Sequences at a time, running or waiting (default 16)"),
    NUMBER("tokens", tokens, 160, 8, 1 << 20, "Tokens of the longest sequence (default 160)"),
    NUMBER("slice", slice, 12, 1, 1 << 20, "Steps of a turn while others wait (default 12)"),
    NUMBER("lanes", lanes, 4, 1, MOST_LANES, "Steps in flight at a time, 1 to 16 (default 4)"),
    NUMBER("hang-ups", hang_ups, 40, 0, 1 << 30,
           "A client hangs up about every N rounds (default 40; 0: never)"),
    NUMBER("rot", rot, 0, 0, 1 << 30,
           "A host block is corrupted about every N rounds (default 0: never)"),
    NUMBER("device-blocks", device_blocks, 40, 1, 1 << 20,
           "Blocks of the device tier (default 40)"),
    NUMBER("host-blocks", host_blocks, 160, 1, 1 << 20, "Blocks of the host tier (default 160)"),
    NUMBER("block-tokens", block_tokens, 8, 1, 1 << 10, "Tokens of a block (default 8)"),
    NUMBER("layers", layers, 4, 1, 256, "Layers (default 4)"),
    NUMBER("token-bytes", token_bytes, 64, 8, 1 << 16,
           "Bytes of a token's K in a layer, a multiple of 8 (default 64)"),
    NUMBER("max-transfers", max_transfers, 6, 1, 1024, "Transfers at a time (default 6)"),
    NUMBER("offload-mbps", offload_mbps, 0, 0, 1 << 30,
           "Limit offloads to N x 10^6 bytes/s (default 0: no limit)"),
    NUMBER("threads", threads, 0, 0, 64, "Threads of engine host (default 0: one per CPU)"),
    NUMBER("device", device, 0, 0, 1 << 10, "Number of the GPU of engine cuda (default 0)"),
#undef NUMBER
};

enum {
    NUMBERS = sizeof numbers / sizeof numbers[0],
    KEY_NUMBER = 0x1000, /* + its index */
    KEY_ENGINE = 0x2000,
    KEY_NO_THREADS,
    KEY_INTEGRITY,
};

static size_t *number_in(options *chosen, size_t index) {
    return (size_t *)(void *)((char *)chosen + numbers[index].offset);
}

static void parse_number(options *chosen, size_t index, const char *text,
                         const struct argp_state *state) {
    const struct number *number = &numbers[index];
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < number->least ||
        value > number->most) {
        argp_error(state, "--%s: '%s' is not a number from %zu to %zu", number->name, text,
                   number->least, number->most);
    }
    *number_in(chosen, index) = (size_t)value;
}

static void check_sizes(const options *chosen, const struct argp_state *state) {
    if (chosen->token_bytes % sizeof(uint64_t) != 0)
        argp_error(state, "--token-bytes: %zu is not a multiple of 8", chosen->token_bytes);
    if (chosen->device_blocks * chosen->block_tokens < chosen->tokens)
        argp_error(state, "--device-blocks: too few for a sequence of %zu tokens", chosen->tokens);
    if (strcmp(chosen->engine, "host") != 0 && strcmp(chosen->engine, "cuda") != 0)
        argp_error(state, "--engine: unknown engine '%s' (expected host or cuda)", chosen->engine);
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *chosen = state->input;
    if (key >= KEY_NUMBER && key < KEY_NUMBER + NUMBERS) {
        parse_number(chosen, (size_t)(key - KEY_NUMBER), argument, state);
        return 0;
    }
    switch (key) {
    case KEY_ENGINE:
        chosen->engine = argument;
        return 0;
    case KEY_NO_THREADS:
        chosen->no_threads = true;
        return 0;
    case KEY_INTEGRITY:
        chosen->integrity = true;
        return 0;
    case ARGP_KEY_END:
        check_sizes(chosen, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

options options_parse(int argc, char **argv) {
    struct argp_option entries[NUMBERS + 4] = {
        {"engine", KEY_ENGINE, "NAME", 0, "The engine: host (default) or cuda", 0},
        {"no-threads", KEY_NO_THREADS, NULL, 0, "Run the engine without threads", 0},
        {"integrity", KEY_INTEGRITY, NULL, 0, "Keep checksums of the host tier (engine host only)",
         0},
    };
    options chosen = {.engine = "host"};
    for (size_t i = 0; i < NUMBERS; i++) {
        entries[3 + i] = (struct argp_option){
            .name = numbers[i].name, .key = KEY_NUMBER + (int)i, .arg = "N", .doc = numbers[i].doc};
        *number_in(&chosen, i) = numbers[i].usual;
    }
    const struct argp argp = {
        .options = entries,
        .parser = parse,
        .doc =
            "A runtime with paged attention, but no model, and a device tier that is too small for "
            "all sequences. Every step checks its blocks; the exit status is 1 if any byte is "
            "wrong.",
    };
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    return chosen;
}
