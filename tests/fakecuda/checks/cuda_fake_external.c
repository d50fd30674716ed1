/* Work that the fake of another library enqueues in streams. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "needs.h"

/* Work that blocks until released and then fills its memory. */
typedef struct job {
    atomic_bool begun, go, done, dead, over, asked_too_late;
    void *shadow;
    size_t size;
} job;

static void run(void *user, bool dead) {
    job *self = user;
    atomic_store(&self->begun, true);
    while (!dead && !atomic_load(&self->go))
        usleep(100);
    if (!dead && self->shadow)
        memset(self->shadow, 0x42, self->size);
    atomic_store(&self->dead, dead);
    atomic_store(&self->done, true);
}

static bool stuck(void *user) {
    job *self = user;
    if (atomic_load(&self->over))
        atomic_store(&self->asked_too_late, true);
    return atomic_load(&self->begun) && !atomic_load(&self->go);
}

/* `stuck` is not called from here on, however long this takes. */
static void over(void *user) {
    atomic_store(&((job *)user)->over, true);
    usleep(5000);
}

static fakecuda_work work_of(job *self) {
    return (fakecuda_work){.run = run, .stuck = stuck, .done = over, .user = self};
}

static void work_runs_in_order(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    job self = {.shadow = fakecuda_shadow(t.device, 100), .size = 100};
    fakecuda_work work = work_of(&self);
    uint64_t calls = fakecuda_calls(NULL);
    ok(fakecuda_enqueue(0, t.a, &work));
    assert_int_equal(fakecuda_calls(NULL), calls);
    ok(cudaMemcpyAsync(t.out, t.device, 200, cudaMemcpyDeviceToHost, t.a));
    fakecuda_settle(); /* the work blocks, and the copy follows it */
    assert_true(atomic_load(&self.begun));
    assert_int_equal(cudaStreamQuery(t.a), cudaErrorNotReady);
    assert_int_equal(fakecuda_pending(t.a), 2);
    atomic_store(&self.go, true);
    fakecuda_settle();
    ok(cudaStreamSynchronize(t.a));
    assert_true(atomic_load(&self.over));
    assert_false(atomic_load(&self.asked_too_late));
    assert_int_equal(t.out[99], 0x42);
    assert_false(atomic_load(&self.dead));
    assert_int_equal(fakecuda_operations(FAKECUDA_EXTERNAL), 1);
    check_buffers_free(&t);
}

static void work_runs_on_the_given_device(void **state) {
    (void)state;
    fakecuda_configure(&(fakecuda_config){.devices = 2});
    job self = {.go = true};
    fakecuda_work work = work_of(&self);
    cudaStream_t stream;
    void *memory = NULL;
    ok(cudaSetDevice(1));
    assert_int_equal(fakecuda_device(), 1);
    ok(cudaStreamCreate(&stream));
    ok(cudaMalloc(&memory, 16));
    assert_int_equal(fakecuda_device_of((char *)memory + 15), 1);
    assert_int_equal(fakecuda_device_of((char *)memory + 16), -1);
    assert_int_equal(fakecuda_device_of(&work), -1);
    ok(cudaSetDevice(0));
    ok(fakecuda_enqueue(1, stream, &work));
    ok(fakecuda_enqueue(1, NULL, &work));
    assert_int_equal(fakecuda_enqueue(0, stream, &work), cudaErrorInvalidResourceHandle);
    assert_int_equal(fakecuda_enqueue(2, NULL, &work), cudaErrorInvalidDevice);
    assert_int_equal(fakecuda_device(), 0);
    ok(cudaFree(memory));
    ok(cudaStreamDestroy(stream));
}

static void captures_refuse_work(void **state) {
    (void)state;
    job self = {.go = true};
    fakecuda_work work = work_of(&self);
    cudaStream_t stream;
    cudaGraph_t graph;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(fakecuda_enqueue(0, stream, &work), cudaErrorStreamCaptureUnsupported);
    ok(cudaStreamEndCapture(stream, &graph));
    ok(cudaGraphDestroy(graph));
    ok(cudaStreamDestroy(stream));
    assert_false(atomic_load(&self.done));
}

static void *let_go_later(void *user) {
    usleep(20000);
    atomic_store(&((job *)user)->go, true);
    return NULL;
}

/* Freeing waits for the work as for a copy, and records a violation. */
static void freeing_memory_of_work_waits(void **state) {
    (void)state;
    job self = {0};
    fakecuda_work work = work_of(&self);
    char *used = NULL, *unused = NULL;
    pthread_t helper;
    ok(cudaMalloc((void **)&used, 4096));
    ok(cudaMalloc((void **)&unused, 4096));
    work.spans = &(fakecuda_span){used + 100, 8};
    work.span_count = 1;
    ok(fakecuda_enqueue(0, cudaStreamPerThread, &work));
    assert_int_equal(pthread_create(&helper, NULL, let_go_later, &self), 0);
    ok(cudaFree(used));
    assert_true(atomic_load(&self.done));
    check_violation("which an operation that has not completed uses");
    assert_int_equal(pthread_join(helper, NULL), 0);
    ok(fakecuda_enqueue(0, cudaStreamPerThread, &(fakecuda_work){.run = run, .user = &self}));
    ok(cudaFree(unused));
}

static void a_dead_context_ends_work(void **state) {
    (void)state;
    job first = {0}, second = {0};
    fakecuda_work works[] = {work_of(&first), work_of(&second)};
    fakecuda_fail_operation(FAKECUDA_EXTERNAL, 2, cudaErrorLaunchFailure);
    atomic_store(&first.go, true);
    ok(fakecuda_enqueue(0, cudaStreamLegacy, &works[0]));
    ok(fakecuda_enqueue(0, cudaStreamLegacy, &works[1]));
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    assert_true(fakecuda_dead(0));
    assert_false(fakecuda_dead(1));
    assert_false(atomic_load(&first.dead));
    while (!atomic_load(&second.done))
        usleep(100);
    assert_true(atomic_load(&second.dead));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(work_runs_in_order),       CHECK(work_runs_on_the_given_device),
        CHECK(captures_refuse_work),     CHECK(freeing_memory_of_work_waits),
        CHECK(a_dead_context_ends_work),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
