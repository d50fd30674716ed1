/* Counting what a move consists of, in one pass over its runs. */
#include "cost/costs.h"

#include "move/move.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
    SMALLEST_OCTAVE = 6, /* smaller pieces share the first classes */
    EXACT_LENGTHS = 16,  /* runs of up to so many blocks: a class for each length; else by octave */
    QUARTERS = 4,
    LENGTHS = EXACT_LENGTHS + (32 - 4) * QUARTERS,
    MOST_PIECES = 512, /* of a block that are joined at a time */
};

static unsigned octave_of(uint64_t number) {
    return 63u - (unsigned)__builtin_clzll(number);
}

void kvf__cuda_tally_add(kvf__cuda_tally *t, uint64_t count, uint64_t bytes) {
    if (count == 0)
        return;
    uint64_t size = bytes / count;
    size_t at = 0;
    if (size >> SMALLEST_OCTAVE) {
        unsigned octave = octave_of(size);
        at = (size_t)QUARTERS * (octave - SMALLEST_OCTAVE) + (size >> (octave - 2)) % QUARTERS;
    }
    if (at >= KVF__CUDA_SIZES)
        at = KVF__CUDA_SIZES - 1;
    t->classes[at].count += count;
    t->classes[at].bytes += bytes;
    t->count += count;
}

/* Runs of about the same length. Within loop's limits only one step makes a difference: 1 on both
 * sides, where blocks may touch. */
typedef struct run_class {
    const kvf__run *first;
    uint64_t runs, blocks;
} run_class;

/* Runs of ids on the host side, counted in the order in which they come. */
typedef struct host_ids {
    uint64_t runs, next, lowest, highest;
} host_ids;

typedef struct counting {
    const kvf_move *move;
    kvf_cuda_direction direction;
    kvf__cuda_move_profile *profile;
    host_ids host;
    run_class classes[2][LENGTHS]; /* [steps_to_neighbour] */
} counting;

static size_t length_class(uint32_t count) {
    if (count <= EXACT_LENGTHS)
        return count - 1;
    unsigned octave = octave_of(count);
    return EXACT_LENGTHS + QUARTERS * (octave - 4) + (count >> (octave - 2)) % QUARTERS;
}

static bool steps_to_neighbour(const kvf__run *run) {
    return run->src_step == 1 && run->dst_step == 1;
}

static void count_host_ids(host_ids *h, uint32_t first, int32_t step, uint32_t count) {
    int64_t last = (int64_t)first + (int64_t)step * (count - 1);
    uint64_t low = step < 0 ? (uint64_t)last : first, high = step < 0 ? first : (uint64_t)last;
    bool whole = step == 1 || count == 1;
    if (h->runs == 0) {
        h->lowest = low;
        h->highest = high;
    }
    h->lowest = low < h->lowest ? low : h->lowest;
    h->highest = high > h->highest ? high : h->highest;
    if (h->runs == 0 || first != h->next || !whole)
        h->runs += whole ? 1 : count;
    h->next = (uint64_t)last + 1;
}

static void count_run(counting *c, const kvf__run *run) {
    if (c->direction == KVF_CUDA_TO_DEVICE)
        count_host_ids(&c->host, run->src, run->src_step, run->count);
    else if (c->direction == KVF_CUDA_FROM_DEVICE)
        count_host_ids(&c->host, run->dst, run->dst_step, run->count);
    run_class *class = &c->classes[steps_to_neighbour(run)][length_class(run->count)];
    if (class->runs++ == 0)
        class->first = run;
    class->blocks += run->count;
}

/* Counts the boxes of `strips` strips like this one with the runs of a class. */
static void add_boxes(kvf__cuda_move_profile *profile, const kvf__strip *strip, uint64_t strips,
                      const run_class *class) {
    kvf_box box = kvf__move_box(strip, class->first);
    uint64_t runs = class->runs * strips, blocks = class->blocks * strips;
    uint64_t bytes = blocks * strip->rows * strip->width;
    bool touching = class->first->count > 1 && box.width != strip->width;
    uint64_t rows = (touching ? runs : blocks) * strip->rows;
    uint64_t calls = runs;
    if (!kvf__box_fits(&kvf__cuda_loop_limits, &box)) {
        /* A box for each slice, or for each row. */
        box.slices = 1;
        calls = box.rows == strip->rows ? blocks : runs;
        if (!kvf__box_fits(&kvf__cuda_loop_limits, &box))
            box.rows = 1;
    }
    if (box.rows == 1 && box.slices == 1) {
        kvf__cuda_tally_add(&profile->pieces, rows, bytes);
    } else {
        kvf__cuda_tally_add(&profile->rows, rows, bytes);
        profile->row_calls += calls;
    }
}

static bool alike(const kvf__strip *a, const kvf__strip *b) {
    return a->width == b->width && a->rows == b->rows && a->dst_pitch == b->dst_pitch &&
           a->src_pitch == b->src_pitch && a->dst_stride == b->dst_stride &&
           a->src_stride == b->src_stride;
}

