/** @file
 * The core library for C++17: owners that let go by themselves, spans, and errors as exceptions.
 *
 * It stands on the C headers and needs nothing but them: there is nothing more to link. What they
 * say of units, errors, ownership and threads holds here too; this header says what differs. Names
 * are those of C without `kvf_`:
 *
 *     kvf_sequence                        class sequence, which owns one
 *     kvf_sequence_create                 its constructor
 *     kvf_sequence_extend, _tokens, ...   its members
 *     kvf_layout_mla, kvf_zip_assigned    functions layout_mla, zip_assigned
 *     kvf_shape, kvf_submit_options       the same structs: shape, submit_options; begin with {}
 *     KVF_PENDING, KVF_MEMORY_HOST        as they are
 *
 * @par Threads
 * As of the objects of C. Moving, releasing, adopting or destroying an owner is a call on it.
 *
 * @par Ownership
 * Nothing is hidden: `get()` is the handle, for every function of C; `release()` hands it over, and
 * `adopt(handle)` takes one. Owners are moved, not copied (some can `clone()`). One that was made
 * from nullptr, moved from or released is empty, which is NULL in C: what can fail throws INVALID,
 * and readers must not be called.
 *
 * @par Lifetimes
 * Order of destruction is as free as in C. An engine, tier or bound transfer that is destroyed
 * waits for what runs. Memory must outlive the tiers over it, so it is declared before them; a
 * layout, a plan or an engine's options need not outlive the call that takes them; engines, tiers,
 * transfers and trackers may go in any order.
 *
 * @par Errors
 * A call that does not do what it says throws kvferry::error and has changed nothing. How
 * something that takes its time stands, or ended, is no exception but a value: poll, wait and their
 * like return an `outcome`, which `check()` turns into an exception where that is wanted. A full
 * engine (AGAIN) is an exception of submit and an empty optional of try_submit. What C++ itself
 * cannot do throws its own: std::bad_alloc for the memory of a vector, say. Callbacks run inside
 * functions of C, through which no exception can pass: one that leaves a callable given to this
 * header ends the program by std::terminate.
 */
#ifndef KVFERRY_KVFERRY_HPP
#define KVFERRY_KVFERRY_HPP

#include "kvferry.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kvferry {

/** @name The structs and enums of C
 *  @{ */

using status = kvf_status;
using allocator = kvf_allocator;
using range = kvf_range;
using hash_layout = kvf_hash_layout;
using hash = kvf_hash;
using mm_run = kvf_mm_run;
using sequence_options = kvf_sequence_options;
using token_block = kvf_token_block;
using phase = kvf_phase;
using assignments_options = kvf_assignments_options;
using plan = kvf_plan;
using flight = kvf_flight;
using tile_order = kvf_tile_order;
using region = kvf_region;
using buffer = kvf_buffer;
using shape = kvf_shape;
using layer_order = kvf_layer_order;
using layout_use = kvf_layout_use;
using move_spec = kvf_move_spec;
using box = kvf_box;
using box_limits = kvf_box_limits;
using box_cursor = kvf_box_cursor;
using move_report = kvf_move_report;
using log_level = kvf_log_level;
using log = kvf_log;
using ranges = kvf_ranges;
using counters = kvf_counters;
using label = kvf_label;
using labelled_counters = kvf_labelled_counters;
using callback = kvf_callback;
using host_options = kvf_host_options;
using memory = kvf_memory;
using tier_options = kvf_tier_options;
using submit_options = kvf_submit_options;
using transfer_stats = kvf_transfer_stats;
using pair = kvf_pair;

/** @}
 *  @name Spans
 *  @{ */

/** Some elements of somebody else's array, as std::span, which C++17 has not: made from anything
 *  with data() and size(), std::span included, and converted to that. */
