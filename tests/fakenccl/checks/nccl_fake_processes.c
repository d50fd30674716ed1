/* Ranks as processes, and the others when one dies. Only the children use CUDA. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ranks.h"
#include "needs.h"

#define MOST 4

/* Shared by the processes of a test. */
typedef struct meeting {
    atomic_int reached[MOST];
    atomic_bool go;
} meeting;

static char folder[] = "/tmp/check_processes_XXXXXX";

static void reach(rank *self) {
    meeting *all = self->shared;
    atomic_fetch_add(&all->reached[self->rank], 1);
}

static void until(rank *self, int other, int times) {
    meeting *all = self->shared;
    while (atomic_load(&all->reached[other]) < times)
        usleep(100);
}

/* Runs in a thread, so that a failed check ends the child, not the test that it was forked from. */
static _Noreturn void child(rank *self) {
    pthread_t thread;
    same(pthread_create(&thread, NULL, ranks_main, self), 0);
    same(pthread_join(thread, NULL), 0);
    size_t violations = fakenccl_reset();
    violations += fakecuda_reset();
    _exit(violations == 0 ? 0 : 3);
}

static pid_t start(const rank *like, int number) {
    rank self = *like;
    self.rank = number;
    (void)fflush(NULL);
    pid_t process = fork();
    if (process == 0)
        child(&self);
    return process;
}

static int end_of(pid_t process) {
    int status = 0;
    same(waitpid(process, &status, 0), process);
    return status;
}

static rank prepare(int ranks, void (*body)(rank *self)) {
    rank made = {.ranks = ranks, .bare = true, .body = body};
    made.shared =
        mmap(NULL, sizeof(meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    holds(made.shared != MAP_FAILED);
    good(ncclGetUniqueId(&made.id));
    return made;
}

static size_t files(void) {
    size_t count = 0;
    DIR *open = opendir(folder);
    holds(open);
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open))
        count += entry->d_name[0] != '.';
    (void)closedir(open);
    return count;
}

/* All ranks end well, except `victim` (-1: none), which is killed at its second point. */
static void run(int ranks, void (*body)(rank *self), int victim) {
    rank like = prepare(ranks, body);
    meeting *all = like.shared;
    pid_t processes[MOST];
    for (int i = 0; i < ranks; i++)
        processes[i] = start(&like, i);
    if (victim >= 0) {
        like.rank = victim;
        until(&like, victim, 2);
        same(kill(processes[victim], SIGKILL), 0);
        holds(WIFSIGNALED(end_of(processes[victim])));
        atomic_store(&all->go, true);
    }
    for (int i = 0; i < ranks; i++)
        if (i != victim)
            same(end_of(processes[i]), 0);
    same(files(), 0);
    (void)munmap(like.shared, sizeof(meeting));
}

/* ---- together ---- */

static void together(rank *self) {
    int next = (self->rank + 1) % self->ranks, last = (self->rank + self->ranks - 1) % self->ranks;
    good(ncclCommInitRank(&self->comm, self->ranks, self->id, self->rank));
    same(files(), 0); /* a rank that dies from here on leaves no file */
    good(ncclGroupStart());
    good(ranks_send(self, CHECK_BYTES, next));
    good(ranks_receive(self, CHECK_BYTES, last));
    good(ncclGroupEnd());
    ranks_expect(self, self->other, CHECK_BYTES, (unsigned)last);
    good(ncclCommDestroy(self->comm));
}

static void processes_exchange_data(void **state) {
    (void)state;
    run(3, together, -1);
}

/* ---- dying ---- */

/* Killed in the middle of a transfer, possibly while holding the lock. */
static void die_in_a_transfer(rank *self) {
    meeting *all = self->shared;
    good(ncclCommInitRank(&self->comm, self->ranks, self->id, self->rank));
    reach(self);
    while (!atomic_load(&all->go)) {
        if (self->rank == 0)
            good(ranks_send(self, CHECK_BYTES, 1));
        else
            good(ranks_receive(self, CHECK_BYTES, 0));
        if (self->rank == 1)
            ok(cudaStreamSynchronize(self->stream));
        else
            while (cudaStreamQuery(self->stream) == cudaErrorNotReady && !atomic_load(&all->go))
                usleep(10);
        reach(self);
    }
    good(ncclCommAbort(self->comm));
    ok(cudaStreamSynchronize(self->stream));
}

static void a_death_in_the_middle_harms_nobody_else(void **state) {
    (void)state;
    for (uint64_t i = 0; i < test_seeds(10); i++)
        run(2, die_in_a_transfer, 1);
}

static void die_locked(rank *self) {
    meeting *all = self->shared;
    good(ncclCommInitRank(&self->comm, self->ranks, self->id, self->rank));
    fakenccl_die(1, 2);
    for (int i = 0; i < 2; i++) {
        good(ranks_cast(self, 10, 0));
        if (i == 0)
            ok(cudaStreamSynchronize(self->stream));
    }
    while (!atomic_load(&all->go))
        usleep(100);
    usleep(50000);
    same(cudaStreamQuery(self->stream), cudaErrorNotReady);
    ncclResult_t result = ncclInternalError;
    good(ncclCommGetAsyncError(self->comm, &result));
    good(result); /* the other rank's death goes unnoticed */
    good(ncclCommAbort(self->comm));
    ok(cudaStreamSynchronize(self->stream));
}

/* The others wait, and can take the locks that the dead rank held. */
static void a_death_can_be_asked_for(void **state) {
    (void)state;
    rank like = prepare(2, die_locked);
    meeting *all = like.shared;
    pid_t processes[] = {start(&like, 0), start(&like, 1)};
    int status = end_of(processes[1]);
    holds(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    atomic_store(&all->go, true);
    same(end_of(processes[0]), 0);
    (void)munmap(like.shared, sizeof(meeting));
}

static void wait_in_vain(rank *self) {
    fakenccl_configure(&(fakenccl_config){.patience_ms = RANKS_PATIENCE_MS});
    same(ncclCommInitRank(&self->comm, 2, self->id, 0), ncclRemoteError);
    ranks_violation("rank 1, which has not come");
}

/* The file of an incomplete communicator is deleted with the process that made the id. */
static void a_rank_that_died_before_is_missed(void **state) {
    (void)state;
    rank like = prepare(2, wait_in_vain);
    same(end_of(start(&like, 0)), 0);
    same(files(), 1);
    same(fakenccl_reset(), 0);
    same(files(), 0);
    (void)munmap(like.shared, sizeof(meeting));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RANKS(processes_exchange_data),
        RANKS(a_death_in_the_middle_harms_nobody_else),
        RANKS(a_death_can_be_asked_for),
        RANKS(a_rank_that_died_before_is_missed),
    };
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    if (!mkdtemp(folder) || setenv("TMPDIR", folder, 1) != 0) {
        perror(folder);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (rmdir(folder) != 0) {
        perror(folder);
        return 1;
    }
    return failed;
}
