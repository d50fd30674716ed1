/* Batches of copies: the runtime's function, the driver's two signatures, and what they refuse. */
#include <stdlib.h>
#include <string.h>

#include <cuda.h>
#include <cudaTypedefs.h>

#include "check.h"
#include "needs.h"

#define COPIES 32u
#define BLOCK  2048u

/* The arguments of a batch, which tests change before submitting. */
typedef struct request {
    void *dsts[COPIES];
    const void *srcs[COPIES];
    size_t sizes[COPIES], count;
    struct cudaMemcpyAttributes how[2];
    size_t firsts[2], how_count;
    size_t failing;
} request;

static request make(char *dst, const char *src) {
    request r = {.count = COPIES, .how_count = 1};
    r.how[0].srcAccessOrder = r.how[1].srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    for (size_t i = 0; i < COPIES; i++) {
        r.dsts[i] = dst + (COPIES - 1 - i) * BLOCK;
        r.srcs[i] = src + i * BLOCK;
        r.sizes[i] = BLOCK;
    }
    return r;
}

/* Calls the runtime's function (version 0) or the driver's of that version. */
static int submit(request *r, unsigned version, cudaStream_t stream) {
    void *entry = version ? check_entry("cuMemcpyBatchAsync", version) : NULL;
    if (version == 12080) {
        PFN_cuMemcpyBatchAsync_v12080 call;
        memcpy(&call, &entry, sizeof call);
        return (int)call((CUdeviceptr *)(void *)r->dsts, (CUdeviceptr *)(void *)r->srcs, r->sizes,
                         r->count, (CUmemcpyAttributes *)(void *)r->how, r->firsts, r->how_count,
                         &r->failing, stream);
    }
#if CUDART_VERSION >= 13000
    if (version == 13000) {
        PFN_cuMemcpyBatchAsync_v13000 call;
        memcpy(&call, &entry, sizeof call);
        return (int)call((CUdeviceptr *)(void *)r->dsts, (CUdeviceptr *)(void *)r->srcs, r->sizes,
                         r->count, (CUmemcpyAttributes *)(void *)r->how, r->firsts, r->how_count,
                         stream);
    }
    return (int)cudaMemcpyBatchAsync(r->dsts, r->srcs, r->sizes, r->count, r->how, r->firsts,
                                     r->how_count, stream);
#else
    return (int)cudaMemcpyBatchAsync(r->dsts, (void **)r->srcs, r->sizes, r->count, r->how,
                                     r->firsts, r->how_count, &r->failing, stream);
#endif
}

static const unsigned versions[] = {0, 12080,
#if CUDART_VERSION >= 13000
                                    13000
#endif
};
#define VERSIONS (sizeof versions / sizeof *versions)

static void every_signature_copies(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    for (size_t v = 0; v < VERSIONS; v++) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            fakecuda_configure(&(fakecuda_config){.shuffle = seed});
            request there = make(t.device, t.in), back = make(t.out, t.device);
            memset(t.out, 0, CHECK_BYTES);
            ok(submit(&there, versions[v], t.a));
            ok(submit(&back, versions[v], t.a));
            ok(cudaStreamSynchronize(t.a));
            assert_memory_equal(t.in, t.out, CHECK_BYTES);
        }
    }
    assert_int_equal(fakecuda_calls("cuMemcpyBatchAsync"), 12 * (VERSIONS - 1) / 2);
    check_buffers_free(&t);
}

