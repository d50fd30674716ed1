// Kernels that copy pieces x pairs (kernels.h), over the link or within the device.
#ifdef __CUDACC__
#define KVF_KERNEL          extern "C" __global__
#define KVF_EMULATE(kernel) static_assert(true, "")
#define KVF_UNROLL          _Pragma("unroll")
#else
#include "emulate.hpp"
#define KVF_KERNEL          static
#define KVF_EMULATE(kernel) FAKECUDA_KERNEL(kernel)
#define KVF_UNROLL
#endif
#include "copy/kernels.h"

namespace {

constexpr uint32_t WARP = 32, UNROLL = 8;

struct sides {
    char *dst;
    const char *src;
};

// The addresses of a vector by its number among all rows.
template <class Vector>
__device__ sides vector_at(const kvf__cuda_piece &piece, sides at, uint32_t i) {
    uint32_t row = piece.columns == piece.vectors ? 0 : i / piece.columns;
    uint64_t column = (i - row * piece.columns) * uint64_t{sizeof(Vector)};
    return {at.dst + row * piece.dst_pitch + column, at.src + row * piece.src_pitch + column};
}

// Issues all loads before the first store, which waits for them.
template <class Vector>
__device__ void copy_unit(const kvf__cuda_piece &piece, sides at, uint32_t from, uint32_t end,
                          uint32_t lane) {
    for (uint32_t i = from + lane; i < end; i += WARP * UNROLL) {
        Vector loaded[UNROLL] = {};
        KVF_UNROLL
        for (uint32_t k = 0; k < UNROLL; k++)
            if (i + k * WARP < end)
                loaded[k] = __ldcs(reinterpret_cast<const Vector *>(
                    vector_at<Vector>(piece, at, i + k * WARP).src));
        KVF_UNROLL
        for (uint32_t k = 0; k < UNROLL; k++)
            if (i + k * WARP < end)
                __stcs(reinterpret_cast<Vector *>(vector_at<Vector>(piece, at, i + k * WARP).dst),
                       loaded[k]);
    }
}

__device__ void copy_unit_of(const kvf__cuda_piece &piece, const kvf__cuda_pair *pairs,
                             uint32_t unit, uint32_t lane) {
    uint32_t pair = unit / piece.per_pair, cut = KVF__CUDA_UNIT / piece.bytes;
    uint32_t from = (unit - pair * piece.per_pair) * cut;
    uint32_t end = piece.vectors - from < cut ? piece.vectors : from + cut;
    uint32_t dst = piece.dst_in_turn ? pair : pairs[pair].dst;
    uint32_t src = piece.src_in_turn ? pair : pairs[pair].src;
    sides at = {reinterpret_cast<char *>(piece.dst + dst * piece.dst_stride),
                reinterpret_cast<const char *>(piece.src + src * piece.src_stride)};
    switch (piece.bytes) {
    case 16:
        return copy_unit<uint4>(piece, at, from, end, lane);
    case 8:
        return copy_unit<uint2>(piece, at, from, end, lane);
    case 4:
        return copy_unit<unsigned>(piece, at, from, end, lane);
    case 2:
        return copy_unit<unsigned short>(piece, at, from, end, lane);
    default:
        return copy_unit<unsigned char>(piece, at, from, end, lane);
    }
}

__device__ void copy_all(const kvf__cuda_piece *pieces, uint32_t piece_count,
                         const kvf__cuda_pair *pairs, uint32_t units) {
    uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, warps = gridDim.x * blockDim.x / WARP;
    uint32_t piece = 0;
    for (uint32_t unit = thread / WARP; unit < units; unit += warps) {
        while (piece + 1 < piece_count && pieces[piece + 1].first <= unit)
            piece++;
        copy_unit_of(pieces[piece], pairs, unit - pieces[piece].first, thread % WARP);
    }
}

// For work whose lists are in the parameters.
template <class Work> __device__ void copy_listed(const Work &work) {
    const kvf__cuda_piece *pieces = reinterpret_cast<const kvf__cuda_piece *>(work.lists);
    copy_all(pieces, work.piece_count,
             reinterpret_cast<const kvf__cuda_pair *>(pieces + work.piece_count), work.units);
}

} // namespace

KVF_KERNEL void __launch_bounds__(KVF__CUDA_THREADS) kvf__cuda_copy(kvf__cuda_work work) {
    copy_all(work.pieces, work.piece_count, work.pairs, work.units);
}

KVF_KERNEL void __launch_bounds__(KVF__CUDA_THREADS)
    kvf__cuda_copy_few(const __grid_constant__ kvf__cuda_few work) {
    copy_listed(work);
}

KVF_KERNEL void __launch_bounds__(KVF__CUDA_THREADS)
    kvf__cuda_copy_many(const __grid_constant__ kvf__cuda_many work) {
    copy_listed(work);
}

KVF_EMULATE(kvf__cuda_copy);
KVF_EMULATE(kvf__cuda_copy_few);
KVF_EMULATE(kvf__cuda_copy_many);

#if defined(__CUDACC__) || defined(KVF_NO_NVCC)
const kvf__cuda_kernel_table kvf__cuda_kernels = {
    reinterpret_cast<const void *>(kvf__cuda_copy),
    reinterpret_cast<const void *>(kvf__cuda_copy_few),
    reinterpret_cast<const void *>(kvf__cuda_copy_many),
};
#endif
