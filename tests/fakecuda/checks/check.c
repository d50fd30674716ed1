#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void check_buffers_make(check_buffers *buffers) {
    ok(cudaStreamCreateWithFlags(&buffers->a, cudaStreamNonBlocking));
    ok(cudaStreamCreateWithFlags(&buffers->b, cudaStreamNonBlocking));
    ok(cudaHostAlloc((void **)&buffers->in, CHECK_BYTES, cudaHostAllocDefault));
    ok(cudaHostAlloc((void **)&buffers->out, CHECK_BYTES, cudaHostAllocDefault));
    ok(cudaMalloc((void **)&buffers->device, CHECK_BYTES));
    check_fill(buffers->in, CHECK_BYTES, 1);
    memset(buffers->out, 0, CHECK_BYTES);
}

void check_buffers_free(check_buffers *buffers) {
    ok(cudaFree(buffers->device));
    ok(cudaFreeHost(buffers->out));
    ok(cudaFreeHost(buffers->in));
    ok(cudaStreamDestroy(buffers->b));
    ok(cudaStreamDestroy(buffers->a));
}

int check_begin(void **state) {
    (void)state;
    if (FAKECUDA)
        fakecuda_configure(NULL);
    return 0;
}

int check_end(void **state) {
    (void)state;
    return FAKECUDA && fakecuda_reset() != 0 ? -1 : 0;
}

void check_violation(const char *part) {
    const char *text = fakecuda_violation(0);
    assert_non_null(text);
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
    assert_int_equal(fakecuda_violations(), 1);
    fakecuda_forgive();
}

bool check_deadly(const char *address) {
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        (void)close(2);
        volatile char byte = *address;
        (void)byte;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

void check_fill(char *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + i / 256 * 31 + seed * 101);
}

bool check_filled(const char *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (char)(i * 7 + i / 256 * 31 + seed * 101))
            return false;
    return true;
}

void *check_entry(const char *symbol, unsigned version) {
    void *function = NULL;
    enum cudaDriverEntryPointQueryResult result;
    ok(cudaGetDriverEntryPointByVersion(symbol, &function, version, cudaEnableDefault, &result));
    assert_int_equal(result == cudaDriverEntryPointSuccess, function != NULL);
    return function;
}
