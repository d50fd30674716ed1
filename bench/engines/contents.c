#include "engines/contents.h"

#include "engines/pattern.h"
#include "base/base.h"

#include <pthread.h>
#include <string.h>

/* One thread per THREAD_BYTES: fewer bytes are not worth starting one. */
#define THREAD_BYTES ((size_t)4 << 20)

enum { MOST_THREADS = 16 };

/* A contiguous piece of a block: number `index` of it. */
typedef struct piece {
    char *at;
    size_t bytes;
    uint64_t index;
} piece;

typedef bool visit_fn(piece piece, uint64_t seed);

/* The part of the blocks that one thread handles. */
typedef struct part {
    const kvf_layout *layout;
    const uint64_t *ids, *seeds; /* seeds: may be NULL */
    size_t count;
    visit_fn *visit;
    size_t failed; /* blocks for which `visit` returned false */
} part;

static piece piece_of(const kvf_region *region, uint64_t id, size_t row, uint64_t index) {
    char *at = (char *)region->base + id * region->block_stride + row * region->row_pitch;
    return (piece){.at = at, .bytes = region->bytes, .index = index};
}

/* Calls `visit` for each piece of a block. Stops and returns false when a call returns false. */
static bool each_piece(const kvf_layout *layout, uint64_t id, uint64_t seed, visit_fn *visit) {
    size_t count;
    uint64_t index = 0;
    const kvf_region *regions = kvf_layout_regions(layout, &count);
    for (size_t i = 0; i < count; i++) {
        size_t rows = regions[i].rows > 0 ? regions[i].rows : 1;
        for (size_t row = 0; row < rows; row++, index++)
            if (!visit(piece_of(&regions[i], id, row, index), seed))
                return false;
    }
    return true;
}

static bool fill_piece(piece piece, uint64_t seed) {
    pattern_fill(piece.at, piece.bytes, pattern_piece_seed(seed, piece.index));
    return true;
}

static bool poison_piece(piece piece, uint64_t seed) {
    (void)seed;
    memset(piece.at, PATTERN_POISON, piece.bytes);
    return true;
}

static bool check_piece(piece piece, uint64_t seed) {
    return pattern_matches(piece.at, piece.bytes, pattern_piece_seed(seed, piece.index));
}

static void *run_part(void *argument) {
    part *part = argument;
    for (size_t i = 0; i < part->count; i++) {
        uint64_t seed = part->seeds ? part->seeds[i] : 0;
        part->failed += !each_piece(part->layout, part->ids[i], seed, part->visit);
    }
    return NULL;
}

static size_t threads_for(const part *all) {
    size_t most = usable_cpus(MOST_THREADS);
    size_t useful = 1 + all->count * kvf_layout_block_bytes(all->layout) / THREAD_BYTES;
    useful = useful < all->count ? useful : all->count;
    return useful < most ? useful : most;
}

/* Part n of `threads` nearly equal parts. */
static part cut_part(const part *all, size_t n, size_t threads) {
    part cut = *all;
    size_t first = all->count * n / threads;
    cut.count = all->count * (n + 1) / threads - first;
    cut.ids += first;
    cut.seeds = all->seeds ? all->seeds + first : NULL;
    return cut;
}

/* Returns the number of blocks that failed. */
static size_t run(const part *all) {
    pthread_t threads[MOST_THREADS];
    part parts[MOST_THREADS];
    size_t count = all->count > 0 ? threads_for(all) : 0;
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i] = cut_part(all, i, count);
        int code = i + 1 < count ? pthread_create(&threads[i], NULL, run_part, &parts[i]) : 0;
        if (code != 0)
            fail(EXIT_CHECK, "cannot start a thread: %s", strerror(code));
    }
    if (count > 0)
        run_part(&parts[count - 1]); /* the last part in this thread */
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count)
            pthread_join(threads[i], NULL);
        failed += parts[i].failed;
    }
    return failed;
}

void contents_fill(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                   size_t count) {
    run(&(part){.layout = layout, .ids = ids, .seeds = seeds, .count = count, .visit = fill_piece});
}

void contents_poison(const kvf_layout *layout, const uint64_t *ids, size_t count) {
    run(&(part){.layout = layout, .ids = ids, .count = count, .visit = poison_piece});
}

size_t contents_check(const kvf_layout *layout, const uint64_t *ids, const uint64_t *seeds,
                      size_t count) {
    return run(&(part){
        .layout = layout, .ids = ids, .seeds = seeds, .count = count, .visit = check_piece});
}
