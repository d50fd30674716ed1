#include "output/results.h"

#include "output/json_file.h"
#include "output/output.h"

#include <stdio.h>
#include <string.h>

static bool are_objects(const json_t *rows) {
    const json_t *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        if (!json_is_object(row))
            return false;
    }
    return true;
}

/* Letters and spaces only: safe to print. */
static bool is_command(const char *text) {
    return text && text[strspn(text, "abcdefghijklmnopqrstuvwxyz ")] == '\0';
}

_Static_assert(OUTPUT_SCHEMA == 2 && RESULTS_MOST_ROWS == 10000, "as the texts below say");

/* NULL for a good document, else what is wrong with it. */
static const char *find_fault(const results *results) {
    const json_t *version = json_object_get(results->root, "schema_version");
    const json_t *compare = json_object_get(results->root, "compare");
    if (!json_is_integer(version) || !is_command(results->command))
        return "not a kvferry result: schema_version or command is missing";
    if (json_integer_value(version) != OUTPUT_SCHEMA)
        return "unsupported schema_version: this kvferry reads version 2";
    if (!json_is_object(results->context))
        return "not a kvferry result: the context is missing";
    if (json_array_size(results->rows) == 0)
        return "not a kvferry result: it has no rows";
    if (json_array_size(results->rows) > RESULTS_MOST_ROWS)
        return "too many rows (10000 are allowed)";
    if (!are_objects(results->rows) || !are_objects(json_object_get(compare, "rows")))
        return "not a kvferry result: a row is not an object";
    return NULL;
}

bool results_take(const char *name, json_t *root, const char *command, results *out, char *message,
                  size_t size) {
    *out = (results){.name = name,
                     .root = root,
                     .command = json_string_value(json_object_get(root, "command")),
                     .context = json_object_get(root, "context"),
                     .rows = json_object_get(root, "rows")};
    const char *fault = find_fault(out);
    if (fault) {
        snprintf(message, size, "%s: %s", name, fault);
    } else if (command && strcmp(out->command, command) != 0) {
        snprintf(message, size, "%s: has results of kvferry %s, not of kvferry %s", name,
                 out->command, command);
    } else {
        return true;
    }
    results_free(out);
    return false;
}

bool results_read(const char *name, const char *command, results *out, char *message, size_t size) {
    json_t *root = json_file_read(name, message, size);
    return root && results_take(name, root, command, out, message, size);
}

void results_free(results *results) {
    json_decref(results->root);
    results->root = NULL;
}
