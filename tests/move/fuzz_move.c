/* Decodes bytes to two layouts, plans and limits; compares the move with a copy byte by byte. */
#include "move_oracle.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static move_counts counts;
    const char *broken = move_oracle_decode(data, size, &counts);
    if (broken) {
        fprintf(stderr, "broken: %s\n", broken);
        abort();
    }
    return 0;
}
