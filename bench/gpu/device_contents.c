#include "gpu/device_contents.h"

#include "gpu/device.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

/* Pinned memory that grows on demand. Kernels read it in place. */
typedef struct scratch {
    void *memory;
    size_t bytes;
} scratch;

struct device_contents {
    cudaStream_t stream;
    scratch pieces, ids, seeds, wrong;
};

static void *grow(scratch *scratch, size_t count, size_t size) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes))
        fail(EXIT_CHECK, "out of memory for %zu x %zu bytes", count, size);
    if (bytes > scratch->bytes) {
        must_cuda(cudaFreeHost(scratch->memory), "cudaFreeHost"); /* NULL is allowed */
        scratch->memory = device_pinned(bytes);
        scratch->bytes = bytes;
    }
    return scratch->memory;
}

static void *keep(scratch *scratch, const void *from, size_t count, size_t size) {
    return memcpy(grow(scratch, count, size), from, count * size);
}

device_contents *device_contents_open(void) {
    device_contents *contents = must_grow(NULL, 1, sizeof *contents);
    *contents = (device_contents){.stream = device_stream()};
    return contents;
}

void device_contents_close(device_contents *contents) {
    scratch *all[] = {&contents->pieces, &contents->ids, &contents->seeds, &contents->wrong};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        must_cuda(cudaFreeHost(all[i]->memory), "cudaFreeHost");
    must_cuda(cudaStreamDestroy(contents->stream), "cudaStreamDestroy");
    free(contents);
}

static size_t rows_of(const kvf_region *region) {
    return region->rows > 0 ? region->rows : 1;
}

/* Lists the pieces of a block in the order of contents.c. */
static void describe_pieces(device_contents *contents, const kvf_layout *layout,
                            kernel_blocks *blocks) {
    size_t count, total = 0, n = 0;
    const kvf_region *regions = kvf_layout_regions(layout, &count);
    for (size_t i = 0; i < count; i++)
        total += rows_of(&regions[i]);
    kernel_piece *pieces = grow(&contents->pieces, total, sizeof *pieces);
    for (size_t i = 0; i < count; i++) {
        for (size_t row = 0; row < rows_of(&regions[i]); row++) {
            pieces[n++] = (kernel_piece){
                .base = (char *)regions[i].base + row * regions[i].row_pitch,
                .stride = regions[i].block_stride,
                .bytes = regions[i].bytes,
            };
        }
    }
    if (total > UINT32_MAX)
        fail(EXIT_CHECK, "a block has %zu pieces (at most 2^32 - 1 are allowed)", total);
    blocks->pieces = pieces;
    blocks->piece_count = (uint32_t)total;
}

/* `count` is below 2^31, as ids are. */
static kernel_blocks describe(device_contents *contents, const kvf_layout *layout,
                              const uint64_t *ids, const uint64_t *seeds, size_t count) {
    kernel_blocks blocks = {.block_count = (uint32_t)count};
    describe_pieces(contents, layout, &blocks);
    blocks.ids = keep(&contents->ids, ids, count, sizeof *ids);
    blocks.seeds = seeds ? keep(&contents->seeds, seeds, count, sizeof *seeds) : NULL;
    return blocks;
}

static void finish(const device_contents *contents, cudaError_t launched, const char *what) {
    must_cuda(launched, what);
    must_cuda(cudaStreamSynchronize(contents->stream), what);
}

void device_contents_fill(device_contents *contents, const kvf_layout *layout, const uint64_t *ids,
                          const uint64_t *seeds, size_t count) {
    if (count > 0) {
        kernel_blocks blocks = describe(contents, layout, ids, seeds, count);
        finish(contents, kernels_fill(&blocks, contents->stream), "filling device memory");
    }
}

void device_contents_poison(device_contents *contents, const kvf_layout *layout,
                            const uint64_t *ids, size_t count) {
    if (count > 0) {
        kernel_blocks blocks = describe(contents, layout, ids, NULL, count);
        finish(contents, kernels_poison(&blocks, contents->stream), "poisoning device memory");
    }
}

size_t device_contents_check(device_contents *contents, const kvf_layout *layout,
                             const uint64_t *ids, const uint64_t *seeds, size_t count) {
    size_t corrupt = 0;
    if (count == 0)
        return 0;
    kernel_blocks blocks = describe(contents, layout, ids, seeds, count);
    blocks.wrong = memset(grow(&contents->wrong, count, 1), 0, count);
    finish(contents, kernels_check(&blocks, contents->stream), "checking device memory");
    for (size_t i = 0; i < count; i++)
        corrupt += blocks.wrong[i] != 0;
    return corrupt;
}
