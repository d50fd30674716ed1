/* The wrapper for C++: that it says what C says, and that what it owns is let go of once. Built as
 * C++17 and as C++20. */
#include "hpp_support.hpp"

#include <array>
#include <functional>
#include <list>
#include <new>
#include <sys/wait.h>
#include <unistd.h>
#if __cplusplus >= 202002L
#include <span>
#endif

using namespace std::chrono_literals;

namespace {

/* --- What holds when it compiles --- */

template <class Owner> constexpr bool moves_only() {
    return !std::is_copy_constructible_v<Owner> && !std::is_copy_assignable_v<Owner> &&
           std::is_nothrow_move_constructible_v<Owner> &&
           std::is_nothrow_move_assignable_v<Owner> &&
           std::is_constructible_v<Owner, std::nullptr_t>;
}

static_assert(moves_only<kvferry::sequence>() && moves_only<kvferry::assignments>());
static_assert(moves_only<kvferry::layout>() && moves_only<kvferry::move>());
static_assert(moves_only<kvferry::engine>() && moves_only<kvferry::tier>());
static_assert(moves_only<kvferry::transfer>() && moves_only<kvferry::completion>());
static_assert(moves_only<kvferry::bound>());
static_assert(sizeof(kvferry::layout) == sizeof(void *)); /* an owner is its handle */
static_assert(sizeof(kvferry::transfer) == sizeof(void *));
static_assert(std::is_nothrow_copy_constructible_v<kvferry::error>);

using ids_span = kvferry::span<const uint64_t>;
static_assert(std::is_convertible_v<const std::vector<uint64_t> &, ids_span>);
static_assert(std::is_convertible_v<std::array<uint64_t, 3> &, ids_span>);
static_assert(std::is_convertible_v<uint64_t (&)[3], ids_span>);
static_assert(std::is_convertible_v<kvferry::span<uint64_t>, ids_span>);
static_assert(!std::is_convertible_v<ids_span, kvferry::span<uint64_t>>);
static_assert(!std::is_convertible_v<std::vector<uint32_t> &, ids_span>);
static_assert(!std::is_convertible_v<std::list<uint64_t> &, ids_span>);
static_assert(!std::is_convertible_v<const std::vector<uint64_t> &, kvferry::span<uint64_t>>);
#if __cplusplus >= 202002L
static_assert(std::is_convertible_v<std::span<const uint64_t>, ids_span>);
static_assert(std::is_convertible_v<ids_span, std::span<const uint64_t>>);
#endif

/* --- Helpers --- */

std::vector<uint32_t> some_tokens(size_t count) {
    std::vector<uint32_t> tokens(count);
    for (size_t i = 0; i < count; i++)
        tokens[i] = static_cast<uint32_t>(i * 7 + 1);
    return tokens;
}

std::vector<uint64_t> some_ids(size_t count, uint64_t first = 0) {
    std::vector<uint64_t> ids(count);
    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    return ids;
}

kvferry::sequence some_sequence(size_t blocks) {
    kvferry::sequence_options options{};
    options.block_size = 4;
    kvferry::sequence sequence(options);
    sequence.extend(some_tokens(blocks * 4));
    return sequence;
}

/* --- Errors --- */

void errors_have_details(void ** /*state*/) {
    kvferry::assignments tracker;
    std::vector<uint64_t> ids = {5, 6, 5};
    kvferry::error error = thrown([&] { tracker.extend_block_ids(ids); });
    assert_int_equal(error.status(), KVF_ERR_DUPLICATE_BLOCK_ID);
    assert_int_equal(error.details().id, 5);
    assert_string_equal(error.what(), "duplicate block_id 5 already present");
    assert_string_equal(error.what(), kvferry::error_format(error.details()).c_str());
    assert_int_equal(tracker.pending_count(), 0);

    /* One that is thrown and caught as what it is a kind of. */
    bool caught = false;
    try {
        kvferry::sequence sequence(kvferry::sequence_options{});
    } catch (const std::runtime_error &e) {
        caught = std::strstr(e.what(), "invalid argument") != nullptr;
    }
    assert_true(caught);
}

/* Functions without details tell the status all the same. */
void errors_without_details(void ** /*state*/) {
    throws(KVF_ERR_RANGE, [] { kvferry::hash_lineage(KVF_HASH_V1_2, 1, 2, KVF_MAX_POSITION + 1); });
    throws(KVF_ERR_RANGE, [] { kvferry::hash_positional(1, UINT64_C(1) << 31, 2); });
    kvf_error none{};
    kvferry::outcome ok(none);
    assert_true(ok.ok() && ok && !ok.pending() && !ok.failed());
    assert_string_equal(ok.text().c_str(), "ok");
    ok.check();
    none.status = KVF_ERR_TIMEOUT;
    kvferry::outcome late(none);
    assert_true(!late.ok() && late.pending() && !late.failed());
    throws(KVF_ERR_TIMEOUT, [&] { late.check(); });
    none.status = KVF_ERR_CANCELLED;
    kvferry::outcome ended(none);
    assert_true(!ended && !ended.pending() && ended.failed());
}

void status_and_version(void ** /*state*/) {
    assert_string_equal(kvferry::version(), KVF_VERSION_STRING);
    assert_string_equal(kvferry::status_name(KVF_ERR_BUSY), "KVF_ERR_BUSY");
    assert_string_equal(kvferry::status_text(KVF_ERR_RANGE), "out of range");
}

/* --- Owners --- */

void owners_move(void ** /*state*/) {
    kvferry::sequence a = some_sequence(2);
    kvf_sequence *handle = a.get();
    kvferry::sequence b = std::move(a);
    assert_false(bool(a)); // NOLINT(bugprone-use-after-move)
    assert_ptr_equal(b.get(), handle);
    throws(KVF_ERR_INVALID, [&] { a.append(1); }); // NOLINT(bugprone-use-after-move)

    kvferry::sequence &same = b;
    b = std::move(same);
    assert_ptr_equal(b.get(), handle);
    assert_int_equal(b.block_count(), 2);

    kvferry::sequence c = some_sequence(1);
    c = std::move(b); /* what c had is let go of */
    assert_ptr_equal(c.get(), handle);
    std::swap(a, c);
    assert_ptr_equal(a.get(), handle);
    assert_false(bool(c));
}

void owners_hand_over(void ** /*state*/) {
    kvferry::sequence a = some_sequence(3);
    kvf_sequence *handle = a.release();
    assert_false(bool(a));
    kvferry::sequence b = kvferry::sequence::adopt(handle);
    assert_int_equal(b.block_count(), 3);
    b.reset();
    b.reset();
    assert_null(b.get());
    kvferry::sequence none = nullptr;
    assert_false(bool(none));
    assert_false(bool(kvferry::sequence::adopt(nullptr)));
    throws(KVF_ERR_INVALID, [&] { none.clone(); });
    throws(KVF_ERR_INVALID, [] { kvferry::assignments(nullptr).take_staged(); });
    assert_true(bool(kvferry::assignments()));
    assert_true(bool(kvferry::completion()));
}

/* Whatever runs out of memory, nothing is left behind, and the error says so. */
void out_of_memory(void ** /*state*/) {
    for (size_t at = 1;; at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        memory.fail_at = at;
        bool failed = false;
        try {
            kvferry::sequence_options options{};
            options.block_size = 2;
            options.allocator = &memory.allocator;
            kvferry::sequence sequence(options);
            sequence.extend(some_tokens(40));
            kvferry::sequence fork = sequence.clone();
            kvferry::assignments_options how{};
            how.allocator = &memory.allocator;
            kvferry::assignments tracker(how);
            tracker.extend_block_ids(some_ids(20));
            tracker.stage_pending(fork.hashes());
            kvferry::assignments copy = tracker.clone();
        } catch (const kvferry::error &error) {
            assert_int_equal(error.status(), KVF_ERR_NO_MEMORY);
            failed = true;
        }
        test_allocator_done(&memory);
        if (!failed) {
            assert_true(at > 5);
            return;
        }
    }
}

/* --- Memory resources --- */

class counting_resource : public std::pmr::memory_resource {
  public:
    size_t live = 0, calls = 0, fail_from = SIZE_MAX;

