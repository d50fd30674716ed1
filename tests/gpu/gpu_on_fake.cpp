// Preloaded into gpu_driver, so that it runs on the fake runtime: has the bodies of its kernels and
// limits the streams' queues. Some questions are misuse, so violations are ignored.
#include "kernels.cu"

namespace {

struct machine {
    machine() noexcept {
        fakecuda_config config = {};
        config.queue_entries = 1000;
        fakecuda_configure(&config);
    }

    machine(const machine &) = delete;
    machine &operator=(const machine &) = delete;
};

const machine the_machine;

} // namespace
