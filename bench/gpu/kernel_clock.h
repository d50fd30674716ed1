/* What a GPU and the fake runtime provide to kernels in different ways: registration, the time, and
 * reading a flag in pinned memory that the host sets. */
#ifndef KVF_BENCH_KERNEL_CLOCK_H
#define KVF_BENCH_KERNEL_CLOCK_H

#ifdef __CUDACC__
#define KERNEL_REGISTER(kernel) static_assert(true, "")

static __device__ unsigned long long now_ns() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

static __device__ unsigned read_flag(const unsigned *flag) {
    return *static_cast<const volatile unsigned *>(flag);
}
#else // on the fake runtime
#include "emulate.hpp"

#include <time.h>

#define KERNEL_REGISTER(kernel) FAKECUDA_KERNEL(kernel)

static unsigned long long now_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<unsigned long long>(now.tv_sec) * 1000000000u +
           static_cast<unsigned long long>(now.tv_nsec);
}

static unsigned read_flag(const unsigned *flag) {
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}
#endif

#endif
