/** @file
 * What C++17 adds to the C headers: owners of handles, errors as exceptions, spans, callables as
 * callbacks.
 *
 * There is no second API: the functions, structs and constants are those of C, and an owner's get()
 * is the handle to pass to them. Nothing else has to be linked.
 *
 *     using kvferry::check, kvferry::out;
 *     kvf_error e{};
 *     auto done = [&](const kvf_error &end) { log << kvf_status_name(end.status); };
 *     kvferry::engine engine; // an empty std::unique_ptr; once it is destroyed, `done` has run
 *     check(kvf_engine_host_create(nullptr, out(engine), &e), e); // may throw kvferry::error
 *     kvferry::tier src, dst; // destroyed before the memory they lie in
 *     check(kvf_tier_create(engine.get(), &src_options, out(src), &e), e);
 *     check(kvf_tier_create(engine.get(), &dst_options, out(dst), &e), e);
 *
 *     kvf_submit_options options{};
 *     std::tie(options.callback, options.user) = kvferry::callback_to(done);
 *     kvferry::transfer transfer;
 *     check(kvf_transfer_submit(src.get(), dst.get(), plans.data(), plans.size(), &options,
 *                               out(transfer), &e), e);
 *     kvf_status status = kvf_transfer_wait(transfer.get(), 1000, &e); // us; -1: no limit
 *     if (status == KVF_ERR_TIMEOUT) // compare the outcomes you expect
 *         kvf_transfer_cancel(transfer.get());
 *     else
 *         check(status, e); // throw all others except KVF_OK
 *
 * For a handle of a module, name the function that destroys it, as in
 * `kvferry::owner<kvf_cuda_pinned_destroy>` and `kvferry::owner<kvf_wire_op_release>`. The headers
 * may be included in any order. If destroying takes more than the handle, as kvf_cuda_device_free
 * does, use a std::unique_ptr with your own deleter: out takes any.
 *
 * @par Threads
 * As in the C headers. Moving, resetting or destroying an owner is a call on its object.
 *
 * @par Ownership
 * An owner is a std::unique_ptr of the handle: it moves, never copies, and destroys the handle that
 * it holds; an empty owner is NULL. `release()` gives up the handle, and an owner constructed from
 * a handle takes it.
 *
 * @par Lifetimes
 * As in the C headers. Except with submit_with, callables and memory resources stay the caller's,
 * and must exist as long as the library may call them.
 *
 * @par Errors
 * check throws kvferry::error. An exception that leaves a callable would have to pass through C, so
 * std::terminate is called instead; an exception from a memory resource is KVF_ERR_NO_MEMORY. The
 * header does not compile without exceptions.
 */
#ifndef KVFERRY_KVFERRY_HPP
#define KVFERRY_KVFERRY_HPP