  private:
    void *do_allocate(size_t bytes, size_t alignment) override {
        if (++calls >= fail_from)
            throw std::bad_alloc();
        live += bytes;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void *block, size_t bytes, size_t alignment) override {
        live -= bytes;
        std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
    }
    bool do_is_equal(const memory_resource &other) const noexcept override {
        return this == &other;
    }
};

void memory_resources(void ** /*state*/) {
    counting_resource resource;
    kvferry::allocator memory = kvferry::allocator_of(resource);
    kvferry::assignments_options options{};
    options.allocator = &memory;
    {
        kvferry::assignments tracker(options);
        for (uint64_t count = 1; count < 3000; count += 500)
            tracker.extend_block_ids(some_ids(count));
        assert_int_equal(tracker.pending_count(), 2501);
        assert_int_equal(tracker.get_pending_at_position(2500).value(), 2500);
        assert_true(resource.live >= tracker.memory() / 2);
        resource.fail_from = 0;
        throws(KVF_ERR_NO_MEMORY, [&] { tracker.extend_block_ids(some_ids(50000)); });
        assert_int_equal(tracker.pending_count(), 2501);
    }
    assert_int_equal(resource.live, 0);
}

/* --- Hashes and sequences --- */

void hashes_are_those_of_c(void ** /*state*/) {
    std::vector<uint32_t> tokens = some_tokens(16);
    assert_int_equal(kvferry::hash_salt("salt"), kvf_hash_salt("salt", 4));
    assert_int_equal(kvferry::hash_salt(""), kvf_hash_salt(nullptr, 0));
    assert_int_equal(kvferry::hash_block(tokens, 9), kvf_hash_block(tokens.data(), 16, 9));
    assert_int_equal(kvferry::hash_chain(KVF_HASH_V1_3, 1, 2, 3),
                     kvf_hash_chain(KVF_HASH_V1_3, 1, 2, 3));

    kvferry::hash root = kvferry::hash_lineage(KVF_HASH_V1_2, 77, std::nullopt, 0);
    kvferry::hash child = kvferry::hash_lineage(KVF_HASH_V1_2, 88, 77, 1);
    assert_true(kvferry::hash_follows(KVF_HASH_V1_2, root, child));
    assert_false(kvferry::hash_follows(KVF_HASH_V1_2, child, root));
    assert_int_equal(kvferry::hash_mode(child), 0);
    assert_int_equal(kvferry::hash_position(child), 1);
    assert_int_equal(kvferry::hash_current(KVF_HASH_V1_2, child), 88);
    assert_int_equal(kvferry::hash_parent(KVF_HASH_V1_2, child), 77);
    assert_true(kvferry::hash_compare(KVF_HASH_V1_2, root, child) < 0);
    assert_true(kvferry::hash_equal(root, root) && !kvferry::hash_equal(root, child));
    char text[KVF_HASH_TEXT_SIZE];
    kvf_hash_format(KVF_HASH_V1_2, child, text, sizeof text);
    assert_string_equal(kvferry::hash_format(KVF_HASH_V1_2, child).c_str(), text);

    kvferry::hash positional = kvferry::hash_positional(5, 300, 6);
    assert_int_equal(kvferry::hash_positional_position(positional), 300);
    assert_int_equal(kvferry::hash_positional_block_hash(positional), 6);
    assert_int_equal(kvferry::hash_positional_sequence_hash(positional), 5);
}

void block_bytes_have_runs(void ** /*state*/) {
    std::vector<uint32_t> tokens = some_tokens(4);
    std::array<kvferry::mm_run, 1> runs = {{{42, 9, 2}}};
    size_t size = kvferry::hash_block_bytes(tokens, 8, runs, {});
    assert_int_equal(size, 4 * 13);
    std::vector<uint8_t> bytes(size);
    assert_int_equal(kvferry::hash_block_bytes(tokens, 8, runs, bytes), size);
    assert_int_equal(bytes[13], 1);
    assert_int_equal(bytes[18], 42);
    assert_int_equal(kvferry::hash_block_bytes(tokens, 8, {}, {}), 16);
    runs[0].length = 0;
    throws(KVF_ERR_INVALID, [&] { kvferry::hash_block_bytes(tokens, 8, runs, {}); });
}

void sequences_grow(void ** /*state*/) {
    kvferry::sequence_options options{};
    options.block_size = 4;
    options.salt = 3;
    options.layout = KVF_HASH_V1_3;
    kvferry::sequence sequence(options);
    assert_true(sequence.tokens().empty() && sequence.hashes().empty());
    sequence.reserve(100);
    std::vector<uint32_t> tokens = some_tokens(9);
    kvferry::range completed = sequence.extend(tokens);
    assert_int_equal(completed.start, 0);
    assert_int_equal(completed.end, 2);
    for (uint32_t token = 0; token < 3; token++)
        completed = sequence.append(token);
    assert_int_equal(completed.end, 3);
    assert_int_equal(sequence.block_size(), 4);
    assert_int_equal(sequence.salt(), 3);
    assert_int_equal(sequence.hash_layout(), KVF_HASH_V1_3);
    assert_int_equal(sequence.token_count(), 12);
    assert_int_equal(sequence.tokens().size(), 12);
    assert_int_equal(sequence.tokens()[8], tokens[8]);
    kvferry::token_block block = sequence.block(2);
    assert_true(block.has_parent);
    assert_true(kvferry::hash_equal(block.lineage, sequence.hashes()[2]));
    throws(KVF_ERR_RANGE, [&] { sequence.block(3); });

    kvferry::sequence fork = sequence.clone();
    fork.truncate(5);
    assert_int_equal(fork.block_count(), 1);
    assert_int_equal(sequence.block_count(), 3);
    throws(KVF_ERR_RANGE, [&] { fork.truncate(6); });
    std::array<kvferry::mm_run, 1> runs = {{{42, 5, 2}}};
    completed = fork.extend_mm(tokens, runs);
    assert_int_equal(completed.start, 1);
    assert_int_equal(completed.end, 3);
    assert_true(fork.memory() > 0);
#if __cplusplus >= 202002L
    std::span<const kvferry::hash> hashes = fork.hashes();
    assert_int_equal(hashes.size(), 3);
    fork.extend(std::span<const uint32_t>(tokens).first(2));
#endif
}

/* --- Trackers, plans and flights --- */

void trackers_tell(void ** /*state*/) {
    kvferry::sequence sequence = some_sequence(8);
    kvferry::assignments_options options{};
    options.offset = 2;
    kvferry::assignments tracker(options);
    tracker.reserve(8);
    tracker.extend_block_ids(some_ids(6, 10));
    assert_int_equal(tracker.offset(), 2);
    assert_int_equal(tracker.hash_layout(), KVF_HASH_V1_2);
    kvferry::range staged = tracker.stage_pending(sequence.hashes().first(6));
    assert_int_equal(staged.end, 4);
    tracker.commit_oldest(3);
    assert_int_equal(tracker.assigned_count(), 3);
    assert_int_equal(tracker.staged_count(), 1);
    assert_int_equal(tracker.pending_count(), 2);
    assert_int_equal(tracker.next_position(), 6);
    assert_int_equal(tracker.assigned_positions().end, 5);
    assert_int_equal(tracker.staged_positions().end, 6);
    assert_int_equal(tracker.pending_positions().end, 8);

    kvferry::view assigned = tracker.assigned();
    assert_int_equal(assigned.ids.size(), 3);
    assert_int_equal(assigned.first_position, 2);
    assert_true(kvferry::hash_equal(assigned.hashes[1], sequence.hashes()[3]));
    assert_int_equal(tracker.staged().ids[0], 13);
    assert_int_equal(tracker.pending().ids.size(), 2);
    assert_true(tracker.pending().hashes.empty());

    assert_true(tracker.contains(10) && !tracker.contains(9));
    kvferry::place place = tracker.find(15);
    assert_int_equal(place.phase, KVF_PHASE_PENDING);
    assert_int_equal(place.index, 1);
    assert_int_equal(tracker.find(9).phase, KVF_PHASE_NONE);
    assert_int_equal(tracker.get_assigned(2)->id, 12);
    assert_false(tracker.get_assigned(3).has_value());
    assert_int_equal(tracker.get_staged(0)->id, 13);
    assert_false(tracker.get_staged(1).has_value());
    assert_int_equal(tracker.get_at_position(4)->id, 12);
    assert_true(kvferry::hash_equal(tracker.get_at_position(4)->hash, sequence.hashes()[4]));
    assert_false(tracker.get_at_position(1).has_value());
    assert_int_equal(tracker.get_pending_at_position(6).value(), 14);
    assert_false(tracker.get_pending_at_position(8).has_value());

    std::string text = tracker.format();
    std::vector<char> expected(text.size() + 1);
    kvf_assignments_format(tracker.get(), expected.data(), expected.size());
    assert_string_equal(text.c_str(), expected.data());
    assert_true(tracker.memory() > 0);
}

void trackers_change(void ** /*state*/) {
    kvferry::sequence sequence = some_sequence(8);
    kvferry::assignments tracker;
    tracker.extend_block_ids(some_ids(6));
    assert_int_equal(tracker.assign_pending(sequence.hashes().first(2)).end, 2);
    tracker.stage_next(sequence.hashes().subspan(2, 3));
    tracker.rollback_staged(1);
    std::vector<kvferry::assigned_block> taken = tracker.take_staged();
    assert_int_equal(taken.size(), 2);
    assert_int_equal(taken[1].id, 3);
    assert_true(kvferry::hash_equal(taken[1].hash, sequence.hashes()[3]));
    assert_false(tracker.contains(3));

    std::vector<uint64_t> more = {20, 21};
    tracker.extend_assigned(more, sequence.hashes().subspan(2, 2));
    assert_int_equal(tracker.assigned_count(), 4);
    throws(KVF_ERR_INVALID, [&] { tracker.extend_assigned(more, sequence.hashes().first(1)); });
    throws(KVF_ERR_POSITION_MISMATCH, [&] { tracker.stage_next(sequence.hashes()); });
    tracker.drop_front(1);
    assert_int_equal(tracker.offset(), 1);
    throws(KVF_ERR_RANGE, [&] { tracker.truncate(0); });
    tracker.truncate(3);
    assert_int_equal(tracker.assigned_count(), 2);
    kvferry::assignments copy = tracker.clone();
    tracker.clear();
    assert_int_equal(tracker.assigned_count(), 0);
    assert_int_equal(copy.assigned_count(), 2);
    assert_int_equal(copy.commit_staged().end, 2);
}

void plans_and_flights(void ** /*state*/) {
    kvferry::sequence sequence = some_sequence(8);
    kvferry::assignments src, dst;
    src.extend_block_ids(some_ids(8));
    src.assign_pending(sequence.hashes());
    dst.extend_block_ids(some_ids(5, 100));
    kvferry::plan plan = kvferry::zip_assigned_pending(src, dst);
    assert_int_equal(plan.count, 5);
    assert_int_equal(kvferry::zip_assigned(src, dst).count, 0);
    kvferry::plan front = kvferry::plan_slice(plan, {0, 2});
    kvferry::flight first = kvferry::flight_depart(dst, front);
    kvferry::flight second = kvferry::flight_depart(dst, kvferry::plan_slice(plan, {2, 4}));
    assert_int_equal(kvferry::flight_open_count(dst), 2);
    throws(KVF_ERR_GAP, [&] { kvferry::flight_depart(dst, front); });
    assert_int_equal(kvferry::flight_land(dst, first).end, 2);
    assert_true(kvferry::flight_is_open(dst, second) && !kvferry::flight_is_open(dst, first));
    kvferry::flight_return(dst, second, 1);
    assert_int_equal(dst.assigned_count(), 3);
    assert_int_equal(dst.pending_count(), 2);
    throws(KVF_ERR_CLOSED, [&] { kvferry::flight_land(dst, second); });

    std::vector<uint64_t> a = {1, 2}, b = {3, 4};
    kvferry::plan own = kvferry::plan_of(7, a, b);
    assert_int_equal(own.first_position, 7);
    assert_null(own.src_hashes);
    assert_int_equal(kvferry::plan_of(0, a, b, sequence.hashes().first(2)).count, 2);
    throws(KVF_ERR_INVALID, [&] { kvferry::plan_of(0, a, some_ids(1)); });
    throws(KVF_ERR_INVALID, [&] { kvferry::plan_of(0, a, b, sequence.hashes()); });
}

/* --- Layouts and moves --- */

constexpr size_t BLOCKS = 8, LAYERS = 2, BYTES = 64;
constexpr kvferry::shape small_shape = shape_of(BLOCKS, LAYERS, BYTES);

void layouts_of_all_kinds(void ** /*state*/) {
    const size_t each = BLOCKS * BYTES;
    std::vector<char> memory(each * LAYERS * 2);
    kvferry::buffer whole = {memory.data(), memory.size()};
    std::vector<kvferry::buffer> parts;
    for (size_t i = 0; i < LAYERS * 2; i++)
        parts.push_back({memory.data() + i * each, each});
    std::array<kvferry::buffer, LAYERS> layers = {
        {{memory.data(), 2 * each}, {memory.data() + 2 * each, 2 * each}}};
    kvferry::shape shape = small_shape;

    kvferry::layout contiguous = kvferry::layout_contiguous(shape, whole);
    assert_int_equal(contiguous.blocks(), BLOCKS);
    assert_int_equal(contiguous.groups(), LAYERS);
    assert_int_equal(contiguous.block_bytes(), 4 * BYTES);
    assert_int_equal(contiguous.regions().size(), 4);
    assert_int_equal(contiguous.recommend_bytes(2), 8 * BYTES);
    shape.rows = 4;
    std::vector<kvferry::layout> others;
    others.push_back(kvferry::layout_per_layer(shape, layers, KVF_BLOCK_FIRST));
    others.push_back(kvferry::layout_per_layer(shape, layers, KVF_BLOCK_SECOND));
    others.push_back(kvferry::layout_per_part(shape, parts));
    others.push_back(kvferry::layout_page_first(shape, whole));
    others.push_back(kvferry::layout_token_first(shape, whole));
    others.push_back(kvferry::layout_recommend(others[0], KVF_USE_BY_LAYER, BLOCKS, whole));
    others.emplace_back(others[0].regions(), BLOCKS);
    for (const kvferry::layout &layout : others)
        assert_int_equal(layout.digest(), others[0].digest());
    shape.parts = 1;
    assert_int_equal(kvferry::layout_mla(shape, layers).groups(), LAYERS);
}

/* C is not told how many buffers there are; the wrapper knows. */
void layouts_want_their_buffers(void ** /*state*/) {
    std::vector<char> memory(BLOCKS * BYTES * 2);
    std::vector<kvferry::buffer> one = {{memory.data(), memory.size()}};
    kvferry::shape shape = small_shape;
    auto wants_more = [](auto call) {
        kvferry::error error = thrown(call);
        assert_int_equal(error.status(), KVF_ERR_INVALID);
        assert_string_equal(error.details().what, "not as many buffers as the shape wants");
    };
    wants_more([&] { kvferry::layout_per_layer(shape, one, KVF_BLOCK_FIRST); });
    wants_more([&] { kvferry::layout_per_part(shape, one); });
    shape.layers = 1;
    wants_more([&] { kvferry::layout_per_part(shape, one); });
    shape.layers = SIZE_MAX;
    wants_more([&] { kvferry::layout_per_part(shape, one); });
    shape.layers = 2;
    shape.parts = 0;
    wants_more([&] { kvferry::layout_mla(shape, one); });
    kvferry::error error = thrown([&] {
        kvferry::layout_contiguous(small_shape, {memory.data(), memory.size()});
    });
    assert_int_equal(error.status(), KVF_ERR_RANGE);
    assert_int_equal(error.details().expected, BLOCKS * BYTES * LAYERS * 2);
}

void moves_are_lowered(void ** /*state*/) {
    std::vector<char> a(BLOCKS * BYTES * 4), b(a.size());
    kvferry::layout src = kvferry::layout_contiguous(small_shape, {a.data(), a.size()});
    kvferry::layout dst = kvferry::layout_page_first(small_shape, {b.data(), b.size()});
    std::vector<uint64_t> ids = {0, 1, 5};
    kvferry::plan plan = kvferry::plan_of(0, ids, ids);
    kvferry::move_spec spec{};
    spec.src = src.get();
    spec.dst = dst.get();
    spec.plans = &plan;
    spec.plan_count = 1;
    kvferry::box_limits limits{};
    kvferry::move move(spec, &limits);
    kvferry::move_report report = move.describe();
    assert_int_equal(report.blocks, 3);
    assert_int_equal(report.bytes, 3 * 4 * BYTES);
    std::array<kvferry::box, 2> room{};
    kvferry::box_cursor cursor{};
    size_t boxes = 0, bytes = 0;
    for (;;) {
        kvferry::span<kvferry::box> some = move.next(cursor, room);
        if (some.empty())
            break;
        for (const kvferry::box &box : some)
            bytes += box.width * box.rows * box.slices;
        boxes += some.size();
    }
    assert_int_equal(boxes, report.boxes);
    assert_int_equal(bytes, report.bytes);
    ids[2] = BLOCKS;
    kvferry::error error = thrown([&] { kvferry::move out_of_range(spec); });
    assert_int_equal(error.status(), KVF_ERR_RANGE);
    assert_int_equal(error.details().id, BLOCKS);
}

/* --- Transfers --- */

/* Two tiers in memory, and an engine whose copying is done by whoever polls or waits. Memory is
 * declared first, since it must outlive the tiers. */
struct stage {
    std::vector<char> near_memory, far_memory;
    kvferry::engine engine;
    kvferry::tier near, far;

