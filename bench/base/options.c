#include "base/options.h"

#include "base/base.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The left shift that a suffix stands for; -1 for an unknown suffix. */
static int suffix_shift(const char *suffix) {
    static const char names[] = "KMG";
    if (suffix[0] == '\0')
        return 0;
    const char *found = strchr(names, toupper((unsigned char)suffix[0]));
    return found && suffix[1] == '\0' ? 10 * (int)(found - names + 1) : -1;
}

bool parse_number(const char *text, uint64_t *number) {
    uint64_t value = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    int shift = suffix_shift(at);
    if (at == text || shift < 0 || value > UINT64_MAX >> shift)
        return false;
    *number = value << shift;
    return true;
}

uint64_t option_number(const struct argp_state *state, const char *option, const char *text,
                       uint64_t least, uint64_t most) {
    uint64_t number = 0;
    if (!parse_number(text, &number))
        argp_error(state, "--%s: '%s' is not a number", option, text);
    if (number < least || number > most) {
        argp_error(state, "--%s: %s is not between %" PRIu64 " and %" PRIu64, option, text, least,
                   most);
    }
    return number;
}

double option_real(const struct argp_state *state, const char *option, const char *text) {
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < 0)
        argp_error(state, "--%s: '%s' is not a number of at least 0", option, text);
    return number;
}

char *next_piece(char **rest) {
    char *piece = *rest;
    if (piece) {
        char *comma = strchr(piece, ',');
        if (comma)
            *comma = '\0';
        *rest = comma ? comma + 1 : NULL;
    }
    return piece;
}

void option_list(const struct argp_state *state, const char *option, const char *text,
                 uint64_t least, uint64_t most, number_list *list) {
    char *copy = must_grow(NULL, strlen(text) + 1, 1);
    char *rest = strcpy(copy, text);
    list->count = 0;
    for (char *piece = next_piece(&rest); piece; piece = next_piece(&rest)) {
        list->values = must_grow(list->values, list->count + 1, sizeof *list->values);
        list->values[list->count++] = option_number(state, option, piece, least, most);
    }
    free(copy);
}

void option_names(const char *text, name_list *list) {
    char *rest = strcpy(list->text = must_grow(list->text, strlen(text) + 1, 1), text);
    list->count = 0;
    for (char *name = next_piece(&rest); name; name = next_piece(&rest)) {
        list->names = must_grow(list->names, list->count + 1, sizeof *list->names);
        list->names[list->count++] = name;
    }
}

void option_names_free(name_list *list) {
    free(list->text);
    free(list->names);
}

static void set(const option_rule *rule, const char *name, char *argument,
                const struct argp_state *state) {
    void *member = (char *)state->input + rule->offset;
    switch (rule->kind) {
    case OPTION_FLAG:
        *(bool *)member = true;
        break;
    case OPTION_TEXT:
        *(const char **)member = argument;
        break;
    case OPTION_REAL:
        *(double *)member = option_real(state, name, argument);
        break;
    case OPTION_INT:
        *(unsigned *)member =
            (unsigned)option_number(state, name, argument, rule->least, rule->most);
        break;
    case OPTION_LONG:
        *(uint64_t *)member = option_number(state, name, argument, rule->least, rule->most);
        break;
    case OPTION_NUMBERS:
        option_list(state, name, argument, rule->least, rule->most, member);
        break;
    case OPTION_NAMES:
        option_names(argument, member);
        break;
    }
}

error_t option_set(const struct argp_option *options, const option_rule *rules, int key,
                   char *argument, const struct argp_state *state) {
    for (; rules->key != 0; rules++) {
        if (rules->key == key) {
            while (options->key != key)
                options++;
            set(rules, options->name, argument, state);
            return 0;
        }
    }
    return ARGP_ERR_UNKNOWN;
}
