/* Two runs side by side: one that is stored, and one that was just measured.
 *
 * Rows are of the same thing when all keys agree that say what was asked for; compare.c lists them
 * for each command, with the figure that is compared. Of each pair:
 *
 *     ratio   = now / before
 *     noise   = sqrt(spread_now^2 + spread_before^2), no less than 0.02
 *     verdict = "within noise" when max(ratio, 1 / ratio) - 1 <= noise, else "faster" or "slower";
 *               null where a spread is not known: of a single sample, or in schema_version 1
 *
 * In the JSON of the run now:
 *
 *     "compare": {"file": "before.json", "schema_version": 2, "date": "...", "figure": "gbps",
 *                 "rows": [{(the keys asked for), "now", "before", "ratio", "noise", "verdict"}],
 *                 "faster": 0, "slower": 1, "within_noise": 10, "unknown": 0,
 *                 "only_now": 1, "only_before": 0,
 *                 "differs": {"cpu": ["now", "before"]}}
 */
#ifndef KVF_BENCH_COMPARE_H
#define KVF_BENCH_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Reads a stored document of `command`, of either schema version. NULL, with why in `message`, for
 * a file that is none, or is another command's. The caller frees it with json_decref. */
json_t *compare_read(const char *file, const char *command, char *message, size_t size);

/* The comparison of two documents of `command`, as above; `file` is the name of the one before.
 * NULL for lack of memory. The caller frees it with json_decref. */
json_t *compare_documents(const char *command, const json_t *now, const json_t *before,
                          const char *file);

/* Whether the comparison in a document has a row at all. */
bool compare_found(const json_t *document);

/* As a table with what it means, for people. */
void compare_print(const json_t *comparison, FILE *out);

#endif
