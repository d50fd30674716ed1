/* Parsing of option values. */
#ifndef KVF_BENCH_OPTIONS_H
#define KVF_BENCH_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A list of numbers, as "4096,64K,1M". */
typedef struct number_list {
    uint64_t *values;
    size_t count;
} number_list;

/* A list of names, as "loop,batch". */
typedef struct name_list {
    char *text; /* the list, split in place */
    const char **names;
    size_t count;
} name_list;

/* The member of the parser's input that an option sets. Numbers have bounds. */
typedef struct option_rule {
    int key;
    enum {
        OPTION_FLAG, /* sets it to true */
        OPTION_TEXT,
        OPTION_REAL,
        OPTION_INT, /* or unsigned */
        OPTION_LONG,
        OPTION_NUMBERS,
        OPTION_NAMES
    } kind;
    size_t offset;
    uint64_t least, most;
} option_rule;

#define SETS_WITHIN(key, type, member, least, most)                                                \
    { key, OPTION_KIND(((type *)NULL)->member), offsetof(type, member), least, most }
#define SETS(key, type, member) SETS_WITHIN(key, type, member, 0, UINT64_MAX)
#define OPTION_KIND(value)                                                                         \
    _Generic((value),                                                                              \
        bool: OPTION_FLAG,                                                                         \
        const char *: OPTION_TEXT,                                                                 \
        double: OPTION_REAL,                                                                       \
        int: OPTION_INT,                                                                           \
        unsigned: OPTION_INT,                                                                      \
        int64_t: OPTION_LONG,                                                                      \
        uint64_t: OPTION_LONG,                                                                     \
        number_list: OPTION_NUMBERS,                                                               \
        name_list: OPTION_NAMES)

/* Parses one option by `rules`, which end with {0}. Returns ARGP_ERR_UNKNOWN for other keys. */
error_t option_set(const struct argp_option *options, const option_rule *rules, int key,
                   char *argument, const struct argp_state *state);

/* Parses digits with an optional suffix K, M or G (times 1024, 1024^2, 1024^3). Returns false for
 * anything else and for overflow. */
bool parse_number(const char *text, uint64_t *number);

/* Like parse_number, but a usage error unless least <= number <= most. */
uint64_t option_number(const struct argp_state *state, const char *option, const char *text,
                       uint64_t least, uint64_t most);

/* Parses a finite number of at least 0. */
double option_real(const struct argp_state *state, const char *option, const char *text);

/* Parses a list of one or more numbers within bounds. Replaces what `list` holds. */
void option_list(const struct argp_state *state, const char *option, const char *text,
                 uint64_t least, uint64_t most, number_list *list);

/* Parses a list of names. Replaces what `list` holds. */
void option_names(const char *text, name_list *list);
void option_names_free(name_list *list);

/* Splits "a,b,c" in place. Returns the next piece, or NULL at the end. */
char *next_piece(char **rest);

#endif
