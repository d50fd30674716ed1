/* Reading option values. */
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

/* Digits, then perhaps K, M or G (times 1024, 1024^2, 1024^3). false for anything else, and for
 * what does not fit. */
bool parse_number(const char *text, uint64_t *number);

/* As parse_number, but ends the program through argp unless least <= number <= most. */
uint64_t option_number(const struct argp_state *state, const char *option, const char *text,
                       uint64_t least, uint64_t most);

/* A finite number, 0 or more. */
double option_real(const struct argp_state *state, const char *option, const char *text);

/* A list of one or more numbers within bounds; replaces what `list` held. */
void option_list(const struct argp_state *state, const char *option, const char *text,
                 uint64_t least, uint64_t most, number_list *list);

/* Splits "a,b,c" in place; returns the next piece or NULL at the end. */
char *next_piece(char **rest);

#endif
