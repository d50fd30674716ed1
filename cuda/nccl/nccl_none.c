/* Replaces nccl_runtime.c in builds without NCCL. */
#include "nccl/nccl_runtime.h"

const kvf__nccl_functions *const kvf__nccl = NULL;
