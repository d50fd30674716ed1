/* Files of JSON, and texts in them. */
#ifndef KVF_BENCH_JSON_FILE_H
#define KVF_BENCH_JSON_FILE_H

#include <jansson.h>
#include <stddef.h>

/* Longer files are not read. */
#define JSON_FILE_MOST_BYTES ((size_t)32 << 20)

/* The value in a file, or in standard input for "-", in which no key comes twice; the caller's.
 * NULL, with "PATH: why" in `message`, when it cannot be read or is no such JSON. */
json_t *json_file_read(const char *path, char *message, size_t size);

/* A string; null for NULL and for what is not UTF-8, as names of files may be. */
json_t *json_text(const char *text);

#endif
