/* What is in blocks in host memory: patterns, poison and their checking, by several threads. */
#ifndef KVF_BENCH_CONTENTS_H
#define KVF_BENCH_CONTENTS_H

#include <kvferry/layout.h>

/* As the functions of backend_type of these names. Ends the program when no thread can be had. */
void contents_fill(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                   size_t count);
void contents_poison(const kvf_layout *layout, const uint64_t *ids, size_t count);
size_t contents_check(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                      size_t count);

#endif
