#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

bool tiny;

typedef struct question {
    const char *name, *text, *assumed;
    void (*ask)(void);
    unsigned seconds; /* at most */
} question;

static void ask_machine(void) {
    struct cudaDeviceProp p;
    int driver = 0, numa = -1, same = -1, devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || devices == 0) {
        printf("no GPU: %s\n", cudaGetErrorName(code));
        exit(SKIPPED);
    }
    TRY(cudaGetDeviceProperties(&p, 0));
    TRY(cudaDriverGetVersion(&driver));
    (void)cudaDeviceGetAttribute(&numa, cudaDevAttrHostNumaId, 0);
    (void)cudaDeviceGetAttribute(&same, cudaDevAttrCanUseHostPointerForRegisteredMem, 0);
    (void)cudaGetLastError();
    printf("    %s, driver %d, %d copy engines, NUMA node %d, registered memory has its host "
           "addresses: %d\n",
           p.name, driver, p.asyncEngineCount, numa, same);
}

/* The first question finds out whether there is a GPU. */
static const question questions[] = {
    {"machine", "Which machine is this?", "a GPU", ask_machine, 20},
    {"lazy-loading", "Does a kernel's first launch wait for another kernel that spins?",
     "it may; none of our launches waits for a kernel that the host holds", ask_lazy_loading, 20},
    {"last-error", "Does an event that is not ready replace the thread's last error?",
     "cuda/runtime/runtime.c handles both", ask_last_error, 20},
    {"capture", "What do calls return while a stream is captured?",
     "a captured event is refused each time; allocations in relaxed mode do not harm the capture",
     ask_capture, 20},
    {"ranges", "What does the driver report about an address's memory?",
     "cuda/engine/reachable.c: MAPPING is one mapping of device memory, RANGE one registration",
     ask_ranges, 20},
    {"fork-reads", "Can a child process read pinned memory?",
     "it can read both cudaHostAlloc and registered memory", ask_fork_reads, 20},
    {"fork-cost", "What does fork cost with pinned memory?",
     "cuda/runtime/pinned.c does not set MADV_DONTFORK", ask_fork_cost, 40},
    {"registration", "What do registrations cost, in time and in device memory?",
     "huge pages make both small", ask_registration, 60},
    {"call-costs", "What do calls cost?", "the figures of cuda/cost/builtin.c, until calibrated",
     ask_call_costs, 30},
    {"allocation-costs", "What do allocations cost, idle and while a kernel runs?",
     "they may wait for kernels", ask_allocation_costs, 30},
    {"queue-depth", "How many entries does a stream take before a call blocks?",
     "about 1,000 of any kind", ask_queue_depth, 40},
    {"shared-queues", "Do streams that wait for an event hold up other streams?",
     "lanes of one priority do not hold each other up", ask_shared_queues, 20},
    {"copy-rates", "How fast does the copy engine copy rows and pieces?",
     "each small row costs as much as a small copy", ask_copy_rates, 60},
    {"bad-batch", "Does any copy of a batch run if its last copy is invalid?",
     "cuda/copy/batch.c: no copy of a refused batch runs", ask_bad_batch, 20},
};

/* Asks in a child process: 0, 77 without a GPU, or 1 when the child was killed. */
static int ask(const question *q) {
    int status = 0;
    printf("%s: %s\n    assumed: %s\n", q->name, q->text, q->assumed);
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        (void)alarm(q->seconds);
        q->ask();
        (void)fflush(stdout);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED))
        return WEXITSTATUS(status);
    if (WIFSIGNALED(status))
        printf("    !! ended by signal %d\n", WTERMSIG(status));
    return 1;
}

/* gpu_driver [tiny] [QUESTION...] */
int main(int argc, char **argv) {
    int failed = 0;
    tiny = argc > 1 && strcmp(argv[1], "tiny") == 0;
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        bool chosen = argc == 1 + tiny || i == 0;
        for (int j = 1 + tiny; j < argc; j++)
            chosen |= strcmp(argv[j], questions[i].name) == 0;
        const int code = chosen ? ask(&questions[i]) : 0;
        if (code == SKIPPED)
            return SKIPPED;
        failed |= code;
    }
    return failed;
}
