/* Live allocations and registrations by their addresses. */
#include "fake_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Sorted by address; a registration with another address on the device has an entry for each. */
typedef struct entry {
    char *base;
    fake_range *range;
} entry;

static entry *entries;
static size_t entry_count, entry_capacity;

/* The first entry that starts after the address. */
static size_t entry_after(const void *address) {
    size_t low = 0, high = entry_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uintptr_t)entries[middle].base <= (uintptr_t)address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void entry_insert(char *base, fake_range *range) {
    if (entry_count == entry_capacity) {
        entry_capacity = entry_capacity ? 2 * entry_capacity : 64;
        entries = realloc(entries, entry_capacity * sizeof *entries);
        if (!entries)
            abort();
    }
    size_t at = entry_after(base);
    memmove(&entries[at + 1], &entries[at], (entry_count - at) * sizeof *entries);
    entries[at] = (entry){base, range};
    entry_count++;
}

static void entry_remove(const char *base) {
    size_t at = entry_after(base) - 1;
    entry_count--;
    memmove(&entries[at], &entries[at + 1], (entry_count - at) * sizeof *entries);
}

fake_range *fake_range_find(const void *address) {
    size_t at = entry_after(address);
    if (at == 0)
        return NULL;
    const entry *found = &entries[at - 1];
    size_t offset = (size_t)((uintptr_t)address - (uintptr_t)found->base);
    return offset < found->range->size ? found->range : NULL;
}

fake_range *fake_range_add(const fake_range *wanted) {
    fake_range *made = malloc(sizeof *made);
    if (!made)
        abort();
    *made = *wanted;
    if (!made->alias)
        made->alias = made->base;
    if (!made->span) {
        made->span = made->base;
        made->span_size = made->size;
    }
    made->call = fake_call_number();
    entry_insert(made->base, made);
    if (made->alias != made->base)
        entry_insert(made->alias, made);
    return made;
}

void fake_range_remove(fake_range *range) {
    entry_remove(range->base);
    if (range->alias != range->base)
        entry_remove(range->alias);
    free(range);
}

bool fake_range_overlaps(const char *base, size_t size) {
    size_t next = entry_after(base);
    bool follows = next < entry_count && (uintptr_t)entries[next].base - (uintptr_t)base < size;
    return follows || fake_range_find(base);
}

fake_range *fake_range_any(void) {
    return entry_count > 0 ? entries[entry_count - 1].range : NULL;
}

bool fake_range_has_alias(const fake_range *range, const char *address) {
    return range->alias != range->base && address >= range->alias &&
           address < range->alias + range->size;
}

const char *fake_range_name(const fake_range *range) {
    switch (range->memory) {
    case FAKE_DEVICE:
        return "device allocation";
    case FAKE_PINNED:
        return "pinned allocation";
    default:
        return "registration";
    }
}

size_t fake_memory_live(void) {
    size_t live = 0;
    for (size_t i = 0; i < entry_count; i++)
        live += entries[i].base == entries[i].range->base;
    return live;
}

/* ---- the memory of an operation ---- */

/* Bytes from the address to the end of its memory: adjacent mappings of one reserved range count as
 * one. */
static size_t bytes_from(const fake_range *range, const char *address) {
    const char *base = fake_range_has_alias(range, address) ? range->alias : range->base;
    const char *end = base + range->size;
    const fake_range *next = fake_range_find(end);
    while (next && next->base == end && next->span == range->span) {
        end += next->size;
        next = fake_range_find(end);
    }
    return (size_t)(end - address);
}

/* Whether all of the memory is pageable; records a violation when only part of it is. */
static bool pageable(const char *role, const char *address, size_t size, fake_operand *out) {
    if (fake_arena_of(address) >= 0) {
        fake_violation("%s: %s %p is in no live allocation: freed, or never allocated",
                       fake_function(), role, (const void *)address);
        return false;
    }
    size_t next = entry_after(address);
    if (next < entry_count && (uintptr_t)entries[next].base - (uintptr_t)address < size) {
        fake_violation("%s: %s %p + %zu starts outside and ends inside a %s", fake_function(), role,
                       (const void *)address, size, fake_range_name(entries[next].range));
        return false;
    }
    char *plain = (char *)(uintptr_t)address;
    *out = (fake_operand){.memory = FAKE_PAGEABLE, .raw = plain, .seen = plain, .device = -1};
    return true;
}

bool fake_operand_find(const char *role, const void *address, size_t size, fake_operand *out) {
    char *at = (char *)(uintptr_t)address;
    const fake_range *range = fake_range_find(address);
    if (!range)
        return pageable(role, at, size, out);
    if (bytes_from(range, at) < size) {
        fake_violation("%s: %s %p + %zu crosses the end of its %s of %zu at %p", fake_function(),
                       role, address, size, fake_range_name(range), range->size,
                       (void *)range->base);
        return false;
    }
    bool by_alias = fake_range_has_alias(range, at);
    char *seen = by_alias ? range->base + (at - range->alias) : at;
    *out = (fake_operand){.memory = range->memory,
                          .raw = range->memory == FAKE_DEVICE ? fake_arena_raw(at) : seen,
                          .seen = seen,
                          .device = range->device,
                          .host_name = range->alias != range->base && !by_alias};
    return true;
}

FAKE_EXPORT void *fakecuda_shadow(const void *device, size_t size) {
    fake_lock();
    const char *at = device;
    const fake_range *range = fake_range_find(device);
    bool inside = range && range->memory == FAKE_DEVICE && bytes_from(range, at) >= size;
    void *raw = inside ? fake_arena_raw(device) : NULL;
    fake_unlock();
    return raw;
}
