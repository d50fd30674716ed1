/* Device memory: finding its device, accessing, allocating and registering it. */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GARBAGE 0xbd

bool nfake_memory_find(ncclComm_t comm, const char *role, const void *address, size_t bytes,
                       nfake_memory *out) {
    nfake_name name = nfake_comm_name(comm);
    int device = fakecuda_device_of(address);
    *out = (nfake_memory){
        .raw = fakecuda_shadow(address, bytes), .seen = (char *)(uintptr_t)address, .bytes = bytes};
    if (device < 0)
        fake_violation("%s, %s: %s %p is not device memory", nfake_function(), name.text, role,
                       address);
    else if (!out->raw)
        fake_violation("%s, %s: %s %p + %zu crosses the end of its allocation", nfake_function(),
                       name.text, role, address, bytes);
    else if (device != comm->device)
        fake_violation("%s, %s: %s %p is on device %d, the communicator on %d", nfake_function(),
                       name.text, role, address, device, comm->device);
    return out->raw && device == comm->device;
}

/* ---- access ---- */

void nfake_read(const nfake_memory *memory, size_t offset, char *to, size_t bytes) {
    if (memory->seen) {
        fake_show();
        fake_saw_read(memory->seen + offset, bytes);
        fake_hide();
    }
    memcpy(to, memory->raw + offset, bytes);
}

static void saw_write(const nfake_memory *memory, size_t offset, size_t bytes) {
    if (memory->seen) {
        fake_show();
        fake_saw_write(memory->seen + offset, bytes);
        fake_hide();
    }
}

void nfake_write(const nfake_memory *memory, size_t offset, const char *from, size_t bytes) {
    saw_write(memory, offset, bytes);
    memcpy(memory->raw + offset, from, bytes);
}

void nfake_copy(const nfake_memory *to, const nfake_memory *from, size_t bytes) {
    if (to->raw == from->raw || bytes == 0)
        return;
    if (from->seen) {
        fake_show();
        fake_saw_read(from->seen, bytes);
        fake_hide();
    }
    saw_write(to, 0, bytes);
    memmove(to->raw, from->raw, bytes);
}

void nfake_scribble(const nfake_memory *memory) {
    if (memory->bytes == 0)
        return;
    saw_write(memory, 0, memory->bytes);
    memset(memory->raw, GARBAGE, memory->bytes);
}

nfake_memory nfake_part(const nfake_memory *memory, size_t offset, size_t bytes) {
    return (nfake_memory){.raw = memory->raw + offset,
                          .seen = memory->seen ? memory->seen + offset : NULL,
                          .bytes = bytes};
}

/* ---- the calls ---- */

static nfake_range *blocks; /* of ncclMemAlloc */

static nfake_range **block_of(const char *address) {
    nfake_range **at = &blocks;
    while (*at && (address < (*at)->address || address >= (*at)->address + (*at)->size))
        at = &(*at)->next;
    return at;
}

static void block_remove(const char *address) {
    nfake_range **at = block_of(address), *gone = *at;
    if (!gone)
        return;
    ncclComm_t comm = nfake_comm_windowed(gone->address, gone->size);
    if (comm)
        fake_violation("ncclMemFree of %p, in which %s has a window", (const void *)address,
                       nfake_comm_name(comm).text);
    *at = gone->next;
    free(gone);
}

void nfake_blocks_reset(void) {
    nfake_ranges_free(blocks);
    blocks = NULL;
}

void nfake_require_version(int least) {
    if (nfake_config()->version < least)
        fake_violation("%s is not in version %d", nfake_function(), nfake_config()->version);
}

/* Allocates with the CUDA runtime, which counts the call. */
NFAKE_EXPORT ncclResult_t ncclMemAlloc(void **ptr, size_t size) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    nfake_require_version(NCCL_VERSION(2, 19, 0));
    nfake_unlock();
    if (result == ncclSuccess && cudaMalloc(ptr, size) != cudaSuccess)
        result = ncclUnhandledCudaError;
    if (result != ncclSuccess)
        return result;
    nfake_range *made = fake_must(malloc(sizeof *made));
    nfake_lock();
    *made = (nfake_range){blocks, *ptr, size};
    blocks = made;
    return nfake_leave(result);
}

