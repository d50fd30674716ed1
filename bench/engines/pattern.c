#include "engines/pattern.h"

#include <string.h>

void pattern_fill(void *bytes, size_t count, uint64_t seed) {
    unsigned char *at = bytes;
    size_t words = count / sizeof seed;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = pattern_word(seed, i);
        memcpy(at + i * sizeof word, &word, sizeof word);
    }
    uint64_t last = pattern_word(seed, words);
    memcpy(at + words * sizeof last, &last, count % sizeof last);
}

bool pattern_matches(const void *bytes, size_t count, uint64_t seed) {
    const unsigned char *at = bytes;
    size_t words = count / sizeof seed;
    uint64_t wrong = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, at + i * sizeof word, sizeof word);
        wrong |= word ^ pattern_word(seed, i);
    }
    uint64_t last = pattern_word(seed, words);
    return wrong == 0 && memcmp(at + words * sizeof last, &last, count % sizeof last) == 0;
}
