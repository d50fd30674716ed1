// Runs a kernel's own source on the CPU: included instead of nvcc's headers when a .cu file is
// compiled as C++17. A kernel becomes an ordinary function; its registration below makes the fake
// runtime call it for every thread of every block, one at a time.
//
//     #ifdef __CUDACC__
//     #define KVF_KERNEL(kernel) static_assert(true, "")
//     #else
//     #include "emulate.hpp"
//     #define KVF_KERNEL(kernel) FAKECUDA_KERNEL(kernel)
//     #endif
//     extern "C" __global__ void gather(const pair *pairs, unsigned count) { ... }
//     KVF_KERNEL(gather);
//
// Device addresses need no translation: they are accessible while a kernel runs. Touching an
// address outside live device memory kills the program even then, and sanitizers see each access.
// Threads do not run concurrently, so __syncthreads, __syncwarp, shuffles and __shared__ do not
// exist, and kernels that need them do not compile. A `shuffle` seed in fakecuda_config reorders
// blocks and threads, to find kernels that rely on an order.
#ifndef KVF_TEST_EMULATE_HPP
#define KVF_TEST_EMULATE_HPP

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>
#include <vector_types.h>

#include "fakecuda.h"

// This compiler does not understand the toolkit's definitions of these.
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__    const
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__

namespace fakecuda {

inline thread_local uint3 thread_index, block_index;
inline thread_local dim3 block_shape, grid_shape;

// The nth of `count` in the order of the seed: from an arbitrary start, forwards or backwards.
inline uint64_t shuffled(uint64_t seed, uint64_t n, uint64_t count) {
    if (seed == 0)
        return n;
    uint64_t at = (seed / 2 % count + n) % count;
    return seed % 2 == 0 ? at : count - 1 - at;
}

inline uint3 unravel(uint64_t n, const dim3 &shape) {
    uint64_t plane = static_cast<uint64_t>(shape.x) * shape.y;
    return {static_cast<unsigned>(n % shape.x), static_cast<unsigned>(n / shape.x % shape.y),
            static_cast<unsigned>(n / plane)};
}

inline uint64_t volume(const dim3 &shape) {
    return static_cast<uint64_t>(shape.x) * shape.y * shape.z;
}

template <class Body> void for_each_thread(const fakecuda_launch &launch, Body body) {
    grid_shape = launch.grid;
    block_shape = launch.block;
    const uint64_t blocks = volume(launch.grid), threads = volume(launch.block);
    for (uint64_t b = 0; b < blocks; b++) {
        block_index = unravel(shuffled(launch.shuffle, b, blocks), launch.grid);
        for (uint64_t t = 0; t < threads; t++) {
            thread_index = unravel(shuffled(launch.shuffle, t, threads), launch.block);
            body();
        }
    }
}

template <auto kernel, class Function = decltype(kernel)> struct registration;

template <auto kernel, class... Arguments> struct registration<kernel, void (*)(Arguments...)> {
    explicit registration(const char *name) noexcept {
        const std::size_t sizes[] = {sizeof(Arguments)..., 0};
        if (fakecuda_kernel)
            fakecuda_kernel(reinterpret_cast<const void *>(kernel), name, &run, sizes,
                            sizeof...(Arguments));
    }

  private:
    static void run(const fakecuda_launch *launch, void **arguments) {
        run_with(*launch, arguments, std::index_sequence_for<Arguments...>{});
    }

    template <std::size_t... At>
    static void run_with(const fakecuda_launch &launch, void **arguments,
                         std::index_sequence<At...>) {
        (void)arguments;
        for_each_thread(launch, [&] {
            kernel(*static_cast<std::remove_const_t<Arguments> *>(arguments[At])...);
        });
    }
};

} // namespace fakecuda

#define threadIdx (::fakecuda::thread_index)
#define blockIdx  (::fakecuda::block_index)
#define blockDim  (::fakecuda::block_shape)
#define gridDim   (::fakecuda::grid_shape)

#define FAKECUDA_KERNEL(kernel)                                                                    \
    static const ::fakecuda::registration<&kernel> fakecuda_registration_##kernel {                \
#kernel                                                                                    \
    }

static const int warpSize = 32;

// Cache hints are ignored.
template <class T> inline T __ldg(const T *from) {
    return *from;
}
template <class T> inline T __ldca(const T *from) {
    return *from;
}
template <class T> inline T __ldcg(const T *from) {
    return *from;
}
template <class T> inline T __ldcs(const T *from) {
    return *from;
}
template <class T> inline T __ldcv(const T *from) {
    return *from;
}
template <class T> inline T __ldlu(const T *from) {
    return *from;
}
template <class T> inline void __stcg(T *to, T value) {
    *to = value;
}
template <class T> inline void __stcs(T *to, T value) {
    *to = value;
}
template <class T> inline void __stwb(T *to, T value) {
    *to = value;
}
template <class T> inline void __stwt(T *to, T value) {
    *to = value;
}

// Fences do nothing: threads run one at a time.
inline void __threadfence() {
}
inline void __threadfence_block() {
}
inline void __threadfence_system() {
}

template <class T> inline T min(T left, T right) {
    return right < left ? right : left;
}
template <class T> inline T max(T left, T right) {
    return left < right ? right : left;
}
inline unsigned __umulhi(unsigned left, unsigned right) {
    return static_cast<unsigned>(static_cast<uint64_t>(left) * right >> 32);
}

#endif
