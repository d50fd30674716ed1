/* What kvferry.hpp adds to C: owners, errors, callbacks. Built as C++17 and C++20 and linked with
 * the core alone, although the header names handles of the modules. */
#include <kvferry/kvferry.hpp>

#include <kvferry/cuda.h>
#include <kvferry/nccl.h>

extern "C" {
#include "support/support.h"
}

#include <array>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using kvferry::callback_to, kvferry::check, kvferry::out, kvferry::text_of;

namespace {

template <class Owner> constexpr bool is_a_handle_that_moves() {
    return sizeof(Owner) == sizeof(void *) && !std::is_copy_constructible_v<Owner> &&
           !std::is_copy_assignable_v<Owner> && std::is_nothrow_move_constructible_v<Owner> &&
           std::is_nothrow_move_assignable_v<Owner> &&
           !std::is_convertible_v<typename Owner::pointer, Owner>;
}

static_assert(is_a_handle_that_moves<kvferry::sequence>());
static_assert(is_a_handle_that_moves<kvferry::owner<kvf_cuda_costs_destroy>>());
static_assert(is_a_handle_that_moves<kvferry::owner<kvf_wire_op_release>>());
static_assert(std::is_nothrow_copy_constructible_v<kvferry::error>);

/* Temporary callables are refused. */
template <class F> using takes = decltype(callback_to(std::declval<F>()));
template <class F, class = void> constexpr bool is_taken = false;
template <class F> constexpr bool is_taken<F, std::void_t<takes<F>>> = true;
using callback = void (*)(const kvf_error &);
static_assert(is_taken<callback &> && is_taken<const callback &> && !is_taken<callback>);

constexpr size_t BLOCKS = 8, BYTES = 64;

/* Creates sequences with an allocator that counts live ones. */
struct sequences : test_allocator {
    sequences() : test_allocator() {
        test_allocator_init(this);
    }
    /* An invalid block size makes it fail. */
    kvf_status make(size_t block_size, kvf_sequence **made, kvf_error *error) const {
        kvf_sequence_options options{};
        options.block_size = block_size;
        options.allocator = &allocator;
        return kvf_sequence_create(&options, made, error);
    }
    kvferry::sequence operator()(size_t block_size) const {
        kvferry::sequence made;
        check(make(block_size, out(made), nullptr));
        return made;
    }
};

/* The error that a call throws. */
template <class Call> kvferry::error thrown(Call call) {
    try {
        call();
    } catch (const std::runtime_error &error) {
        return dynamic_cast<const kvferry::error &>(error);
    }
    fail_msg("nothing was thrown");
    std::abort();
}

/* --- Owners --- */

void owners_move_and_release(void ** /*state*/) {
    sequences make;
    kvferry::sequence a = make(1), b = make(2);
    size_t two = make.live_blocks;
    kvf_sequence *handle = a.get();
    b = std::move(a); /* destroys what b owned */
    assert_ptr_equal(b.get(), handle);
    assert_null(a.get()); // NOLINT(bugprone-use-after-move)
    assert_int_equal(make.live_blocks, two / 2);
    kvferry::sequence &same = b;
    b = std::move(same);
    assert_ptr_equal(b.get(), handle);

    assert_ptr_equal(b.release(), handle);
    assert_int_equal(kvf_sequence_append(b.get(), 1, nullptr, nullptr), KVF_ERR_INVALID);
    b = kvferry::sequence(handle);
    kvf_sequence_destroy(b.release()); /* b owns nothing */
    b = make(2);
    check(make.make(3, &handle, nullptr));
    b.reset(handle);
    assert_int_equal(kvf_sequence_block_size(b.get()), 3);
    b = nullptr;
    test_allocator_done(&make);
}

void out_takes_ownership(void ** /*state*/) {
    sequences make;
    kvferry::sequence a = make(1);
    kvf_sequence *handle = a.get();
    assert_int_equal(make.make(0, out(a), nullptr), KVF_ERR_INVALID);
    assert_ptr_equal(a.get(), handle);                                         /* unchanged */
    assert_true(make.make(2, out(a), nullptr) == KVF_OK && a.get() == handle); /* not yet */
    assert_int_equal(kvf_sequence_block_size(a.get()), 2);                     /* now */
    /* The old object is kept until then, even the one that is cloned. */
    check(kvf_sequence_clone(a.get(), out(a), nullptr));
    assert_int_equal(kvf_sequence_block_size(a.get()), 2);
    /* An exception in the same expression leaks nothing. */
    thrown([&] { check((check(make.make(3, out(a), nullptr)), KVF_ERR_BUSY)); });
    assert_int_equal(kvf_sequence_block_size(a.get()), 3);
    a.reset();
    test_allocator_done(&make);
}

/* unique_ptr with a deleter that has state. */
void out_takes_any_unique_ptr(void ** /*state*/) {
    struct freed {
        int *count;
        void operator()(void *memory) const {
            ++*count;
            std::free(memory);
        }
    };
    int count = 0;
    auto alloc = [](size_t bytes, void **made) { *made = std::malloc(bytes); };
    {
        std::unique_ptr<void, freed> memory(nullptr, freed{&count});
        alloc(1, out(memory));
        assert_non_null(memory.get());
    }
    assert_int_equal(count, 1);
}

/* --- Errors --- */

void errors_have_details(void ** /*state*/) {
    kvf_error e{};
    kvferry::assignments a;
    check(kvf_assignments_create(nullptr, out(a), &e), e);
    std::array<uint64_t, 3> ids = {5, 6, 5};
    auto extend = [&] {
        check(kvf_assignments_extend_block_ids(a.get(), ids.data(), ids.size(), &e), e);
    };
    kvferry::error error = thrown(extend);
    assert_int_equal(error.status(), KVF_ERR_DUPLICATE_BLOCK_ID);
    assert_int_equal(error.details().id, 5);
    assert_string_equal(error.what(), "duplicate block_id 5 already present");

    /* Without details, and with those of an earlier call. */
    assert_string_equal(thrown([] { check(KVF_ERR_RANGE); }).what(), "out of range");
    error = thrown([&] { check(KVF_PENDING, e); });
    assert_int_equal(error.status(), KVF_PENDING);
    assert_int_equal(error.details().fields, 0);
    check(KVF_OK, e);
}

void texts_are_complete(void ** /*state*/) {
    kvferry::assignments a;
    check(kvf_assignments_create(nullptr, out(a), nullptr));
    std::array<char, 1000> expected{};
    kvf_assignments_format(a.get(), expected.data(), expected.size());
    assert_string_equal(text_of(kvf_assignments_format, a.get()).c_str(), expected.data());

    kvf_counters counters{};
    counters.blocks = 2;
    kvf_label label = {"engine", "a"};
    kvf_labelled_counters labelled = {&counters, &label, 1};
    std::string text = text_of(kvf_counters_print, &labelled, size_t{1});
    assert_true(text.find("kvferry_moved_blocks_total{engine=\"a\"} 2\n") != std::string::npos);
    assert_int_equal(text.size(), std::strlen(text.c_str()));
    label.name = "not a name";
    kvferry::error error = thrown([&] { text_of(kvf_counters_print, &labelled, size_t{1}); });
    assert_int_equal(error.status(), KVF_ERR_INVALID);
}

/* --- Callbacks --- */

/* A tier within which one block moves. Memory is declared first: it outlives the tier. */
struct stage {
    std::vector<char> memory = std::vector<char>(2 * BLOCKS * BYTES);
    kvferry::engine engine;
    kvferry::tier tier;
    kvf_error e{};
    uint64_t from = 1, to = 2;
    kvf_plan plan{0, 1, &from, &to, nullptr};

