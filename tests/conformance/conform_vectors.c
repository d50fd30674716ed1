#include "conform.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void put_hash(replay *r, kvf_hash hash) {
    fprintf(r->out, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

static bool begins(const char *line, const char *start) {
    return took_text(&line, start);
}

kvf_hash_layout vectors_layout(const lines *l) {
    for (size_t i = 0; i < l->count; i++) {
        const char *line = l->line[i];
        bool title = line[0] == '#' && strstr(line, "ash vectors");
        if (title && strstr(line, "hash layout v1.2"))
            return KVF_HASH_V1_2;
        if ((title && strstr(line, "hash layout v1.3")) || begins(line, "mmseq block_size=") ||
            begins(line, "mmbytes tokens=") ||
            (begins(line, "plh current=") && strstr(line, " current_sequence_hash=")))
            return KVF_HASH_V1_3;
    }
    return KVF_HASH_V1_2;
}

static void put_refusal(replay *r, kvf_status status) {
    fprintf(r->out, "err %s", kvf_status_name(status));
}

kvf_sequence *make_sequence(replay *r, words w, bool with_runs) {
    const script *s = r->script;
    const kvf_sequence_options options = {
        .block_size = parse_u64(s, word_value(s, w, "block_size")),
        .salt = parse_u64_or_none(s, word_value(s, w, "salt"), 0),
        .layout = r->layout,
    };
    size_t count, run_count;
    uint32_t *tokens = parse_tokens(s, word_value(s, w, "tokens"), &count);
    kvf_mm_run *runs = parse_runs(s, with_runs ? word_value(s, w, "runs") : "", &run_count);
    kvf_sequence *made = NULL;
    kvf_status status = kvf_sequence_create(&options, &made, NULL);
    if (status == KVF_OK)
        status = kvf_sequence_extend_mm(made, tokens, count, runs, run_count, NULL, NULL);
    free(tokens);
    free(runs);
    if (status == KVF_OK)
        return made;
    kvf_sequence_destroy(made);
    put_refusal(r, status);
    return NULL;
}

static void replace_sequence(replay *r, words w, bool with_runs) {
    kvf_sequence_destroy(r->vector);
    r->vector = make_sequence(r, w, with_runs);
}

static void answer_seq(replay *r, words w) {
    replace_sequence(r, w, false);
    if (r->vector)
        fprintf(r->out, "blocks=%zu partial=%zu", kvf_sequence_block_count(r->vector),
                kvf_sequence_token_count(r->vector) % kvf_sequence_block_size(r->vector));
}

static void answer_mmseq(replay *r, words w) {
    replace_sequence(r, w, true);
    if (r->vector)
        fprintf(r->out, "blocks=%zu", kvf_sequence_block_count(r->vector));
}

static void answer_block(replay *r, words w) {
    if (!r->vector)
        script_die(r->script, "block without a sequence");
    kvf_token_block b;
    if (kvf_sequence_block(r->vector, parse_u64(r->script, w.word[1]), &b, NULL) != KVF_OK) {
        fputs("none", r->out);
        return;
    }
    fprintf(r->out, "block_hash=%016" PRIx64 " sequence_hash=%016" PRIx64 " parent_sequence_hash=",
            b.block_hash, b.sequence_hash);
    if (b.has_parent)
        fprintf(r->out, "%016" PRIx64, b.parent);
    else
        fputs("none", r->out);
    fputs(" plh=", r->out);
    put_hash(r, b.lineage);
    fprintf(r->out, " position=%" PRIu64 " psh=", b.position);
    put_hash(r, b.positional);
}

static void answer_plh(replay *r, words w) {
    const char *parent_text = word_value(r->script, w, "parent");
    bool root = strcmp(parent_text, "none") == 0;
    uint64_t parent = root ? 0 : parse_hex64(r->script, parent_text);
    kvf_hash hash;
    kvf_status status = kvf_hash_lineage(
        r->layout, parse_hex64(r->script, word_value(r->script, w, "current")),
        root ? NULL : &parent, parse_u64(r->script, word_value(r->script, w, "position")), &hash);
    if (status != KVF_OK) {
        put_refusal(r, status);
        return;
    }
    char text[KVF_HASH_TEXT_SIZE];
    kvf_hash_format(r->layout, hash, text, sizeof text);
    fputs("plh=", r->out);
    put_hash(r, hash);
    fprintf(r->out,
            " mode=%u position=%" PRIu64 " parent_fragment=%016" PRIx64 " %s=%016" PRIx64
            " display=%s",
            kvf_hash_mode(hash), kvf_hash_position(hash), kvf_hash_parent(r->layout, hash),
            r->layout == KVF_HASH_V1_3 ? "current_sequence_hash" : "current_fragment",
            kvf_hash_current(r->layout, hash), text);
}

static void answer_psh(replay *r, words w) {
    kvf_hash hash;
    kvf_status status = kvf_hash_positional(
        parse_hex64(r->script, word_value(r->script, w, "sequence_hash")),
        parse_u64(r->script, word_value(r->script, w, "position")),
        parse_hex64(r->script, word_value(r->script, w, "local_block_hash")), &hash);
    if (status != KVF_OK) {
        put_refusal(r, status);
        return;
    }
    fputs("psh=", r->out);
    put_hash(r, hash);
    fprintf(r->out, " mode=%u position=%" PRIu64 " local_block_hash=%016" PRIx64,
            kvf_hash_mode(hash), kvf_hash_positional_position(hash),
            kvf_hash_positional_block_hash(hash));
}

static void answer_salt(replay *r, words w) {
    size_t count;
    uint8_t *bytes = parse_bytes(r->script, word_value(r->script, w, "bytes"), &count);
    fprintf(r->out, "salt_hash=%016" PRIx64, kvf_hash_salt(bytes, count));
    free(bytes);
}

/* The operands of an mmbytes line. */
typedef struct mm_block {
    uint32_t *tokens;
    kvf_mm_run *runs;
    size_t count, run_count;
    uint64_t first, salt;
} mm_block;

/* The runs that touch the block, cut at its end. Returns the first run's start, or the block's if
 * that is smaller. */
static uint64_t clip_runs(const mm_block *b, kvf_mm_run *clipped, size_t *count) {
    uint64_t end = b->first + b->count, start = b->first;
    *count = 0;
    for (size_t i = 0; i < b->run_count; i++) {
        kvf_mm_run run = b->runs[i];
        if (run.offset >= end || run.offset + run.length <= b->first)
            continue;
        if (run.offset + run.length > end)
            run.length = end - run.offset;
        if (run.offset < start)
            start = run.offset;
        clipped[(*count)++] = run;
    }
    return start;
}

static kvf_status hash_last_block(const uint32_t *tokens, size_t count, const kvf_mm_run *runs,
                                  size_t run_count, const kvf_sequence_options *options,
                                  uint64_t *hash) {
    kvf_sequence *sequence = NULL;
    kvf_token_block block;
    kvf_status status = kvf_sequence_create(options, &sequence, NULL);
    if (status == KVF_OK)
        status = kvf_sequence_extend_mm(sequence, tokens, count, runs, run_count, NULL, NULL);
    if (status == KVF_OK)
        status = kvf_sequence_block(sequence, count / options->block_size - 1, &block, NULL);
    if (status == KVF_OK)
        *hash = block.block_hash;
    kvf_sequence_destroy(sequence);
    return status;
}

/* The library hashes frames only in a sequence. In this one the block comes last, after as many
 * filler blocks as its first run reaches back. */
static kvf_status hash_mm_block(const script *s, const mm_block *b, uint64_t *hash) {
    size_t kept;
    kvf_mm_run *runs = script_alloc(s, b->run_count, sizeof *runs);
    uint64_t start = clip_runs(b, runs, &kept);
    uint64_t filler = (b->first - start + b->count - 1) / b->count * b->count;
    for (size_t i = 0; i < kept; i++)
        runs[i].offset = runs[i].offset - b->first + filler;
    size_t count = filler + b->count;
    uint32_t *tokens = script_alloc(s, count, sizeof *tokens);
    memset(tokens, 0, filler * sizeof *tokens);
    memcpy(tokens + filler, b->tokens, b->count * sizeof *tokens);
    const kvf_sequence_options options = {
        .block_size = b->count, .salt = b->salt, .layout = KVF_HASH_V1_3};
    kvf_status status = hash_last_block(tokens, count, runs, kept, &options, hash);
    free(tokens);
    free(runs);
    return status;
}

static void put_mm_block(replay *r, const mm_block *b) {
    size_t size;
    kvf_status status = kvf_hash_block_bytes(b->tokens, b->count, b->first, b->runs, b->run_count,
                                             NULL, 0, &size, NULL);
    uint64_t hash = kvf_hash_block(b->tokens, b->count, b->salt);
    if (status == KVF_OK && b->count > 0)
        status = hash_mm_block(r->script, b, &hash);
    if (status != KVF_OK) {
        put_refusal(r, status);
        return;
    }
    uint8_t *bytes = script_alloc(r->script, size, 1);
    kvf_hash_block_bytes(b->tokens, b->count, b->first, b->runs, b->run_count, bytes, size, &size,
                         NULL);
    fputs("bytes=", r->out);
    for (size_t i = 0; i < size; i++)
        fprintf(r->out, "%02x", bytes[i]);
    fprintf(r->out, " block_hash=%016" PRIx64, hash);
    free(bytes);
}

static void answer_mmbytes(replay *r, words w) {
    mm_block b = {
        .first = parse_u64(r->script, word_value(r->script, w, "block_offset")),
        .salt = parse_u64_or_none(r->script, word_value(r->script, w, "salt"), 0),
    };
    b.tokens = parse_tokens(r->script, word_value(r->script, w, "tokens"), &b.count);
    b.runs = parse_runs(r->script, word_value(r->script, w, "runs"), &b.run_count);
    put_mm_block(r, &b);
    free(b.tokens);
    free(b.runs);
}

bool vectors_answer(replay *r, words w) {
    static const struct {
        const char *name;
        size_t word_count;
        void (*answer)(replay *r, words w);
    } kinds[] = {
        {"seq", 4, answer_seq},         {"mmseq", 5, answer_mmseq}, {"block", 2, answer_block},
        {"plh", 4, answer_plh},         {"psh", 4, answer_psh},     {"salt", 2, answer_salt},
        {"mmbytes", 5, answer_mmbytes},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(w.word[0], kinds[i].name) == 0 && w.count == kinds[i].word_count) {
            kinds[i].answer(r, w);
            return true;
        }
    return false;
}

void vectors_end(replay *r) {
    kvf_sequence_destroy(r->vector);
}
