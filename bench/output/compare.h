/* Compares the current run with a stored one.
 *
 * Two rows match if all keys that describe the request agree. compare.c lists these keys for each
 * command, with the figure that is compared. For each pair:
 *
 *     ratio   = now / before
 *     noise   = sqrt(spread_now^2 + spread_before^2), at least 0.02
 *     verdict = "within noise" if max(ratio, 1 / ratio) - 1 <= noise, else "faster" or "slower";
 *               null if a spread is unknown, such as that of a single sample
 *
 * In the JSON of the current run:
 *
 *     "compare": {"file": "before.json", "date": "...", "figure": "gbps",
 *                 "rows": [{(the keys matched by), "now", "before", "ratio", "noise", "verdict"}],
 *                 "faster": 0, "slower": 1, "within_noise": 10, "unknown": 0,
 *                 "only_now": 1, "only_before": 0,
 *                 "differs": {"cpu": ["now", "before"]}}
 */
#ifndef KVF_BENCH_COMPARE_H
#define KVF_BENCH_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The comparison of two documents of `command`, as above. `file` is the name of the stored one.
 * Returns NULL when memory runs out. The caller releases the result with json_decref. */
json_t *compare_documents(const char *command, const json_t *now, const json_t *before,
                          const char *file);

/* Whether the comparison in a document has any row. */
bool compare_found(const json_t *document);

/* Prints a comparison as a table, with the formulas. */
void compare_print(const json_t *comparison, FILE *out);

#endif
