#include "conform.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void script_summary(const script *s) {
    printf("%zu passed, %zu failed\n", s->passed, s->failed);
}

void script_die(const script *s, const char *format, ...) {
    fflush(stdout);
    fprintf(stderr, "%s:%zu: ", s->file, s->line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    script_summary(s);
    exit(2);
}

void *script_realloc(const script *s, void *block, size_t count, size_t size) {
    size_t bytes;
    void *grown = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes) && bytes <= PTRDIFF_MAX)
        grown = realloc(block, bytes > 0 ? bytes : 1);
    if (!grown)
        script_die(s, "out of memory");
    return grown;
}

void *script_alloc(const script *s, size_t count, size_t size) {
    return script_realloc(s, NULL, count, size);
}

/* Makes room for one more; the list doubles. */
static void *grow_list(const script *s, void *list, size_t count, size_t size) {
    return (count & (count - 1)) == 0 ? script_realloc(s, list, count > 0 ? 2 * count : 1, size)
                                      : list;
}

lines script_read(script *s) {
    lines l = {0};
    s->line = 0;
    FILE *file = fopen(s->file, "r");
    if (!file)
        script_die(s, "%s", strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) >= 0) {
        s->line++;
        if (strlen(line) != (size_t)length)
            script_die(s, "NUL byte");
        line[strcspn(line, "\n")] = '\0';
        l.line = grow_list(s, l.line, l.count, sizeof *l.line);
        l.line[l.count++] = line;
        line = NULL;
        capacity = 0;
    }
    if (!feof(file))
        script_die(s, "%s", strerror(errno));
    free(line);
    fclose(file);
    return l;
}

void lines_free(lines *l) {
    for (size_t i = 0; i < l->count; i++)
        free(l->line[i]);
    free(l->line);
}

words split_words(const script *s, char *line) {
    words w = {0};
    char *rest = line;
    while (rest) {
        char *word = strsep(&rest, " ");
        if (*word == '\0')
            script_die(s, "empty word");
        w.word = grow_list(s, w.word, w.count, sizeof *w.word);
        w.word[w.count++] = word;
    }
    return w;
}

void words_free(words *w) {
    free(w->word);
}

const char *word_value(const script *s, words w, const char *name) {
    for (size_t i = 0; i < w.count; i++) {
        const char *at = w.word[i];
        if (took_text(&at, name) && took_text(&at, "="))
            return at;
    }
    script_die(s, "no %s=", name);
}

bool took_text(const char **at, const char *text) {
    size_t length = strlen(text);
    if (strncmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

void take_text(const script *s, const char **at, const char *text) {
    if (!took_text(at, text))
        script_die(s, "expected '%s' before '%.40s'", text, *at);
}

void take_end(const script *s, const char *at) {
    if (*at != '\0')
        script_die(s, "expected nothing more, got '%.40s'", at);
}

uint64_t take_u64(const script *s, const char **at) {
    const char *start = *at;
    uint64_t value = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
            script_die(s, "number of more than 64 bits: '%.40s'", start);
    if (*at == start)
        script_die(s, "expected a number, got '%.40s'", start);
    return value;
}

static uint64_t take_hex(const script *s, const char **at, unsigned digits) {
    static const char alphabet[] = "0123456789abcdef";
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++, (*at)++) {
        const char *digit = **at != '\0' ? strchr(alphabet, **at) : NULL;
        if (!digit)
            script_die(s, "expected a hex digit, got '%.40s'", *at);
        value = value << 4 | (uint64_t)(digit - alphabet);
    }
    return value;
}

uint64_t take_hex64(const script *s, const char **at) {
    return take_hex(s, at, 16);
}

kvf_hash take_hash(const script *s, const char **at) {
    kvf_hash hash;
    hash.high = take_hex64(s, at);
    hash.low = take_hex64(s, at);
    return hash;
}

uint64_t parse_u64(const script *s, const char *text) {
    uint64_t value = take_u64(s, &text);
    take_end(s, text);
    return value;
}

uint64_t parse_u64_or_none(const script *s, const char *text, uint64_t none) {
    return strcmp(text, "none") == 0 ? none : parse_u64(s, text);
}

uint64_t parse_hex64(const script *s, const char *text) {
    uint64_t value = take_hex64(s, &text);
    take_end(s, text);
    return value;
}

static uint32_t take_token(const script *s, const char **at) {
    uint64_t value = take_u64(s, at);
    if (value > UINT32_MAX)
        script_die(s, "token of more than 32 bits: %" PRIu64, value);
    return (uint32_t)value;
}

uint32_t parse_token(const script *s, const char *text) {
    uint32_t token = take_token(s, &text);
    take_end(s, text);
    return token;
}

/* A..B: the tokens from A up to, not including, B, which may be 2^32. */
static uint32_t *parse_token_range(const script *s, const char *text, size_t *count) {
    uint64_t start = take_u64(s, &text);
    take_text(s, &text, "..");
    uint64_t end = parse_u64(s, text);
    if (start > end || end > (uint64_t)UINT32_MAX + 1)
        script_die(s, "invalid range of tokens: %" PRIu64 "..%" PRIu64, start, end);
    *count = (size_t)(end - start);
    uint32_t *tokens = script_alloc(s, *count, sizeof *tokens);
    for (size_t i = 0; i < *count; i++)
        tokens[i] = (uint32_t)(start + i);
    return tokens;
}

uint32_t *parse_tokens(const script *s, const char *text, size_t *count) {
    if (took_text(&text, "range:"))
        return parse_token_range(s, text, count);
    uint32_t *tokens = script_alloc(s, 0, sizeof *tokens);
    *count = 0;
    if (*text == '\0')
        return tokens;
    do {
        tokens = grow_list(s, tokens, *count, sizeof *tokens);
        tokens[(*count)++] = take_token(s, &text);
    } while (took_text(&text, ","));
    take_end(s, text);
    return tokens;
}

kvf_mm_run *parse_runs(const script *s, const char *text, size_t *count) {
    kvf_mm_run *runs = script_alloc(s, 0, sizeof *runs);
    *count = 0;
    if (*text == '\0')
        return runs;
    do {
        kvf_mm_run run;
        run.mm_hash = take_hex64(s, &text);
        take_text(s, &text, ":");
        run.offset = take_u64(s, &text);
        take_text(s, &text, ":");
        run.length = take_u64(s, &text);
        runs = grow_list(s, runs, *count, sizeof *runs);
        runs[(*count)++] = run;
    } while (took_text(&text, ","));
    take_end(s, text);
    return runs;
}

uint8_t *parse_bytes(const script *s, const char *text, size_t *count) {
    *count = strlen(text) / 2;
    uint8_t *bytes = script_alloc(s, *count, 1);
    for (size_t i = 0; i < *count; i++)
        bytes[i] = (uint8_t)take_hex(s, &text, 2);
    take_end(s, text);
    return bytes;
}
