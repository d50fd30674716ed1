// Preloaded into gpu_driver, so that it runs on the fake runtime: the bodies of its kernels, and
// streams that fill up. What it asks is misuse in places, which is not looked at.
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