    explicit stage(size_t max_transfers = 0, bool integrity = false)
        : near_memory(BLOCKS * BYTES * 4, 'n'), far_memory(near_memory.size(), 'f'),
          engine(kvferry::engine_host_create(options(max_transfers))),
          near(engine, kvferry::layout_page_first(small_shape, of(near_memory))),
          far(engine, kvferry::layout_contiguous(small_shape, of(far_memory)), KVF_MEMORY_HOST,
              integrity) {
    }
    static kvferry::host_options options(size_t max_transfers) {
        kvferry::host_options options{};
        options.no_threads = true;
        options.max_transfers = max_transfers;
        return options;
    }
    static kvferry::buffer of(std::vector<char> &memory) {
        return {memory.data(), memory.size()};
    }
};

void finish(kvferry::engine &engine) {
    while (engine.progress() > 0)
        continue;
}

const std::array<uint64_t, 2> two_ids = {1, 3};

std::vector<kvferry::plan> two_blocks() {
    return {kvferry::plan_of(0, two_ids, two_ids)};
}

void transfers_move_bytes(void ** /*state*/) {
    stage s;
    kvferry::submit_options options{};
    options.by_group = true;
    kvferry::transfer transfer = kvferry::transfer_submit(s.near, s.far, two_blocks(), options);
    kvferry::outcome busy = s.far.idle(two_ids);
    assert_int_equal(busy.status(), KVF_ERR_BUSY);
    assert_int_equal(busy.details().id, 1);
    assert_true(transfer.wait_group(0).ok());
    assert_int_equal(transfer.wait_group(LAYERS).status(), KVF_ERR_RANGE);
    assert_true(transfer.wait().ok());
    assert_true(transfer.poll().ok());
    assert_true(s.far.idle(two_ids).ok());
    assert_int_equal(transfer.landed(0), 2);
    assert_int_equal(transfer.stats().bytes, 2 * 4 * BYTES);
    assert_int_equal(s.far_memory[4 * BYTES], 'n');
    assert_int_equal(s.far_memory[0], 'f');

    assert_string_equal(s.engine.name(), "host");
    assert_int_equal(s.engine.progress(), 0);
    assert_non_null(s.engine.limits());
    assert_int_equal(s.far.blocks(), BLOCKS);
    assert_int_equal(s.far.memory(), KVF_MEMORY_HOST);
    assert_int_equal(s.far.layout(0).groups(), LAYERS);
    assert_true(bool(s.far.layout(0)));
    assert_false(bool(s.far.layout(1)));
    throws(KVF_ERR_UNSUPPORTED, [&] { s.far.seal(two_ids); });
}

void transfers_end_in_their_ways(void ** /*state*/) {
    stage s(0, true);
    kvferry::submit_options options{};
    options.background = true;
    kvferry::transfer transfer = kvferry::transfer_submit(s.near, s.far, two_blocks(), options);
    transfer.cancel();
    kvferry::outcome ended = transfer.wait();
    assert_true(ended.failed());
    assert_int_equal(ended.status(), KVF_ERR_CANCELLED);
    throws(KVF_ERR_CANCELLED, [&] { ended.check(); });
    assert_int_equal(transfer.landed(0), 0);

    s.far.seal(two_ids);
    s.far_memory[4 * BYTES] = 'x';
    transfer = kvferry::transfer_submit(s.far, s.near, two_blocks());
    assert_int_equal(transfer.wait().status(), KVF_ERR_CORRUPT);

    throws(KVF_ERR_RANGE, [&] {
        std::vector<uint64_t> past = {BLOCKS};
        std::vector<kvferry::plan> plans = {kvferry::plan_of(0, past, past)};
        kvferry::transfer_submit(s.near, s.far, plans);
    });
}

/* With a link so slow that nothing is over. */
void waits_have_an_end(void ** /*state*/) {
    stage s;
    kvferry::host_options slow{};
    slow.imitate_gbps = 0.001;
    slow.imitate_latency_us = 1e7;
    kvferry::engine engine = kvferry::engine_host_create(slow);
    kvferry::tier near(engine, kvferry::layout_page_first(small_shape, stage::of(s.near_memory)));
    kvferry::tier far(engine, kvferry::layout_contiguous(small_shape, stage::of(s.far_memory)));
    kvferry::transfer transfer = kvferry::transfer_submit(near, far, two_blocks());
    assert_int_equal(transfer.poll().status(), KVF_PENDING);
    assert_true(transfer.poll().pending());
    assert_int_equal(transfer.wait(1ms).status(), KVF_ERR_TIMEOUT);
    assert_int_equal(transfer.wait(-1s).status(), KVF_ERR_TIMEOUT); /* a deadline that has passed */
    assert_int_equal(transfer.wait(0us).status(), KVF_ERR_TIMEOUT);
    assert_int_equal(transfer.wait_group(0, 1us).status(), KVF_ERR_TIMEOUT);
    transfer.cancel();
}

void full_engines_are_tried(void ** /*state*/) {
    stage s(1);
    kvferry::submit_options options{};
    options.background = true;
    std::optional<kvferry::transfer> first =
        kvferry::try_transfer_submit(s.near, s.far, two_blocks(), options);
    assert_true(first.has_value());
    assert_false(kvferry::try_transfer_submit(s.near, s.far, two_blocks()).has_value());
    throws(KVF_ERR_AGAIN, [&] { kvferry::transfer_submit(s.near, s.far, two_blocks()); });
    kvferry::assignments src, dst;
    std::vector<kvferry::pair> pairs = {kvferry::pair_of(src, dst)};
    assert_false(kvferry::try_bound_submit(s.near, s.far, pairs).has_value());
    assert_true(first->wait().ok());
    assert_true(kvferry::try_transfer_submit(s.near, s.far, two_blocks()).has_value());
    /* What is no lack of room is an error there, too. */
    options.priority = KVF_PRIORITIES;
    throws(KVF_ERR_INVALID,
           [&] { kvferry::try_transfer_submit(s.near, s.far, two_blocks(), options); });
}

/* --- Hooks --- */

void hooks_tell(void ** /*state*/) {
    std::vector<std::string> lines;
    auto write = [&](kvferry::log_level level, const char *text) {
        lines.push_back(std::string(kvferry::log_level_name(level)) + ": " + text);
    };
    kvferry::log log = kvferry::log_to(write, KVF_LOG_DEBUG);
    stage s;
    kvferry::host_options options = stage::options(0);
    options.log = &log;
    kvferry::engine engine = kvferry::engine_host_create(options);
    kvferry::tier near(engine, kvferry::layout_page_first(small_shape, stage::of(s.near_memory)));
    kvferry::tier far(engine, kvferry::layout_contiguous(small_shape, stage::of(s.far_memory)));
    kvferry::transfer_submit(near, far, two_blocks()).wait().check();
    kvferry::counters counters = engine.counters();
    assert_int_equal(counters.transfers_succeeded, 1);
    assert_int_equal(counters.blocks, 2);
    engine.reset();
    assert_true(lines.size() >= 2);
    assert_int_equal(lines[0].compare(0, 6, "info: "), 0);

    std::array<kvferry::label, 1> labels = {{{"engine", "a"}}};
    std::vector<kvferry::labelled_counters> all = {{&counters, labels.data(), labels.size()}};
    std::string text = kvferry::counters_print(all);
    assert_true(text.find("kvferry_moved_blocks_total{engine=\"a\"} 2\n") != std::string::npos);
    assert_int_equal(text.size(), std::strlen(text.c_str()));
    labels[0].name = "not a name";
    throws(KVF_ERR_INVALID, [&] { kvferry::counters_print(all); });
    throws(KVF_ERR_INVALID, [] { kvferry::engine(nullptr).counters(); });
}

/* --- Callbacks --- */

/* A callable that counts how many of it there are, and its calls. */
struct counted {
    static int live;
    int *calls;
    kvf_status *status;

