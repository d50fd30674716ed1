/* compute.cu compiled for the CPU; nvcc compiles the .cu file itself. */
#include "compute.cu" // NOLINT(bugprone-suspicious-include)
