/* What differs from engine to engine: making one, and the memory of its tiers.
 *
 * The rest of the tool knows engines through this header alone. A new one is a backend_type and a
 * line in backend.c.
 */
#ifndef KVF_BENCH_BACKEND_H
#define KVF_BENCH_BACKEND_H

#include <argp.h>
#include <kvferry/kvferry.h>

typedef struct backend backend;

/* Which tier memory is for. The host engine has both in host memory. */
typedef enum place {
    PLACE_DEVICE,
    PLACE_HOST,
} place;

/* What options choose. */
typedef struct backend_options {
    const char *engine; /* NULL: "host" */
    unsigned threads;   /* 0: the engine's default */
    double imitate_gbps, imitate_latency_us;
} backend_options;

/* A direction of transfers that an engine has. */
typedef struct direction {
    const char *name; /* h2h, h2d, ... */
    place src, dst;
} direction;

/* The functions of one kind of engine. Memory functions are for memory of its own. */
typedef struct backend_type {
    const char *name;
    const direction *directions; /* up to one with a NULL name */

    /* Fills in `engine` and `own`; ends the program on failure. */
    void (*open)(backend *backend, const backend_options *options);
    /* Frees `own`; the engine is gone then. */
    void (*close)(backend *backend);

    void *(*allocate)(backend *backend, place place, size_t bytes); /* NULL: none to be had */
    void (*release)(backend *backend, place place, void *memory, size_t bytes);
    kvf_memory (*memory)(place place);

    /* Give blocks the pattern of their seeds; poison them; count those that are not it. The blocks
     * must be idle, and are written or read when these return. */
    void (*fill)(backend *backend, const kvf_layout *layout, const uint64_t *ids,
                 const uint64_t *seeds, size_t count);
    void (*poison)(backend *backend, const kvf_layout *layout, const uint64_t *ids, size_t count);
    size_t (*check)(backend *backend, const kvf_layout *layout, const uint64_t *ids,
                    const uint64_t *seeds, size_t count);

    /* The link's own copy, in one of `link_ways` ways: large plain pieces, done on return. */
    unsigned (*link_ways)(const backend *backend);
    void (*link_copy)(backend *backend, void *dst, const void *src, size_t bytes, unsigned way);
    const char *link_formula;

    /* How the engine moved a transfer; NULL where it has only one way. Static text. */
    const char *(*strategy)(const kvf_transfer *transfer);
} backend_type;

struct backend {
    const backend_type *type;
    kvf_engine *engine;
    void *own; /* the type's */
};

/* Child parsers with --engine and --threads, and with what imitates a link; their input is a
 * backend_options. An engine that does not exist is a usage error. */
extern const struct argp backend_argp;
extern const struct argp imitate_argp;

/* The type of an engine's name, NULL for the default; NULL when there is none. */
const backend_type *backend_find(const char *name);

/* Opens the engine; ends the program when that fails. */
void backend_open(backend *backend, const backend_options *options);
void backend_close(backend *backend);

extern const backend_type backend_host;

#endif