#include "kvferry.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <memory_resource>
#if __has_include(<span>)
#include <span>
#endif
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kvferry {

/** @name Owners
 *  @{ */

/** A deleter that calls the C function `Destroy`. */
template <auto Destroy> struct destroyer;
template <class T, void (*Destroy)(T *)> struct destroyer<Destroy> {
    using handle = T;
    void operator()(T *object) const noexcept {
        Destroy(object);
    }
};

/** Owns the handle that `Destroy` takes, or none. */
template <auto Destroy>
using owner = std::unique_ptr<typename destroyer<Destroy>::handle, destroyer<Destroy>>;

using sequence = owner<kvf_sequence_destroy>;
using assignments = owner<kvf_assignments_destroy>;
using layout = owner<kvf_layout_destroy>;
using move = owner<kvf_move_destroy>;
using engine = owner<kvf_engine_destroy>;
using tier = owner<kvf_tier_destroy>;
using transfer = owner<kvf_transfer_release>;
using completion = owner<kvf_completion_release>;
using bound = owner<kvf_bound_release>;

/** What out() returns: a temporary; do not store it. */
template <class Owner> class out_argument {
  public:
    using handle = typename Owner::pointer;

    explicit out_argument(Owner &owner) noexcept : owner_(owner) {
    }
    out_argument(const out_argument &) = delete;
    out_argument &operator=(const out_argument &) = delete;
    ~out_argument() {
        if (handle_)
            owner_.reset(handle_);
    }
    operator handle *() &&noexcept {
        return &handle_;
    }

  private:
    Owner &owner_;
    handle handle_ = nullptr;
};

/**
 * Passes an owner as the `out` argument of a function that makes an object. At the end of the full
 * expression the owner destroys what it held and takes the new object: use it from the next
 * statement on, not later in the same one. If the function fails, the owner stays as it was.
 */
template <class T, class Destroyer>
out_argument<std::unique_ptr<T, Destroyer>> out(std::unique_ptr<T, Destroyer> &owner) noexcept {
    return out_argument<std::unique_ptr<T, Destroyer>>(owner);
}

/** @}
 *  @name Texts and errors
 *  @{ */

/**
 * The text that a C function writes as snprintf does, from the arguments before its buffer:
 * `text_of(kvf_assignments_format, host.get())`. Throws an error of KVF_ERR_INVALID if the function
 * returns a negative number.
 */
template <class Function, class... Arguments>
std::string text_of(Function function, Arguments... arguments);

/** What check throws; what() is the text of kvf_error_format. */
class error : public std::runtime_error {
  public:
    explicit error(const kvf_error &details)
        : std::runtime_error(text_of(kvf_error_format, &details)), details_(details) {
    }
    kvf_status status() const noexcept {
        return details_.status;
    }
    const kvf_error &details() const noexcept {
        return details_;
    }

  private:
    kvf_error details_;
};

/**
 * Throws an error unless the status is KVF_OK. `details` is what the same call wrote. Details with
 * another status are ignored: they come from an earlier call, since a call that is PENDING, for
 * example, writes none.
 */
inline void check(kvf_status status, const kvf_error &details = {}) {
    if (status == KVF_OK)
        return;
    kvf_error thrown{};
    thrown.status = status;
    throw error(details.status == status ? details : thrown);
}

template <class Function, class... Arguments>
std::string text_of(Function function, Arguments... arguments) {
    int length = function(arguments..., nullptr, std::size_t{0});
    if (length < 0)
        check(KVF_ERR_INVALID);
    std::string text(static_cast<std::size_t>(length), '\0');
    function(arguments..., text.data(), text.size() + 1);
    return text;
}

/** @}
 *  @name Spans
 *  @{ */

#ifdef __cpp_lib_span
using std::span;
#else
/** A pointer and a count as a range: `span(plan.src_ids, plan.count)`. In C++20 it is std::span. */
template <class T> class span {
  public:
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {
    }
    constexpr T *data() const noexcept {
        return data_;
    }
    constexpr std::size_t size() const noexcept {
        return size_;
    }
    constexpr T *begin() const noexcept {
        return data_;
    }
    constexpr T *end() const noexcept {
        return data_ + size_;
    }
    constexpr T &operator[](std::size_t index) const {
        return data_[index];
    }

  private:
    T *data_;
    std::size_t size_;
};
#endif

/** @}
 *  @name Callbacks
 *  @{ */

namespace detail {

template <class F> void *user_of(F &callable) noexcept {
    return const_cast<void *>(static_cast<const void *>(std::addressof(callable)));
}

} // namespace detail

/**
 * Refers to a callable, `void(const kvf_error &)`: the callback and user of kvf_submit_options,
 * kvf_completion_create or kvf_wire_submit_options. The callable must live until it has been
 * called; for a transfer that is when kvf_engine_destroy returns at the latest, so declare it
 * before the engine.
 */
template <class F> std::tuple<kvf_callback, void *> callback_to(F &callable) noexcept {
    static_assert(std::is_invocable_v<F &, const kvf_error &>);
    auto call = [](void *user, const kvf_error *end) noexcept { (*static_cast<F *>(user))(*end); };
    return {call, detail::user_of(callable)};
}

/**
 * Submits with a callable, `void(const kvf_error &)`, that need not be kept: it goes to the heap,
 * is called once when the transfer has ended, perhaps before the submit returns, on another thread,
 * and is then freed; if the submit fails, it is freed at once. `submit` receives a `const
 * kvf_submit_options *`, passes it to kvf_transfer_submit or kvf_bound_submit as its last action,
 * and returns that status, which submit_with returns. Throws an error of KVF_ERR_INVALID for
 * options that already have a callback.
 *
 *     check(kvferry::submit_with(options, [promise = std::move(promise)](const kvf_error &) ...,
 *                                [&](const kvf_submit_options *with) {
 *                                    return kvf_transfer_submit(..., with, out(transfer), &e);
 *                                }), e);
 */
template <class F, class Submit>
kvf_status submit_with(kvf_submit_options options, F &&callable, Submit &&submit) {
    using kept = std::decay_t<F>;
    static_assert(std::is_invocable_v<kept &, const kvf_error &>);
    check(options.callback ? KVF_ERR_INVALID : KVF_OK);
    auto owned = std::make_unique<kept>(std::forward<F>(callable));
    options.callback = [](void *user, const kvf_error *end) noexcept {
        std::unique_ptr<kept> called(static_cast<kept *>(user));
        (*called)(*end);
    };
    options.user = owned.get();
    kvf_status status = submit(&std::as_const(options));
    if (status == KVF_OK)
        static_cast<void>(owned.release()); /* the transfer's, and perhaps freed already */
    return status;
}

/**
 * Refers to a callable, `void(kvf_log_level, const char *)`. Several threads may call it at a time,
 * and it must outlive the engine, its tiers and its transfers. Engines copy the kvf_log:
 *
 *     const kvf_log log = kvferry::log_to(callable, KVF_LOG_INFO);
 *     host_options.log = &log;
 */
template <class F> kvf_log log_to(F &callable, kvf_log_level level) noexcept {
    static_assert(std::is_invocable_v<F &, kvf_log_level, const char *>);
    auto write = [](void *user, kvf_log_level of, const char *text) noexcept {
        (*static_cast<F *>(user))(of, text);
    };
    return {write, detail::user_of(callable), level};
}

/** Refers to an object with `begin(const char *)` and `end()`; otherwise as log_to. */
template <class Hook> kvf_ranges ranges_to(Hook &hook) noexcept {
    auto begin = [](void *user, const char *name) noexcept {
        static_cast<Hook *>(user)->begin(name);
    };
    auto end = [](void *user) noexcept { static_cast<Hook *>(user)->end(); };
    return {begin, end, detail::user_of(hook)};
}

/** An allocator over a memory resource. The resource must outlive every object created with it and
 *  be safe for all threads that use them. */
inline kvf_allocator allocator_of(std::pmr::memory_resource &resource) noexcept {
    auto resize = [](void *user, void *block, std::size_t old_size,
                     std::size_t new_size) noexcept -> void * {
        auto *from = static_cast<std::pmr::memory_resource *>(user);
        void *resized = nullptr;
        if (new_size > 0) {
            try {
                resized = from->allocate(new_size);
            } catch (...) {
                return nullptr;
            }
        }
        if (block) {
            if (resized)
                std::memcpy(resized, block, std::min(old_size, new_size));
            from->deallocate(block, old_size);
        }
        return resized;
    };
    return {resize, &resource};
}

/** @} */

} // namespace kvferry

#endif
