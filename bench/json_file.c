#include "json_file.h"

#include <stdio.h>

json_t *json_file_read(const char *path, char *message, size_t size) {
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        snprintf(message, size, "%s:%d: %s", path, error.line > 0 ? error.line : 0, error.text);
    }
    return root;
}
