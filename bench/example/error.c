/* Ends the program with a message. */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>

void die(const char *what, const char *why) {
    (void)fprintf(stderr, "example: %s: %s\n", what, why);
    exit(1);
}

void check(kvf_status status, const kvf_error *error) {
    char text[256];
    if (status != KVF_OK) {
        kvf_error_format(error, text, sizeof text);
        die("kvferry", text);
    }
}

void *must_have(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        die("memory", "out of memory");
    return memory;
}
