#include "output/json_file.h"

#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole file; the caller frees it. NULL, with errno set, on failure. Reading one byte more than
 * allowed detects a file that is too long. */
static char *read_all(FILE *file, size_t *length) {
    char *text = NULL;
    size_t capacity = 0, got = 1;
    for (*length = 0; got > 0 && *length <= JSON_FILE_MOST_BYTES; *length += got) {
        capacity = *length == capacity ? capacity + capacity / 2 + 65536 : capacity;
        text = must_grow(text, capacity, 1);
        got = fread(text + *length, 1, capacity - *length, file);
    }
    if (ferror(file) || *length > JSON_FILE_MOST_BYTES) {
        errno = ferror(file) ? errno : EFBIG;
        free(text);
        return NULL;
    }
    return text;
}

/* The parser's message quotes the file. Control characters must not reach a terminal. */
static void make_printable(char *text) {
    for (; *text != '\0'; text++)
        *text = isprint((unsigned char)*text) ? *text : '?';
}

json_t *json_file_read(const char *path, char *message, size_t size) {
    json_error_t error;
    size_t length = 0;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char *text = file ? read_all(file, &length) : NULL;
    if (!text)
        snprintf(message, size, "%s: cannot be read: %s", path, strerror(errno));
    if (file && file != stdin)
        fclose(file);
    if (!text)
        return NULL;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!root) {
        make_printable(error.text);
        snprintf(message, size, "%s:%d: not JSON: %s", path, error.line > 0 ? error.line : 0,
                 error.text);
    }
    return root;
}

json_t *json_text(const char *text) {
    json_t *string = text ? json_string(text) : NULL;
    return string ? string : json_null();
}
