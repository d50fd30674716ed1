/** @file
 * The NCCL module for C++17, as kvferry.hpp wraps the core: link it besides. No header of NCCL is
 * needed.
 *
 * @par Threads
 * As in nccl.h.
 *
 * @par Ownership
 * As in kvferry.hpp: channels, groups, wires and operations have owners that let go of them.
 *
 * @par Lifetimes
 * Here the order of destruction matters, as in C: a group's engine and channel outlive the group, a
 * wire's device tier the wire, and an operation's host tier the operation.
 *
 * @par Errors
 * As in kvferry.hpp.
 */
#ifndef KVFERRY_NCCL_HPP
#define KVFERRY_NCCL_HPP

#include "cuda.hpp"
#include "nccl.h"

namespace kvferry {

/** @name The structs and enums of C
 *  @{ */

using channel = kvf_channel;
using channel_tcp_options = kvf_channel_tcp_options;
using group_options = kvf_group_options;
using group_counters = kvf_group_counters;
using labelled_group_counters = kvf_labelled_group_counters;
using wire_options = kvf_wire_options;
using share = kvf_share;
using wire_submit_options = kvf_wire_submit_options;
using hand = kvf_hand;
using wire_op_stats = kvf_wire_op_stats;

/** @} */

/** A channel over TCP: kvf_channel_tcp_create, and kvf_channel_tcp_destroy at the end. */
class channel_tcp {
  public:
    explicit channel_tcp(const channel_tcp_options &options) {
        detail::call(kvf_channel_tcp_create, &options, &channel_);
    }
    channel_tcp(std::nullptr_t) noexcept { // NOLINT(google-explicit-constructor)
    }
    channel_tcp(const channel_tcp &) = delete;
    channel_tcp &operator=(const channel_tcp &) = delete;
    channel_tcp(channel_tcp &&other) noexcept : channel_(other.release()) {
    }
    channel_tcp &operator=(channel_tcp &&other) noexcept {
        channel channel = other.release(); /* first: it may be this one */
        reset();
        channel_ = channel;
        return *this;
    }
    ~channel_tcp() {
        reset();
    }

    /** Takes what kvf_channel_tcp_create made and nobody else will destroy. */
    static channel_tcp adopt(const channel &channel) noexcept {
        channel_tcp self(nullptr);
        self.channel_ = channel;
        return self;
    }
    /** For group_options; points into this. */
    const channel *get() const noexcept {
        return &channel_;
    }
    /** The channel, from now on the caller's to destroy. */
    [[nodiscard]] channel release() noexcept {
        return std::exchange(channel_, channel{});
    }
    void reset() noexcept {
        channel channel = release();
        kvf_channel_tcp_destroy(&channel);
    }
    explicit operator bool() const noexcept {
        return channel_.send != nullptr;
    }

  private:
    channel channel_{};
};

/** One rank of a group. */
class group : public detail::owner<group, kvf_group, kvf_group_destroy> {
  public:
    explicit group(const group_options &options)
        : owner(detail::make<kvf_group>(kvf_group_create, &options)) {
    }
    group(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    int rank() const noexcept {
        return kvf_group_rank(get());
    }
    int ranks() const noexcept {
        return kvf_group_ranks(get());
    }
    outcome check() noexcept {
        return detail::ask(kvf_group_check, get());
    }
    /** kvf_group_counters_get. */
    group_counters counters() const {
        group_counters out{};
        detail::call(kvf_group_counters_get, get(), &out);
        return out;
    }
};

/** As counters_print. */
inline std::string group_counters_print(span<const labelled_group_counters> groups) {
    return detail::printed(kvf_group_counters_print, groups.data(), groups.size());
}

/** A tier of packed blocks on the device; what is on its way stands in it. */
class wire : public detail::owner<wire, kvf_wire, kvf_wire_destroy> {
  public:
    wire(group &group, const wire_options &options)
        : owner(detail::make<kvf_wire>(kvf_wire_create, group.get(), &options)) {
    }
    wire(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
};

/** @name Operations
 *  For a callback there is callback_to: an operation that is given back before it is over never
 *  calls, so that a callable could not be handed over.
 *  @{ */

/** An operation of a wire. Destroying it gives it back, and one that is not over lands nothing. */
class wire_op : public detail::owner<wire_op, kvf_wire_op, kvf_wire_op_release> {
  public:
    wire_op(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    outcome poll() noexcept {
        return detail::ask(kvf_wire_op_poll, get());
    }
    /** As of transfers. */
    outcome wait(std::chrono::microseconds timeout = forever) noexcept {
        return detail::ask(kvf_wire_op_wait, get(), detail::timeout_us(timeout));
    }
    /** kvf_wire_op_stats_get. */
    wire_op_stats stats() const noexcept {
        wire_op_stats stats{};
        kvf_wire_op_stats_get(get(), &stats);
        return stats;
    }
};

namespace detail {

/** Submits an operation; empty when very many are open (AGAIN). */
template <class Function, class... Arguments>
std::optional<wire_op> try_wire_op(Function function, Arguments... arguments) {
    kvf_wire_op *out = nullptr;
    bool done = attempt(KVF_ERR_AGAIN, function, arguments..., &out);
    return done ? std::optional(wire_op::adopt(out)) : std::nullopt;
}

} // namespace detail

[[nodiscard]] inline wire_op wire_onboard(wire &wire, tier &host, span<const plan> plans,
                                          const wire_submit_options &options = {}) {
    return wire_op::adopt(detail::make<kvf_wire_op>(kvf_wire_onboard, wire.get(), host.get(),
                                                    plans.data(), plans.size(), &options));
}

[[nodiscard]] inline std::optional<wire_op>
try_wire_onboard(wire &wire, tier &host, span<const plan> plans,
                 const wire_submit_options &options = {}) {
    return detail::try_wire_op(kvf_wire_onboard, wire.get(), host.get(), plans.data(), plans.size(),
                               &options);
}

[[nodiscard]] inline wire_op wire_offload(wire &wire, tier &host, span<const plan> plans,
                                          const wire_submit_options &options = {}) {
    return wire_op::adopt(detail::make<kvf_wire_op>(kvf_wire_offload, wire.get(), host.get(),
                                                    plans.data(), plans.size(), &options));
}

[[nodiscard]] inline std::optional<wire_op>
try_wire_offload(wire &wire, tier &host, span<const plan> plans,
                 const wire_submit_options &options = {}) {
    return detail::try_wire_op(kvf_wire_offload, wire.get(), host.get(), plans.data(), plans.size(),
                               &options);
}

[[nodiscard]] inline wire_op wire_exchange(wire &wire, span<const hand> hands,
                                           const wire_submit_options &options = {}) {
    return wire_op::adopt(detail::make<kvf_wire_op>(kvf_wire_exchange, wire.get(), hands.data(),
                                                    hands.size(), &options));
}

[[nodiscard]] inline std::optional<wire_op>
try_wire_exchange(wire &wire, span<const hand> hands, const wire_submit_options &options = {}) {
    return detail::try_wire_op(kvf_wire_exchange, wire.get(), hands.data(), hands.size(), &options);
}

/** @} */

} // namespace kvferry

#endif
