/* Files of JSON. */
#ifndef KVF_BENCH_JSON_FILE_H
#define KVF_BENCH_JSON_FILE_H

#include <jansson.h>
#include <stddef.h>

/* What a file has, in which no key comes twice; the caller's. NULL and why in `message` when it
 * cannot be read or is no such JSON. */
json_t *json_file_read(const char *path, char *message, size_t size);

#endif