    counted(int *calls, kvf_status *status) : calls(calls), status(status) {
        live++;
    }
    counted(const counted &other) : calls(other.calls), status(other.status) {
        live++;
    }
    counted &operator=(const counted &) = delete;
    ~counted() {
        live--;
    }
    void operator()(const kvferry::outcome &outcome) const {
        ++*calls;
        *status = outcome.status();
    }
};
int counted::live = 0;

void callables_are_called_once(void ** /*state*/) {
    stage s(1);
    int calls = 0;
    kvf_status status = KVF_PENDING;
    {
        counted callable(&calls, &status);
        kvferry::transfer transfer =
            kvferry::transfer_submit(s.near, s.far, two_blocks(), {}, callable);
        assert_int_equal(counted::live, 2);
        /* None is kept where the engine takes nothing. */
        assert_false(
            kvferry::try_transfer_submit(s.near, s.far, two_blocks(), {}, callable).has_value());
        throws(KVF_ERR_AGAIN,
               [&] { kvferry::transfer_submit(s.near, s.far, two_blocks(), {}, callable); });
        assert_int_equal(counted::live, 2);
        assert_true(transfer.wait().ok());
        assert_int_equal(counted::live, 1);
        assert_int_equal(calls, 1);
        assert_int_equal(status, KVF_OK);

        std::optional<kvferry::transfer> other =
            kvferry::try_transfer_submit(s.near, s.far, two_blocks(), {}, counted(&calls, &status));
        assert_true(other.has_value());
        other.reset(); /* nobody holds it, and it goes on */
        finish(s.engine);
        assert_int_equal(calls, 2);
        kvferry::submit_options taken{};
        taken.callback = [](void *, const kvf_error *) {};
        throws(KVF_ERR_INVALID,
               [&] { kvferry::transfer_submit(s.near, s.far, two_blocks(), taken, callable); });
    }
    assert_int_equal(counted::live, 0);
    /* Whatever an engine has open when it goes is called. */
    kvferry::submit_options background{};
    background.background = true;
    kvferry::transfer last =
        kvferry::transfer_submit(s.near, s.far, two_blocks(), background, counted(&calls, &status));
    s.engine.reset();
    assert_int_equal(calls, 3);
    assert_int_equal(status, KVF_ERR_CANCELLED);
    assert_int_equal(counted::live, 0);
    assert_true(last.poll().failed());
    throws(KVF_ERR_BROKEN, [&] {
        kvferry::transfer_submit(s.near, s.far, two_blocks(), {}, counted(&calls, &status));
    });
    assert_int_equal(calls, 3);
    assert_int_equal(counted::live, 0);
}

/* One that moves only, and a std::function. */
void callables_of_any_kind(void ** /*state*/) {
    stage s;
    auto number = std::make_unique<int>(7);
    int seen = 0;
    kvferry::transfer_submit(
        s.near, s.far, two_blocks(), {},
        [number = std::move(number), &seen](const kvferry::outcome &) { seen += *number; });
    std::function<void(const kvferry::outcome &)> function = [&](const kvferry::outcome &o) {
        seen += o.ok() ? 100 : 0;
    };
    kvferry::transfer_submit(s.near, s.far, two_blocks(), {}, function).wait().check();
    finish(s.engine);
    assert_int_equal(seen, 107);
}

void completions_count(void ** /*state*/) {
    stage s;
    int calls = 0;
    auto callable = [&](const kvferry::outcome &outcome) { calls += outcome.ok() ? 1 : 100; };
    kvferry::completion completion(kvferry::callback_to(callable));
    kvferry::submit_options options{};
    options.completion = completion.get();
    kvferry::transfer_submit(s.near, s.far, two_blocks(), options);
    kvferry::transfer_submit(s.far, s.near, two_blocks(), options);
    assert_int_equal(completion.pending(), 2);
    assert_int_equal(calls, 0);
    assert_true(completion.wait().ok());
    assert_int_equal(calls, 1);
    assert_true(completion.poll().ok());
    throws(KVF_ERR_INVALID,
           [&] { kvferry::transfer_submit(s.near, s.far, two_blocks(), options); });

    kvferry::completion unarmed(kvferry::callback_to(callable));
    unarmed.reset();
    assert_int_equal(calls, 1);
    kvferry::completion armed(kvferry::callback_to(callable));
    armed.arm();
    assert_int_equal(calls, 2);
    assert_true(kvferry::completion().wait(1s).ok());
}

/* An exception that leaves a callable never reaches C. The child has no thread but this one. */
void exceptions_end_in_callables(void ** /*state*/) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        std::set_terminate([] { _exit(42); });
        stage s;
        kvferry::transfer transfer = kvferry::transfer_submit(
            s.near, s.far, two_blocks(), {}, [](const kvferry::outcome &) { throw 1; });
        try {
            kvf_transfer_wait(transfer.get(), -1, nullptr); /* which no noexcept surrounds */
        } catch (...) {
            _exit(1);
        }
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* --- Bound transfers --- */

void bound_transfers_land(void ** /*state*/) {
    stage s;
    kvferry::sequence sequence = some_sequence(5);
    kvferry::assignments src, dst, third;
    src.extend_block_ids(some_ids(5));
    src.assign_pending(sequence.hashes());
    dst.extend_block_ids(some_ids(5));
    third.extend_block_ids(some_ids(3, 5));
    std::array<kvferry::pair, 2> pairs = {
        {kvferry::pair_of(src, dst, 4), kvferry::pair_of(src, third)}};
    int calls = 0;
    kvferry::bound bound =
        kvferry::bound_submit(s.near, s.far, pairs, {}, [&](const kvferry::outcome &) { calls++; });
    assert_int_equal(dst.staged_count(), 4);
    assert_int_equal(bound.result(0).status, KVF_PENDING);
    assert_true(bound.transfer().wait_group(1).ok());
    assert_true(bound.wait().ok());
    assert_true(bound.poll().ok());
    assert_int_equal(calls, 1);
    assert_int_equal(bound.result(0).status, KVF_OK);
    assert_int_equal(bound.result(1).landed, 3);
    assert_int_equal(bound.result(2).status, KVF_ERR_RANGE);
    assert_int_equal(dst.assigned_count(), 4);
    assert_int_equal(third.assigned_count(), 3);
    assert_int_equal(bound.transfer().stats().blocks, 7);
}

void bound_transfers_return(void ** /*state*/) {
    stage s(1);
    kvferry::sequence sequence = some_sequence(5);
    kvferry::assignments src, dst;
    src.extend_block_ids(some_ids(5));
    src.assign_pending(sequence.hashes());
    dst.extend_block_ids(some_ids(5));
    std::vector<kvferry::pair> pairs = {kvferry::pair_of(src, dst)};
    kvferry::submit_options options{};
    options.background = true;
    int calls = 0;
    {
        kvferry::bound bound = kvferry::bound_submit(s.near, s.far, pairs, options,
                                                     [&](const kvferry::outcome &) { calls++; });
        std::vector<kvferry::pair> none;
        assert_false(
            kvferry::try_bound_submit(s.near, s.far, none, {}, [&](const kvferry::outcome &) {
                calls += 10;
            }).has_value());
        bound.cancel();
        assert_int_equal(bound.wait().status(), KVF_ERR_CANCELLED);
        assert_int_equal(dst.pending_count(), 5);
    }
    {
        std::optional<kvferry::bound> bound = kvferry::try_bound_submit(
            s.near, s.far, pairs, options, [&](const kvferry::outcome &) { calls++; });
        assert_true(bound.has_value());
        assert_int_equal(dst.staged_count(), 5);
    } /* it is cancelled here, and the flight returns */
    assert_int_equal(dst.pending_count(), 5);
    assert_int_equal(calls, 2);
    /* A tracker may go first. */
    kvferry::bound last = kvferry::bound_submit(s.near, s.far, pairs, options);
    dst.reset();
    assert_int_equal(last.wait().status(), KVF_ERR_CLOSED);
    pairs[0].dst = nullptr;
    kvferry::error error =
        thrown([&] { kvferry::bound refused = kvferry::bound_submit(s.near, s.far, pairs); });
    assert_int_equal(error.status(), KVF_ERR_INVALID);
    assert_int_equal(error.details().index, 0);
}

/* --- Lifetimes: the sanitizers look at these --- */

void lifetimes_are_free(void ** /*state*/) {
    std::vector<char> memory(BLOCKS * BYTES * 4 * 2);
    kvferry::transfer transfer = nullptr;
    {
        kvferry::tier near = nullptr, far = nullptr;
        {
            kvferry::engine engine = kvferry::engine_host_create();
            kvferry::layout a =
                kvferry::layout_page_first(small_shape, {memory.data(), memory.size() / 2});
            kvferry::layout b = kvferry::layout_contiguous(
                small_shape, {memory.data() + memory.size() / 2, memory.size() / 2});
            near = kvferry::tier(engine, a);
            std::array<const kvf_layout *, 1> layouts = {b.get()};
            kvferry::tier_options options{};
            options.layouts = layouts.data();
            options.layout_count = layouts.size();
            far = kvferry::tier(engine, options);
            a.reset(); /* tiers keep what they need */
            transfer = kvferry::transfer_submit(near, far, two_blocks());
        } /* the engine goes before its tiers */
        assert_int_equal(far.layout(0).blocks(), BLOCKS);
        assert_false(transfer.poll().pending());
        throws(KVF_ERR_BROKEN, [&] { kvferry::transfer_submit(near, far, two_blocks()); });
    }
    assert_false(transfer.poll().pending()); /* ... and a transfer is read after all */
}

} // namespace

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_details),
        cmocka_unit_test(errors_without_details),
        cmocka_unit_test(status_and_version),
        cmocka_unit_test(owners_move),
        cmocka_unit_test(owners_hand_over),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(memory_resources),
        cmocka_unit_test(hashes_are_those_of_c),
        cmocka_unit_test(block_bytes_have_runs),
        cmocka_unit_test(sequences_grow),
        cmocka_unit_test(trackers_tell),
        cmocka_unit_test(trackers_change),
        cmocka_unit_test(plans_and_flights),
        cmocka_unit_test(layouts_of_all_kinds),
        cmocka_unit_test(layouts_want_their_buffers),
        cmocka_unit_test(moves_are_lowered),
        cmocka_unit_test(transfers_move_bytes),
        cmocka_unit_test(transfers_end_in_their_ways),
        cmocka_unit_test(waits_have_an_end),
        cmocka_unit_test(full_engines_are_tried),
        cmocka_unit_test(hooks_tell),
        cmocka_unit_test(callables_are_called_once),
        cmocka_unit_test(callables_of_any_kind),
        cmocka_unit_test(completions_count),
        cmocka_unit_test(exceptions_end_in_callables),
        cmocka_unit_test(bound_transfers_land),
        cmocka_unit_test(bound_transfers_return),
        cmocka_unit_test(lifetimes_are_free),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
