/* The wrapper for C++ of the NCCL module, with a group of one: that calls and errors arrive, and
 * what it owns is let go of once. What the module does is tested in C. */
#include <kvferry/nccl.hpp>

#include "hpp_support.hpp"
#include "fakecuda.h"
#include "needs.h"
#include "fakenccl.h"

#include <array>

namespace {

constexpr std::size_t BLOCKS = 16, LAYERS = 2, BYTES = 256;
constexpr std::size_t BLOCK = LAYERS * 2 * BYTES, TOTAL = BLOCKS * BLOCK;
constexpr kvferry::shape small_shape = shape_of(BLOCKS, LAYERS, BYTES);
const std::array<std::uint64_t, 3> host_ids = {2, 3, 9}, slots = {0, 7, 5}, others = {1, 11, 12};

/* In the order in which the one needs the other. */
struct stage {
    kvferry::cuda_pinned host_memory = pinned();
    kvferry::cuda_device_memory device_memory = kvferry::cuda_device_memory(0, TOTAL);
    kvferry::engine engine = kvferry::engine_cuda_create({});
    kvferry::tier host = kvferry::tier(
        engine, kvferry::layout_contiguous(small_shape, host_memory.buffer()), KVF_MEMORY_PINNED);
    kvferry::tier device = kvferry::tier(
        engine, kvferry::layout_page_first(small_shape, device_memory.buffer()), KVF_MEMORY_DEVICE);
    kvferry::channel_tcp channel = alone();
    kvferry::group group = of_one(engine, channel);
    kvferry::wire wire = to(group, device);

    static kvferry::cuda_pinned pinned() {
        kvferry::cuda_pinned_options options{};
        options.bytes = TOTAL;
        options.threads = 1;
        return kvferry::cuda_pinned(options);
    }
    static kvferry::channel_tcp alone() {
        kvferry::channel_tcp_options options{};
        options.ranks = 1;
        return kvferry::channel_tcp(options);
    }
    static kvferry::group of_one(kvferry::engine &engine, const kvferry::channel_tcp &channel) {
        kvferry::group_options options{};
        options.ranks = 1;
        options.engine = engine.get();
        options.channel = channel.get();
        return kvferry::group(options);
    }
    static kvferry::wire to(kvferry::group &group, kvferry::tier &device) {
        kvferry::wire_options options{};
        options.device = device.get();
        options.chunk_bytes = 4 * BLOCK;
        return {group, options};
    }
    char *block(std::uint64_t id) const {
        return static_cast<char *>(host_memory.base()) + id * BLOCK;
    }
};

void channels_are_owned(void ** /*state*/) {
    kvferry::channel_tcp a = stage::alone(), b = nullptr;
    assert_true(bool(a) && !bool(b));
    b = std::move(a);
    kvferry::channel_tcp &same = b;
    b = std::move(same);
    assert_true(bool(b));
    assert_false(bool(a)); // NOLINT(bugprone-use-after-move)
    a = kvferry::channel_tcp::adopt(b.release());
    assert_true(bool(a) && !bool(b));
    a = stage::alone();
    kvferry::channel_tcp_options options{};
    options.ranks = -1;
    throws(KVF_ERR_INVALID, [&] { kvferry::channel_tcp refused(options); });
}

void blocks_come_and_go(void ** /*state*/) {
    stage s;
    assert_int_equal(s.group.rank(), 0);
    assert_int_equal(s.group.ranks(), 1);
    assert_true(s.group.check().ok());
    for (std::uint64_t id : host_ids)
        std::fill(s.block(id), s.block(id) + BLOCK, static_cast<char>('a' + id));
    std::vector<kvferry::plan> in = {kvferry::plan_of(0, host_ids, slots)};
    int calls = 0;
    auto callable = [&](const kvferry::outcome &outcome) { calls += outcome.ok() ? 1 : 100; };
    kvferry::callback_ref call = kvferry::callback_to(callable);
    kvferry::wire_submit_options options{};
    options.callback = call.callback;
    options.user = call.user;
    kvferry::wire_op onboard = kvferry::wire_onboard(s.wire, s.host, in, options);
    onboard.wait().check();
    assert_true(onboard.poll().ok());
    assert_int_equal(calls, 1);
    assert_int_equal(onboard.stats().blocks, 3);
    kvferry::group_counters counters = s.group.counters();
    assert_int_equal(counters.blocks, 3);
    std::vector<kvferry::labelled_group_counters> all = {{&counters, nullptr, 0}};
    assert_true(kvferry::group_counters_print(all).find("_blocks_total 3\n") != std::string::npos);

    std::array<kvferry::hand, 2> hands{};
    hands[0].plan = kvferry::plan_of(0, slots, slots);
    hands[1].plan = kvferry::plan_of(0, others, others);
    hands[1].receives = true;
    kvferry::wire_exchange(s.wire, hands).wait().check();
    std::vector<kvferry::plan> back = {kvferry::plan_of(0, others, others)};
    std::optional<kvferry::wire_op> offload = kvferry::try_wire_offload(s.wire, s.host, back);
    offload.value().wait().check();
    for (std::size_t i = 0; i < host_ids.size(); i++)
        assert_memory_equal(s.block(others[i]), s.block(host_ids[i]), BLOCK);

    kvferry::try_wire_exchange(s.wire, hands).value().wait().check();
    kvferry::try_wire_onboard(s.wire, s.host, in).value().wait().check();
    kvferry::wire_offload(s.wire, s.host, back).wait().check();
    hands[0].peer = 1;
    throws(KVF_ERR_RANGE, [&] { auto op = kvferry::wire_exchange(s.wire, hands); });
    throws(KVF_ERR_RANGE, [&] { auto op = kvferry::try_wire_exchange(s.wire, hands); });
}

void groups_may_be_refused(void ** /*state*/) {
    kvferry::engine host = kvferry::engine_host_create();
    kvferry::channel_tcp channel = stage::alone();
    throws(KVF_ERR_UNSUPPORTED, [&] { stage::of_one(host, channel); });
    stage s;
    throws(KVF_ERR_RANGE, [&] {
        kvferry::wire_options options{};
        options.device = s.device.get();
        options.device_layout = 1;
        kvferry::wire refused(s.group, options);
    });
    s.group.reset();
    throws(KVF_ERR_CLOSED, [&] {
        std::vector<kvferry::plan> in = {kvferry::plan_of(0, host_ids, slots)};
        auto op = kvferry::wire_onboard(s.wire, s.host, in);
    });
}

/* Ends the fake's threads: nothing may have been misused, nor be left. */
int done(void ** /*state*/) {
    if (FAKENCCL)
        assert_int_equal(fakenccl_reset(), 0);
    if (FAKECUDA)
        assert_int_equal(fakecuda_reset(), 0);
    return 0;
}

} // namespace

int main() {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_are_owned),
        cmocka_unit_test(blocks_come_and_go),
        cmocka_unit_test(groups_may_be_refused),
    };
    return cmocka_run_group_tests(tests, nullptr, done);
}
