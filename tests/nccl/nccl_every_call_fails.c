/* Every call of a rank fails in turn, once or from then on: NCCL, CUDA, memory. All ranks get a
 * result, nothing leaks, nothing hangs. */
#include "failure_scenario.h"
#include "needs.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The timeout is short, since only the deadline reveals some faults. A slow machine may exceed it
 * for other reasons, which does no harm. */
enum { RANKS = 3, WATCHDOG_S = 120, TIMEOUT_US = 100000 };

typedef enum fault_kind { NO_FAULT, NCCL_CALL, CUDA_CALL, ALLOCATION } fault_kind;

typedef struct fault {
    fault_kind kind;
    int rank;
    const char *function; /* NULL: any */
    uint64_t nth;
    int code; /* NCCL's or CUDA's */
    bool for_ever;
} fault;

static fault now;

/* A rank's memory, from several threads. */
typedef struct memory {
    atomic_uint_fast64_t calls;
    atomic_int_fast64_t live;
} memory;

static memory heap;

static void *resize(void *user, void *block, size_t old_size, size_t new_size) {
    memory *m = user;
    (void)old_size;
    if (new_size == 0) {
        if (block)
            atomic_fetch_sub(&m->live, 1);
        free(block);
        return NULL;
    }
    uint64_t call = atomic_fetch_add(&m->calls, 1) + 1;
    if (now.kind == ALLOCATION && (now.for_ever ? call >= now.nth : call == now.nth))
        return NULL;
    void *made = realloc(block, new_size);
    if (made && !block)
        atomic_fetch_add(&m->live, 1);
    return made;
}

static void arm(fixture_rank *k) {
    if (k->rank != now.rank)
        return;
    bool has_no_comm = now.function && strncmp(now.function, "ncclGroup", 9) == 0;
    if (now.kind == NCCL_CALL && has_no_comm)
        fakenccl_fail_call(now.function, now.nth, (ncclResult_t)now.code, now.for_ever);
    else if (now.kind == NCCL_CALL)
        fakenccl_fail_call_of(now.rank, now.function, now.nth, (ncclResult_t)now.code,
                              now.for_ever);
    else if (now.kind == CUDA_CALL)
        fakecuda_fail_call(now.function, now.nth, (cudaError_t)now.code, now.for_ever);
}

static void tell(void) {
    static const char *const kinds[] = {"none", "nccl", "cuda", "memory"};
    if (getenv("KVF_TEST_VERBOSE"))
        print_message("%s of rank %d: %s call %lu, code %d%s\n", kinds[now.kind], now.rank,
                      now.function ? now.function : "any", (unsigned long)now.nth, now.code,
                      now.for_ever ? ", for ever" : "");
}

/* Returns whether all went well in spite of the fault. */
static bool run(const fault *f) {
    group_fixture fixture;
    const kvf_allocator allocator = {.resize = resize, .user = &heap};
    now = *f;
    heap = (memory){0};
    (void)alarm(WATCHDOG_S);
    tell();
    /* Without a fault, no rank may be late even on a slow machine. */
    const int64_t timeout_us = f->kind == NO_FAULT ? 20 * (int64_t)TIMEOUT_US : TIMEOUT_US;
    fixture_open(&fixture, RANKS,
                 &(fixture_options){.alone = true,
                                    .timeout_us = timeout_us,
                                    .chunk_blocks = 2,
                                    .nccl = {.no_revoke = f->nth % 2 == 0}});
    const scenario_options how = {.joins = true,
                                  .allocator = &allocator,
                                  .allocating = f->rank,
                                  .before = arm,
                                  .ends = true,
                                  .dies = f->kind == CUDA_CALL};
    scenario_run(&fixture, &how);
    bool well = scenario_went_well(&fixture);
    fakenccl_fail_nothing();
    fakenccl_forgive(); /* ranks may have waited for longer than its patience */
    fakecuda_fail_nothing();
    now.kind = NO_FAULT;
    fixture_close(&fixture);
    assert_int_equal(heap.live, 0);
    (void)alarm(0);
    return well;
}

static void test_nothing_fails(void **state) {
    (void)state;
    size_t well = 0;
    for (int i = 0; i < 5; i++)
        well += run(&(fault){0});
    assert_int_equal(well, 5);
}

static void test_every_nccl_call_fails(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t calls;
        bool matters; /* to the other ranks' results */
    } functions[] = {
        {"ncclCommInitRankConfig", 1, true},
        {"ncclCommGetAsyncError", 9, true},
        {"ncclAllGather", 7, true},
        {"ncclGroupStart", 3, true},
        {"ncclSend", 2, true},
        {"ncclRecv", 2, true},
        {"ncclGroupEnd", 3, true},
        {"ncclCommWindowRegister", 1, false},
        {"ncclCommWindowDeregister", 1, false},
        {"ncclCommFinalize", 1, false},
        {"ncclCommDestroy", 1, false},
        {"ncclCommAbort", 1, false},
    };
    static const ncclResult_t results[] = {ncclSystemError, ncclRemoteError};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        for (uint64_t nth = 1; nth <= functions[i].calls; nth++)
            for (int for_ever = 0; for_ever < 2; for_ever++) {
                const fault f = {.kind = NCCL_CALL,
                                 .rank = (int)(i + nth + (uint64_t)for_ever) % RANKS,
                                 .function = functions[i].name,
                                 .nth = nth,
                                 .code = (int)results[(nth + (uint64_t)for_ever) % 2],
                                 .for_ever = for_ever == 1};
                bool well = run(&f);
                assert_false(well && functions[i].matters);
            }
    for (int rank = 0; rank < RANKS; rank++) /* any call */
        for (uint64_t nth = 1; nth < 60; nth += 1 + nth / 8)
            run(&(fault){NCCL_CALL, rank, NULL, nth, ncclInternalError, false});
}

static void test_every_cuda_call_fails(void **state) {
    (void)state;
    static const char *const functions[] = {"cudaStreamCreateWithFlags",
                                            "cudaEventCreateWithFlags",
                                            "cudaEventRecord",
                                            "cudaEventQuery",
                                            "cudaStreamWaitEvent",
                                            "cudaMalloc",
                                            "cudaMemcpyAsync",
                                            "cudaLaunchKernel",
                                            "cudaSetDevice",
                                            "cudaGetDevice"};
    static const cudaError_t errors[] = {cudaErrorInvalidValue, cudaErrorMemoryAllocation,
                                         cudaErrorIllegalAddress};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        for (uint64_t nth = 1; nth <= 10; nth += 3)
            run(&(fault){.kind = CUDA_CALL,
                         .rank = (int)(i + nth) % RANKS,
                         .function = functions[i],
                         .nth = nth,
                         .code = (int)errors[(i + nth) % 3],
                         .for_ever = nth % 2 == 0});
    for (uint64_t nth = 1; nth < 400; nth += 23)
        run(&(fault){.kind = CUDA_CALL, .nth = nth, .code = (int)errors[nth % 3]});
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    for (int rank = 0; rank < RANKS; rank++)
        for (int for_ever = 0; for_ever < 2; for_ever++)
            for (uint64_t nth = 1;; nth += for_ever == 1 && nth > 8 ? 4 : 1) {
                run(&(fault){
                    .kind = ALLOCATION, .rank = rank, .nth = nth, .for_ever = for_ever == 1});
                if (heap.calls < nth)
                    break;
            }
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_fails),
        cmocka_unit_test(test_every_nccl_call_fails),
        cmocka_unit_test(test_every_cuda_call_fails),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
