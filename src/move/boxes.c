/* The boxes of a move: enumerated, counted or described. */
#include "move/move.h"

#include <stdlib.h>
#include <string.h>

static bool steps_to_neighbour(const kvf__run *run) {
    return run->src_step == 1 && run->dst_step == 1;
}

kvf_box kvf__move_box(const kvf__strip *strip, const kvf__run *run) {
    ptrdiff_t dst_step = (ptrdiff_t)strip->dst_stride * run->dst_step;
    ptrdiff_t src_step = (ptrdiff_t)strip->src_stride * run->src_step;
    kvf_box box = {
        .dst = strip->dst + (size_t)run->dst * strip->dst_stride,
        .src = strip->src + (size_t)run->src * strip->src_stride,
        .width = strip->width,
        .rows = strip->rows,
        .slices = 1,
        .dst_row_pitch = strip->dst_pitch,
        .src_row_pitch = strip->src_pitch,
    };
    ptrdiff_t width = (ptrdiff_t)strip->width, rows = (ptrdiff_t)strip->rows;
    if (run->count == 1)
        return box;
    if (steps_to_neighbour(run) && dst_step == width && src_step == width) {
        box.width *= run->count; /* blocks touch */
    } else if (strip->rows == 1) {
        box.rows = run->count;
        box.dst_row_pitch = dst_step;
        box.src_row_pitch = src_step;
    } else if (dst_step == rows * strip->dst_pitch && src_step == rows * strip->src_pitch) {
        box.rows *= run->count; /* each block's rows continue the last one's */
    } else {
        box.slices = run->count;
        box.dst_slice_pitch = dst_step;
        box.src_slice_pitch = src_step;
    }
    return box;
}

static bool rows_fit(const kvf_box_limits *limits, const kvf_box *box) {
    return box->rows == 1 || (kvf__pitch_fits(limits, box->dst_row_pitch, box->width) &&
                              kvf__pitch_fits(limits, box->src_row_pitch, box->width));
}

static bool slice_pitch_fits(const kvf_box_limits *limits, const kvf_box *box, ptrdiff_t slice,
                             ptrdiff_t row) {
    size_t extent = (box->rows - 1) * kvf__magnitude(row) + box->width;
    return kvf__pitch_fits(limits, slice, extent) &&
           (limits->free_slice_pitch || kvf__magnitude(slice) % kvf__magnitude(row) == 0);
}

bool kvf__box_fits(const kvf_box_limits *limits, const kvf_box *box) {
    if (box->slices == 1)
        return rows_fit(limits, box);
    return limits->slices && rows_fit(limits, box) &&
           slice_pitch_fits(limits, box, box->dst_slice_pitch, box->dst_row_pitch) &&
           slice_pitch_fits(limits, box, box->src_slice_pitch, box->src_row_pitch);
}

/* Segments: stretches of address space whose ends no copy may cross */

/* `count` pieces, `pitch` apart. The first one is [address + low, address + high). */
typedef struct pieces {
    uintptr_t address;
    ptrdiff_t pitch, low, high;
    size_t count;
} pieces;

/* How many pieces, from the first on, lie in one segment; 0: not even the first one does. */
static size_t within_segment(pieces p, size_t segment) {
    if (segment == 0)
        return p.count;
    uintptr_t first = p.address + (uintptr_t)p.low, last = p.address + (uintptr_t)p.high - 1;
    if (first / segment != last / segment)
        return 0;
    size_t room = p.pitch < 0 ? first % segment : segment - 1 - last % segment;
    size_t more = p.pitch == 0 ? p.count : room / kvf__magnitude(p.pitch);
    return more < p.count ? more + 1 : p.count;
}

/* Pieces of one side; a piece is rows that are `row_pitch` apart. */
static pieces side(const void *address, ptrdiff_t pitch, size_t count, ptrdiff_t row_pitch,
                   size_t rows, size_t width) {
    ptrdiff_t reach = (ptrdiff_t)(rows - 1) * row_pitch;
    return (pieces){
        .address = (uintptr_t)address,
        .pitch = pitch,
        .low = reach < 0 ? reach : 0,
        .high = (reach > 0 ? reach : 0) + (ptrdiff_t)width,
        .count = count,
    };
}

/* How many slices, from the box's first one on, one copy can take. */
static size_t slices_at_once(const kvf_box_limits *l, const kvf_box *b) {
    size_t dst = within_segment(
        side(b->dst, b->dst_slice_pitch, b->slices, b->dst_row_pitch, b->rows, b->width),
        l->dst_segment);
    size_t src = within_segment(
        side(b->src, b->src_slice_pitch, b->slices, b->src_row_pitch, b->rows, b->width),
        l->src_segment);
    size_t at_once = kvf__min(dst, src);
    if (!rows_fit(l, b))
        return 0;
    return kvf__box_fits(l, b) ? at_once : kvf__min(at_once, 1);
}

