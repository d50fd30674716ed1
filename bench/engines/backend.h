/* What differs from engine to engine: making one, and the memory of its tiers.
 *
 * The rest of the tool knows engines through this header alone. A new one is a backend_type and a
 * line in backend.c.
 */
#ifndef KVF_BENCH_BACKEND_H
#define KVF_BENCH_BACKEND_H

#include <argp.h>
#include <jansson.h>
#include <kvferry/kvferry.h>

typedef struct backend backend;

/* Which tier memory is for. The host engine has both in host memory. */
typedef enum side {
    SIDE_DEVICE,
    SIDE_HOST,
} side;

/* What options choose. */
typedef struct backend_options {
    const char *engine; /* NULL: "host" */
    unsigned threads;   /* 0: the engine's default */
    int device;         /* of a GPU's engine */
    const char
        *costs; /* a file that `kvferry calibrate` wrote; NULL: the cache's, if there is one */
    bool builtin_costs;  /* the library's own cost table, whatever the cache has */
    uint64_t link_bytes; /* of a sample of a GPU's link; 0: 256 MiB */
    double imitate_gbps, imitate_latency_us;
} backend_options;

/* A direction of transfers that an engine has. */
typedef struct direction {
    const char *name; /* h2h, h2d, ... */
    side src, dst;
} direction;

/* How an engine moved a transfer. */
typedef struct moved_by {
    const char *strategy; /* NULL where there is only one way; static text */
    double predicted_us;  /* NaN where nothing was predicted */
} moved_by;

/* One sample of the link's own copy, large plain pieces, in one of an engine's `link_ways`. */
typedef struct link_copy {
    const direction *direction;
    void *dst; /* the row's own memory, for an engine whose link has no other */
    const void *src;
    size_t bytes;
    unsigned way;
    bool opposed; /* with a large copy the other way at the same time */
} link_copy;

/* A computation that can run beside transfers. */
typedef struct computation {
    const char *(*open)(backend *backend); /* its name, valid until `close` */
    void (*close)(backend *backend);
    /* Begins so many units; whether they still run; waits and returns the nanoseconds they took. */
    void (*begin)(backend *backend, size_t units);
    bool (*running)(backend *backend);
    double (*end)(backend *backend);
} computation;

/* The functions of one kind of engine. Memory functions are for memory of its own. */
typedef struct backend_type {
    const char *name;
    const direction *directions;    /* up to one with a NULL name */
    const char *const *strategies;  /* by kvf_submit_options.strategy, up to NULL; NULL: one only */
    const computation *computation; /* NULL: none */

    /* Fills in `engine` and `own`; ends the program on failure. */
    void (*open)(backend *backend, const backend_options *options);
    /* Frees `own`; the engine is gone then. */
    void (*close)(backend *backend);

    void *(*allocate)(backend *backend, side side, size_t bytes); /* NULL: none to be had */
    void (*release)(backend *backend, side side, void *memory, size_t bytes);
    kvf_memory (*memory)(side side);

    /* Give blocks the pattern of their seeds; poison them; count those that are not it. The blocks
     * must be idle, and are written or read when these return. */
    void (*fill)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                 const uint64_t *seeds, size_t count);
    void (*poison)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                   size_t count);
    size_t (*check)(backend *backend, side side, const kvf_layout *layout, const uint64_t *ids,
                    const uint64_t *seeds, size_t count);

    /* Nanoseconds that so many bytes take at the link's own speed; NaN where it cannot be told. */
    unsigned (*link_ways)(const backend *backend);
    double (*link_ns)(backend *backend, const link_copy *copy);
    const char *link_formula;

    moved_by (*moved_by)(const kvf_transfer *transfer);

    /* Adds to a result's context what it will be measured with, and after the work what the engine
     * says of it. NULL: nothing. */
    void (*describe)(backend *backend, json_t *context);
    void (*conclude)(backend *backend, json_t *context);
} backend_type;

struct backend {
    const backend_type *type;
    kvf_engine *engine;
    void *own;       /* the type's */
    bool imitated;   /* its times are those of an imitation, and say nothing of a machine */
    bool link_known; /* somebody else measures what its link can do */
};

/* Child parsers with --engine and what belongs to it, of that only what chooses a cost table, and
 * with what imitates a link; their input is a backend_options. An engine that does not exist is a
 * usage error. */
extern const struct argp backend_argp;
extern const struct argp costs_argp;
extern const struct argp imitate_argp;

/* The type of an engine's name, NULL for the default; NULL when there is none. */
const backend_type *backend_find(const char *name);

/* Opens the engine; ends the program when that fails. */
void backend_open(backend *backend, const backend_options *options);
void backend_close(backend *backend);

/* Its part of a result's context: before the work, which includes measuring a GPU's link, and what
 * there is to add after it. */
void backend_describe(backend *backend, json_t *context);
void backend_conclude(backend *backend, json_t *context);

extern const backend_type backend_host;
extern const backend_type backend_cuda; /* where the tool is built with it: KVF_BENCH_CUDA */

#endif
