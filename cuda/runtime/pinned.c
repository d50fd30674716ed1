/*
 * Pinned host memory: mapped, touched by several threads and registered in segments.
 *
 *     multiples of KVF_CUDA_SEGMENT      |                     |                     |
 *     the memory                     [...........................................)
 *     registrations                  [   )[                   )[                  )
 */
#include "runtime/runtime.h"

#include "base/threads.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

enum { USUAL_THREADS = 16, MOST_THREADS = 256, MPOL_BIND_MODE = 2 };

struct kvf_cuda_pinned {
    kvf_allocator allocator;
    int device;
    char *base;
    size_t bytes;
    bool mapped;       /* by us, so that we unmap it */
    size_t registered; /* bytes from the base that we have registered */
};

/* Mapping */

static bool round_up(size_t bytes, size_t unit, size_t *rounded) {
    if (!kvf__add(bytes, unit - 1, rounded))
        return false;
    *rounded -= *rounded % unit;
    return true;
}

/* Address space aligned to huge pages at both ends; NULL when there is none. */
static char *map_aligned(size_t bytes) {
    char *all = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)all % HUGE_PAGE);
    if (before > 0)
        munmap(all, before);
    munmap(all + before + bytes, HUGE_PAGE - before);
    return all + before;
}

static bool bind_to_node(char *base, size_t bytes, int node) {
    unsigned long nodes[16] = {0};
    enum { BITS = 8 * sizeof nodes[0] };
    if (node < 0 || (size_t)node >= sizeof nodes * 8)
        return false;
    nodes[(size_t)node / BITS] = 1ul << ((size_t)node % BITS);
    return syscall(SYS_mbind, base, bytes, MPOL_BIND_MODE, nodes, sizeof nodes * 8, 0) == 0;
}

/* First touch */

typedef struct toucher {
    char *base;
    size_t pages, page_bytes;
    atomic_size_t next; /* page; threads take a bunch at a time */
} toucher;

static void *touch(void *context) {
    toucher *t = context;
    enum { BUNCH = 512 };
    for (;;) {
        size_t first = atomic_fetch_add(&t->next, BUNCH);
        if (first >= t->pages)
            return NULL;
        size_t end = t->pages - first < BUNCH ? t->pages : first + BUNCH;
        for (size_t page = first; page < end; page++)
            t->base[page * t->page_bytes] = 0;
    }
}

