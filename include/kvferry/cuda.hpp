/** @file
 * The CUDA module for C++17, as kvferry.hpp wraps the core: link it besides. No header of the
 * toolkit is needed.
 *
 * @par Threads
 * As in cuda.h.
 *
 * @par Ownership
 * As in kvferry.hpp: pinned memory, device memory and models have owners that free them.
 *
 * @par Lifetimes
 * As in cuda.h: memory is declared before the tiers that lie in it.
 *
 * @par Errors
 * As in kvferry.hpp.
 */
#ifndef KVFERRY_CUDA_HPP
#define KVFERRY_CUDA_HPP

#include "cuda.h"
#include "kvferry.hpp"

namespace kvferry {

/** @name The structs and enums of C
 *  @{ */

using cuda_pinned_options = kvf_cuda_pinned_options;
using cuda_pinned_report = kvf_cuda_pinned_report;
using cuda_strategy = kvf_cuda_strategy;
using cuda_direction = kvf_cuda_direction;
using cuda_calibrate_options = kvf_cuda_calibrate_options;
using cuda_reason = kvf_cuda_reason;
using cuda_explanation = kvf_cuda_explanation;
using cuda_options = kvf_cuda_options;
using cuda_strategy_stats = kvf_cuda_strategy_stats;
using cuda_stats = kvf_cuda_stats;

/** @}
 *  @name Memory
 *  Must outlive the tiers that lie in it.
 *  @{ */

/** Pinned host memory. */
class cuda_pinned : public detail::owner<cuda_pinned, kvf_cuda_pinned, kvf_cuda_pinned_destroy> {
  public:
    /** `report` may be NULL. */
    explicit cuda_pinned(const cuda_pinned_options &options, cuda_pinned_report *report = nullptr)
        : owner(make_one(options, report)) {
    }
    cuda_pinned(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    void *base() const noexcept {
        return kvf_cuda_pinned_base(get());
    }
    std::size_t bytes() const noexcept {
        return kvf_cuda_pinned_bytes(get());
    }
    /** Both, for layouts. */
    kvferry::buffer buffer() const noexcept {
        return {base(), bytes()};
    }

  private:
    static kvf_cuda_pinned *make_one(const cuda_pinned_options &options,
                                     cuda_pinned_report *report) {
        kvf_cuda_pinned *out = nullptr;
        detail::call(kvf_cuda_pinned_create, &options, &out, report);
        return out;
    }
};

/** Registers memory that stays the caller's; not the `adopt` of owners. `memory` NULL: malloc. */
inline cuda_pinned cuda_pinned_adopt(buffer mapped, int device, const allocator *memory = nullptr,
                                     cuda_pinned_report *report = nullptr) {
    kvf_cuda_pinned *out = nullptr;
    detail::call(kvf_cuda_pinned_adopt, mapped.base, mapped.bytes, device, memory, &out, report);
    return cuda_pinned::adopt(out);
}

/** Memory of a device: kvf_cuda_device_alloc, and kvf_cuda_device_free at the end. */
class cuda_device_memory {
  public:
    cuda_device_memory(int device, std::size_t bytes) : device_(device), bytes_(bytes) {
        detail::call(kvf_cuda_device_alloc, device, bytes, &base_);
    }
    cuda_device_memory(std::nullptr_t) noexcept { // NOLINT(google-explicit-constructor)
    }
    cuda_device_memory(const cuda_device_memory &) = delete;
    cuda_device_memory &operator=(const cuda_device_memory &) = delete;
    cuda_device_memory(cuda_device_memory &&other) noexcept
        : device_(other.device_), bytes_(other.bytes_), base_(other.release()) {
    }
    cuda_device_memory &operator=(cuda_device_memory &&other) noexcept {
        int device = other.device_;
        std::size_t bytes = other.bytes_;
        void *base = other.release(); /* first: it may be this one */
        reset();
        device_ = device;
        bytes_ = bytes;
        base_ = base;
        return *this;
    }
    ~cuda_device_memory() {
        reset();
    }

