/* Device memory: whose it is, touching it, allocating and registering it. */
#include "fake_nccl.h"

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

/* ---- touching ---- */

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

/* By way of the CUDA runtime, where it counts as a call. */
NFAKE_EXPORT ncclResult_t ncclMemAlloc(void **ptr, size_t size) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    if (result == ncclSuccess && !ptr)
        result = nfake_fail(ncclInvalidArgument, "ptr is NULL");
    nfake_unlock();
    if (result == ncclSuccess && cudaMalloc(ptr, size) != cudaSuccess)
        result = nfake_fail(ncclUnhandledCudaError, "no memory");
    return result;
}

NFAKE_EXPORT ncclResult_t ncclMemFree(void *ptr) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    nfake_unlock();
    if (cudaFree(ptr) != cudaSuccess && result == ncclSuccess)
        result = nfake_fail(ncclUnhandledCudaError, "cannot free %p", ptr);
    return result;
}

NFAKE_EXPORT ncclResult_t ncclCommRegister(ncclComm_t comm, void *buff, size_t size,
                                           void **handle) {
    ncclComm_t self = NULL;
    nfake_memory memory;
    ncclResult_t result = nfake_enter_comm(__func__, comm, NFAKE_READY | NFAKE_OWN, &self);
    if (result == ncclSuccess && (!buff || size == 0 || !handle))
        result = nfake_fail(ncclInvalidArgument, "%zu bytes at %p", size, buff);
    if (result == ncclSuccess && !nfake_memory_find(self, "buff", buff, size, &memory))
        result = nfake_fail(ncclInvalidArgument, "not device memory");
    if (result != ncclSuccess)
        return nfake_leave(result);
    nfake_registration *made = malloc(sizeof *made);
    if (!made)
        abort();
    *made = (nfake_registration){self->registrations, buff, size};
    self->registrations = made;
    *handle = made;
    return nfake_leave(ncclSuccess);
}

/* Its memory must live until now. */
static ncclResult_t deregister(ncclComm_t comm, const void *handle) {
    nfake_registration **at = &comm->registrations;
    while (*at && *at != handle)
        at = &(*at)->next;
    nfake_registration *gone = *at;
    if (!gone) {
        fake_violation("ncclCommDeregister of %p, which is no registration", handle);
        return nfake_fail(ncclInvalidArgument, "no registration");
    }
    if (!fakecuda_shadow(gone->address, gone->size))
        fake_violation("ncclCommDeregister of memory at %p that was freed before",
                       (void *)gone->address);
    *at = gone->next;
    free(gone);
    return ncclSuccess;
}

NFAKE_EXPORT ncclResult_t ncclCommDeregister(ncclComm_t comm, void *handle) {
    ncclComm_t self = NULL;
    ncclResult_t result = nfake_enter_comm(__func__, comm, NFAKE_OWN, &self);
    if (self) {
        ncclResult_t own = deregister(self, handle);
        result = result == ncclSuccess ? own : result;
    }
    return nfake_leave(result);
}
