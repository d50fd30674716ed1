/* Reading of JSON files. */
#ifndef KVF_BENCH_JSON_FILE_H
#define KVF_BENCH_JSON_FILE_H

#include <jansson.h>
#include <stddef.h>

/* Longer files are refused. */
#define JSON_FILE_MOST_BYTES ((size_t)32 << 20)

/* Reads a file, or standard input for "-". The caller owns the value. Returns NULL, with "PATH:
 * why" in `message`, if the file cannot be read, is not JSON or has a duplicate key. */
json_t *json_file_read(const char *path, char *message, size_t size);

/* A JSON string; null for NULL and for text that is not UTF-8, which file names can be. */
json_t *json_text(const char *text);

#endif
