/* The wrapper for C++ of the CUDA module: that what it owns is let go of once, and that calls and
 * errors arrive. What the module does is tested in C. */
#include <kvferry/cuda.hpp>

#include "hpp_support.hpp"
#include "fakecuda.h"
#include "needs.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cuda_runtime_api.h>
#include <sys/mman.h>

namespace {

constexpr std::size_t BLOCKS = 16, LAYERS = 2, BYTES = 256;
constexpr std::size_t TOTAL = BLOCKS * LAYERS * 2 * BYTES;
constexpr kvferry::shape small_shape = shape_of(BLOCKS, LAYERS, BYTES);
const std::array<std::uint64_t, 3> some_ids = {2, 3, 9};

kvferry::cuda_pinned pinned_memory(kvferry::cuda_pinned_report *report = nullptr) {
    kvferry::cuda_pinned_options options{};
    options.bytes = TOTAL;
    options.threads = 1;
    return kvferry::cuda_pinned(options, report);
}

/* Memory first: it must outlive the tiers. */
struct stage {
    kvferry::cuda_pinned host_memory = pinned_memory();
    kvferry::cuda_device_memory device_memory = kvferry::cuda_device_memory(0, TOTAL);
    kvferry::engine engine = kvferry::engine_cuda_create({});
    kvferry::tier host = kvferry::tier(
        engine, kvferry::layout_contiguous(small_shape, host_memory.buffer()), KVF_MEMORY_PINNED);
    kvferry::tier device = kvferry::tier(
        engine, kvferry::layout_page_first(small_shape, device_memory.buffer()), KVF_MEMORY_DEVICE);
};

std::vector<kvferry::plan> three_blocks() {
    return {kvferry::plan_of(0, some_ids, some_ids)};
}

void memory_is_owned(void ** /*state*/) {
    kvferry::cuda_pinned_report report{};
    kvferry::cuda_pinned pinned = pinned_memory(&report);
    assert_true(pinned.bytes() >= TOTAL);
    assert_int_equal(report.bytes, pinned.bytes());
    assert_ptr_equal(pinned.buffer().base, pinned.base());

    kvferry::cuda_device_memory a(0, 1000), b = nullptr;
    assert_false(bool(b));
    void *base = a.get();
    b = std::move(a);
    kvferry::cuda_device_memory &same = b;
    b = std::move(same);
    assert_ptr_equal(b.get(), base);
    assert_int_equal(b.bytes(), 1000);
    assert_null(a.get()); // NOLINT(bugprone-use-after-move)
    assert_int_equal(a.bytes(), 0);
    kvferry::cuda_device_memory c = kvferry::cuda_device_memory::adopt(0, {b.release(), 1000});
    assert_int_equal(c.device(), 0);
    assert_ptr_equal(c.buffer().base, base);
    c = kvferry::cuda_device_memory(0, 10);
    assert_int_equal(c.buffer().bytes, 10);
    throws(KVF_ERR_RANGE, [] { kvferry::cuda_device_memory(99, 10); });
    throws(KVF_ERR_INVALID, [] { kvferry::cuda_device_memory(0, 0); });
}

void memory_is_adopted(void ** /*state*/) {
    void *mapped = mmap(nullptr, TOTAL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(mapped != MAP_FAILED);
    {
        kvferry::cuda_pinned pinned = kvferry::cuda_pinned_adopt({mapped, TOTAL}, 0);
        assert_ptr_equal(pinned.base(), mapped);
        throws(KVF_ERR_INVALID, [&] { kvferry::cuda_pinned_adopt({mapped, TOTAL}, 0); });
    }
    assert_int_equal(munmap(mapped, TOTAL), 0);
}

void models_explain(void ** /*state*/) {
    std::vector<char> a(TOTAL), b(TOTAL);
    kvferry::layout src = kvferry::layout_contiguous(small_shape, {a.data(), TOTAL});
    kvferry::layout dst = kvferry::layout_page_first(small_shape, {b.data(), TOTAL});
    std::vector<kvferry::plan> plans = three_blocks();
    kvferry::move_spec spec{};
    spec.src = src.get();
    spec.dst = dst.get();
    spec.plans = plans.data();
    spec.plan_count = plans.size();
    kvferry::move move(spec, &kvferry::cuda_limits());
    kvferry::cuda_model model = kvferry::cuda_model_builtin();
    kvferry::cuda_explanation said = model.explain(move, KVF_CUDA_TO_DEVICE);
    assert_int_equal(said.bytes, 3 * LAYERS * 2 * BYTES);
    assert_non_null(kvferry::cuda_strategy_name(said.chosen));

    char path[] = "/tmp/kvferry-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    model.save(path);
    kvferry::cuda_model loaded = kvferry::cuda_model_load(path, -1);
    assert_true(loaded.explain(move, KVF_CUDA_TO_DEVICE).us[said.chosen] == said.us[said.chosen]);
    std::remove(path);
    throws(KVF_ERR_ENGINE, [&] { kvferry::cuda_model_load(path, -1); });
    kvferry::cuda_calibrate_options nowhere{};
    nowhere.device = 99;
    throws(KVF_ERR_RANGE, [&] { kvferry::cuda_model_calibrate(nowhere); });
}

void transfers_are_ordered_with_streams(void ** /*state*/) {
    stage s;
    cudaStream_t stream = nullptr;
    cudaEvent_t event = nullptr;
    assert_int_equal(cudaStreamCreate(&stream), cudaSuccess);
    assert_int_equal(cudaEventCreate(&event), cudaSuccess);
    auto *bytes = static_cast<char *>(s.host_memory.base());
    for (std::size_t i = 0; i < TOTAL; i++)
        bytes[i] = static_cast<char>(i % 113);
    std::vector<char> expected(bytes, bytes + TOTAL);
    kvferry::submit_options by_group{};
    by_group.by_group = true;

    kvferry::transfer in = kvferry::transfer_submit(s.host, s.device, three_blocks(), by_group);
    kvferry::cuda_wait_group(in, 1, stream);
    throws(KVF_ERR_RANGE, [&] { kvferry::cuda_wait_group(in, LAYERS, stream); });
    kvferry::cuda_wait_slots(s.device, some_ids, false, stream);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    kvferry::cuda_mark_slots(s.device, some_ids, false, event);
    assert_true(kvferry::try_cuda_mark_slots(s.device, some_ids, true, event));
    in.wait().check();
    std::optional<kvferry::cuda_explanation> said = kvferry::cuda_explain(in);
    assert_true(said.has_value() && said->chosen != KVF_CUDA_AUTO);

    std::fill(bytes, bytes + TOTAL, '\0');
    int calls = 0;
    kvferry::transfer out =
        kvferry::transfer_submit(s.device, s.host, three_blocks(), {},
                                 [&](const kvferry::outcome &o) { calls += o.ok() ? 1 : 100; });
    out.wait().check();
    std::size_t block = LAYERS * 2 * BYTES;
    for (std::uint64_t id : some_ids)
        assert_memory_equal(bytes + id * block, expected.data() + id * block, block);
    assert_int_equal(bytes[0], 0);
    kvferry::cuda_stats stats = kvferry::cuda_stats_get(s.engine);
    assert_int_equal(stats.by[KVF_CUDA_AUTO].transfers, 2);
    assert_int_equal(calls, 1);
    assert_string_equal(s.engine.name(), "cuda");
    s.engine.reset();
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
}

void refusals_are_told(void ** /*state*/) {
    kvferry::cuda_options options{};
    options.device = 99;
    throws(KVF_ERR_RANGE, [&] { kvferry::engine_cuda_create(options); });
    kvferry::engine host = kvferry::engine_host_create();
    throws(KVF_ERR_INVALID, [&] { kvferry::cuda_stats_get(host); });
    std::vector<char> pageable(TOTAL);
    kvferry::engine engine = kvferry::engine_cuda_create({});
    kvferry::layout layout = kvferry::layout_contiguous(small_shape, {pageable.data(), TOTAL});
    throws(KVF_ERR_UNSUPPORTED, [&] { kvferry::tier(engine, layout, KVF_MEMORY_PINNED); });
}

/* Ends the fake's threads: nothing may have been misused, nor be left. */
int done(void ** /*state*/) {
    if (FAKECUDA)
        assert_int_equal(fakecuda_reset(), 0);
    return 0;
}

} // namespace

int main() {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_owned),   cmocka_unit_test(memory_is_adopted),
        cmocka_unit_test(models_explain),    cmocka_unit_test(transfers_are_ordered_with_streams),
        cmocka_unit_test(refusals_are_told),
    };
    return cmocka_run_group_tests(tests, nullptr, done);
}