static size_t rows_at_once(const kvf_box_limits *l, const kvf_box *b) {
    size_t dst =
        within_segment(side(b->dst, b->dst_row_pitch, b->rows, 0, 1, b->width), l->dst_segment);
    size_t src =
        within_segment(side(b->src, b->src_row_pitch, b->rows, 0, 1, b->width), l->src_segment);
    size_t at_once = kvf__min(dst, src);
    return rows_fit(l, b) ? at_once : kvf__min(at_once, 1);
}

static size_t columns_at_once(const kvf_box_limits *l, const kvf_box *b) {
    size_t columns = b->width;
    if (l->dst_segment)
        columns = kvf__min(columns, l->dst_segment - (uintptr_t)b->dst % l->dst_segment);
    if (l->src_segment)
        columns = kvf__min(columns, l->src_segment - (uintptr_t)b->src % l->src_segment);
    return columns;
}

/* The rest of a box from the cursor on, each dimension on its own. take, which uses it, leaves out
 * the slices and rows that are done. */
static kvf_box rest_of(const kvf_box *box, const kvf_box_cursor *c) {
    ptrdiff_t slice = (ptrdiff_t)c->slice, row = (ptrdiff_t)c->row, column = (ptrdiff_t)c->column;
    kvf_box rest = *box;
    rest.dst += slice * box->dst_slice_pitch + row * box->dst_row_pitch + column;
    rest.src += slice * box->src_slice_pitch + row * box->src_row_pitch + column;
    rest.slices = box->slices - c->slice;
    rest.rows = box->rows - c->row;
    rest.width = box->width - c->column;
    return rest;
}

/* The largest copy of at most `most` bytes at the front of the rest. Moves the cursor past it. */
static kvf_box take(const kvf_box_limits *limits, kvf_box rest, size_t most, kvf_box_cursor *c) {
    if (c->row == 0 && c->column == 0) {
        size_t slices = kvf__min(slices_at_once(limits, &rest), most / rest.rows / rest.width);
        if (slices > 0) {
            rest.slices = slices;
            c->slice += slices;
            return rest;
        }
    }
    rest.slices = 1;
    if (c->column == 0) {
        size_t rows = kvf__min(rows_at_once(limits, &rest), most / rest.width);
        if (rows > 0) {
            rest.rows = rows;
            c->row += rows;
            return rest;
        }
    }
    rest.rows = 1;
    rest.width = kvf__min(columns_at_once(limits, &rest), most);
    c->column += rest.width;
    return rest;
}

/* Carries full counts over to the next position: columns, rows, slices, runs, strips. */
static void carry(const kvf_move *move, const kvf_box *box, kvf_box_cursor *c) {
    if (c->column == box->width) {
        c->column = 0;
        c->row++;
    }
    if (c->row == box->rows) {
        c->row = 0;
        c->slice++;
    }
    if (c->slice == box->slices) {
        c->slice = 0;
        c->run++;
    }
    if (c->run == move->runs.count) {
        c->run = 0;
        c->strip++;
    }
}

/* Clears pitches that have no meaning: of a single row, of a single slice. */
static kvf_box tidy(kvf_box box) {
    if (box.rows == 1)
        box.dst_row_pitch = box.src_row_pitch = 0;
    if (box.slices == 1)
        box.dst_slice_pitch = box.src_slice_pitch = 0;
    return box;
}

size_t kvf__move_next(const kvf_move *move, const kvf_box_limits *limits, size_t end_strip,
                      size_t most, kvf_box_cursor *cursor, kvf_box *boxes, size_t capacity) {
    size_t count = 0;
    while (count < capacity && cursor->strip < end_strip && move->runs.count > 0) {
        const kvf__run *run = &move->runs.items[cursor->run];
        kvf_box box = kvf__move_box(&move->strips[cursor->strip], run);
        boxes[count++] = tidy(take(limits, rest_of(&box, cursor), most, cursor));
        carry(move, &box, cursor);
    }
    return count;
}

size_t kvf_move_next(const kvf_move *move, kvf_box_cursor *cursor, kvf_box *boxes,
                     size_t capacity) {
    if (!move || !cursor || !boxes)
        return 0;
    return kvf__move_next(move, &move->limits, move->strip_count, SIZE_MAX, cursor, boxes,
                          capacity);
}

/* Describing. Runs with boxes of the same size are counted together. */

/* Runs that make boxes of one size. Runs of step (1, 1) form their own classes: only their blocks
 * may touch, and only their boxes may exceed the limits. */
typedef struct run_class {
    kvf__run run;
    uint64_t runs;
} run_class;

/* `times` boxes, or fragments, of `bytes` each. */
typedef struct sizes {
    size_t bytes;
    uint64_t times;
} sizes;