NFAKE_EXPORT ncclResult_t ncclMemFree(void *ptr) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    block_remove(ptr);
    nfake_unlock();
    if (cudaFree(ptr) != cudaSuccess && result == ncclSuccess)
        result = ncclUnhandledCudaError;
    return result;
}

/* ---- windows: all ranks register them in the same order and size ---- */

static bool all_registered(const nfake_condition *condition, char *what, size_t room) {
    nfake_shared *shared = nfake_shared_of(condition->comm);
    int absent = -1;
    nfake_shared_lock(shared);
    for (int i = condition->comm->ranks - 1; i >= 0; i--)
        absent = shared->seats[i].windows < condition->number ? i : absent;
    nfake_shared_unlock(shared);
    snprintf(what, room, "rank %d, which has not registered its window", absent);
    return absent < 0;
}

static ncclResult_t open_window(nfake_job *job) {
    ncclComm_t comm = job->comm;
    nfake_shared *shared = nfake_shared_of(comm);
    nfake_shared_lock(shared);
    shared->seats[comm->rank].window[job->number % 2] = job->size;
    shared->seats[comm->rank].windows = job->number;
    nfake_shared_unlock(shared);
    nfake_changed(shared);
    ncclResult_t result = nfake_await(
        &(nfake_condition){.holds = all_registered, .comm = comm, .number = job->number},
        job->function);
    if (result != ncclSuccess)
        return result;
    int differs = -1;
    nfake_shared_lock(shared);
    for (int i = 0; i < comm->ranks; i++)
        differs = shared->seats[i].window[job->number % 2] != job->size ? i : differs;
    nfake_shared_unlock(shared);
    if (differs >= 0) {
        nfake_disagree(comm, "its window has %zu bytes; rank %d's has others", job->size, differs);
        return ncclInternalError;
    }
    nfake_range *made = fake_must(malloc(sizeof *made));
    nfake_lock();
    *made = (nfake_range){comm->windows, job->address, job->size};
    comm->windows = made;
    *job->window = (ncclWindow_t)(void *)made;
    nfake_unlock();
    return ncclSuccess;
}

static ncclResult_t check_window(ncclComm_t comm, const char *buff, size_t size, int flags) {
    nfake_memory memory;
    const nfake_range *block = *block_of(buff);
    bool whole = block && size <= block->size - (size_t)(buff - block->address);
    if (!nfake_memory_find(comm, "buff", buff, size, &memory))
        return ncclInvalidArgument;
    if (!(flags & NCCL_WIN_COLL_SYMMETRIC) || whole)
        return ncclSuccess;
    fake_violation("%s: symmetric memory at %p is not ncclMemAlloc's", nfake_function(),
                   (const void *)buff);
    return ncclInvalidArgument;
}

NFAKE_EXPORT ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void *buff, size_t size,
                                                 ncclWindow_t *win, int winFlags) {
    ncclComm_t self = NULL;
    ncclResult_t result =
        nfake_enter_comm(__func__, comm, NFAKE_READY | NFAKE_OWN | NFAKE_ALONE, &self);
    nfake_require_version(NCCL_VERSION(2, 27, 3));
    bool none = nfake_config()->no_windows;
    if (result == ncclSuccess)
        *win = NULL;
    if (result == ncclSuccess && !none)
        result = check_window(self, buff, size, winFlags);
    if (result != ncclSuccess || none)
        return nfake_leave(result);
    return nfake_do(&(nfake_job){.run = open_window,
                                 .comm = self,
                                 .function = __func__,
                                 .number = ++self->window_turns,
                                 .address = buff,
                                 .size = size,
                                 .window = win});
}

NFAKE_EXPORT ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t win) {
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, NFAKE_OWN, &self);
    if (self && self->revoked)
        fake_violation("%s on %s, which was revoked", __func__, nfake_comm_name(self).text);
    nfake_range **at = self ? &self->windows : NULL;
    while (at && *at && (void *)*at != (void *)win)
        at = &(*at)->next;
    nfake_range *gone = at ? *at : NULL;
    if (gone)
        *at = gone->next;
    else if (self) {
        fake_violation("%s of %p, which is no window", __func__, (void *)win);
        result = ncclInvalidArgument;
    }
    free(gone);
    return nfake_leave(result);
}
