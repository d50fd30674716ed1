/*
 * The parts of the conformance runner: words and values (conform_parse.c), operations of traces
 * (conform_trace.c), lines of hash vectors (conform_vectors.c). Malformed input ends the program
 * with exit code 2.
 */
#ifndef KVF_TEST_CONFORM_H
#define KVF_TEST_CONFORM_H

#include <kvferry/kvferry.h>

#include <stdio.h>

/* The current line, and the results of all files so far. */
typedef struct script {
    const char *file;
    size_t line;
    size_t passed, failed;
} script;

/* `FILE:LINE: what` on stderr, the summary on stdout, exit 2. */
_Noreturn void script_die(const script *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void script_summary(const script *s);

/* Never NULL, even for 0 bytes. */
void *script_alloc(const script *s, size_t count, size_t size);
void *script_realloc(const script *s, void *block, size_t count, size_t size);

/* All lines of a file, without their newlines; one allocation per line. */
typedef struct lines {
    char **line;
    size_t count;
} lines;

lines script_read(script *s);
void lines_free(lines *l);

/* The words of a line, which is cut in place. */
typedef struct words {
    char **word;
    size_t count;
} words;

words split_words(const script *s, char *line);
void words_free(words *w);

/* The value of the word `name=value`. */
const char *word_value(const script *s, words w, const char *name);

/* The text must be one value. */
uint64_t parse_u64(const script *s, const char *text);
uint64_t parse_u64_or_none(const script *s, const char *text, uint64_t none);
uint32_t parse_token(const script *s, const char *text);
uint64_t parse_hex64(const script *s, const char *text);

/* Values inside a text, from *at on; advances *at past the value. */
uint64_t take_u64(const script *s, const char **at);
uint64_t take_hex64(const script *s, const char **at);
kvf_hash take_hash(const script *s, const char **at);
void take_text(const script *s, const char **at, const char *text);
bool took_text(const char **at, const char *text);
void take_end(const script *s, const char *at);

/* Lists; the caller frees them. */
uint32_t *parse_tokens(const script *s, const char *text, size_t *count);
kvf_mm_run *parse_runs(const script *s, const char *text, size_t *count);
uint8_t *parse_bytes(const script *s, const char *text, size_t *count);

/* One file's replay. */
typedef struct object object;
typedef struct replay {
    script *script;
    kvf_hash_layout layout;
    object *objects; /* the sequences and assignments of a trace */
    size_t object_count;
    kvf_sequence *vector; /* of the last `seq` or `mmseq` line of hash vectors; may be NULL */
    FILE *out;            /* gets the answer */
} replay;

/* Each writes the answer to a line; false when the line is not of its kind. */
bool trace_answer(replay *r, words w);
bool vectors_answer(replay *r, words w);

void trace_end(replay *r);
void vectors_end(replay *r);

/* The hash layout that a file of hash vectors names or implies; v1.2 for anything else. */
kvf_hash_layout vectors_layout(const lines *l);

void put_hash(replay *r, kvf_hash hash);

/* Creates a sequence from the words block_size, salt, tokens and, if `with_runs`, runs. NULL when
 * the library refuses, which is the answer then. */
kvf_sequence *make_sequence(replay *r, words w, bool with_runs);

#endif
