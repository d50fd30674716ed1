/* What differs between engines: how one is created, and the memory of its tiers.
 *
 * The rest of the tool uses engines only through this header. A new engine is a backend_type and a
 * line in backend.c.
 */
#ifndef KVF_BENCH_BACKEND_H
#define KVF_BENCH_BACKEND_H

#include <argp.h>
#include <jansson.h>
#include <kvferry/kvferry.h>

typedef struct backend backend;

/* The side of a tier pair that memory is for. The host engine has both in host memory. */
typedef enum side {
    SIDE_DEVICE,
    SIDE_HOST,
} side;

/* Set by the options. */
typedef struct backend_options {
    const char *engine;  /* NULL: "host" */
    unsigned threads;    /* 0: the engine's default */
    int device;          /* engine cuda: number of the GPU */
    const char *costs;   /* a cost table's file; NULL: the cached one, if any */
    bool builtin_costs;  /* the library's own cost table, even if one is cached */
    uint64_t link_bytes; /* of memory on each side, to measure a GPU's link; 0: 256 MiB */
    double imitate_gbps, imitate_latency_us;
} backend_options;

/* A direction of transfers that an engine supports. */
typedef struct direction {
    const char *name; /* h2h, h2d, ... */
    side src, dst;
} direction;

/* How an engine moved a transfer. */
typedef struct moved_by {
    const char *strategy; /* static text; NULL if the engine has only one */
    double predicted_us;  /* NaN without a prediction */
} moved_by;

/* One sample of the link's own speed: plain copies of large pieces, in one of `link_ways` ways. */
typedef struct link_copy {
    const direction *direction;
    void *dst; /* the row's own memory, for engines that allocate none for this */
    const void *src;
    size_t bytes;
    unsigned way;
    bool opposed; /* during large copies in the opposite direction */
} link_copy;

/* A computation that can run during transfers. */
typedef struct computation {
    const char *(*open)(backend *backend); /* returns its name, valid until `close` */
    void (*close)(backend *backend);
    /* Starts `units` units; tells whether they still run; waits for their end and returns the
     * nanoseconds they took. */
    void (*begin)(backend *backend, size_t units);
    bool (*running)(backend *backend);
    double (*end)(backend *backend);
} computation;

/* The functions of one kind of engine. */
typedef struct backend_type {
    const char *name;
    const direction *directions; /* ends with a NULL name */
    const char *const
        *strategies; /* by kvf_submit_options.strategy, ends with NULL; NULL: only one */
    const computation *computation; /* NULL: none */

    /* Sets `engine` and `own`. Ends the program on failure. */
    void (*open)(backend *backend, const backend_options *options);
    /* Frees `own`, after the engine was destroyed. */
    void (*close)(backend *backend);

    void *(*allocate)(backend *backend, side side, size_t bytes); /* NULL: out of memory */
    void (*release)(backend *backend, side side, void *memory, size_t bytes);
    kvf_memory (*memory)(side side);

    /* Fill blocks with the patterns of their seeds; poison blocks; count the blocks that differ
     * from their patterns. The blocks must be idle. All access has ended when these return. */
    void (*fill)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                 const uint64_t *seeds, size_t count);
    void (*poison)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                   size_t count);
    size_t (*check)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                    const uint64_t *seeds, size_t count);

    /* Nanoseconds that the copy takes at the link's own speed; NaN if that cannot be measured. */
    unsigned (*link_ways)(const backend *backend);
    double (*link_ns)(backend *backend, const link_copy *copy);
    const char *link_formula;

    moved_by (*moved_by)(const kvf_transfer *transfer);

    /* Add to a result's context: before the work what it is measured with, after the work the
     * engine's statistics. NULL: nothing. */
    void (*describe)(backend *backend, json_t *context);
    void (*conclude)(backend *backend, json_t *context);
} backend_type;

struct backend {
    const backend_type *type;
    kvf_engine *engine;
    void *own;       /* private to the type */
    bool imitated;   /* the link or GPU is imitated: times are not those of a real one */
    bool link_known; /* the caller measures the link itself */
};

/* Child parsers: for --engine and its options, for those of cost tables alone, and for imitating a
 * link. Their input is a backend_options. */
extern const struct argp backend_argp;
extern const struct argp costs_argp;
extern const struct argp imitate_argp;

/* Finds an engine by name (NULL: the default). Returns NULL for an unknown name. */
const backend_type *backend_find(const char *name);

/* Creates the engine. Ends the program on failure. */
void backend_open(backend *backend, const backend_options *options);
void backend_close(backend *backend);

/* The engine's part of a result's context: before the work, which measures a GPU's link, and after
 * it. */
void backend_describe(backend *backend, json_t *context);
void backend_conclude(backend *backend, json_t *context);

extern const backend_type backend_host;
extern const backend_type backend_cuda; /* only with KVF_BENCH_CUDA */

#endif
