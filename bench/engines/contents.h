/* Fills, poisons and checks blocks in host memory, with several threads. */
#ifndef KVF_BENCH_CONTENTS_H
#define KVF_BENCH_CONTENTS_H

#include <kvferry/layout.h>

/* Like the functions of the same names in backend_type. Ends the program if a thread cannot be
 * started. */
void contents_fill(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                   size_t count);
void contents_poison(const kvf_layout *layout, const uint64_t *ids, size_t count);
size_t contents_check(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                      size_t count);

#endif
