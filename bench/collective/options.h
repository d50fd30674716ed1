/* The command line of `kvferry bench collective`. Every combination of its lists is a cell. */
#ifndef KVF_BENCH_COLLECTIVE_OPTIONS_H
#define KVF_BENCH_COLLECTIVE_OPTIONS_H

#include "collective/case.h"
#include "base/options.h"
#include "collective/ranks.h"
#include "output/output.h"

typedef struct collective_options {
    kvf_share modes[2];
    size_t mode_count;
    number_list fragment_bytes, regions;
    uint64_t bytes;
    id_pattern pattern;
    collective_case common; /* the settings that all cells share */
    int min_ctas, max_ctas, cta_policy;
    int64_t timeout_us;
    rank_options ranks;
    backend_options backend;
    output_options output;
} collective_options;

/* Ends the program on bad usage. */
void collective_options_parse(collective_options *chosen, int argc, char **argv);
void collective_options_free(collective_options *chosen);

/* "striped" or "broadcast". Static text. */
const char *collective_mode_name(kvf_share mode);

/* The number of cells, and one of them; modes vary fastest. */
size_t collective_options_cells(const collective_options *chosen);
collective_case collective_options_cell(const collective_options *chosen, size_t number);

/* Digest of the options that must be equal on all ranks. */
uint64_t collective_options_digest(const collective_options *chosen);

#endif
