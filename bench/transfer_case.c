#include "transfer_case.h"

#include "measure.h"
#include "options.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEP 4096

/* "name:K". */
static bool parse_step(const char *text, const char *name, size_t *step) {
    size_t length = strlen(name);
    uint64_t number;
    if (strncmp(text, name, length) != 0 || text[length] != ':' ||
        !parse_number(text + length + 1, &number) || number < 1 || number > MAX_STEP) {
        return false;
    }
    *step = (size_t)number;
    return true;
}

bool id_pattern_parse(const char *text, id_pattern *pattern) {
    *pattern = (id_pattern){.name = text, .step = 1};
    if (strcmp(text, "contiguous") == 0) {
        pattern->kind = PATTERN_CONTIGUOUS;
    } else if (strcmp(text, "random") == 0) {
        pattern->kind = PATTERN_RANDOM;
    } else if (parse_step(text, "run", &pattern->step)) {
        pattern->kind = PATTERN_RUN;
    } else if (parse_step(text, "stride", &pattern->step)) {
        pattern->kind = PATTERN_STRIDE;
    } else {
        return false;
    }
    return true;
}

/* Everything of a case while it is measured. */
typedef struct bench {
    backend *backend;
    const transfer_case *chosen;
    store src, dst;
    uint64_t *src_ids, *dst_ids, *seeds;
    double *times, *submits, *cpus; /* [samples] */
    double *links;                  /* [ways][samples] */
    unsigned ways;
    transfer_result result;
} bench;

static size_t pool_blocks(const transfer_case *chosen, place place) {
    bool spread = place == PLACE_DEVICE && chosen->pattern.kind == PATTERN_STRIDE;
    return spread ? chosen->blocks * chosen->pattern.step : chosen->blocks;
}

/* Runs of `step` ids that count up, the runs in random order. */
static void fill_runs(uint64_t *ids, size_t count, size_t step) {
    size_t runs = (count + step - 1) / step;
    uint64_t state = count;
    uint64_t *order = must_grow(NULL, runs, sizeof(*order));
    for (size_t i = 0; i < runs; i++) {
        order[i] = i;
    }
    shuffle(order, runs, &state);
    for (size_t i = 0, filled = 0; i < runs; i++) {
        for (size_t id = order[i] * step; id < (order[i] + 1) * step && id < count; id++) {
            ids[filled++] = id;
        }
    }
    free(order);
}

static uint64_t *make_ids(const transfer_case *chosen, place place) {
    const id_pattern *pattern = &chosen->pattern;
    uint64_t *ids = must_grow(NULL, chosen->blocks, sizeof(*ids));
    for (size_t i = 0; i < chosen->blocks; i++) {
        ids[i] = i;
    }
    if (place == PLACE_DEVICE && pattern->kind == PATTERN_STRIDE) {
        for (size_t i = 0; i < chosen->blocks; i++) {
            ids[i] *= pattern->step;
        }
    } else if (place == PLACE_DEVICE && pattern->kind != PATTERN_CONTIGUOUS) {
        fill_runs(ids, chosen->blocks, pattern->step); /* random: runs of one */
    }
    return ids;
}

static void open_side(bench *bench, store *store, place place) {
    const transfer_case *chosen = bench->chosen;
    store_spec spec = {
        .blocks = pool_blocks(chosen, place),
        .regions = chosen->regions,
        .region_bytes = chosen->fragment_bytes,
        .place = place,
        .arrangement = place == PLACE_HOST ? chosen->host_layout : arrangement_find("region"),
    };
    store_open(store, bench->backend, &spec);
}

