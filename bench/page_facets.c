#include "page_facets.h"

#include "page_text.h"

#include <stdlib.h>
#include <string.h>

bool key_varies(const json_t *rows, const char *key) {
    const json_t *first = json_object_get(json_array_get(rows, 0), key);
    for (size_t i = 1; i < json_array_size(rows); i++) {
        const json_t *value = json_object_get(json_array_get(rows, i), key);
        if (first == NULL ? value != NULL : !json_equal(first, value)) {
            return true;
        }
    }
    return false;
}

facets facets_find(const json_t *rows, const facet *known, const char *but) {
    facets found = {.count = 0};
    for (; known->key != NULL && found.count < MOST_FACETS; known++) {
        bool left_out = but != NULL && strcmp(but, known->key) == 0;
        if (!left_out && key_varies(rows, known->key)) {
            found.all[found.count++] = known;
        }
    }
    return found;
}

char *facets_label(const facets *facets, const json_t *row) {
    sheet sheet;
    sheet_open(&sheet);
    for (size_t i = 0; i < facets->count; i++) {
        const facet *facet = facets->all[i];
        json_t *value = json_object_get(row, facet->key);
        char *text = value_text(value);
        bool bytes = facet->bytes && json_is_number(value);
        fprintf(sheet.out, "%s%s%s%s", i > 0 ? ", " : "", facet->before,
                bytes ? text_bytes(json_number_value(value)).s : text, facet->behind);
        free(text);
    }
    return sheet_close(&sheet);
}
