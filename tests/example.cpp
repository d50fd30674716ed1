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

    /* Two tiers: K and V of every layer in turn on one side, whole blocks on the other. */
    std::vector<char> near_memory(2 * LAYERS * BLOCKS * BYTES), far_memory(near_memory.size());
    kvferry::shape shape{};
    shape.blocks = BLOCKS;
    shape.layers = LAYERS;
    shape.parts = 2;
    shape.bytes = BYTES;
    kvferry::layout near_layout =
        kvferry::layout_page_first(shape, {near_memory.data(), near_memory.size()});
    kvferry::layout far_layout = kvferry::layout_recommend(
        near_layout, KVF_USE_WHOLE_BLOCKS, BLOCKS, {far_memory.data(), far_memory.size()});
    kvferry::engine engine = kvferry::engine_host_create();
    kvferry::tier near_tier(engine, near_layout), far_tier(engine, far_layout);

    /* The near tracker has the sequence's content; the far one has ids and waits for it. */
    std::vector<std::uint64_t> near_ids(blocks), far_ids(blocks);
    for (std::uint64_t i = 0; i < blocks; i++) {
        near_ids[i] = (i * 5) % BLOCKS;
        far_ids[i] = i;
    }
    std::memset(near_memory.data(), 'k', near_memory.size());
    kvferry::assignments near, far;
    near.extend_block_ids(near_ids);
    near.assign_pending(sequence.hashes());
    far.extend_block_ids(far_ids);

    /* Offload: what `near` has and `far` waits for. The blocks are assigned once they are there. */
    std::vector<kvferry::pair> pairs = {kvferry::pair_of(near, far)};
    kvferry::bound offload = kvferry::bound_submit(near_tier, far_tier, pairs);
    offload.wait().check();
    kvferry::transfer_stats stats = offload.transfer().stats();
    std::printf("%zu blocks assigned, %zu bytes in %zu copies\n", far.assigned_count(),
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
