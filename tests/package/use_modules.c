/* A program that uses the installed CUDA module and, with WITH_NCCL, the NCCL module.
 * Needs a GPU or the fake runtimes. */
#include <kvferry/cuda.h>
#ifdef WITH_NCCL
#include <kvferry/nccl.h>
#endif

#include <stdio.h>

static int failed;

static void expect(kvf_status wanted, kvf_status got, const char *what) {
    if (wanted != got) {
        printf("%s: %s\n", what, kvf_status_name(got));
        failed = 1;
    }
}

#ifdef WITH_NCCL
/* A group of one rank needs no peer. */
static void join(kvf_engine *engine) {
    kvf_group_options options = {.engine = engine, .ranks = 1};
    kvf_group *group = NULL;
    expect(KVF_OK, kvf_group_create(&options, &group, NULL), "group");
    expect(KVF_OK, kvf_group_check(group, NULL), "group's state");
    kvf_group_destroy(group);
}
#endif

int main(void) {
    kvf_cuda_pinned_options options = {.bytes = 1 << 20};
    kvf_cuda_pinned *pinned = NULL;
    kvf_engine *engine = NULL;
    expect(KVF_OK, kvf_cuda_pinned_create(&options, &pinned, NULL, NULL), "pinned memory");
    expect(KVF_OK, kvf_engine_cuda_create(NULL, &engine, NULL), "engine");
#ifdef WITH_NCCL
    if (engine)
        join(engine);
#endif
    kvf_engine_destroy(engine);
    kvf_cuda_pinned_destroy(pinned);
    if (!failed)
        puts("the modules work");
    return failed;
}
