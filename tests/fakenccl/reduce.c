/* Element types, and reductions of the usual ones. Sums of integers wrap around. */
#include "fake_nccl.h"

size_t nfake_type_size(ncclDataType_t type) {
    switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
        return 1;
    case ncclFloat16:
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

bool nfake_reduces(ncclDataType_t type, ncclRedOp_t op) {
    bool number = type != ncclFloat16 && type != ncclBfloat16 && type != ncclFloat8e4m3 &&
                  type != ncclFloat8e5m2;
    return number && (op == ncclSum || op == ncclMax || op == ncclMin);
}

/* `adder` is a type of the same width whose sums are defined. */
#define REDUCER(name, element, adder)                                                              \
    static void name(void *into, const void *from, size_t count, ncclRedOp_t op) {                 \
        element *to = into;                                                                        \
        const element *values = from;                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            if (op == ncclSum)                                                                     \
                to[i] = (element)((adder)to[i] + (adder)values[i]);                                \
            else if (op == ncclMax ? values[i] > to[i] : values[i] < to[i])                        \
                to[i] = values[i];                                                                 \
        }                                                                                          \
    }

REDUCER(reduce_int8, int8_t, uint8_t)
REDUCER(reduce_uint8, uint8_t, uint8_t)
REDUCER(reduce_int32, int32_t, uint32_t)
REDUCER(reduce_uint32, uint32_t, uint32_t)
REDUCER(reduce_int64, int64_t, uint64_t)
REDUCER(reduce_uint64, uint64_t, uint64_t)
REDUCER(reduce_float, float, float)
REDUCER(reduce_double, double, double)

void nfake_reduce(char *into, const char *from, size_t count, ncclDataType_t type, ncclRedOp_t op) {
    typedef void (*reducer)(void *, const void *, size_t, ncclRedOp_t);
    static const reducer reducers[ncclNumTypes] = {
        [ncclInt8] = reduce_int8,     [ncclUint8] = reduce_uint8,   [ncclInt32] = reduce_int32,
        [ncclUint32] = reduce_uint32, [ncclInt64] = reduce_int64,   [ncclUint64] = reduce_uint64,
        [ncclFloat32] = reduce_float, [ncclFloat64] = reduce_double};
    reducers[type](into, from, count, op);
}
