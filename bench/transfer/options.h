/* The options of `kvferry bench transfer`: lists, each combination of which is a cell. */
#ifndef KVF_BENCH_TRANSFER_OPTIONS_H
#define KVF_BENCH_TRANSFER_OPTIONS_H

#include "base/options.h"
#include "output/output.h"
#include "transfer/case.h"

typedef struct transfer_options {
    /* Names, looked up when all options are known. */
    name_list directions, patterns, host_patterns, host_layouts, strategies;
    const direction **found;                     /* of `directions` */
    unsigned *strategy_numbers;                  /* of `strategies`; 0 if the engine has only one */
    size_t strategy_count;                       /* at least 1 */
    number_list fragment_bytes, counts, regions; /* counts: empty for --bytes */
    uint64_t bytes;
    uint64_t seconds;     /* no cell starts after this time; 0: no limit */
    transfer_case common; /* what all cells share */
    backend_options backend;
    output_options output;
} transfer_options;

/* Ends the program on bad usage. */
void transfer_options_parse(transfer_options *chosen, int argc, char **argv);
void transfer_options_free(transfer_options *chosen);

/* The number of cells, and one of them. Patterns vary fastest, directions slowest. */
size_t transfer_options_cells(const transfer_options *chosen);
transfer_case transfer_options_cell(const transfer_options *chosen, size_t number);

#endif
