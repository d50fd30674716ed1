/* The command line of `kvferry bench transfer`: lists, of which every combination is a cell. */
#ifndef KVF_BENCH_TRANSFER_OPTIONS_H
#define KVF_BENCH_TRANSFER_OPTIONS_H

#include "base/options.h"
#include "output/output.h"
#include "transfer/case.h"

typedef struct transfer_options {
    /* Looked up when all options are known. */
    name_list directions, patterns, host_patterns, host_layouts, strategies;
    const direction **found;                     /* of `directions` */
    unsigned *strategy_numbers;                  /* of `strategies`, or 0 for an engine without */
    size_t strategy_count;                       /* 1 or more */
    number_list fragment_bytes, counts, regions; /* counts: none for --bytes */
    uint64_t bytes;
    uint64_t seconds;     /* after which no cell is begun; 0: no limit */
    transfer_case common; /* what is the same in all cells */
    backend_options backend;
    output_options output;
} transfer_options;

/* Ends the program on bad usage. */
void transfer_options_parse(transfer_options *chosen, int argc, char **argv);
void transfer_options_free(transfer_options *chosen);

/* How many cells there are, and one of them: patterns vary fastest, directions slowest. */
size_t transfer_options_cells(const transfer_options *chosen);
transfer_case transfer_options_cell(const transfer_options *chosen, size_t number);

#endif
