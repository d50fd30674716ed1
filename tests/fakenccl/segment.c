/* The state that a communicator's ranks share: a file that each process maps once. Its lock
 * survives the death of its holder. Threads wait for a counter in it, since a condition variable
 * would not survive the death of a waiting thread. */
#include "fake_nccl.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

static nfake_segment *segments;

/* Files made by this process that may still have a name. */
typedef struct made {
    struct made *next;
    pid_t owner; /* a fork copies the list */
    char path[NFAKE_PATH];
} made;

static made *files;
static pthread_mutex_t files_mutex = PTHREAD_MUTEX_INITIALIZER;

static void remove_files(void) {
    while (files) {
        made *gone = files;
        files = gone->next;
        if (gone->owner == getpid())
            (void)unlink(gone->path); /* done already if all ranks have connected */
        free(gone);
    }
}

static void remember(const char *path) {
    static bool registered;
    made *file = malloc(sizeof *file);
    if (!file)
        abort();
    file->owner = getpid();
    snprintf(file->path, sizeof file->path, "%s", path);
    pthread_mutex_lock(&files_mutex);
    if (!registered)
        registered = atexit(remove_files) == 0;
    file->next = files;
    files = file;
    pthread_mutex_unlock(&files_mutex);
}

static void mutex_make(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static nfake_shared *map(int file) {
    void *address = mmap(NULL, sizeof(nfake_shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return address == MAP_FAILED ? NULL : address;
}

/* Everything except the lock starts as zero. The file has holes where no rank sends. */
static bool initialise(int file) {
    if (ftruncate(file, (off_t)sizeof(nfake_shared)) != 0)
        return false;
    nfake_shared *shared = map(file);
    if (!shared)
        return false;
    mutex_make(&shared->mutex);
    (void)munmap(shared, sizeof *shared);
    return true;
}

bool nfake_segment_make(char path[NFAKE_PATH]) {
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder || strlen(folder) > NFAKE_PATH - 32)
        folder = "/tmp";
    snprintf(path, NFAKE_PATH, "%s/fakenccl-XXXXXX", folder);
    int file = mkostemp(path, O_CLOEXEC);
    if (file < 0)
        return false;
    bool done = initialise(file);
    if (done)
        remember(path);
    else
        (void)unlink(path);
    close(file);
    return done;
}

static nfake_segment *known(const char *path) {
    nfake_segment *segment = segments;
    while (segment && (segment->complete || strcmp(segment->path, path) != 0))
        segment = segment->next;
    return segment;
}

static nfake_segment *segment_open(const char *path) {
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return NULL;
    nfake_segment *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->shared = map(file);
    close(file);
    if (!made->shared) {
        free(made);
        return NULL;
    }
    snprintf(made->path, sizeof made->path, "%s", path);
    made->next = segments;
    segments = made;
    return made;
}

nfake_segment *nfake_segment_open(const char *path) {
    nfake_segment *segment = known(path);
    if (!segment)
        segment = segment_open(path);
    if (segment)
        segment->references++;
    return segment;
}

void nfake_segment_complete(nfake_segment *segment) {
    segment->complete = true;
    (void)unlink(segment->path); /* each process tries */
}

void nfake_segment_drop(nfake_segment *segment) {
    if (!segment || --segment->references > 0)
        return;
    nfake_segment **at = &segments;
    while (*at != segment)
        at = &(*at)->next;
    *at = segment->next;
    (void)munmap(segment->shared, sizeof *segment->shared);
    free(segment);
}

void nfake_segments_reset(void) {
    remove_files();
}

/* ---- the lock and the counter ---- */

/* Hidden from ThreadSanitizer, which would take the lock for an order of the program's. */
void nfake_shared_lock(nfake_shared *shared) {
    fake_hide();
    int error = pthread_mutex_lock(&shared->mutex);
    if (error == EOWNERDEAD) /* no store under it depends on another */
        error = pthread_mutex_consistent(&shared->mutex);
    if (error != 0)
        abort();
}

void nfake_shared_unlock(nfake_shared *shared) {
    pthread_mutex_unlock(&shared->mutex);
    fake_show();
}

void nfake_changed(nfake_shared *shared) {
    fake_hide();
    atomic_fetch_add(&shared->change, 1);
    fake_show();
    (void)syscall(SYS_futex, &shared->change, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

uint32_t nfake_seen(const nfake_shared *shared) {
    return atomic_load(&shared->change);
}

void nfake_wait_change(nfake_shared *shared, uint32_t seen) {
    const struct timespec slice = {.tv_nsec = 10000000};
    (void)syscall(SYS_futex, &shared->change, FUTEX_WAIT, seen, &slice, NULL, 0);
}