static int by_count(const void *a, const void *b) {
    const kvf__run *x = &((const run_class *)a)->run, *y = &((const run_class *)b)->run;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return steps_to_neighbour(x) - steps_to_neighbour(y);
}

static int by_bytes(const void *a, const void *b) {
    const sizes *x = a, *y = b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static size_t classify(const kvf__runs *runs, run_class *classes) {
    for (size_t i = 0; i < runs->count; i++)
        classes[i] = (run_class){runs->items[i], 1};
    qsort(classes, runs->count, sizeof *classes, by_count);
    size_t kept = 0;
    for (size_t i = 1; i < runs->count; i++)
        if (by_count(&classes[kept], &classes[i]) == 0)
            classes[kept].runs++;
        else
            classes[++kept] = classes[i];
    return kept + 1;
}

/* The boxes, all of one size, into which the limits cut one box of the product. */
static sizes boxes_of(const kvf_box_limits *limits, const kvf_box *box) {
    if (kvf__box_fits(limits, box))
        return (sizes){box->width * box->rows * box->slices, 1};
    if (rows_fit(limits, box))
        return (sizes){box->width * box->rows, box->slices};
    return (sizes){box->width, (uint64_t)box->slices * box->rows};
}

static uint64_t count_all(const sizes *items, size_t count) {
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++)
        all += items[i].times;
    return all;
}

/* The lower median of sizes sorted by bytes. */
static size_t median(const sizes *items, size_t count) {
    uint64_t before = (count_all(items, count) - 1) / 2;
    size_t i = 0;
    while (items[i].times <= before)
        before -= items[i++].times;
    return items[i].bytes;
}

static void measure(const kvf_move *move, const run_class *classes, size_t class_count,
                    sizes *boxes, sizes *fragments, kvf_move_summary *summary) {
    size_t n = 0;
    for (size_t s = 0; s < move->strip_count; s++) {
        for (size_t c = 0; c < class_count; c++, n++) {
            kvf_box box = kvf__move_box(&move->strips[s], &classes[c].run);
            boxes[n] = boxes_of(&move->limits, &box);
            boxes[n].times *= classes[c].runs;
            fragments[n] = (sizes){box.width, (uint64_t)box.rows * box.slices * classes[c].runs};
        }
    }
    qsort(boxes, n, sizeof *boxes, by_bytes);
    qsort(fragments, n, sizeof *fragments, by_bytes);
    summary->boxes = count_all(boxes, n);
    summary->fragments = count_all(fragments, n);
    summary->smallest_box = boxes[0].bytes;
    summary->median_box = median(boxes, n);
    summary->smallest_fragment = fragments[0].bytes;
    summary->median_fragment = median(fragments, n);
}

static kvf_status describe(const kvf_move *move, kvf_move_summary *summary, kvf_error *error) {
    const kvf_allocator *a = &move->allocator;
    run_class *classes = kvf__alloc(a, move->runs.count, sizeof *classes);
    if (!classes)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    size_t class_count = classify(&move->runs, classes), room = 0;
    sizes *all = kvf__mul(class_count, 2 * move->strip_count, &room)
                     ? kvf__alloc(a, room, sizeof *all)
                     : NULL;
    if (all)
        measure(move, classes, class_count, all, all + room / 2, summary);
    kvf_status status = all ? KVF_OK : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__free(a, all, room, sizeof *all);
    kvf__free(a, classes, move->runs.count, sizeof *classes);
    return status;
}

kvf_status kvf_move_describe(const kvf_move *move, kvf_move_summary *summary, kvf_error *error) {
    if (!move || !summary)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_move_summary r = {
        .bytes = (uint64_t)move->block_bytes * move->runs.pairs,
        .blocks = move->runs.pairs,
        .strips = move->strip_count,
        .runs = move->runs.count,
    };
    kvf_status status = move->runs.count > 0 ? describe(move, &r, error) : KVF_OK;
    if (status == KVF_OK)
        *summary = r;
    return status;
}

uint64_t kvf__move_box_count(const kvf_move *move, const kvf_box_limits *limits) {
    uint64_t count = 0;
    for (size_t s = 0; s < move->strip_count; s++) {
        for (size_t r = 0; r < move->runs.count; r++) {
            kvf_box box = kvf__move_box(&move->strips[s], &move->runs.items[r]);
            count += boxes_of(limits, &box).times;
        }
    }
    return count;
}

uint64_t kvf__move_boxes(kvf_move *move) {
    uint64_t count = atomic_load_explicit(&move->boxes, memory_order_relaxed);
    if (count == 0) {
        count = kvf__move_box_count(move, &move->limits);
        atomic_store_explicit(&move->boxes, count, memory_order_relaxed);
    }
    return count;
}