static void open_bench(bench *bench) {
    const transfer_case *chosen = bench->chosen;
    open_side(bench, &bench->src, chosen->direction->src);
    open_side(bench, &bench->dst, chosen->direction->dst);
    bench->src_ids = make_ids(chosen, chosen->direction->src);
    bench->dst_ids = make_ids(chosen, chosen->direction->dst);
    bench->seeds = must_grow(NULL, chosen->blocks, sizeof(*bench->seeds));
    for (size_t i = 0; i < chosen->blocks; i++) {
        bench->seeds[i] = mix64(i + 1);
    }
    bench->ways = bench->backend->type->link_ways(bench->backend);
    bench->times = must_grow(NULL, chosen->samples, sizeof(double));
    bench->submits = must_grow(NULL, chosen->samples, sizeof(double));
    bench->cpus = must_grow(NULL, chosen->samples, sizeof(double));
    bench->links = must_grow(NULL, chosen->samples * bench->ways, sizeof(double));
    bench->result.bytes = (uint64_t)chosen->blocks * chosen->regions * chosen->fragment_bytes;
    bench->backend->type->fill(bench->backend, bench->src.layout, bench->src_ids, bench->seeds,
                               chosen->blocks);
}

static void close_bench(bench *bench) {
    store_close(&bench->src);
    store_close(&bench->dst);
    free(bench->src_ids);
    free(bench->dst_ids);
    free(bench->seeds);
    free(bench->times);
    free(bench->submits);
    free(bench->cpus);
    free(bench->links);
}

/* Every timed copy begins with the destination poisoned, the link's own as well: what is in the
 * caches is the same for both. */
static void poison(bench *bench) {
    if (bench->chosen->verify) {
        bench->backend->type->poison(bench->backend, bench->dst.layout, bench->dst_ids,
                                     bench->chosen->blocks);
    }
}

static void sample_link(bench *bench, size_t sample) {
    for (unsigned way = 0; way < bench->ways; way++) {
        poison(bench);
        uint64_t start = clock_ns();
        bench->backend->type->link_copy(bench->backend, bench->dst.memory, bench->src.memory,
                                        (size_t)bench->result.bytes, way);
        bench->links[way * bench->chosen->samples + sample] = (double)(clock_ns() - start);
    }
}

static void sample_transfer(bench *bench, size_t sample) {
    kvf_plan plan = {
        .count = bench->chosen->blocks, .src_ids = bench->src_ids, .dst_ids = bench->dst_ids};
    kvf_transfer *transfer = NULL;
    kvf_transfer_stats stats;
    kvf_error error = {0};
    poison(bench);
    uint64_t cpu = cpu_ns();
    uint64_t start = clock_ns();
    must(kvf_transfer_submit(bench->src.tier, bench->dst.tier, &plan, 1, NULL, &transfer, &error),
         &error, "submitting a transfer");
    uint64_t submitted = clock_ns();
    must(kvf_transfer_wait(transfer, -1, &error), &error, "transfer failed");
    uint64_t end = clock_ns();
    bench->cpus[sample] = (double)(cpu_ns() - cpu);
    bench->submits[sample] = (double)(submitted - start);
    bench->times[sample] = (double)(end - start);
    kvf_transfer_stats_get(transfer, &stats);
    bench->result.boxes = stats.boxes;
    bench->result.strategy = bench->backend->type->strategy(transfer);
    kvf_transfer_release(transfer);
    if (bench->chosen->verify) {
        bench->result.corrupt_blocks += bench->backend->type->check(
            bench->backend, bench->dst.layout, bench->dst_ids, bench->seeds, bench->chosen->blocks);
    }
}

/* The best way's median. */
static double best_link(bench *bench) {
    size_t samples = bench->chosen->samples;
    double best = INFINITY;
    for (unsigned way = 0; way < bench->ways; way++) {
        best = fmin(best, median(bench->links + way * samples, samples));
    }
    return best;
}

transfer_result transfer_case_run(backend *backend, const transfer_case *chosen) {
    bench bench = {.backend = backend, .chosen = chosen};
    open_bench(&bench);
    sample_link(&bench, 0); /* warm-up, overwritten below */
    sample_transfer(&bench, 0);
    for (size_t i = 0; i < chosen->samples; i++) {
        sample_link(&bench, i);
        sample_transfer(&bench, i);
    }
    bench.result.median_ns = median(bench.times, chosen->samples);
    bench.result.p99_ns = percentile_99(bench.times, chosen->samples);
    bench.result.submit_ns = median(bench.submits, chosen->samples);
    bench.result.cpu_ns = median(bench.cpus, chosen->samples);
    bench.result.link_ns = best_link(&bench);
    close_bench(&bench);
    return bench.result;
}
