/* Files of JSON. */
#ifndef KVF_BENCH_JSON_FILE_H
#define KVF_BENCH_JSON_FILE_H

#include <jansson.h>
#include <stddef.h>

/* Longer files are not read. */
#define JSON_FILE_MOST_BYTES ((size_t)32 << 20)

/* The value in a file, or in standard input for "-", in which no key comes twice; the caller's.
 * NULL, with "PATH: why" in `message`, when it cannot be read or is no such JSON. */
json_t *json_file_read(const char *path, char *message, size_t size);

#endif
