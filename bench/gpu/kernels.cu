#include "gpu/kernels.h"

#include "gpu/kernel_clock.h"
#include "base/splitmix.h"

static const unsigned threads_a_block = 256, most_blocks = 1024;

// A piece of a block. Each thread takes every blockDim.x'th word of it.
struct extent {
    char *at;
    size_t bytes;
    uint64_t seed;
    bool words; // aligned to 8 bytes, so that words can be accessed
};

static __device__ extent find_extent(const kernel_blocks &blocks, uint64_t n) {
    const kernel_piece &piece = blocks.pieces[n % blocks.piece_count];
    const uint64_t block = n / blocks.piece_count;
    extent found;
    found.at = piece.base + blocks.ids[block] * piece.stride;
    found.bytes = piece.bytes;
    found.seed = blocks.seeds ? pattern_piece_seed(blocks.seeds[block], n % blocks.piece_count) : 0;
    found.words = reinterpret_cast<uintptr_t>(found.at) % 8 == 0;
    return found;
}

static __device__ char byte_of(uint64_t seed, size_t at) {
    return static_cast<char>(pattern_word(seed, at / 8) >> (at % 8 * 8));
}

// How many words of a piece are accessed as words. The rest is accessed byte by byte.
static __device__ size_t word_count(const extent &p) {
    return p.words ? p.bytes / 8 : 0;
}

extern "C" __global__ void kvferry_bench_fill(kernel_blocks blocks) {
    const uint64_t total = static_cast<uint64_t>(blocks.block_count) * blocks.piece_count;
    for (uint64_t n = blockIdx.x; n < total; n += gridDim.x) {
        const extent p = find_extent(blocks, n);
        const size_t words = word_count(p);
        for (size_t i = threadIdx.x; i < words; i += blockDim.x)
            reinterpret_cast<uint64_t *>(p.at)[i] = pattern_word(p.seed, i);
        for (size_t i = words * 8 + threadIdx.x; i < p.bytes; i += blockDim.x)
            p.at[i] = byte_of(p.seed, i);
    }
}

extern "C" __global__ void kvferry_bench_poison(kernel_blocks blocks) {
    const uint64_t total = static_cast<uint64_t>(blocks.block_count) * blocks.piece_count;
    for (uint64_t n = blockIdx.x; n < total; n += gridDim.x) {
        const extent p = find_extent(blocks, n);
        const size_t words = word_count(p);
        for (size_t i = threadIdx.x; i < words; i += blockDim.x)
            reinterpret_cast<uint64_t *>(p.at)[i] = PATTERN_POISON * UINT64_C(0x0101010101010101);
        for (size_t i = words * 8 + threadIdx.x; i < p.bytes; i += blockDim.x)
            p.at[i] = static_cast<char>(PATTERN_POISON);
    }
}

extern "C" __global__ void kvferry_bench_check(kernel_blocks blocks) {
    const uint64_t total = static_cast<uint64_t>(blocks.block_count) * blocks.piece_count;
    for (uint64_t n = blockIdx.x; n < total; n += gridDim.x) {
        const extent p = find_extent(blocks, n);
        const size_t words = word_count(p);
        bool wrong = false;
        for (size_t i = threadIdx.x; i < words; i += blockDim.x)
            wrong |= reinterpret_cast<const uint64_t *>(p.at)[i] != pattern_word(p.seed, i);
        for (size_t i = words * 8 + threadIdx.x; i < p.bytes; i += blockDim.x)
            wrong |= p.at[i] != byte_of(p.seed, i);
        if (wrong)
            blocks.wrong[n / blocks.piece_count] = 1; // every thread writes the same value
    }
}

extern "C" __global__ void kvferry_bench_hold(kernel_hold *hold, uint64_t timeout_ns) {
    const unsigned long long begin = now_ns();
    while (read_flag(&hold->released) == 0) {
        if (now_ns() - begin >= timeout_ns) {
            hold->timed_out = 1;
            return;
        }
    }
}

extern "C" __global__ void kvferry_bench_compute(float *numbers, uint64_t count, uint32_t rounds) {
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const uint64_t step = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    for (uint64_t i = first; i < count; i += step) {
        float x = numbers[i];
        for (uint32_t round = 0; round < rounds; round++)
            x = x * 0.999f + 0.001f;
        numbers[i] = x;
    }
}

KERNEL_REGISTER(kvferry_bench_fill);
KERNEL_REGISTER(kvferry_bench_poison);
KERNEL_REGISTER(kvferry_bench_check);
KERNEL_REGISTER(kvferry_bench_hold);
KERNEL_REGISTER(kvferry_bench_compute);

static cudaError_t launch(const void *kernel, unsigned blocks, unsigned threads, void **arguments,
                          cudaStream_t stream) {
    return cudaLaunchKernel(kernel, dim3(blocks), dim3(threads), arguments, 0, stream);
}

static cudaError_t launch_on_blocks(const void *kernel, const kernel_blocks *blocks,
                                    cudaStream_t stream) {
    const uint64_t pieces = static_cast<uint64_t>(blocks->block_count) * blocks->piece_count;
    if (pieces == 0)
        return cudaSuccess;
    kernel_blocks argument = *blocks;
    void *arguments[] = {&argument};
    return launch(kernel, static_cast<unsigned>(pieces < most_blocks ? pieces : most_blocks),
                  threads_a_block, arguments, stream);
}

cudaError_t kernels_fill(const kernel_blocks *blocks, cudaStream_t stream) {
    return launch_on_blocks(reinterpret_cast<const void *>(kvferry_bench_fill), blocks, stream);
}

cudaError_t kernels_poison(const kernel_blocks *blocks, cudaStream_t stream) {
    return launch_on_blocks(reinterpret_cast<const void *>(kvferry_bench_poison), blocks, stream);
}

cudaError_t kernels_check(const kernel_blocks *blocks, cudaStream_t stream) {
    return launch_on_blocks(reinterpret_cast<const void *>(kvferry_bench_check), blocks, stream);
}

cudaError_t kernels_hold(kernel_hold *hold, uint64_t timeout_ns, cudaStream_t stream) {
    void *arguments[] = {&hold, &timeout_ns};
    return launch(reinterpret_cast<const void *>(kvferry_bench_hold), 1, 1, arguments, stream);
}

cudaError_t kernels_compute(float *numbers, size_t count, unsigned rounds, unsigned blocks,
                            cudaStream_t stream) {
    uint64_t numbers_count = count;
    uint32_t rounds_count = rounds;
    void *arguments[] = {&numbers, &numbers_count, &rounds_count};
    return launch(reinterpret_cast<const void *>(kvferry_bench_compute), blocks, threads_a_block,
                  arguments, stream);
}