template <class T> class span {
    template <class C>
    using elements_of = std::remove_pointer_t<decltype(std::declval<C &>().data())>;
    /* As arrays convert: T may be more const than what is given, and is nothing else. */
    template <class C>
    using if_alike =
        std::enable_if_t<std::is_convertible_v<elements_of<C> (*)[], T (*)[]> &&
                         std::is_convertible_v<decltype(std::declval<C &>().size()), std::size_t>>;

  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using iterator = T *;

    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {
    }
    template <std::size_t N>
    constexpr span(T (&array)[N]) noexcept // NOLINT(google-explicit-constructor)
        : data_(array), size_(N) {
    }
    template <class C, class = if_alike<C>>
    constexpr span(C &container) noexcept // NOLINT(google-explicit-constructor)
        : data_(container.data()), size_(container.size()) {
    }
    template <class C, class = if_alike<const C>>
    constexpr span(const C &container) noexcept // NOLINT(google-explicit-constructor)
        : data_(container.data()), size_(container.size()) {
    }

    constexpr T *data() const noexcept {
        return data_;
    }
    constexpr std::size_t size() const noexcept {
        return size_;
    }
    constexpr bool empty() const noexcept {
        return size_ == 0;
    }
    constexpr T &operator[](std::size_t index) const {
        return data_[index];
    }
    constexpr T *begin() const noexcept {
        return data_;
    }
    constexpr T *end() const noexcept {
        return data_ + size_;
    }
    /** The first `count` elements; there must be so many. */
    constexpr span first(std::size_t count) const {
        return span(data_, count);
    }
    /** What stands from `offset` on, `count` elements of it; both must be in range. */
    constexpr span subspan(std::size_t offset, std::size_t count) const {
        return span(data_ + offset, count);
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/** @}
 *  @name Statuses and errors
 *  @{ */

inline const char *version() noexcept {
    return kvf_version();
}

inline const char *status_name(status status) noexcept {
    return kvf_status_name(status);
}

inline const char *status_text(status status) noexcept {
    return kvf_status_text(status);
}

/** The error as one line, whole. */
inline std::string error_format(const kvf_error &details) {
    int length = kvf_error_format(&details, nullptr, 0);
    std::string text(static_cast<std::size_t>(length), '\0');
    kvf_error_format(&details, text.data(), text.size() + 1);
    return text;
}

/** What is thrown. what() is the text of kvf_error_format. */
class error : public std::runtime_error {
  public:
    explicit error(const kvf_error &details)
        : std::runtime_error(error_format(details)), details_(details) {
    }
    kvferry::status status() const noexcept {
        return details_.status;
    }
    const kvf_error &details() const noexcept {
        return details_;
    }

  private:
    kvf_error details_;
};

/** How something stands or ended, with the details of an error. Must be looked at. */
class [[nodiscard]] outcome {
  public:
    explicit outcome(const kvf_error &details) noexcept : details_(details) {
    }
    kvferry::status status() const noexcept {
        return details_.status;
    }
    const kvf_error &details() const noexcept {
        return details_;
    }
    /** It is over, and all went well. */
    bool ok() const noexcept {
        return status() == KVF_OK;
    }
    /** It is not over, or was not within the time given: PENDING, TIMEOUT. */
    bool pending() const noexcept {
        return status() == KVF_PENDING || status() == KVF_ERR_TIMEOUT;
    }
    /** Neither of the two. */
    bool failed() const noexcept {
        return !ok() && !pending();
    }
    explicit operator bool() const noexcept {
        return ok();
    }
    std::string text() const {
        return error_format(details_);
    }
    /** Throws an error unless ok: when pending, too. */
    void check() const {
        if (!ok())
            throw error(details_);
    }

  private:
    kvf_error details_;
};

/** A callable of the caller's as C takes it. */
struct callback_ref {
    kvferry::callback callback;
    void *user;
};

/**
 * Refers to a callable, `void(const outcome &)`, which stays the caller's and must live until it
 * was called for the last time; for completions and for the options of a submit.
 */
template <class F> callback_ref callback_to(F &callable) noexcept {
    static_assert(std::is_invocable_v<F &, const outcome &>);
    void *user = const_cast<void *>(static_cast<const void *>(std::addressof(callable)));
    return {[](void *to, const kvf_error *details) noexcept {
                (*static_cast<F *>(to))(outcome(*details));
            },
            user};
}

/** For ever, of all waits. */
inline constexpr std::chrono::microseconds forever = std::chrono::microseconds::max();

/** @} */

/** What the classes are made of. */
namespace detail {

[[noreturn]] inline void fail(status status, const char *what) {
    kvf_error details{};
    details.status = status;
    details.what = what;
    throw error(details);
}

/* The details of a call that was handed them: not every function fills them in. */
inline kvf_error told(status status, kvf_error details) noexcept {
    details.status = status;
    return details;
}

/** Calls a function of C whose last argument is the details, and throws what it says. */
template <class Function, class... Arguments> void call(Function function, Arguments... arguments) {
    kvf_error details{};
    status status = function(arguments..., &details);
    if (status != KVF_OK)
        throw error(told(status, details));
}

/** Calls it and returns what it says. */
template <class Function, class... Arguments>
outcome ask(Function function, Arguments... arguments) noexcept {
    kvf_error details{};
    status status = function(arguments..., &details);
    return outcome(told(status, details));
}

/** Calls it; false when it says `no`, an exception for anything else but OK. */
template <class Function, class... Arguments>
bool attempt(status no, Function function, Arguments... arguments) {
    outcome outcome = ask(function, arguments...);
    if (outcome.status() != no)
        outcome.check();
    return outcome.ok();
}

/** Calls a function that makes a T, its last argument but for the details. */
template <class T, class Function, class... Arguments>
T *make(Function function, Arguments... arguments) {
    T *out = nullptr;
    call(function, arguments..., &out);
    return out;
}

/** C takes negative numbers for ever; a deadline that has passed is not that. */
constexpr std::int64_t timeout_us(std::chrono::microseconds timeout) noexcept {
    if (timeout == forever)
        return -1;
    return timeout.count() > 0 ? static_cast<std::int64_t>(timeout.count()) : 0;
}

inline void want_equal(std::size_t a, std::size_t b, const char *what) {
    if (a != b)
        fail(KVF_ERR_INVALID, what);
}

/** Owns one T, or none. */
template <class Self, class T, void (*Destroy)(T *)> class owner {
  public:
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;

    /** Takes a handle that nobody else will destroy; NULL is fine. */
    static Self adopt(T *handle) noexcept {
        Self self(nullptr);
        static_cast<owner &>(self).handle_ = handle;
        return self;
    }
    /** The handle, still owned; NULL when empty. */
    T *get() const noexcept {
        return handle_;
    }
    /** The handle, from now on the caller's to destroy. */
    [[nodiscard]] T *release() noexcept {
        return std::exchange(handle_, nullptr);
    }
    /** Destroys what it owns and is empty. */
    void reset() noexcept {
        if (T *handle = release())
            Destroy(handle);
    }
    explicit operator bool() const noexcept {
        return handle_ != nullptr;
    }

  protected:
    explicit owner(T *handle) noexcept : handle_(handle) {
    }
    owner(owner &&other) noexcept : handle_(other.release()) {
    }
    owner &operator=(owner &&other) noexcept {
        T *handle = other.release(); /* first: it may be this one */
        reset();
        handle_ = handle;
        return *this;
    }
    ~owner() {
        reset();
    }

  private:
    T *handle_;
};

/** A callable on the heap that a submit hands over: called once and freed then, or freed here when
 *  the submit fails, after which nobody calls it. */
template <class F> class called_once {
    static_assert(std::is_invocable_v<F &, const outcome &>);

  public:
    template <class G>
    called_once(submit_options &options, G &&callable)
        : callable_(new F(std::forward<G>(callable))) {
        if (options.callback)
            fail(KVF_ERR_INVALID, "the options have a callback, too");
        options.callback = call;
        options.user = callable_.get();
    }
    /** It is the engine's now, and may have been called and freed already. */
    void handed_over() noexcept {
        static_cast<void>(callable_.release());
    }

  private:
    // NOLINTNEXTLINE(bugprone-exception-escape): it ends the program
    static void call(void *user, const kvf_error *details) noexcept {
        std::unique_ptr<F> callable(static_cast<F *>(user));
        (*callable)(outcome(*details));
    }
    std::unique_ptr<F> callable_;
};

} // namespace detail

/** The allocator that takes its memory from a resource, which must outlive all that it is given to
 *  and be safe for the threads that use that. A resource that throws is out of memory. */
inline allocator allocator_of(std::pmr::memory_resource &resource) noexcept {
    auto resize = [](void *user, void *block, std::size_t old_size,
                     std::size_t new_size) noexcept -> void * {
        auto *from = static_cast<std::pmr::memory_resource *>(user);
        void *grown = nullptr;
        if (new_size > 0) {
            try {
                grown = from->allocate(new_size);
            } catch (...) {
                return nullptr;
            }
        }
        if (block) {
            if (grown)
                std::memcpy(grown, block, old_size < new_size ? old_size : new_size);
            from->deallocate(block, old_size);
        }
        return grown;
    };
    return {resize, &resource};
}

/** @name Hashes
 *  @{ */

inline std::uint64_t hash_salt(std::string_view bytes) noexcept {
    return kvf_hash_salt(bytes.data(), bytes.size());
}

inline std::uint64_t hash_block(span<const std::uint32_t> tokens, std::uint64_t salt) noexcept {
    return kvf_hash_block(tokens.data(), tokens.size(), salt);
}

/** Returns how many bytes there are; they are written when `out` holds them. */
inline std::size_t hash_block_bytes(span<const std::uint32_t> tokens, std::uint64_t first,
                                    span<const mm_run> runs, span<std::uint8_t> out) {
    std::size_t size = 0;
    detail::call(kvf_hash_block_bytes, tokens.data(), tokens.size(), first, runs.data(),
                 runs.size(), out.data(), out.size(), &size);
    return size;
}

inline std::uint64_t hash_chain(hash_layout layout, std::uint64_t salt, std::uint64_t parent,
                                std::uint64_t block_hash) noexcept {
    return kvf_hash_chain(layout, salt, parent, block_hash);
}

/** `parent` is empty for a root. */
inline hash hash_lineage(hash_layout layout, std::uint64_t current,
                         std::optional<std::uint64_t> parent, std::uint64_t position) {
    hash out{};
    status status = kvf_hash_lineage(layout, current, parent ? &*parent : nullptr, position, &out);
    if (status != KVF_OK)
        detail::fail(status, nullptr);
    return out;
}

inline hash hash_positional(std::uint64_t sequence_hash, std::uint64_t position,
                            std::uint64_t block_hash) {
    hash out{};
    status status = kvf_hash_positional(sequence_hash, position, block_hash, &out);
    if (status != KVF_OK)
        detail::fail(status, nullptr);
    return out;
}

inline unsigned hash_mode(kvf_hash hash) noexcept {
    return kvf_hash_mode(hash);
}

inline std::uint64_t hash_position(kvf_hash hash) noexcept {
    return kvf_hash_position(hash);
}

inline std::uint64_t hash_current(hash_layout layout, kvf_hash hash) noexcept {
    return kvf_hash_current(layout, hash);
}

inline std::uint64_t hash_parent(hash_layout layout, kvf_hash hash) noexcept {
    return kvf_hash_parent(layout, hash);
}

inline bool hash_follows(hash_layout layout, hash before, hash next) noexcept {
    return kvf_hash_follows(layout, before, next);
}

inline int hash_compare(hash_layout layout, hash a, hash b) noexcept {
    return kvf_hash_compare(layout, a, b);
}

inline bool hash_equal(hash a, hash b) noexcept {
    return kvf_hash_equal(a, b);
}

inline std::string hash_format(hash_layout layout, kvf_hash hash) {
    char text[KVF_HASH_TEXT_SIZE];
    int length = kvf_hash_format(layout, hash, text, sizeof text);
    return std::string(text, static_cast<std::size_t>(length));
}

inline std::uint64_t hash_positional_position(kvf_hash hash) noexcept {
    return kvf_hash_positional_position(hash);
}

inline std::uint64_t hash_positional_block_hash(kvf_hash hash) noexcept {
    return kvf_hash_positional_block_hash(hash);
}

inline std::uint64_t hash_positional_sequence_hash(kvf_hash hash) noexcept {
    return kvf_hash_positional_sequence_hash(hash);
}

/** @} */

/** Tokens, cut into blocks and hashed as they come; see sequence.h. */
class sequence : public detail::owner<sequence, kvf_sequence, kvf_sequence_destroy> {
  public:
    explicit sequence(const sequence_options &options)
        : owner(detail::make<kvf_sequence>(kvf_sequence_create, &options)) {
    }
    sequence(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }

    sequence clone() const {
        return adopt(detail::make<kvf_sequence>(kvf_sequence_clone, get()));
    }
    /** Returns the range of block indexes that became complete. */
    range extend(span<const std::uint32_t> tokens) {
        range completed{};
        detail::call(kvf_sequence_extend, get(), tokens.data(), tokens.size(), &completed);
        return completed;
    }
    range extend_mm(span<const std::uint32_t> tokens, span<const mm_run> runs) {
        range completed{};
        detail::call(kvf_sequence_extend_mm, get(), tokens.data(), tokens.size(), runs.data(),
                     runs.size(), &completed);
        return completed;
    }
    range append(std::uint32_t token) {
        range completed{};
        detail::call(kvf_sequence_append, get(), token, &completed);
        return completed;
    }
    void truncate(std::size_t token_count) {
        detail::call(kvf_sequence_truncate, get(), token_count);
    }
    void reserve(std::size_t token_count) {
        detail::call(kvf_sequence_reserve, get(), token_count);
    }

    std::size_t block_size() const noexcept {
        return kvf_sequence_block_size(get());
    }
    std::uint64_t salt() const noexcept {
        return kvf_sequence_salt(get());
    }
    kvferry::hash_layout hash_layout() const noexcept {
        return kvf_sequence_hash_layout(get());
    }
    std::size_t block_count() const noexcept {
        return kvf_sequence_block_count(get());
    }
    std::size_t token_count() const noexcept {
        return kvf_sequence_token_count(get());
    }
    /** Valid until the next extend, append, reserve, truncate or destruction. */
    span<const std::uint32_t> tokens() const noexcept {
        return {kvf_sequence_tokens(get()), token_count()};
    }
    /** The lineage hashes of all complete blocks; valid as tokens(). */
    span<const hash> hashes() const noexcept {
        return {kvf_sequence_hashes(get()), block_count()};
    }
    token_block block(std::size_t index) const {
        token_block out{};
        detail::call(kvf_sequence_block, get(), index, &out);
        return out;
    }
    std::size_t memory() const noexcept {
        return kvf_sequence_memory(get());
    }
};

/** One block of a tracker. */
struct assigned_block {
    std::uint64_t id;
    kvferry::hash hash;
};

/** kvf_view as spans; `hashes` is empty for pending blocks. */
struct view {
    span<const std::uint64_t> ids;
    span<const hash> hashes;
    std::uint64_t first_position;

    /** From C's. */
    explicit view(const kvf_view &view) noexcept
        : ids(view.ids, view.count), hashes(view.hashes, view.hashes ? view.count : 0),
          first_position(view.first_position) {
    }
};

/** Where an id is; the index means nothing for KVF_PHASE_NONE. */
struct place {
    kvferry::phase phase;
    std::size_t index;
};

/** Which block id stands at which position of a sequence; see assignments.h. */
class assignments : public detail::owner<assignments, kvf_assignments, kvf_assignments_destroy> {
  public:
    /** An empty tracker. */
    assignments() : assignments(assignments_options{}) {
    }
    explicit assignments(const assignments_options &options)
        : owner(detail::make<kvf_assignments>(kvf_assignments_create, &options)) {
    }
    /** None at all. */
    assignments(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }

    assignments clone() const {
        return adopt(detail::make<kvf_assignments>(kvf_assignments_clone, get()));
    }

    std::uint64_t offset() const noexcept {
        return kvf_assignments_offset(get());
    }
    kvferry::hash_layout hash_layout() const noexcept {
        return kvf_assignments_hash_layout(get());
    }
    std::size_t assigned_count() const noexcept {
        return kvf_assignments_assigned_count(get());
    }
    std::size_t staged_count() const noexcept {
        return kvf_assignments_staged_count(get());
    }
    std::size_t pending_count() const noexcept {
        return kvf_assignments_pending_count(get());
    }
    std::uint64_t next_position() const noexcept {
        return kvf_assignments_next_position(get());
    }
    range assigned_positions() const noexcept {
        return kvf_assignments_assigned_positions(get());
    }
    range staged_positions() const noexcept {
        return kvf_assignments_staged_positions(get());
    }
    range pending_positions() const noexcept {
        return kvf_assignments_pending_positions(get());
    }
    /** Views are valid as kvf_view says. */
    view assigned() const noexcept {
        return view(kvf_assignments_assigned(get()));
    }
    view staged() const noexcept {
        return view(kvf_assignments_staged(get()));
    }
    view pending() const noexcept {
        return view(kvf_assignments_pending(get()));
    }
    bool contains(std::uint64_t id) const noexcept {
        return kvf_assignments_contains(get(), id);
    }
    place find(std::uint64_t id) const noexcept {
        place found{};
        found.phase = kvf_assignments_find(get(), id, &found.index);
        return found;
    }
    std::optional<assigned_block> get_assigned(std::size_t index) const noexcept {
        assigned_block block{};
        bool there = kvf_assignments_get_assigned(get(), index, &block.id, &block.hash);
        return there ? std::optional(block) : std::nullopt;
    }
    std::optional<assigned_block> get_staged(std::size_t index) const noexcept {
        assigned_block block{};
        bool there = kvf_assignments_get_staged(get(), index, &block.id, &block.hash);
        return there ? std::optional(block) : std::nullopt;
    }
    std::optional<assigned_block> get_at_position(std::uint64_t position) const noexcept {
        assigned_block block{};
        bool there = kvf_assignments_get_at_position(get(), position, &block.id, &block.hash);
        return there ? std::optional(block) : std::nullopt;
    }
    std::optional<std::uint64_t> get_pending_at_position(std::uint64_t position) const noexcept {
        std::uint64_t id = 0;
        bool there = kvf_assignments_get_pending_at_position(get(), position, &id);
        return there ? std::optional(id) : std::nullopt;
    }
    std::string format() const {
        int length = kvf_assignments_format(get(), nullptr, 0);
        std::string text(static_cast<std::size_t>(length), '\0');
        kvf_assignments_format(get(), text.data(), text.size() + 1);
        return text;
    }
    std::size_t memory() const noexcept {
        return kvf_assignments_memory(get());
    }

    void extend_block_ids(span<const std::uint64_t> ids) {
        detail::call(kvf_assignments_extend_block_ids, get(), ids.data(), ids.size());
    }
    /** There must be as many hashes as ids. */
    void extend_assigned(span<const std::uint64_t> ids, span<const hash> hashes) {
        detail::want_equal(ids.size(), hashes.size(), "not as many hashes as ids");
        detail::call(kvf_assignments_extend_assigned, get(), ids.data(), hashes.data(), ids.size());
    }
    /** Returns the range of new indexes in the staged blocks. */
    range stage_pending(span<const hash> hashes) {
        range staged{};
        detail::call(kvf_assignments_stage_pending, get(), hashes.data(), hashes.size(), &staged);
        return staged;
    }
    range stage_next(span<const hash> hashes) {
        range staged{};
        detail::call(kvf_assignments_stage_next, get(), hashes.data(), hashes.size(), &staged);
        return staged;
    }
    range commit_staged() {
        return kvf_assignments_commit_staged(get());
    }
    /** Returns the range of new indexes in the assigned blocks. */
    range assign_pending(span<const hash> hashes) {
        range assigned{};
        detail::call(kvf_assignments_assign_pending, get(), hashes.data(), hashes.size(),
                     &assigned);
        return assigned;
    }
    /** The staged blocks, which are the tracker's no more. */
    std::vector<assigned_block> take_staged() {
        std::vector<std::uint64_t> ids(get() ? staged_count() : 0);
        std::vector<hash> hashes(ids.size());
        std::vector<assigned_block> blocks(ids.size());
        detail::call(kvf_assignments_take_staged, get(), ids.data(), hashes.data(), ids.size(),
                     static_cast<std::size_t *>(nullptr));
        for (std::size_t i = 0; i < blocks.size(); i++)
            blocks[i] = {ids[i], hashes[i]};
        return blocks;
    }
    void clear() noexcept {
        kvf_assignments_clear(get());
    }
    void rollback_staged(std::size_t count) {
        detail::call(kvf_assignments_rollback_staged, get(), count);
    }
    void commit_oldest(std::size_t count) {
        detail::call(kvf_assignments_commit_oldest, get(), count);
    }
    void truncate(std::uint64_t position) {
        detail::call(kvf_assignments_truncate, get(), position);
    }
    void drop_front(std::size_t count) {
        detail::call(kvf_assignments_drop_front, get(), count);
    }
    void reserve(std::size_t count) {
        detail::call(kvf_assignments_reserve, get(), count);
    }
};

/** @name Plans
 *  Plans are views and point into trackers, or into the caller's arrays.
 *  @{ */

inline plan zip_assigned(const assignments &a, const assignments &b) noexcept {
    return kvf_zip_assigned(a.get(), b.get());
}

inline plan zip_assigned_pending(const assignments &src, const assignments &dst) noexcept {
    return kvf_zip_assigned_pending(src.get(), dst.get());
}

inline kvferry::plan plan_slice(const plan &plan, range positions) noexcept {
    return kvf_plan_slice(plan, positions);
}

/** A plan of the caller's own arrays, which must outlive it; all are equally long, but for no
 * hashes at all. Throws INVALID for others. */
inline plan plan_of(std::uint64_t first_position, span<const std::uint64_t> src_ids,
                    span<const std::uint64_t> dst_ids, span<const hash> src_hashes = {}) {
    detail::want_equal(src_ids.size(), dst_ids.size(), "not as many sources as destinations");
    if (!src_hashes.empty())
        detail::want_equal(src_ids.size(), src_hashes.size(), "not as many hashes as ids");
    return {first_position, src_ids.size(), src_ids.data(), dst_ids.data(),
            src_hashes.empty() ? nullptr : src_hashes.data()};
}

/** @}
 *  @name Flights
 *  A flight is a number, which may cross processes; who departs resolves it.
 *  @{ */

inline flight flight_depart(assignments &dst, const plan &plan) {
    kvferry::flight out = 0;
    detail::call(kvf_flight_depart, dst.get(), &plan, &out);
    return out;
}

/** Returns the range of new indexes in the assigned blocks. */
inline range flight_land(assignments &dst, flight flight) {
    range assigned{};
    detail::call(kvf_flight_land, dst.get(), flight, &assigned);
    return assigned;
}

inline void flight_return(assignments &dst, flight flight, std::size_t landed) {
    detail::call(kvf_flight_return, dst.get(), flight, landed);
}

inline bool flight_is_open(const assignments &dst, flight flight) noexcept {
    return kvf_flight_is_open(dst.get(), flight);
}

inline std::size_t flight_open_count(const assignments &dst) noexcept {
    return kvf_flight_open_count(dst.get());
}

/** @}
 *  @name Layouts
 *  @{ */

namespace detail {

/** What can be read of a layout, whoever holds it. */
template <class Self> class layout_reader {
  public:
    std::size_t blocks() const noexcept {
        return kvf_layout_blocks(handle());
    }
    /** Valid as long as the layout. */
    span<const region> regions() const noexcept {
        std::size_t count = 0;
        const region *regions = kvf_layout_regions(handle(), &count);
        return {regions, count};
    }
    std::size_t groups() const noexcept {
        return kvf_layout_groups(handle());
    }
    std::size_t block_bytes() const noexcept {
        return kvf_layout_block_bytes(handle());
    }
    std::uint64_t digest() const noexcept {
        return kvf_layout_digest(handle());
    }
    std::size_t recommend_bytes(std::size_t block_count) const noexcept {
        return kvf_layout_recommend_bytes(handle(), block_count);
    }

  private:
    const kvf_layout *handle() const noexcept {
        return static_cast<const Self *>(this)->get();
    }
};

} // namespace detail

/** A layout that somebody else keeps alive: a tier, or a layout. */
class layout_ref : public detail::layout_reader<layout_ref> {
  public:
    explicit layout_ref(const kvf_layout *handle) noexcept : handle_(handle) {
    }
    const kvf_layout *get() const noexcept {
        return handle_;
    }
    explicit operator bool() const noexcept {
        return handle_ != nullptr;
    }

  private:
    const kvf_layout *handle_;
};

/** Where the bytes of a block are; see layout.h. */
class layout : public detail::owner<layout, kvf_layout, kvf_layout_destroy>,
               public detail::layout_reader<layout> {
  public:
    /** `memory` NULL: malloc. */
    layout(span<const region> regions, std::size_t blocks, const allocator *memory = nullptr)
        : owner(detail::make<kvf_layout>(kvf_layout_create, regions.data(), regions.size(), blocks,
                                         memory)) {
    }
    layout(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    operator layout_ref() const noexcept { // NOLINT(google-explicit-constructor)
        return layout_ref(get());
    }
};

inline layout layout_contiguous(const shape &shape, buffer buffer) {
    return layout::adopt(detail::make<kvf_layout>(kvf_layout_contiguous, &shape, buffer));
}

namespace detail {

/* How many buffers C will read: it is not told how many there are. */
inline void want_buffers(span<const buffer> buffers, std::size_t layers, std::size_t parts) {
    std::size_t each = parts > 0 ? parts : 1;
    bool enough = layers <= buffers.size() / each;
    if (!enough)
        fail(KVF_ERR_INVALID, "not as many buffers as the shape wants");
}

} // namespace detail

/** Throws INVALID for fewer buffers than layers. */
inline layout layout_per_layer(const shape &shape, span<const buffer> buffers, layer_order order) {
    detail::want_buffers(buffers, shape.layers, 1);
    return layout::adopt(
        detail::make<kvf_layout>(kvf_layout_per_layer, &shape, buffers.data(), order));
}

/** Throws INVALID for fewer buffers than layers * parts. */
inline layout layout_per_part(const shape &shape, span<const buffer> buffers) {
    detail::want_buffers(buffers, shape.layers, shape.parts);
    return layout::adopt(detail::make<kvf_layout>(kvf_layout_per_part, &shape, buffers.data()));
}

/** Throws INVALID for fewer buffers than layers. */
inline layout layout_mla(const shape &shape, span<const buffer> buffers) {
    detail::want_buffers(buffers, shape.layers, 1);
    return layout::adopt(detail::make<kvf_layout>(kvf_layout_mla, &shape, buffers.data()));
}

inline layout layout_page_first(const shape &shape, buffer buffer) {
    return layout::adopt(detail::make<kvf_layout>(kvf_layout_page_first, &shape, buffer));
}

inline layout layout_token_first(const shape &shape, buffer buffer) {
    return layout::adopt(detail::make<kvf_layout>(kvf_layout_token_first, &shape, buffer));
}

/** `memory` NULL: malloc. */
inline kvferry::layout layout_recommend(layout_ref layout, layout_use use, std::size_t blocks,
                                        buffer buffer, const allocator *memory = nullptr) {
    return kvferry::layout::adopt(
        detail::make<kvf_layout>(kvf_layout_recommend, layout.get(), use, blocks, buffer, memory));
}

/** @} */

/** Plans and two layouts, checked and lowered to copies; see move.h. */
class move : public detail::owner<move, kvf_move, kvf_move_destroy> {
  public:
    /** `limits` NULL: everything goes. `memory` NULL: malloc. */
    explicit move(const move_spec &spec, const box_limits *limits = nullptr,
                  const allocator *memory = nullptr)
        : owner(detail::make<kvf_move>(kvf_move_create, &spec, limits, memory)) {
    }
    move(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    /** The next boxes, written to the front of `room`; none at the end. */
    span<box> next(box_cursor &cursor, span<box> room) const noexcept {
        return room.first(kvf_move_next(get(), &cursor, room.data(), room.size()));
    }
    move_report describe() const {
        move_report report{};
        detail::call(kvf_move_describe, get(), &report);
        return report;
    }
};

/** @name Hooks
 *  @{ */

/** NULL past the last. */
inline const char *log_level_name(log_level level) noexcept {
    return kvf_log_level_name(level);
}

/** Refers to a callable, `void(log_level, const char *)`, which stays the caller's and outlives the
 *  engine; several threads may call it at a time. */
template <class F> log log_to(F &callable, log_level last) noexcept {
    static_assert(std::is_invocable_v<F &, log_level, const char *>);
    void *user = const_cast<void *>(static_cast<const void *>(std::addressof(callable)));
    return {[](void *to, log_level level, const char *text) noexcept {
                (*static_cast<F *>(to))(level, text);
            },
            user, last};
}

namespace detail {

/** The text that a function writes as snprintf does; throws INVALID for a negative length. */
template <class Function, class... Arguments>
std::string printed(Function function, Arguments... arguments) {
    int length = function(arguments..., nullptr, std::size_t{0});
    if (length < 0)
        fail(KVF_ERR_INVALID, nullptr);
    std::string text(static_cast<std::size_t>(length), '\0');
    function(arguments..., text.data(), text.size() + 1);
    return text;
}

} // namespace detail

/** Prometheus's text; throws INVALID for labels that may not be. */
inline std::string counters_print(span<const labelled_counters> engines) {
    return detail::printed(kvf_counters_print, engines.data(), engines.size());
}

/** @} */

/** What moves bytes; see engine.h. Destroying it waits for what runs, and must not happen in a
 *  callback. */
class engine : public detail::owner<engine, kvf_engine, kvf_engine_destroy> {
  public:
    engine(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    const char *name() const noexcept {
        return kvf_engine_name(get());
    }
    std::size_t progress() noexcept {
        return kvf_engine_progress(get());
    }
    /** kvf_engine_counters_get. */
    kvferry::counters counters() const {
        kvferry::counters out{};
        detail::call(kvf_engine_counters_get, get(), &out);
        return out;
    }
    /** Valid as long as the engine; NULL for an empty one. */
    const box_limits *limits() const noexcept {
        return kvf_engine_limits(get());
    }
};

inline engine engine_host_create(const host_options &options = {}) {
    return engine::adopt(detail::make<kvf_engine>(kvf_engine_host_create, &options));
}

/** Where the bytes of block ids are and who uses them; see engine.h. The memory of its layouts must
 *  outlive it. Destroying it waits for what runs. */
class tier : public detail::owner<tier, kvf_tier, kvf_tier_destroy> {
  public:
    tier(engine &engine, const tier_options &options)
        : owner(detail::make<kvf_tier>(kvf_tier_create, engine.get(), &options)) {
    }
    /** Of one layout. */
    tier(engine &engine, layout_ref layout, kvferry::memory memory = KVF_MEMORY_HOST,
         bool integrity = false)
        : owner(of_one(engine, layout.get(), memory, integrity)) {
    }
    tier(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }

    std::size_t blocks() const noexcept {
        return kvf_tier_blocks(get());
    }
    kvferry::memory memory() const noexcept {
        return kvf_tier_memory(get());
    }
    /** Empty past the last; valid as long as the tier. */
    layout_ref layout(std::size_t index) const noexcept {
        return layout_ref(kvf_tier_layout(get(), index));
    }
    /** OK, or BUSY: an answer, so it is not thrown, and neither are RANGE and INVALID. */
    outcome idle(span<const std::uint64_t> ids) const noexcept {
        return detail::ask(kvf_tier_idle, get(), ids.data(), ids.size());
    }
    void seal(span<const std::uint64_t> ids) {
        detail::call(kvf_tier_seal, get(), ids.data(), ids.size());
    }

  private:
    static kvf_tier *of_one(engine &engine, const kvf_layout *layout, kvferry::memory memory,
                            bool integrity) {
        tier_options options{};
        options.layouts = &layout;
        options.layout_count = 1;
        options.memory = memory;
        options.integrity = integrity;
        return detail::make<kvf_tier>(kvf_tier_create, engine.get(), &options);
    }
};

/** @name Transfers
 *  @{ */

namespace detail {

/** What can be done with a transfer, whoever holds it. */
template <class Self> class transfer_user {
  public:
    outcome poll() const noexcept {
        return ask(kvf_transfer_poll, handle());
    }
    /** A timeout that has passed already (negative) is none, not for ever. */
    outcome wait(std::chrono::microseconds timeout = forever) const noexcept {
        return ask(kvf_transfer_wait, handle(), timeout_us(timeout));
    }
    outcome wait_group(std::uint32_t group,
                       std::chrono::microseconds timeout = forever) const noexcept {
        return ask(kvf_transfer_wait_group, handle(), group, timeout_us(timeout));
    }
    void cancel() const noexcept {
        kvf_transfer_cancel(handle());
    }
    std::size_t landed(std::size_t plan) const noexcept {
        return kvf_transfer_landed(handle(), plan);
    }
    /** kvf_transfer_stats_get. */
    transfer_stats stats() const noexcept {
        transfer_stats stats{};
        kvf_transfer_stats_get(handle(), &stats);
        return stats;
    }

  private:
    kvf_transfer *handle() const noexcept {
        return static_cast<const Self *>(this)->get();
    }
};

} // namespace detail

/** A transfer that somebody else holds: a transfer, or a bound transfer. */
class transfer_ref : public detail::transfer_user<transfer_ref> {
  public:
    explicit transfer_ref(kvf_transfer *handle) noexcept : handle_(handle) {
    }
    kvf_transfer *get() const noexcept {
        return handle_;
    }

  private:
    kvf_transfer *handle_;
};

/** A move between two tiers; see transfer.h. Destroying it gives the hold back, and the transfer
 *  goes on. */
class transfer : public detail::owner<transfer, kvf_transfer, kvf_transfer_release>,
                 public detail::transfer_user<transfer> {
  public:
    transfer(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    operator transfer_ref() const noexcept { // NOLINT(google-explicit-constructor)
        return transfer_ref(get());
    }
};

inline transfer transfer_submit(tier &src, tier &dst, span<const plan> plans,
                                const submit_options &options = {}) {
    return transfer::adopt(detail::make<kvf_transfer>(kvf_transfer_submit, src.get(), dst.get(),
                                                      plans.data(), plans.size(), &options));
}

/** As transfer_submit; empty when the engine is full (AGAIN). */
inline std::optional<transfer> try_transfer_submit(tier &src, tier &dst, span<const plan> plans,
                                                   const submit_options &options = {}) {
    kvf_transfer *out = nullptr;
    bool done = detail::attempt(KVF_ERR_AGAIN, kvf_transfer_submit, src.get(), dst.get(),
                                plans.data(), plans.size(), &options, &out);
    return done ? std::optional(transfer::adopt(out)) : std::nullopt;
}

/**
 * As above, and calls `callable`, a `void(const outcome &)`, once when the transfer is over: within
 * whatever call makes progress (kvf_callback), perhaps before this returns. It is kept on the heap
 * until then, whether or not the transfer is held, and is gone without a call when submit throws or
 * finds the engine full. The options must have no callback of their own.
 */
template <class F>
transfer transfer_submit(tier &src, tier &dst, span<const plan> plans, submit_options options,
                         F &&callable) {
    detail::called_once<std::decay_t<F>> call(options, std::forward<F>(callable));
    transfer submitted = transfer_submit(src, dst, plans, options);
    call.handed_over();
    return submitted;
}

template <class F>
std::optional<transfer> try_transfer_submit(tier &src, tier &dst, span<const plan> plans,
                                            submit_options options, F &&callable) {
    detail::called_once<std::decay_t<F>> call(options, std::forward<F>(callable));
    std::optional<transfer> submitted = try_transfer_submit(src, dst, plans, options);
    if (submitted)
        call.handed_over();
    return submitted;
}

/** One for several transfers, named in submit_options.completion; see transfer.h. */
class completion : public detail::owner<completion, kvf_completion, kvf_completion_release> {
  public:
    /** Without a callback. */
    completion() : completion(callback_ref{nullptr, nullptr}) {
    }
    /** One that is destroyed without having been armed never calls. `memory` NULL: malloc. */
    explicit completion(callback_ref call, const allocator *memory = nullptr)
        : owner(detail::make<kvf_completion>(kvf_completion_create, call.callback, call.user,
                                             memory)) {
    }
    /** None at all. */
    completion(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    std::size_t pending() const noexcept {
        return kvf_completion_pending(get());
    }
    void arm() noexcept {
        kvf_completion_arm(get());
    }
    outcome poll() noexcept {
        return detail::ask(kvf_completion_poll, get());
    }
    outcome wait(std::chrono::microseconds timeout = forever) noexcept {
        return detail::ask(kvf_completion_wait, get(), detail::timeout_us(timeout));
    }
};

/** @}
 *  @name Bound transfers
 *  @{ */

/** What `src` has assigned goes to the pending ids of `dst`, `max_blocks` at most; 0: all. */
inline pair pair_of(const assignments &src, assignments &dst, std::size_t max_blocks = 0) noexcept {
    return {src.get(), dst.get(), max_blocks};
}

/** How one pair of a bound transfer ended, and how many of its blocks landed. */
struct pair_result {
    kvferry::status status;
    std::size_t landed;
};

/** A transfer tied to the trackers it fills; see bound.h. Destroying one that is not over cancels
 *  it, waits for its end and returns the flights. */
class bound : public detail::owner<bound, kvf_bound, kvf_bound_release> {
  public:
    bound(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    outcome poll() noexcept {
        return detail::ask(kvf_bound_poll, get());
    }
    outcome wait(std::chrono::microseconds timeout = forever) noexcept {
        return detail::ask(kvf_bound_wait, get(), detail::timeout_us(timeout));
    }
    void cancel() noexcept {
        kvf_bound_cancel(get());
    }
    /** RANGE for a pair that does not exist. */
    pair_result result(std::size_t pair) const noexcept {
        pair_result result{};
        result.status = kvf_bound_result(get(), pair, &result.landed);
        return result;
    }
    /** Valid as long as this. */
    transfer_ref transfer() const noexcept {
        return transfer_ref(kvf_bound_transfer(get()));
    }
};

[[nodiscard]] inline bound bound_submit(tier &src, tier &dst, span<const pair> pairs,
                                        const submit_options &options = {}) {
    return bound::adopt(detail::make<kvf_bound>(kvf_bound_submit, src.get(), dst.get(),
                                                pairs.data(), pairs.size(), &options));
}

/** As bound_submit; empty when the engine is full (AGAIN). */
[[nodiscard]] inline std::optional<bound>
try_bound_submit(tier &src, tier &dst, span<const pair> pairs, const submit_options &options = {}) {
    kvf_bound *out = nullptr;
    bool done = detail::attempt(KVF_ERR_AGAIN, kvf_bound_submit, src.get(), dst.get(), pairs.data(),
                                pairs.size(), &options, &out);
    return done ? std::optional(bound::adopt(out)) : std::nullopt;
}

/** With a callable, as transfer_submit. It is called when the transfer is over, which is before the
 *  trackers change: these do in poll, wait and the end of the bound transfer only. */
template <class F>
[[nodiscard]] bound bound_submit(tier &src, tier &dst, span<const pair> pairs,
                                 submit_options options, F &&callable) {
    detail::called_once<std::decay_t<F>> call(options, std::forward<F>(callable));
    bound submitted = bound_submit(src, dst, pairs, options);
    call.handed_over();
    return submitted;
}

template <class F>
[[nodiscard]] std::optional<bound> try_bound_submit(tier &src, tier &dst, span<const pair> pairs,
                                                    submit_options options, F &&callable) {
    detail::called_once<std::decay_t<F>> call(options, std::forward<F>(callable));
    std::optional<bound> submitted = try_bound_submit(src, dst, pairs, options);
    if (submitted)
        call.handed_over();
    return submitted;
}

/** @} */

} // namespace kvferry

#endif
