/* README's example in C++: built and run as a test. */
#include <kvferry/kvferry.hpp>

#include <cstdio>
#include <cstring>
#include <vector>

constexpr std::size_t TOKENS = 16, LAYERS = 32, BLOCKS = 64, BYTES = 4096;

static void run() {
    /* 1,000 tokens are 62 complete blocks of 16, each with its hash. */
    std::vector<std::uint32_t> tokens(1000);
    for (std::uint32_t i = 0; i < 1000; i++)
        tokens[i] = i % 97;
    kvferry::sequence_options sequence_options{};
    sequence_options.block_size = TOKENS;
    kvferry::sequence sequence(sequence_options);
    sequence.extend(tokens);
    std::size_t blocks = sequence.block_count();

    /* Two tiers: K and V of every layer in turn on the device, whole blocks on the host. Here both
     * lie in memory of the host. */
    std::vector<char> device_memory(2 * LAYERS * BLOCKS * BYTES), host_memory(device_memory.size());
    kvferry::shape shape{};
    shape.blocks = BLOCKS;
    shape.layers = LAYERS;
    shape.parts = 2;
    shape.bytes = BYTES;
    kvferry::layout device_layout =
        kvferry::layout_page_first(shape, {device_memory.data(), device_memory.size()});
    kvferry::layout host_layout = kvferry::layout_recommend(
        device_layout, KVF_USE_WHOLE_BLOCKS, BLOCKS, {host_memory.data(), host_memory.size()});
    kvferry::engine engine = kvferry::engine_host_create();
    kvferry::tier device_tier(engine, device_layout), host_tier(engine, host_layout);

    /* The device tracker has the sequence's content; the host one has ids and waits for it. */
    std::vector<std::uint64_t> device_ids(blocks), host_ids(blocks);
    for (std::uint64_t i = 0; i < blocks; i++) {
        device_ids[i] = (i * 5) % BLOCKS;
        host_ids[i] = i;
    }
    std::memset(device_memory.data(), 'k', device_memory.size());
    kvferry::assignments device, host;
    device.extend_block_ids(device_ids);
    device.assign_pending(sequence.hashes());
    host.extend_block_ids(host_ids);

    /* Offload: what `device` has and `host` waits for. Blocks are assigned once they are there. */
    std::vector<kvferry::pair> pairs = {kvferry::pair_of(device, host)};
    kvferry::bound offload = kvferry::bound_submit(device_tier, host_tier, pairs);
    offload.wait().check();
    kvferry::transfer_stats stats = offload.transfer().stats();
    std::printf("%zu blocks assigned, %zu bytes in %zu copies\n", host.assigned_count(),
                static_cast<std::size_t>(stats.bytes), static_cast<std::size_t>(stats.boxes));
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
