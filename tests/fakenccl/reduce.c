/* Element types, and reductions of the usual ones. Sums of integers wrap around. */
#include "fake_nccl.h"

#include <string.h>

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

/* An element in the widest type of its class. */
typedef struct number {
    char class; /* of the three below */
    int64_t i;
    uint64_t u;
    double d;
} number;

static number load(const char *at, ncclDataType_t type) {
    switch (type) {
    case ncclInt8:
        return (number){.class = 'i', .i = *(const int8_t *)at};
    case ncclUint8:
        return (number){.class = 'u', .u = *(const uint8_t *)at};
    case ncclInt32:
        return (number){.class = 'i', .i = *(const int32_t *)(const void *)at};
    case ncclUint32:
        return (number){.class = 'u', .u = *(const uint32_t *)(const void *)at};
    case ncclInt64:
        return (number){.class = 'i', .i = *(const int64_t *)(const void *)at};
    case ncclUint64:
        return (number){.class = 'u', .u = *(const uint64_t *)(const void *)at};
    case ncclFloat32:
        return (number){.class = 'd', .d = (double)*(const float *)(const void *)at};
    default:
        return (number){.class = 'd', .d = *(const double *)(const void *)at};
    }
}

static void store(char *at, ncclDataType_t type, const number *value) {
    uint64_t bits = value->class == 'i' ? (uint64_t)value->i : value->u;
    if (type == ncclFloat32)
        *(float *)(void *)at = (float)value->d;
    else if (type == ncclFloat64)
        *(double *)(void *)at = value->d;
    else
        memcpy(at, &bits, nfake_type_size(type)); /* the low bytes */
}

static bool less(const number *a, const number *b) {
    return a->class == 'i' ? a->i < b->i : a->class == 'u' ? a->u < b->u : a->d < b->d;
}

/* The sum of two floats is rounded once more on the way through double, and is the same. */
static number sum(const number *a, const number *b) {
    return (number){.class = a->class,
                    .i = (int64_t)((uint64_t)a->i + (uint64_t)b->i),
                    .u = a->u + b->u,
                    .d = a->d + b->d};
}

void nfake_reduce(char *into, const char *from, size_t count, ncclDataType_t type, ncclRedOp_t op) {
    size_t size = nfake_type_size(type);
    for (size_t at = 0; at < count * size; at += size) {
        number a = load(into + at, type), b = load(from + at, type);
        number result = op == ncclSum ? sum(&a, &b) : less(&a, &b) == (op == ncclMax) ? b : a;
        store(into + at, type, &result);
    }
}
