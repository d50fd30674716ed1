/* Two runs side by side: one that is stored, and one that was just measured.
 *
 * Rows are of the same thing when all keys agree that say what was asked for; compare.c lists them
 * for each command, with the figure that is compared. Of each pair:
 *
 *     ratio   = now / before
 *     noise   = sqrt(spread_now^2 + spread_before^2), no less than 0.02
 *     verdict = "within noise" when max(ratio, 1 / ratio) - 1 <= noise, else "faster" or "slower";
 *               null where a spread is not known, as that of a single sample
 *
 * In the JSON of the run now:
 *
 *     "compare": {"file": "before.json", "date": "...", "figure": "gbps",
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

/* The comparison of two documents of `command`, as above; `file` is the name of the one before.
 * NULL for lack of memory. The caller frees it with json_decref. */
json_t *compare_documents(const char *command, const json_t *now, const json_t *before,
                          const char *file);

/* Whether the comparison in a document has a row at all. */
bool compare_found(const json_t *document);

/* As a table with what it means, for people. */
void compare_print(const json_t *comparison, FILE *out);

#endif