    explicit stage(kvf_host_options options = {}) {
        options.no_threads = true;
        options.max_transfers = 1;
        check(kvf_engine_host_create(&options, out(engine), &e), e);
        kvf_shape shape{};
        shape.blocks = BLOCKS;
        shape.layers = 2;
        shape.parts = 1;
        shape.bytes = BYTES;
        kvferry::layout layout;
        check(kvf_layout_page_first(&shape, {memory.data(), memory.size()}, out(layout), &e), e);
        const kvf_layout *layouts = layout.get();
        kvf_tier_options of{};
        of.layouts = &layouts;
        of.layout_count = 1;
        check(kvf_tier_create(engine.get(), &of, out(tier), &e), e);
    }
    kvf_status submit(const kvf_submit_options *options, kvferry::transfer &made) {
        return kvf_transfer_submit(tier.get(), tier.get(), &plan, 1, options, out(made), &e);
    }
    template <class F> kvf_status submit_with(kvf_submit_options options, F &&callable) {
        return kvferry::submit_with(
            options, std::forward<F>(callable),
            [&](const kvf_submit_options *with) {
                kvferry::transfer released;
                return submit(with, released);
            });
    }
    void finish() const {
        while (kvf_engine_progress(engine.get()) > 0)
            continue;
    }
};

void callables_are_called(void ** /*state*/) {
    stage s;
    int calls = 0;
    auto done = [&](const kvf_error &end) { calls += end.status == KVF_OK ? 1 : 100; };
    kvf_submit_options options{};
    std::tie(options.callback, options.user) = callback_to(done);
    kvferry::transfer transfer;
    check(s.submit(&options, transfer), s.e);
    check(kvf_transfer_wait(transfer.get(), -1, &s.e), s.e);
    assert_int_equal(calls, 1);

    const std::function<void(const kvf_error &)> constant = done;
    auto [callback, user] = callback_to(constant);
    kvferry::completion completion;
    check(kvf_completion_create(callback, user, nullptr, out(completion), &s.e), s.e);
    kvf_completion_arm(completion.get());
    assert_int_equal(calls, 2);
}

/* poll and wait do not throw: PENDING and TIMEOUT are values. */
void outcomes_are_values(void ** /*state*/) {
    kvf_host_options slow{};
    slow.imitate_gbps = 0.001;
    slow.imitate_latency_us = 1e7;
    stage s(slow);
    kvferry::transfer transfer, refused;
    check(s.submit(nullptr, transfer), s.e);
    assert_int_equal(s.submit(nullptr, refused), KVF_ERR_AGAIN);
    assert_false(bool(refused));
    assert_int_equal(kvf_transfer_poll(transfer.get(), &s.e), KVF_PENDING);
    assert_int_equal(kvf_transfer_wait(transfer.get(), 1, &s.e), KVF_ERR_TIMEOUT);
    s.tier.reset(); /* in any order */
    s.engine.reset();
    assert_true(kvf_transfer_poll(transfer.get(), nullptr) != KVF_PENDING);
}

void submitted_callables_are_freed(void ** /*state*/) {
    stage s;
    auto alive = std::make_shared<kvf_status>(KVF_PENDING);
    /* The callable can only be moved, and keeps `alive` alive. */
    auto callable = [&] {
        return [alive, unique = std::make_unique<int>(0)](const kvf_error &end) {
            *alive = end.status;
        };
    };
    kvf_submit_options background{};
    background.background = true;
    check(s.submit_with(background, callable()), s.e);
    assert_int_equal(alive.use_count(), 2);
    /* Refused: freed at once, and never called. */
    assert_int_equal(s.submit_with({}, callable()), KVF_ERR_AGAIN);
    thrown([&] {
        check(kvferry::submit_with({}, callable(), [](const kvf_submit_options *) -> kvf_status {
            throw kvferry::error(kvf_error{});
        }));
    });
    assert_int_equal(alive.use_count(), 2);
    assert_int_equal(*alive, KVF_PENDING);
    s.finish();
    assert_int_equal(alive.use_count(), 1);
    assert_int_equal(*alive, KVF_OK);
    /* Destroying the engine ends open transfers, too. */
    check(s.submit_with(background, callable()), s.e);
    s.engine.reset();
    assert_int_equal(alive.use_count(), 1);
    assert_int_equal(*alive, KVF_ERR_CANCELLED);

    kvf_submit_options taken{};
    taken.callback = [](void *, const kvf_error *) {};
    kvferry::error error = thrown([&] { check(s.submit_with(taken, callable())); });
    assert_int_equal(error.status(), KVF_ERR_INVALID);
    assert_int_equal(alive.use_count(), 1);
}

void hooks_are_called(void ** /*state*/) {
    struct {
        std::string names;
        int depth = 0;
        void begin(const char *name) {
            names += name;
            depth++;
        }
        void end() {
            depth--;
        }
    } hook;
    std::string lines;
    auto write = [&](kvf_log_level level, const char *text) {
        lines += std::string(kvf_log_level_name(level)) + ": " + text + "\n";
    };
    kvf_log log = kvferry::log_to(write, KVF_LOG_DEBUG);
    kvf_ranges ranges = kvferry::ranges_to(hook);
    kvf_host_options options{};
    options.log = &log;
    options.ranges = &ranges;
    {
        stage s(options);
        kvferry::transfer transfer;
        check(s.submit(nullptr, transfer), s.e);
        s.finish();
    }
    assert_true(lines.find("info: ") == 0 && lines.find("\ndebug: ") != std::string::npos);
    assert_true(hook.names.find("submit") != std::string::npos);
    assert_int_equal(hook.depth, 0);
}

/* An exception that leaves a callable must not reach C code. */
template <class Call> void terminates(Call call) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(10); /* C code that an exception passed through may wait for ever */
        std::set_terminate([] { _exit(42); });
        try {
            call();
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

void exceptions_terminate_in_callables(void ** /*state*/) {
    struct {
        std::function<void()> raise = [] { throw 1; };
        void begin(const char * /*name*/) const {
            raise();
        }
        void end() const {
            raise();
        }
    } hook;
    auto ended = [&](const kvf_error &) { hook.raise(); };
    auto written = [&](kvf_log_level, const char *) { hook.raise(); };
    kvf_log log = kvferry::log_to(written, KVF_LOG_ERROR);
    kvf_ranges ranges = kvferry::ranges_to(hook);
    kvf_submit_options options{};
    std::tie(options.callback, options.user) = callback_to(ended);
    kvf_error e{};
    terminates([&] { options.callback(options.user, &e); });
    terminates([&] { log.write(log.user, KVF_LOG_ERROR, ""); });
    terminates([&] { ranges.begin(ranges.user, ""); });
    terminates([&] { ranges.end(ranges.user); });
    terminates([&] {
        stage s;
        check(s.submit_with({}, ended), s.e);
        s.finish();
    });
}

class counting_resource : public std::pmr::memory_resource {
  public:
    size_t live = 0;
    bool empty = false;

  private:
    void *do_allocate(size_t bytes, size_t /*alignment*/) override {
        if (empty)
            throw std::bad_alloc();
        live += bytes;
        return std::malloc(bytes);
    }
    void do_deallocate(void *block, size_t bytes, size_t /*alignment*/) override {
        live -= bytes;
        std::free(block);
    }
    bool do_is_equal(const memory_resource &other) const noexcept override {
        return this == &other;
    }
};

void memory_comes_from_resources(void ** /*state*/) {
    counting_resource resource;
    kvf_allocator allocator = kvferry::allocator_of(resource);
    kvf_sequence_options options{};
    options.block_size = 1;
    options.allocator = &allocator;
    kvferry::sequence sequence;
    check(kvf_sequence_create(&options, out(sequence), nullptr));
    for (uint32_t i = 0; i < 3000; i++)
        check(kvf_sequence_append(sequence.get(), i, nullptr, nullptr));
    for (uint32_t i = 0; i < 3000; i++) /* survived growing */
        assert_int_equal(kvf_sequence_tokens(sequence.get())[i], i);
    assert_true(resource.live > 3000 * sizeof(uint32_t));
    resource.empty = true;
    assert_int_equal(kvf_sequence_reserve(sequence.get(), 50000, nullptr), KVF_ERR_NO_MEMORY);
    sequence.reset();
    assert_int_equal(resource.live, 0);
}

void spans_are_ranges(void **state) {
    static_cast<void>(state);
    const uint64_t ids[] = {4, 8, 15};
    kvf_plan plan{};
    plan.src_ids = ids;
    plan.count = 3;
    kvferry::span of_plan(plan.src_ids, plan.count);
    static_assert(std::is_same_v<decltype(of_plan[0]), const uint64_t &>);
    uint64_t sum = 0;
    for (uint64_t id : of_plan)
        sum += id;
    assert_int_equal(sum, 27);
    assert_int_equal(of_plan[2], 15);
    assert_true(of_plan.data() == ids && of_plan.size() == 3);
    kvferry::span<const uint64_t> none(plan.dst_ids, 0);
    assert_true(none.begin() == none.end());
}

} // namespace

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_move_and_release),
        cmocka_unit_test(out_takes_ownership),
        cmocka_unit_test(out_takes_any_unique_ptr),
        cmocka_unit_test(errors_have_details),
        cmocka_unit_test(texts_are_complete),
        cmocka_unit_test(callables_are_called),
        cmocka_unit_test(outcomes_are_values),
        cmocka_unit_test(submitted_callables_are_freed),
        cmocka_unit_test(hooks_are_called),
        cmocka_unit_test(exceptions_terminate_in_callables),
        cmocka_unit_test(memory_comes_from_resources),
        cmocka_unit_test(spans_are_ranges),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
