/* The computation for the processor: the .cu file itself is nvcc's. */
#include "compute.cu" // NOLINT(bugprone-suspicious-include)
