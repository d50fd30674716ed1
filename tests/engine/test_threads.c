/* The library's threads: they block all signals, and there is one per CPU of the affinity mask. */
#include "support/support.h"

#include "base/threads.h"

#include <kvferry/engine.h>

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool takes(int number) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return !sigismember(&mask, number);
}

static void *look(void *context) {
    *(bool *)context = takes(SIGTERM) || takes(SIGUSR1);
    return NULL;
}

static void test_threads_block_signals(void **state) {
    (void)state;
    pthread_t thread;
    bool took = true;
    assert_int_equal(kvf__start_thread(&thread, look, &took, NULL), KVF_OK);
    pthread_join(thread, NULL);
    assert_false(took);
    assert_true(takes(SIGTERM));
}

/* The kernel's mask, or a made-up one: the last `allowed` of `cpus` CPUs. */
static struct {
    size_t cpus, allowed;
    int error;
} imitated;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set) {
    errno = imitated.error;
    if (errno != 0)
        return -1;
    memset(set, 0, bytes);
    if (imitated.cpus == 0)
        return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    errno = EINVAL;
    if (bytes * 8 < imitated.cpus)
        return -1;
    for (size_t i = 1; i <= imitated.allowed; i++)
        CPU_SET_S(imitated.cpus - i, bytes, set);
    return 0;
}

static void test_cpus_are_those_of_the_mask(void **state) {
    (void)state;
    static const struct {
        size_t cpus, allowed;
        unsigned most, usable;
    } machines[] = {
        {1, 1, 8, 1},         {64, 5, 8, 5},   {64, 64, 8, 8},
        {2000, 1500, 16, 16}, {8192, 3, 8, 3}, {8192, 8192, 100000, 8192},
    };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        imitated.cpus = machines[i].cpus;
        imitated.allowed = machines[i].allowed;
        assert_int_equal(kvf__usable_cpus(machines[i].most), machines[i].usable);
    }
    imitated.cpus = 0;
    imitated.error = ENOSYS;
    assert_int_equal(kvf__usable_cpus(100000), sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(kvf__usable_cpus(1), 1);
    imitated.error = 0;
}

static size_t tasks(void) {
    DIR *folder = opendir("/proc/self/task");
    size_t count = 0;
    assert_non_null(folder);
    for (const struct dirent *d = readdir(folder); d; d = readdir(folder))
        count += d->d_name[0] != '.';
    closedir(folder);
    return count;
}

static size_t threads_of_a_host_engine(void) {
    size_t before = tasks();
    kvf_engine *engine = NULL;
    assert_int_equal(kvf_engine_host_create(NULL, &engine, NULL), KVF_OK);
    size_t more = tasks() - before;
    kvf_engine_destroy(engine);
    return more;
}

static void test_the_host_engine_starts_one_thread_per_cpu(void **state) {
    (void)state;
    cpu_set_t all[64], one[64] = {0};
    assert_int_equal(sched_getaffinity(0, sizeof all, all), 0);
    size_t cpu = 0;
    while (!CPU_ISSET_S(cpu, sizeof all, all))
        cpu++;
    CPU_SET_S(cpu, sizeof one, one);
    assert_int_equal(sched_setaffinity(0, sizeof one, one), 0);
    assert_int_equal(threads_of_a_host_engine(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, all), 0);
    assert_int_equal(threads_of_a_host_engine(), kvf__usable_cpus(8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_block_signals),
        cmocka_unit_test(test_cpus_are_those_of_the_mask),
        cmocka_unit_test(test_the_host_engine_starts_one_thread_per_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
