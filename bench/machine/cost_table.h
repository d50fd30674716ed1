/* Rows with a cost table's predictions for some typical moves. */
#ifndef KVF_BENCH_COST_TABLE_H
#define KVF_BENCH_COST_TABLE_H

#include "output/output.h"

#include <kvferry/cuda.h>

void cost_table_rows(const kvf_cuda_costs *costs, output *output);

#endif
