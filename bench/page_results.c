#include "page_results.h"

#include "page_text.h"
#include <stdio.h>

/* Whether it is of something that moves data. */
static bool moves(const json_t *row) {
    return json_object_get(row, "op") == NULL && json_object_get(row, "way") == NULL;
}

static unsigned doubts_of_check(const json_t *row) {
    const json_t *verified = json_object_get(row, "verified");
    const json_t *corrupt = json_object_get(row, "corrupt_blocks");
    if (json_is_false(verified) || json_integer_value(corrupt) > 0) {
        return DOUBT_CORRUPT;
    }
    bool looked_at = !json_is_null(verified) && !json_is_null(corrupt);
    return looked_at || !moves(row) ? 0 : DOUBT_UNVERIFIED;
}

unsigned row_doubts(const results *results, const json_t *row) {
    unsigned doubts = doubts_of_check(row);
    if (json_is_true(json_object_get(row, "noisy"))) {
        doubts |= DOUBT_NOISY;
    }
    if (json_is_true(json_object_get(row, "imitated")) ||
        json_is_true(json_object_get(results->context, "imitated"))) {
        doubts |= DOUBT_IMITATED;
    }
    return doubts;
}

unsigned results_doubts(const results *results) {
    const json_t *row;
    size_t i;
    unsigned doubts = 0;
    json_array_foreach(results->rows, i, row) {
        doubts |= row_doubts(results, row);
    }
    return doubts;
}

char *doubts_text(unsigned doubts) {
    static const struct {
        unsigned doubt;
        const char *text;
    } all[] = {{DOUBT_CORRUPT, "CORRUPT"},
               {DOUBT_NOISY, "NOISY"},
               {DOUBT_UNVERIFIED, "not verified"},
               {DOUBT_IMITATED, "IMITATED"}};
    sheet sheet;
    const char *before = "";
    sheet_open(&sheet);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if ((doubts & all[i].doubt) != 0) {
            fprintf(sheet.out, "%s%s", before, all[i].text);
            before = ", ";
        }
    }
    return sheet_close(&sheet);
}