/* Whether a move was lowered within loop's limits, which every step of its runs then fits. */
static bool is_for_loop(const kvf_box_limits *l) {
    const kvf_box_limits *loop = &kvf__cuda_loop_limits;
    return l->max_pitch == loop->max_pitch && l->negative_pitch == loop->negative_pitch &&
           l->narrow_pitch == loop->narrow_pitch && l->slices == loop->slices &&
           l->free_slice_pitch == loop->free_slice_pitch;
}

static void add_strip(counting *c, const kvf__strip *strip, uint64_t strips) {
    const kvf__runs *runs = &c->move->runs;
    uint64_t lines = runs->pairs * strips * strip->rows;
    kvf__cuda_tally_add(&c->profile->lines, lines, lines * strip->width);
    if (!is_for_loop(&c->move->limits)) {
        for (size_t i = 0; i < runs->count; i++) {
            const run_class one = {&runs->items[i], 1, runs->items[i].count};
            add_boxes(c->profile, strip, strips, &one);
        }
        return;
    }
    for (size_t i = 0; i < LENGTHS; i++)
        for (size_t next = 0; next < 2; next++)
            if (c->classes[next][i].runs > 0)
                add_boxes(c->profile, strip, strips, &c->classes[next][i]);
}

/* The host side */

/* Bytes of one block that are contiguous on the host side. */
typedef struct host_piece {
    uintptr_t address;
    size_t width, stride;
    uint32_t buffer;
} host_piece;

static int by_address(const void *a, const void *b) {
    const host_piece *x = a, *y = b;
    return (x->address > y->address) - (x->address < y->address);
}

static bool is_sorted(const host_piece *pieces, size_t count) {
    size_t i = 1;
    while (i < count && pieces[i - 1].address <= pieces[i].address)
        i++;
    return i >= count;
}

/* The host boxes of pieces, joined where they touch. */
static uint64_t join(const counting *c, host_piece *pieces, size_t count) {
    uint64_t boxes = 0;
    if (!is_sorted(pieces, count))
        qsort(pieces, count, sizeof *pieces, by_address);
    for (size_t i = 0, end; i < count; i = end) {
        uintptr_t address = pieces[i].address + pieces[i].width;
        for (end = i + 1;
             end < count && pieces[end].address == address &&
             pieces[end].stride == pieces[i].stride && pieces[end].buffer == pieces[i].buffer;
             end++)
            address += pieces[end].width;
        bool whole = address - pieces[i].address == pieces[i].stride;
        boxes += whole ? c->host.runs : c->move->runs.pairs;
    }
    return boxes;
}

/* Splits a strip into its host pieces, which are its rows unless they touch. Returns how many; 0
 * when there are more than `room`. */
static size_t split(const counting *c, const kvf__strip *s, host_piece *pieces, size_t room) {
    bool to = c->direction == KVF_CUDA_TO_DEVICE;
    ptrdiff_t pitch = to ? s->src_pitch : s->dst_pitch;
    bool whole = s->rows == 1 || pitch == (ptrdiff_t)s->width;
    size_t count = whole ? 1 : s->rows;
    if (count > room)
        return 0;
    for (size_t i = 0; i < count; i++)
        pieces[i] = (host_piece){
            .address = (uintptr_t)(to ? s->src : s->dst) + i * (uintptr_t)pitch,
            .width = whole ? s->width * s->rows : s->width,
            .stride = to ? s->src_stride : s->dst_stride,
            .buffer = to ? s->src_buffer : s->dst_buffer,
        };
    return count;
}

static uint64_t count_host_boxes(const counting *c) {
    const kvf_move *m = c->move;
    host_piece pieces[MOST_PIECES];
    size_t count = 0;
    uint64_t boxes = 0;
    for (size_t i = 0; i < m->strip_count; i++) {
        const kvf__strip *s = &m->strips[i];
        bool new_layer = m->by_layer && i > 0 && s->layer != s[-1].layer;
        if (new_layer || count == MOST_PIECES) {
            boxes += join(c, pieces, count);
            count = 0;
        }
        size_t more = split(c, s, pieces + count, MOST_PIECES - count);
        if (more == 0)
            boxes += m->runs.pairs * s->rows;
        count += more;
    }
    return boxes + join(c, pieces, count);
}

/* All */

void kvf__cuda_move_profile_of(const kvf_move *move, kvf_cuda_direction direction,
                               kvf__cuda_move_profile *profile) {
    *profile = (kvf__cuda_move_profile){.layers = move->by_layer ? move->layer_count : 1};
    counting c = {.move = move, .direction = direction, .profile = profile};
    if (move->runs.pairs == 0)
        return;
    profile->bytes = (uint64_t)move->block_bytes * move->runs.pairs;
    for (size_t i = 0; i < move->runs.count; i++)
        count_run(&c, &move->runs.items[i]);
    for (size_t i = 0, end; i < move->strip_count; i = end) {
        for (end = i + 1; end < move->strip_count && alike(&move->strips[i], &move->strips[end]);)
            end++;
        add_strip(&c, &move->strips[i], end - i);
    }
    if (direction == KVF_CUDA_ON_DEVICE)
        return;
    /* Host ids may be out of order and still be all ids from the lowest to the highest. */
    if (c.host.highest - c.host.lowest + 1 == move->runs.pairs)
        c.host.runs = 1;
    profile->host_boxes = count_host_boxes(&c);
}
