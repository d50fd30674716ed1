/* Hooks of the CUDA engine: its log lines and counters, and ranges without an NVTX tool or with the
 * one whose path is the argument. */
#include "support/device_fixture.h"

#include "support/nvtx_tool.h"
#include "needs.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};

typedef struct lines {
    size_t count[4];
    char last[512];
} lines;

static void write_line(void *user, kvf_log_level level, const char *text) {
    lines *l = user;
    l->count[level]++;
    (void)snprintf(l->last, sizeof l->last, "%s", text);
}

static kvf_counters counters_of(kvf_engine *engine) {
    kvf_counters c;
    assert_int_equal(kvf_engine_counters_get(engine, &c, NULL), KVF_OK);
    return c;
}

static void test_lines_and_counters(void **state) {
    (void)state;
    lines l = {{0}, ""};
    const kvf_log log = {write_line, &l, KVF_LOG_INFO};
    const kvf_cuda_options o = {.log = &log, .no_thread = true};
    device_fixture fixture;
    fixture_open(&fixture, &o);
    assert_int_equal(l.count[KVF_LOG_INFO], 1);
    assert_non_null(strstr(l.last, "engine cuda: device 0, 4 lanes each way"));
    const kvf_submit_options how = {.strategy = KVF_CUDA_LOOP};
    fixture_finish(fixture_submit(fixture.pinned, fixture.device, ids, ids, 5, &how), KVF_OK);
    fixture_finish(fixture_submit(fixture.device, fixture.pinned, ids, ids, 2, &how), KVF_OK);
    kvf_counters c = counters_of(fixture.engine);
    assert_int_equal(c.transfers_submitted, 2);
    assert_int_equal(c.transfers_succeeded, 2);
    assert_int_equal(c.bytes_host_to_device, 5 * FIXTURE_BLOCK);
    assert_int_equal(c.bytes_device_to_host, 2 * FIXTURE_BLOCK);
    assert_int_equal(c.bytes_loop, 7 * FIXTURE_BLOCK);
    assert_int_equal(c.bytes_batch + c.bytes_kernel + c.bytes_staged, 0);
    assert_true(c.boxes > 0);
    /* Host memory on both sides is refused, after the transfer has got its place in the order. */
    const kvf_plan plan = {.count = 1, .src_ids = ids, .dst_ids = ids + 1};
    assert_int_equal(
        kvf_transfer_submit(fixture.pinned, fixture.pinned, &plan, 1, NULL, NULL, NULL),
        KVF_ERR_UNSUPPORTED);
    fixture_finish(fixture_submit(fixture.pinned, fixture.device, ids, ids, 1, &how), KVF_OK);
    c = counters_of(fixture.engine);
    assert_int_equal(c.refused_other, 1);
    assert_int_equal(c.transfers_submitted, 3);
    assert_int_equal(c.transfers_succeeded, 3);
    assert_int_equal(c.transfers_failed, 0);
    assert_int_equal(l.count[KVF_LOG_ERROR] + l.count[KVF_LOG_WARNING], 0);
    fixture_close(&fixture);
    assert_int_equal(l.count[KVF_LOG_INFO], 2);
}

/* Within the device packing is no use, so another strategy takes over. */
static void test_fallback_to_another_strategy(void **state) {
    (void)state;
    lines l = {{0}, ""};
    const kvf_log log = {write_line, &l, KVF_LOG_WARNING};
    const kvf_cuda_options o = {.log = &log, .no_thread = true};
    device_fixture fixture;
    fixture_open(&fixture, &o);
    const kvf_submit_options how = {.strategy = KVF_CUDA_STAGED};
    for (int i = 0; i < 3; i++)
        fixture_finish(fixture_submit(fixture.device, fixture.device, ids, ids + 4, 2, &how),
                       KVF_OK);
    assert_int_equal(counters_of(fixture.engine).fallbacks, 3);
    assert_int_equal(l.count[KVF_LOG_WARNING], 1);
    assert_non_null(strstr(l.last, "strategy staged"));
    fixture_close(&fixture);
}

/* A broken engine logs one line, however many transfers it ends. */
static void test_a_broken_engine(void **state) {
    (void)state;
    fixture_needs_fake();
    lines l = {{0}, ""};
    const kvf_log log = {write_line, &l, KVF_LOG_WARNING};
    const kvf_cuda_options o = {.log = &log, .no_thread = true};
    device_fixture fixture;
    fixture_open(&fixture, &o);
    fakecuda_hold_all(true);
    kvf_transfer *t[] = {fixture_submit(fixture.pinned, fixture.device, ids, ids, 3, NULL),
                         fixture_submit(fixture.device, fixture.pinned, ids, ids + 4, 2, NULL)};
    fakecuda_lose_device(0, cudaErrorECCUncorrectable);
    fakecuda_hold_all(false);
    for (size_t i = 0; i < 2; i++)
        fixture_finish(t[i], KVF_ERR_BROKEN);
    assert_int_equal(counters_of(fixture.engine).transfers_failed, 2);
    fixture_close(&fixture);
    assert_int_equal(l.count[KVF_LOG_ERROR], 1);
    assert_non_null(strstr(l.last, "the engine is broken"));
}

/* The engine has ranges only with an NVTX tool. */
static void test_nvtx(void **state) {
    (void)state;
    void (*read)(nvtx_tool_record *) = NULL;
    const char *path = getenv("NVTX_INJECTION64_PATH");
    void *tool = path ? dlopen(path, RTLD_NOW) : NULL;
    void *symbol = tool ? dlsym(tool, "nvtx_tool_read") : NULL;
    memcpy(&read, &symbol, sizeof read);
    device_fixture fixture;
    fixture_open(&fixture, NULL);
    for (int i = 0; i < 3; i++)
        fixture_finish(fixture_submit(fixture.pinned, fixture.device, ids, ids, 4,
                                      &(kvf_submit_options){.background = i == 2}),
                       KVF_OK);
    fixture_close(&fixture);
    if (!path)
        return;
    nvtx_tool_record r;
    assert_non_null(read);
    read(&r);
    assert_int_equal(r.wrong, 0);
    assert_true(r.domains > 0);
    assert_int_equal(r.begun[0], r.in_submit[0]);
    assert_true(r.begun[1] >= 3);
    assert_true(r.in_submit[2] >= 2); /* ordered ones are enqueued in submit */
    assert_true(r.begun[2] > r.in_submit[2]);
    assert_true(r.begun[4] >= 3);
    size_t begun = 0;
    for (size_t i = 0; i < NVTX_TOOL_RANGES; i++)
        begun += r.begun[i];
    assert_int_equal(begun, r.ended);
}

int main(int argc, char **argv) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    if (argc > 1) /* the tool's path */
        assert_int_equal(setenv("NVTX_INJECTION64_PATH", argv[1], 1), 0);
    else
        (void)unsetenv("NVTX_INJECTION64_PATH");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_and_counters),
        cmocka_unit_test(test_fallback_to_another_strategy),
        cmocka_unit_test(test_a_broken_engine),
        cmocka_unit_test(test_nvtx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
