#include "track/segments.h"

#include <assert.h>
#include <string.h>

size_t kvf__segments_blocks(const kvf__segments *segments) {
    size_t blocks = 0;
    for (size_t i = 0; i < segments->count; i++)
        blocks += segments->items[i].count;
    return blocks;
}

static void append(kvf__segments *segments, kvf__segment segment) {
    assert(segments->count < segments->capacity);
    segments->items[segments->count++] = segment;
}

bool kvf__segments_depart(kvf__segments *segments, const kvf_allocator *allocator, size_t tail,
                          uint64_t flight, size_t count) {
    size_t needed = segments->count + 3; /* the tail, the flight, and the room for one more */
    if (!kvf__grow(allocator, &segments->items, &segments->capacity, needed,
                   sizeof *segments->items))
        return false;
    if (tail > 0)
        append(segments, (kvf__segment){.count = tail});
    append(segments, (kvf__segment){.flight = flight, .count = count});
    segments->open++;
    return true;
}

kvf__segment *kvf__segments_find(const kvf__segments *segments, uint64_t flight, size_t *start) {
    *start = 0;
    for (size_t i = 0; i < segments->count; i++) {
        kvf__segment *segment = &segments->items[i];
        if (segment->flight == flight && !segment->landed)
            return segment;
        *start += segment->count;
    }
    return NULL;
}

void kvf__segments_land(kvf__segments *segments, kvf__segment *segment) {
    assert(!segment->landed);
    segment->landed = true;
    segments->open--;
}

void kvf__segments_land_own(kvf__segments *segments, size_t tail) {
    for (size_t i = 0; i < segments->count; i++)
        if (segments->items[i].flight == 0)
            segments->items[i].landed = true;
    if (tail == 0)
        return;
    kvf__segment *last = segments->count ? &segments->items[segments->count - 1] : NULL;
    if (last && last->flight == 0)
        last->count += tail;
    else
        append(segments, (kvf__segment){.count = tail, .landed = true});
}

size_t kvf__segments_take_landed(kvf__segments *segments) {
    size_t blocks = 0, taken = 0;
    while (taken < segments->count && segments->items[taken].landed)
        blocks += segments->items[taken++].count;
    if (taken > 0)
        kvf__segments_drop_front(segments, blocks);
    return blocks;
}

bool kvf__segments_open_within(const kvf__segments *segments, size_t start, size_t end) {
    size_t at = 0;
    for (size_t i = 0; i < segments->count && at < end; i++) {
        const kvf__segment *segment = &segments->items[i];
        bool open = segment->flight != 0 && !segment->landed;
        if (open && at + segment->count > start)
            return true;
        at += segment->count;
    }
    return false;
}

static void close(kvf__segments *segments, const kvf__segment *segment) {
    if (segment->flight != 0 && !segment->landed)
        segments->open--;
}

void kvf__segments_drop_front(kvf__segments *segments, size_t blocks) {
    size_t dropped = 0;
    while (dropped < segments->count && segments->items[dropped].count <= blocks) {
        blocks -= segments->items[dropped].count;
        close(segments, &segments->items[dropped++]);
    }
    segments->count -= dropped;
    if (segments->count == 0)
        return;
    memmove(segments->items, segments->items + dropped, segments->count * sizeof *segments->items);
    segments->items[0].count -= blocks;
}

void kvf__segments_keep_front(kvf__segments *segments, size_t blocks) {
    size_t kept = 0;
    while (kept < segments->count && segments->items[kept].count <= blocks)
        blocks -= segments->items[kept++].count;
    size_t end = kept;
    if (kept < segments->count && blocks > 0)
        segments->items[end++].count = blocks;
    for (size_t i = end; i < segments->count; i++)
        close(segments, &segments->items[i]);
    segments->count = end;
}

bool kvf__segments_clone(const kvf__segments *segments, const kvf_allocator *allocator,
                         kvf__segments *out) {
    if (segments->count == 0)
        return true;
    /* One more: see the room that segments.h promises for the tail. */
    if (!kvf__reserve(allocator, &out->items, &out->capacity, segments->count + 1,
                      sizeof *out->items))
        return false;
    memcpy(out->items, segments->items, segments->count * sizeof *out->items);
    out->count = segments->count;
    out->open = segments->open;
    return true;
}
