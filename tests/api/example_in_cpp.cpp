/* The README's example in C++, built and run as a test. */
#include <kvferry/kvferry.hpp>

#include <cstdio>
#include <cstring>
#include <vector>

using kvferry::check, kvferry::out;

constexpr std::size_t TOKENS = 16, LAYERS = 32, BLOCKS = 64, BYTES = 4096;

static kvferry::tier tier_over(const kvferry::engine &engine, const kvferry::layout &layout) {
    const kvf_layout *layouts = layout.get();
    kvf_tier_options options{};
    options.layouts = &layouts;
    options.layout_count = 1;
    kvf_error e{};
    kvferry::tier tier;
    check(kvf_tier_create(engine.get(), &options, out(tier), &e), e);
    return tier;
}

static void run() {
    kvf_error e{};

    /* 1,000 tokens are 62 complete blocks of 16, each with its hash. */
    std::vector<uint32_t> tokens(1000);
    for (uint32_t i = 0; i < 1000; i++)
        tokens[i] = i % 97;
    kvf_sequence_options of_blocks{};
    of_blocks.block_size = TOKENS;
    kvferry::sequence sequence;
    check(kvf_sequence_create(&of_blocks, out(sequence), &e), e);
    check(kvf_sequence_extend(sequence.get(), tokens.data(), tokens.size(), nullptr, &e), e);
    std::size_t blocks = kvf_sequence_block_count(sequence.get());

    /* Two tiers: layer by layer K and V on the device, whole blocks on the host. In this example
     * both are in host memory, declared first because it must outlive them. */
    const std::size_t size = 2 * LAYERS * BLOCKS * BYTES;
    std::vector<char> device_memory(size, 'k'), host_memory(size);
    kvf_shape shape{};
    shape.blocks = BLOCKS;
    shape.layers = LAYERS;
    shape.parts = 2;
    shape.bytes = BYTES;
    kvferry::layout device_layout, host_layout;
    check(kvf_layout_page_first(&shape, {device_memory.data(), size}, out(device_layout), &e), e);
    check(kvf_layout_recommend(device_layout.get(), KVF_USE_WHOLE_BLOCKS, BLOCKS,
                               {host_memory.data(), size}, nullptr, out(host_layout), &e),
          e);

    /* A callable must outlive its engine, whose destruction may call it: declare it first. */
    auto report = [&](const kvf_error &end) { std::printf("%s\n", kvf_status_text(end.status)); };
    kvferry::engine engine;
    check(kvf_engine_host_create(nullptr, out(engine), &e), e);
    kvferry::tier device_tier = tier_over(engine, device_layout);
    kvferry::tier host_tier = tier_over(engine, host_layout);

    /* `device` has the sequence's content; `host` has ids and waits for the content. */
    std::vector<uint64_t> device_ids(blocks), host_ids(blocks);
    for (uint64_t i = 0; i < blocks; i++) {
        device_ids[i] = (i * 5) % BLOCKS;
        host_ids[i] = i;
    }
    kvferry::assignments device, host;
    check(kvf_assignments_create(nullptr, out(device), &e), e);
    check(kvf_assignments_create(nullptr, out(host), &e), e);
    check(kvf_assignments_extend_block_ids(device.get(), device_ids.data(), blocks, &e), e);
    check(kvf_assignments_assign_pending(device.get(), kvf_sequence_hashes(sequence.get()), blocks,
                                         nullptr, &e),
          e);
    check(kvf_assignments_extend_block_ids(host.get(), host_ids.data(), blocks, &e), e);

    /* Offload what `device` has and `host` waits for. Blocks are assigned once they arrive. */
    kvf_pair pair = {device.get(), host.get(), 0};
    kvf_submit_options options{};
    std::tie(options.callback, options.user) = kvferry::callback_to(report);
    kvferry::bound offload;
    check(
        kvf_bound_submit(device_tier.get(), host_tier.get(), &pair, 1, &options, out(offload), &e),
        e);
    kvf_status status = kvf_bound_wait(offload.get(), 1000 * 1000, &e);
    if (status == KVF_ERR_TIMEOUT) { /* a value, not an exception, until it is checked */
        std::printf("not yet\n");
        status = kvf_bound_wait(offload.get(), -1, &e);
    }
    check(status, e);
    kvf_transfer_stats stats;
    kvf_transfer_stats_get(kvf_bound_transfer(offload.get()), &stats);
    std::printf("%zu blocks assigned, %zu bytes in %zu copies\n",
                kvf_assignments_assigned_count(host.get()), static_cast<std::size_t>(stats.bytes),
                static_cast<std::size_t>(stats.boxes));
}

int main() {
    try {
        run();
    } catch (const kvferry::error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