/* Touches with up to `wanted` threads, including the caller's; with fewer if some cannot start. */
static void touch_all(char *base, size_t bytes, unsigned wanted) {
    pthread_t threads[MOST_THREADS];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    toucher t = {.base = base, .pages = bytes / page, .page_bytes = page};
    unsigned count = 0;
    while (count + 1 < wanted && kvf__start_thread(&threads[count], touch, &t, NULL) == KVF_OK)
        count++;
    touch(&t);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static unsigned threads_wanted(unsigned asked) {
    return (unsigned)kvf__min(asked ? asked : kvf__usable_cpus(USUAL_THREADS), MOST_THREADS);
}

/* Whether a line of smaps, "start-end ...", starts the mapping that holds an address. `*heading`:
 * whether the line starts any mapping. */
static bool starts_mapping(const char *line, uintptr_t address, bool *heading) {
    char *end = NULL;
    uintptr_t start = strtoul(line, &end, 16);
    *heading = end > line && *end == '-';
    return *heading && start <= address && address < strtoul(end + 1, NULL, 16);
}

/* Bytes of the mapping in huge pages, according to /proc; 0 when it does not say. */
static size_t huge_bytes(const char *base) {
    static const char key[] = "AnonHugePages:";
    FILE *maps = fopen("/proc/self/smaps", "re");
    if (!maps)
        return 0;
    char line[256];
    size_t kilobytes = 0;
    bool inside = false, heading;
    while (fgets(line, sizeof line, maps)) {
        bool ours = starts_mapping(line, (uintptr_t)base, &heading);
        inside = heading ? ours : inside;
        if (!heading && inside && strncmp(line, key, sizeof key - 1) == 0)
            kilobytes = strtoul(line + sizeof key - 1, NULL, 10);
    }
    fclose(maps);
    return kilobytes << 10;
}

/* Registering */

static size_t segment_end(const char *at, const char *end) {
    size_t left = KVF_CUDA_SEGMENT - (uintptr_t)at % KVF_CUDA_SEGMENT;
    return kvf__min(left, (size_t)(end - at));
}

static void unregister(kvf_cuda_pinned *p) {
    for (char *at = p->base, *end = p->base + p->registered; at < end;) {
        size_t bytes = segment_end(at, end);
        (void)cudaHostUnregister(at);
        at += bytes;
    }
    (void)cudaGetLastError();
    p->registered = 0;
}

static kvf_status register_all(kvf_cuda_pinned *p, size_t *segments, kvf_error *error) {
    *segments = 0;
    for (char *at = p->base, *end = p->base + p->bytes; at < end; (*segments)++) {
        size_t bytes = segment_end(at, end);
        cudaError_t code =
            cudaHostRegister(at, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
        if (code != cudaSuccess) {
            unregister(p);
            return kvf__cuda_fail(code, "cudaHostRegister", error);
        }
        at += bytes;
        p->registered += bytes;
    }
    return KVF_OK;
}

/* The public functions */

static kvf_cuda_pinned *make(const kvf_allocator *allocator, int device, void *base, size_t bytes,
                             kvf_error *error) {
    kvf_allocator own = kvf__allocator(allocator);
    kvf_cuda_pinned *p = kvf__alloc_zero(&own, 1, sizeof *p);
    if (!p) {
        KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
        return NULL;
    }
    p->allocator = own;
    p->device = device;
    p->base = base;
    p->bytes = bytes;
    return p;
}

static void unmake(kvf_cuda_pinned *p) {
    kvf_allocator own = p->allocator;
    if (p->mapped)
        munmap(p->base, p->bytes);
    kvf__free(&own, p, 1, sizeof *p);
}

/* The device's NUMA node; -1 when it is unknown or the system has only one. */
static int node_near(int device) {
    int node = -1;
    if (cudaDeviceGetAttribute(&node, cudaDevAttrHostNumaId, device) != cudaSuccess) {
        (void)cudaGetLastError();
        return -1;
    }
    return node;
}

static void fill(kvf_cuda_pinned *p, const kvf_cuda_pinned_options *o, kvf_cuda_pinned_info *info) {
    uint64_t start = kvf__now();
    int node = o->near_device ? node_near(o->device) : -1;
    info->numa_node = bind_to_node(p->base, p->bytes, node) ? node : -1;
    (void)madvise(p->base, p->bytes, o->no_huge_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    touch_all(p->base, p->bytes, threads_wanted(o->threads));
    info->bytes = p->bytes;
    info->touch_seconds = (double)(kvf__now() - start) / 1e9;
    info->huge_bytes = huge_bytes(p->base);
    info->page_bytes = info->huge_bytes > p->bytes / 2 ? HUGE_PAGE : (size_t)sysconf(_SC_PAGESIZE);
}

static kvf_status map_and_register(kvf_cuda_pinned *p, const kvf_cuda_pinned_options *o,
                                   kvf_cuda_pinned_info *info, kvf_error *error) {
    kvf__cuda_device_scope scope;
    kvf_status status = kvf__cuda_enter(p->device, &scope, error);
    if (status != KVF_OK)
        return status;
    if (o) {
        p->base = map_aligned(p->bytes);
        p->mapped = p->base != NULL;
        if (p->mapped)
            fill(p, o, info);
        else
            status = KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY, .what = "mmap");
    }
    uint64_t start = kvf__now();
    if (status == KVF_OK)
        status = register_all(p, &info->segments, error);
    info->register_seconds = (double)(kvf__now() - start) / 1e9;
    kvf__cuda_leave(&scope);
    return status;
}

static kvf_status finish(kvf_cuda_pinned *p, const kvf_cuda_pinned_options *o,
                         kvf_cuda_pinned **out, kvf_cuda_pinned_info *info, kvf_error *error) {
    kvf_cuda_pinned_info obtained = {.bytes = p->bytes, .numa_node = -1};
    kvf_status status = map_and_register(p, o, &obtained, error);
    if (status != KVF_OK) {
        unmake(p);
        return status;
    }
    if (info)
        *info = obtained;
    *out = p;
    return KVF_OK;
}

kvf_status kvf_cuda_pinned_create(const kvf_cuda_pinned_options *options, kvf_cuda_pinned **out,
                                  kvf_cuda_pinned_info *info, kvf_error *error) {
    size_t bytes, room;
    if (!options || !out || options->bytes == 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument or 0 bytes");
    if (!round_up(options->bytes, HUGE_PAGE, &bytes) || !kvf__add(bytes, HUGE_PAGE, &room))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY,
                         .what = "more bytes than address space");
    kvf_cuda_pinned *p = make(options->allocator, options->device, NULL, bytes, error);
    return p ? finish(p, options, out, info, error) : KVF_ERR_NO_MEMORY;
}

kvf_status kvf_cuda_pinned_adopt(void *base, size_t bytes, int device,
                                 const kvf_allocator *allocator, kvf_cuda_pinned **out,
                                 kvf_cuda_pinned_info *info, kvf_error *error) {
    if (!base || bytes == 0 || !out || bytes - 1 > UINTPTR_MAX - (uintptr_t)base)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument or 0 bytes");
    kvf_cuda_pinned *p = make(allocator, device, base, bytes, error);
    return p ? finish(p, NULL, out, info, error) : KVF_ERR_NO_MEMORY;
}

void *kvf_cuda_pinned_base(const kvf_cuda_pinned *p) {
    return p ? p->base : NULL;
}

size_t kvf_cuda_pinned_bytes(const kvf_cuda_pinned *p) {
    return p ? p->bytes : 0;
}

void kvf_cuda_pinned_destroy(kvf_cuda_pinned *p) {
    if (!p)
        return;
    kvf__cuda_device_scope scope;
    bool entered = kvf__cuda_enter(p->device, &scope, NULL) == KVF_OK;
    unregister(p);
    if (entered)
        kvf__cuda_leave(&scope);
    unmake(p);
}
