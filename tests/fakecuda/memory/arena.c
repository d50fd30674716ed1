/* Addresses for device memory. An arena is a range of address space whose pages are handed out
 * once, from the bottom up:
 *
 *     va    [guard][ allocation ][guard][ allocation ][guard] ...      the program's addresses
 *     raw   [guard][   bytes    ][guard][   bytes    ][guard] ...      what the fake touches
 *
 * `raw` maps one file from end to end. `va` maps the same file where an allocation lives and an
 * empty file everywhere else, whose pages cannot be touched under any protection. All of `va` is
 * PROT_NONE except in the window, while kernels run. Kernels thus need no translation, and an
 * access outside live memory kills them even in the window; a host access kills whenever no kernel
 * runs. The arena of aliases has only a `va`, which maps pages of the program's registered memory.
 */
#include "fake_internal.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPAN   ((size_t)64 << 30)
#define ARENAS (FAKECUDA_DEVICES + 1)
#define CANARY 0xca

typedef struct arena {
    char *va, *raw;
    size_t used; /* bytes from the start that were handed out, with their guards */
    int file;
} arena;

static arena arenas[ARENAS];
static int nothing = -1; /* the empty file */
static unsigned windows;

static char *map(char *at, size_t bytes, int protection, int file, off_t offset) {
    int flags = MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0);
    void *address = mmap(at, bytes, protection, flags, file, offset);
    return address == MAP_FAILED ? NULL : address;
}

static int protection(void) {
    return windows > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
}

static void must(bool done, const char *what) {
    if (!done) {
        fprintf(stderr, "fakecuda: cannot create %s\n", what);
        abort();
    }
}

static void arena_open(int number) {
    arena *self = &arenas[number];
    if (self->va)
        return;
    if (nothing < 0)
        nothing = memfd_create("fakecuda nothing", MFD_CLOEXEC);
    self->va = map(NULL, SPAN, protection(), nothing, 0);
    must(self->va != NULL, "an address space");
    self->used = FAKE_PAGE;
    if (number == FAKE_ALIASES)
        return;
    self->file = memfd_create("fakecuda device", MFD_CLOEXEC);
    must(self->file >= 0 && ftruncate(self->file, (off_t)SPAN) == 0, "a device's memory");
    self->raw = map(NULL, SPAN, PROT_READ | PROT_WRITE, self->file, 0);
    must(self->raw != NULL, "a device's memory");
}

static void poison(const arena *self, const char *address, size_t bytes) {
    fake_poison(address, bytes);
    if (self->raw)
        fake_poison(self->raw + (address - self->va), bytes);
}

static void unpoison(const arena *self, const char *address, size_t bytes) {
    fake_unpoison(address, bytes);
    if (self->raw)
        fake_unpoison(self->raw + (address - self->va), bytes);
}

char *fake_arena_take(int number, size_t bytes, size_t mapped) {
    arena *self = &arenas[number];
    arena_open(number);
    if (bytes > SPAN || self->used + bytes + FAKE_PAGE > SPAN)
        return NULL;
    char *address = self->va + self->used;
    if (self->raw && mapped > 0 &&
        !map(address, mapped, protection(), self->file, (off_t)self->used))
        return NULL;
    self->used += bytes + FAKE_PAGE;
    poison(self, address + mapped, bytes - mapped + FAKE_PAGE);
    return address;
}

void fake_arena_drop(int number, char *address, size_t bytes) {
    arena *self = &arenas[number];
    (void)map(address, bytes, protection(), nothing, 0);
    poison(self, address, bytes);
    if (self->raw)
        (void)fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)(address - self->va), (off_t)bytes);
}

static size_t whole_pages(size_t bytes) {
    return (bytes + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
}

/* Fills the rest of the last page with a mark, for builds without AddressSanitizer. */
void fake_arena_bound(int number, char *address, size_t size) {
    arena *self = &arenas[number];
    char *raw = self->raw + (address - self->va);
    memset(raw, 0xd5, size);
    memset(raw + size, CANARY, whole_pages(size) - size);
    poison(self, address + size, whole_pages(size) - size);
}

bool fake_arena_overrun(int number, char *address, size_t size) {
    arena *self = &arenas[number];
    size_t pages = whole_pages(size);
    unpoison(self, address + size, pages - size);
    const char *raw = self->raw + (address - self->va);
    for (size_t i = size; i < pages; i++)
        if ((unsigned char)raw[i] != CANARY)
            return true;
    return false;
}

int fake_arena_of(const void *address) {
    uintptr_t at = (uintptr_t)address;
    for (int i = 0; i < ARENAS; i++) {
        uintptr_t va = (uintptr_t)arenas[i].va;
        if (va != 0 && at >= va && at - va < SPAN)
            return i;
    }
    return -1;
}

char *fake_arena_raw(const void *address) {
    const arena *self = &arenas[fake_arena_of(address)];
    return self->raw + ((const char *)address - self->va);
}

/* ---- aliases of registered memory ---- */

/* Private memory cannot be mapped twice: its pages are replaced by those of a file. */
static bool make_shared(char *host, size_t bytes) {
    int file = memfd_create("fakecuda host", MFD_CLOEXEC);
    if (file < 0)
        return false;
    bool done = ftruncate(file, (off_t)bytes) == 0;
    for (size_t at = 0; done && at < bytes;) {
        ssize_t written = pwrite(file, host + at, bytes - at, (off_t)at);
        done = written > 0;
        at += done ? (size_t)written : 0;
    }
    done = done && map(host, bytes, PROT_READ | PROT_WRITE, file, 0);
    close(file);
    return done;
}

/* With an old size of 0, mremap adds another mapping of shared pages. */
static bool share(char *alias, char *host, size_t bytes) {
    return mremap(host, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, alias) == alias;
}

void fake_arena_alias(char *alias, char *host, size_t bytes) {
    if ((uintptr_t)host % FAKE_PAGE != 0 || bytes % FAKE_PAGE != 0)
        return; /* pages shared with other memory: copies work, kernels die */
    if (!share(alias, host, bytes) && (!make_shared(host, bytes) || !share(alias, host, bytes))) {
        (void)map(alias, bytes, PROT_NONE, nothing, 0);
        return;
    }
    unpoison(&arenas[FAKE_ALIASES], alias, bytes);
    (void)mprotect(alias, bytes, protection());
}

/* ---- the window ---- */

static void protect_all(void) {
    for (int i = 0; i < ARENAS; i++)
        if (arenas[i].va)
            (void)mprotect(arenas[i].va, arenas[i].used, protection());
}

void fake_window_open(void) {
    if (windows++ == 0)
        protect_all();
}

void fake_window_close(void) {
    if (--windows == 0)
        protect_all();
}

void fake_arenas_reset(void) {
    for (int i = 0; i < ARENAS; i++) {
        arena *self = &arenas[i];
        if (!self->va)
            continue;
        unpoison(self, self->va, self->used);
        (void)munmap(self->va, SPAN);
        if (self->raw) {
            (void)munmap(self->raw, SPAN);
            close(self->file);
        }
        *self = (arena){0};
    }
}