/* Every signature refuses the request, reports index `failing` if it can, and copies nothing. */
static void refuses(const check_buffers *t, const request *wrong, size_t failing) {
    for (size_t v = 0; v < VERSIONS; v++) {
        request r = *wrong;
        assert_int_equal(submit(&r, versions[v], t->a), cudaErrorInvalidValue);
        if (versions[v] == 12080)
            assert_int_equal(r.failing, failing);
    }
    ok(cudaStreamQuery(t->a));
    assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 0);
}

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    const request right = make(t.device, t.in);
    request r = right;
    r.count = 0;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.how_count = 0;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.firsts[0] = 1;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.how_count = 2; /* the second starts where the first does */
    refuses(&t, &r, SIZE_MAX);
    r.firsts[1] = COPIES;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.how[0].srcAccessOrder = cudaMemcpySrcAccessOrderInvalid;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.how[0].flags = 2;
    refuses(&t, &r, SIZE_MAX);
    r = right;
    r.sizes[5] = 0;
    refuses(&t, &r, 5);
    r = right;
    r.srcs[31] = NULL;
    refuses(&t, &r, 31);
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void attributes_cover_runs_of_copies(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    char page[BLOCK] = "pageable, but read during the call";
    request r = make(t.device, t.in);
    r.how_count = 2;
    r.firsts[1] = COPIES - 1;
    r.how[1].srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
    r.srcs[COPIES - 1] = page;
    fakecuda_hold(t.a);
    ok(submit(&r, 0, t.a));
    memset(page, 0, sizeof page);
    fakecuda_release(t.a);
    ok(cudaMemcpyAsync(t.out, t.device, BLOCK, cudaMemcpyDeviceToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_string_equal(t.out, "pageable, but read during the call");
    check_buffers_free(&t);
}

/* ThreadSanitizer rightly reports the early read: see cuda_fake_race.c. */
#ifdef FAKE_TSAN
#define EARLY 1
#else
#define EARLY 2
#endif

static void any_order_can_be_too_early(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t event;
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    for (int early = 0; early < EARLY; early++) {
        fakecuda_configure(&(fakecuda_config){.any_early = early});
        ok(cudaMemsetAsync(t.device, 1, BLOCK, t.b));
        ok(cudaStreamSynchronize(t.b));
        fakecuda_hold(t.b);
        ok(cudaMemsetAsync(t.device, 2, BLOCK, t.b));
        ok(cudaEventRecord(event, t.b));
        ok(cudaStreamWaitEvent(t.a, event, 0));
        request r = make(t.out, t.device);
        r.how[0].srcAccessOrder = cudaMemcpySrcAccessOrderAny;
        ok(submit(&r, 0, t.a));
        fakecuda_release(t.b);
        ok(cudaStreamSynchronize(t.a));
        assert_int_equal(t.out[(COPIES - 1) * BLOCK], early ? 1 : 2);
    }
    ok(cudaEventDestroy(event));
    check_buffers_free(&t);
}

static void misuse_is_reported(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    request r = make(t.device, t.in);
    r.dsts[3] = (char *)r.dsts[4] + 1;
    ok(submit(&r, 0, t.a));
    check_violation("depend on each other");
    r = make(t.device + BLOCK, t.device);
    r.count = 2;
    r.dsts[0] = t.device + 8 * BLOCK;
    r.dsts[1] = t.device; /* the first copy's source */
    ok(submit(&r, 0, t.a));
    check_violation("depend on each other");
    char page[BLOCK] = "";
    r = make(t.device, t.in);
    r.srcs[0] = page;
    ok(submit(&r, 0, t.a));
    check_violation("pageable");
    fakecuda_configure(&(fakecuda_config){.batch_copies = COPIES - 1});
    r = make(t.device, t.in);
    ok(submit(&r, 0, t.a));
    check_violation("32 copies");
    r.dsts[7] = t.device + CHECK_BYTES - 1;
    r.count = 8;
    assert_int_equal(submit(&r, 12080, t.a), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(r.failing, 7);
    check_violation("crosses the end");
    ok(cudaStreamSynchronize(t.a));
    check_buffers_free(&t);
}

static void the_legacy_stream_and_captures_are_refused(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaGraph_t graph;
    for (size_t v = 0; v < VERSIONS; v++) {
        request r = make(t.device, t.in);
        assert_int_equal(submit(&r, versions[v], NULL), cudaErrorInvalidValue);
        assert_int_equal(submit(&r, versions[v], cudaStreamLegacy), cudaErrorInvalidValue);
        ok(submit(&r, versions[v], cudaStreamPerThread));
        ok(cudaStreamSynchronize(cudaStreamPerThread));
        ok(cudaStreamBeginCapture(t.a, cudaStreamCaptureModeGlobal));
        assert_int_equal(submit(&r, versions[v], t.a), cudaErrorStreamCaptureUnsupported);
        ok(cudaStreamEndCapture(t.a, &graph)); /* intact, and without the copies */
        size_t nodes = 1;
        ok(cudaGraphGetNodes(graph, NULL, &nodes));
        assert_int_equal(nodes, 0);
        ok(cudaGraphDestroy(graph));
    }
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureUnsupported);
}

static void entry_points_depend_on_the_driver(void **state) {
    (void)state;
    void *function = NULL;
    enum cudaDriverEntryPointQueryResult result;
    ok(cudaGetDriverEntryPointByVersion("cuMemcpyBatchAsync", &function, 12070, 0, &result));
    assert_int_equal(result, cudaDriverEntryPointVersionNotSufficent);
    assert_null(function);
    ok(cudaGetDriverEntryPointByVersion("cuNothing", &function, 12080, 0, &result));
    assert_int_equal(result, cudaDriverEntryPointSymbolNotFound);
    assert_int_equal(
        cudaGetDriverEntryPointByVersion("cuMemcpyBatchAsync", &function, 99000, 0, &result),
        cudaErrorInvalidValue);
    assert_ptr_not_equal(check_entry("cuMemcpy3DBatchAsync", 12080), NULL);
    fakecuda_hide_symbol("cuMemcpyBatchAsync");
    assert_null(check_entry("cuMemcpyBatchAsync", 12080));
    assert_non_null(check_entry("cuMemcpy3DBatchAsync", 12080));
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void a_fault_strikes_in_the_middle(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    request there = make(t.out, t.in);
    fakecuda_fail_operation(FAKECUDA_COPY, 11, cudaErrorIllegalAddress);
    ok(submit(&there, 0, t.a));
    assert_int_equal(cudaStreamSynchronize(t.a), cudaErrorIllegalAddress);
    assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 11);
    assert_memory_equal(t.out + (COPIES - 10) * BLOCK, t.in + 9 * BLOCK, BLOCK);
    assert_int_equal(t.out[(COPIES - 11) * BLOCK + 1], 0);
    assert_int_equal(fakecuda_reset(), 5);
}

/* ---- boxes ---- */

static struct cudaMemcpy3DBatchOp box_of(char *dst, char *src) {
    struct cudaMemcpy3DBatchOp box = {.extent = {100, 8, 3},
                                      .srcAccessOrder = cudaMemcpySrcAccessOrderStream};
    box.src.type = box.dst.type = cudaMemcpyOperandTypePointer;
    box.src.op.ptr.ptr = src;
    box.src.op.ptr.rowLength = 256;
    box.src.op.ptr.layerHeight = 16;
    box.dst.op.ptr.ptr = dst; /* zeros: packed */
    return box;
}

static int submit_boxes(struct cudaMemcpy3DBatchOp *list, size_t count, unsigned version,
                        unsigned long long flags, size_t *failing, cudaStream_t stream) {
    void *entry = version ? check_entry("cuMemcpy3DBatchAsync", version) : NULL;
    if (version == 12080) {
        PFN_cuMemcpy3DBatchAsync_v12080 call;
        memcpy(&call, &entry, sizeof call);
        return (int)call(count, (CUDA_MEMCPY3D_BATCH_OP *)(void *)list, failing, flags, stream);
    }
#if CUDART_VERSION >= 13000
    if (version == 13000) {
        PFN_cuMemcpy3DBatchAsync_v13000 call;
        memcpy(&call, &entry, sizeof call);
        return (int)call(count, (CUDA_MEMCPY3D_BATCH_OP *)(void *)list, flags, stream);
    }
    return (int)cudaMemcpy3DBatchAsync(count, list, flags, stream);
#else
    return (int)cudaMemcpy3DBatchAsync(count, list, failing, flags, stream);
#endif
}

static void boxes_are_copied(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    for (size_t v = 0; v < VERSIONS; v++) {
        size_t failing = 0;
        memset(t.out, 0, CHECK_BYTES);
        struct cudaMemcpy3DBatchOp boxes[] = {box_of(t.out, t.in),
                                              box_of(t.out + 2400, t.in + 128)};
        ok(submit_boxes(boxes, 2, versions[v], 0, &failing, t.a));
        ok(cudaStreamSynchronize(t.a));
        for (size_t row = 0; row < 24; row++) {
            const char *src = t.in + row / 8 * 4096 + row % 8 * 256;
            assert_memory_equal(t.out + row * 100, src, 100);
            assert_memory_equal(t.out + 2400 + row * 100, src + 128, 100);
        }
    }
    check_buffers_free(&t);
}

static void wrong_boxes_are_refused(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    for (size_t v = 0; v < VERSIONS; v++) {
        for (int wrong = 0; wrong < 7; wrong++) {
            size_t failing = 0, told = wrong >= 2 ? 1 : SIZE_MAX;
            struct cudaMemcpy3DBatchOp boxes[] = {box_of(t.out, t.in), box_of(t.out + 2400, t.in)};
            boxes[1].extent.height = wrong == 2 ? 0 : 8;
            boxes[1].src.op.ptr.rowLength = wrong == 3 ? 99 : 256;
            boxes[1].src.op.ptr.layerHeight = wrong == 4 ? 7 : 16;
            boxes[1].dst.op.ptr.ptr = wrong == 5 ? NULL : t.out + 2400;
            if (wrong == 6)
                boxes[1].srcAccessOrder = cudaMemcpySrcAccessOrderInvalid;
            assert_int_equal(
                submit_boxes(boxes, wrong == 0 ? 0 : 2, versions[v], wrong == 1, &failing, t.a),
                cudaErrorInvalidValue);
            if (versions[v] == 12080)
                assert_int_equal(failing, told);
        }
    }
    assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 0);
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(every_signature_copies),
        CHECK(wrong_arguments_are_refused),
        CHECK(attributes_cover_runs_of_copies),
        CHECK(any_order_can_be_too_early),
        CHECK(misuse_is_reported),
        CHECK(the_legacy_stream_and_captures_are_refused),
        CHECK(entry_points_depend_on_the_driver),
        CHECK(a_fault_strikes_in_the_middle),
        CHECK(boxes_are_copied),
        CHECK(wrong_boxes_are_refused),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