    /** Takes what kvf_cuda_device_alloc returned and nobody else will free. */
    static cuda_device_memory adopt(int device, buffer memory) noexcept {
        cuda_device_memory self(nullptr);
        self.device_ = device;
        self.bytes_ = memory.bytes;
        self.base_ = memory.base;
        return self;
    }
    void *get() const noexcept {
        return base_;
    }
    /** The memory, from now on the caller's to free. */
    [[nodiscard]] void *release() noexcept {
        bytes_ = 0;
        return std::exchange(base_, nullptr);
    }
    void reset() noexcept {
        kvf_cuda_device_free(device_, release());
    }
    explicit operator bool() const noexcept {
        return base_ != nullptr;
    }
    int device() const noexcept {
        return device_;
    }
    std::size_t bytes() const noexcept {
        return bytes_;
    }
    /** For layouts. */
    kvferry::buffer buffer() const noexcept {
        return {base_, bytes_};
    }

  private:
    int device_ = 0;
    std::size_t bytes_ = 0;
    void *base_ = nullptr;
};

/** @}
 *  @name What a move costs
 *  @{ */

/** NULL past the last. */
inline const char *cuda_strategy_name(cuda_strategy strategy) noexcept {
    return kvf_cuda_strategy_name(strategy);
}

/** Valid for ever. */
inline const box_limits &cuda_limits() noexcept {
    return *kvf_cuda_limits();
}

/** How long each strategy takes for a move. Immutable. */
class cuda_model : public detail::owner<cuda_model, kvf_cuda_model, kvf_cuda_model_destroy> {
  public:
    cuda_model(std::nullptr_t) noexcept // NOLINT(google-explicit-constructor)
        : owner(nullptr) {
    }
    void save(const std::string &path) const {
        detail::call(kvf_cuda_model_save, get(), path.c_str());
    }
    /** NaN for the built-in model. */
    double noise() const noexcept {
        return kvf_cuda_model_noise(get());
    }
    cuda_explanation explain(const move &move, cuda_direction direction) const {
        cuda_explanation out{};
        detail::call(kvf_cuda_model_explain, get(), move.get(), direction, &out);
        return out;
    }
};

/** `memory` NULL: malloc. */
inline cuda_model cuda_model_builtin(const allocator *memory = nullptr) {
    return cuda_model::adopt(detail::make<kvf_cuda_model>(kvf_cuda_model_builtin, memory));
}

inline cuda_model cuda_model_calibrate(const cuda_calibrate_options &options) {
    return cuda_model::adopt(detail::make<kvf_cuda_model>(kvf_cuda_model_calibrate, &options));
}

/** `device` -1 takes it as it is. `memory` NULL: malloc. */
inline cuda_model cuda_model_load(const std::string &path, int device,
                                  const allocator *memory = nullptr) {
    return cuda_model::adopt(
        detail::make<kvf_cuda_model>(kvf_cuda_model_load, path.c_str(), device, memory));
}

/** @}
 *  @name The engine
 *  @{ */

inline engine engine_cuda_create(const cuda_options &options) {
    return engine::adopt(detail::make<kvf_engine>(kvf_engine_cuda_create, &options));
}

/** Empty for a background transfer that is not enqueued whole (PENDING). */
inline std::optional<cuda_explanation> cuda_explain(transfer_ref transfer) {
    cuda_explanation out{};
    bool known = detail::attempt(KVF_PENDING, kvf_cuda_explain,
                                 static_cast<const kvf_transfer *>(transfer.get()), &out);
    return known ? std::optional(out) : std::nullopt;
}

inline cuda_stats cuda_stats_get(engine &engine) {
    cuda_stats out{};
    detail::call(kvf_cuda_stats_get, engine.get(), &out);
    return out;
}

inline void cuda_wait_group(transfer_ref transfer, std::uint32_t group, CUstream_st *stream) {
    detail::call(kvf_cuda_wait_group, transfer.get(), group, stream);
}

inline void cuda_wait_slots(tier &tier, span<const std::uint64_t> ids, bool writes,
                            CUstream_st *stream) {
    detail::call(kvf_cuda_wait_slots, tier.get(), ids.data(), ids.size(), writes, stream);
}

inline void cuda_mark_slots(tier &tier, span<const std::uint64_t> ids, bool written,
                            CUevent_st *event) {
    detail::call(kvf_cuda_mark_slots, tier.get(), ids.data(), ids.size(), written, event);
}

/** As cuda_mark_slots; false when very many marks are outstanding (AGAIN). */
[[nodiscard]] inline bool try_cuda_mark_slots(tier &tier, span<const std::uint64_t> ids,
                                              bool written, CUevent_st *event) {
    return detail::attempt(KVF_ERR_AGAIN, kvf_cuda_mark_slots, tier.get(), ids.data(), ids.size(),
                           written, event);
}

/** @} */

} // namespace kvferry

#endif
