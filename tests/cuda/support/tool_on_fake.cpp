// Preloaded into the tool, so that it runs on the fake runtime: brings the bodies of its kernels,
// sets up the machine that a test asks for, and makes the tool fail when it misuses CUDA.
//
//     KVFERRY_FAKE=no-device    there is no GPU
//     KVFERRY_FAKE=no-driver    there is no driver
//     KVFERRY_FAKE=flip-device  one byte of device memory is wrong when it is checked
//     KVFERRY_FAKE=flip-on-N    the same, on GPU N of four
//     KVFERRY_FAKE=flip-source  one byte of device memory is wrong after it was filled
//     KVFERRY_FAKE=no-hold      the kernel that holds a stream returns at once
//     KVFERRY_FAKE=fail-N       the Nth call of the runtime fails
#include "gpu/kernels.cu"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace {

bool asked_for(const char *what) {
    const char *given = std::getenv("KVFERRY_FAKE");
    return given && std::strcmp(given, what) == 0;
}

// The N of a value like fail-N; -1 when KVFERRY_FAKE is not of that form.
long number_asked_for(const char *what) {
    const char *given = std::getenv("KVFERRY_FAKE");
    const std::size_t length = std::strlen(what);
    return given && std::strncmp(given, what, length) == 0
               ? std::strtol(given + length, nullptr, 10)
               : -1;
}

// The memory's device: the thread that runs a kernel has no current device.
bool is_on_gpu_to_flip(const void *memory) {
    cudaPointerAttributes found = {};
    return cudaPointerGetAttributes(&found, memory) == cudaSuccess &&
           found.device == number_asked_for("flip-on-");
}

const kernel_blocks &blocks_of(void **arguments) {
    return *static_cast<const kernel_blocks *>(arguments[0]);
}

void flip_last_byte(const kernel_blocks &blocks) {
    const kernel_piece &piece = blocks.pieces[blocks.piece_count - 1];
    char *at = piece.base + blocks.ids[blocks.block_count - 1] * piece.stride;
    at[piece.bytes - 1] = static_cast<char>(at[piece.bytes - 1] ^ 1);
}

void check_flipped(const fakecuda_launch *launch, void **arguments) {
    const kernel_blocks &blocks = blocks_of(arguments);
    flip_last_byte(blocks);
    fakecuda::for_each_thread(*launch, [&] { kvferry_bench_check(blocks); });
}

void check_flipped_on_one(const fakecuda_launch *launch, void **arguments) {
    const kernel_blocks &blocks = blocks_of(arguments);
    if (is_on_gpu_to_flip(blocks.pieces[0].base))
        flip_last_byte(blocks);
    fakecuda::for_each_thread(*launch, [&] { kvferry_bench_check(blocks); });
}

void fill_flipped(const fakecuda_launch *launch, void **arguments) {
    const kernel_blocks &blocks = blocks_of(arguments);
    fakecuda::for_each_thread(*launch, [&] { kvferry_bench_fill(blocks); });
    flip_last_byte(blocks);
}

void no_hold(const fakecuda_launch *launch, void **arguments) {
    (void)launch;
    (*static_cast<kernel_hold **>(arguments[0]))->timed_out = 1;
}

// A tool that exits with an error message need not free anything.
void end(int status, void *unused) {
    (void)unused;
    const std::size_t found = status == 0 ? fakecuda_reset() : fakecuda_violations();
    for (std::size_t i = 0; i < fakecuda_violations(); i++)
        std::fprintf(stderr, "fakecuda: %s\n", fakecuda_violation(i));
    if (found > 0)
        _exit(99);
}

struct machine {
    // Runs after the registrations of kernels.cu above, and replaces some.
    machine() noexcept {
        const std::size_t blocks[] = {sizeof(kernel_blocks)};
        const std::size_t hold[] = {sizeof(kernel_hold *), sizeof(uint64_t)};
        fakecuda_config config = {};
        if (asked_for("no-device"))
            config.no_device = cudaErrorNoDevice;
        if (asked_for("no-driver"))
            config.no_device = cudaErrorInsufficientDriver;
        config.devices = 4;
        fakecuda_configure(&config);
        on_exit(end, nullptr);
        if (number_asked_for("fail-") > 0)
            fakecuda_fail_call(nullptr, static_cast<uint64_t>(number_asked_for("fail-")),
                               cudaErrorMemoryAllocation, false);
        if (asked_for("flip-device"))
            fakecuda_kernel(nullptr, "kvferry_bench_check", check_flipped, blocks, 1);
        if (number_asked_for("flip-on-") >= 0)
            fakecuda_kernel(nullptr, "kvferry_bench_check", check_flipped_on_one, blocks, 1);
        if (asked_for("flip-source"))
            fakecuda_kernel(nullptr, "kvferry_bench_fill", fill_flipped, blocks, 1);
        if (asked_for("no-hold"))
            fakecuda_kernel(nullptr, "kvferry_bench_hold", no_hold, hold, 2);
    }

    machine(const machine &) = delete;
    machine &operator=(const machine &) = delete;
};

const machine the_machine;

} // namespace
