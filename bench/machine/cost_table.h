/* What a model expects of moves of some usual shapes, as rows. */
#ifndef KVF_BENCH_EXPECTATION_H
#define KVF_BENCH_EXPECTATION_H

#include "output/rows.h"

#include <kvferry/cuda.h>

void expectation_rows(const kvf_cuda_model *model, report *report);

#endif
