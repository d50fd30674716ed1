/* kvferry bench collective: how fast the same blocks reach all GPUs of a group. */
#include "base/command.h"

#include "collective/gather.h"
#include "collective/options.h"
#include "gpu/device.h"
#include "output/measure.h"
#include "base/base.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All ranks measure their links at the same time, for so long and within these counts. */
#define LINK_NS     UINT64_C(300000000)
#define MIN_SAMPLES 5
#define MAX_SAMPLES 100

/* One rank's run. */
typedef struct run {
    const collective_options *chosen;
    rank_self self;
    backend backend;
    gather *gather;
    unsigned char id[KVF_GROUP_ID_BYTES]; /* the group's */
    kvf_group *group;
    output *output;             /* rank 0 only */
    double *links;              /* [ranks] GB/s; rank 0 only */
    collective_result *results; /* [cells] */
} run;

/* What each rank sends to rank 0 before the group is made. */
typedef struct rank_info {
    uint64_t options; /* their digest */
    double link_gbps;
    uint64_t imitated;
    cudaUUID_t gpu;
} rank_info;

/* Rank 0's answer. */
typedef struct group_info {
    bool can_start;
    unsigned char id[KVF_GROUP_ID_BYTES];
} group_info;

_Static_assert(sizeof(rank_info) <= GATHER_MAX_BYTES && sizeof(group_info) <= GATHER_MAX_BYTES &&
                   sizeof(collective_result) <= GATHER_MAX_BYTES,
               "each message fits");

static double link_ns(run *run, uint64_t bytes) {
    const link_copy copy = {.direction = &run->backend.type->directions[0], .bytes = bytes};
    return run->backend.type->link_ns(&run->backend, &copy);
}

/* GB/s of this rank's link to its GPU, while the other ranks measure theirs. */
static double measure_link(run *run) {
    const uint64_t bytes = 1000000000;
    double times[MAX_SAMPLES];
    size_t count = 0;
    uint64_t start = clock_ns();
    while (count < MAX_SAMPLES && (count < MIN_SAMPLES || clock_ns() - start < LINK_NS))
        times[count++] = link_ns(run, bytes);
    return (double)bytes / median(times, count);
}

static cudaUUID_t own_gpu(void) {
    struct cudaDeviceProp properties;
    int device = 0;
    must_cuda(cudaGetDevice(&device), "cudaGetDevice");
    must_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    return properties.uuid;
}

/* Whether the ranks can make a group; prints why not. */
static bool are_compatible(const run *run, const rank_info *infos) {
    for (int rank = 1; rank < run->self.ranks; rank++) {
        if (infos[rank].options != infos[0].options) {
            fprintf(stderr, "kvferry: rank %d was given other options than rank 0\n", rank);
            return false;
        }
        for (int other = 0; other < rank; other++)
            if (memcmp(&infos[rank].gpu, &infos[other].gpu, sizeof(cudaUUID_t)) == 0) {
                fprintf(stderr, "kvferry: ranks %d and %d have the same GPU\n", other, rank);
                return false;
            }
    }
    return true;
}

static void keep_links(run *run, const rank_info *infos) {
    run->links = must_grow(NULL, (size_t)run->self.ranks, sizeof *run->links);
    for (int rank = 0; rank < run->self.ranks; rank++) {
        run->links[rank] = infos[rank].link_gbps;
        run->backend.imitated = run->backend.imitated || infos[rank].imitated != 0;
    }
}

static group_info make_group_info(const run *run, const rank_info *infos) {
    group_info group_info = {.can_start = are_compatible(run, infos)};
    kvf_error error = {0};
    if (group_info.can_start && run->self.ranks > 1)
        must(kvf_group_id_create(group_info.id, &error), &error, "rank 0: creating a group's id");
    return group_info;
}

/* Connects the ranks, measures their links at the same time, and distributes the group's id. */
static void exchange_info(run *run) {
    const collective_options *chosen = run->chosen;
    rank_info *all = must_grow(NULL, (size_t)run->self.ranks, sizeof *all);
    rank_info mine = {.options = collective_options_digest(chosen),
                      .imitated = run->backend.imitated,
                      .gpu = own_gpu()};
    group_info group_info = {0};
    link_ns(run, 1); /* allocates its memory, so that ranks do not wait for that below */
    run->gather = gather_open(&run->self, chosen->timeout_us);
    mine.link_gbps = measure_link(run);
    gather_collect(run->gather, &mine, all, sizeof mine);
    if (run->self.rank == 0) {
        group_info = make_group_info(run, all);
        keep_links(run, all);
    }
    gather_broadcast(run->gather, &group_info, sizeof group_info);
    free(all);
    if (!group_info.can_start)
        exit(EXIT_USAGE);
    memcpy(run->id, group_info.id, sizeof run->id);
}

static void open_group(run *run) {
    const collective_options *chosen = run->chosen;
    const kvf_group_options options = {
        .rank = run->self.rank,
        .ranks = run->self.ranks,
        .engine = run->backend.engine,
        .id = run->self.ranks > 1 ? run->id : NULL,
        .timeout_us = chosen->timeout_us,
        .min_ctas = chosen->min_ctas,
        .max_ctas = chosen->max_ctas,
        .cta_policy = chosen->cta_policy,
    };
    kvf_error error = {0};
    char doing[64];
    snprintf(doing, sizeof doing, "rank %d: creating a group", run->self.rank);
    must(kvf_group_create(&options, &run->group, &error), &error, doing);
}

static void run_cells(run *run) {
    progress progress = {.what = "combinations"};
    size_t cells = collective_options_cells(run->chosen);
    run->results = must_grow(NULL, cells, sizeof *run->results);
    for (size_t i = 0; i < cells; i++) {
        if (run->self.rank == 0)
            progress_step(&progress, i, cells);
        collective_case one = collective_options_cell(run->chosen, i);
        collective_case_run(&run->backend, run->group, &one, &run->results[i]);
    }
    progress_end(&progress);
}

/* Results */

static const char *memory_name(kvf_wire_memory memory) {
    static const char *const names[] = {
        [KVF_WIRE_PLAIN] = "plain", [KVF_WIRE_NCCL] = "nccl", [KVF_WIRE_WINDOW] = "window"};
    return names[memory];
}

static bool is_wrong(const collective_result *result) {
    return result->corrupt_blocks > 0 || result->wrong_samples > 0;
}

static void fill_case(const run *run, const collective_case *one, json_t *row) {
    row_text(row, "mode", collective_mode_name(one->mode));
    row_count(row, "ranks", (uint64_t)run->self.ranks);
    row_count(row, "fragment_bytes", one->tier_pair.fragment_bytes);
    row_count(row, "regions", one->tier_pair.regions);
    row_count(row, "block_bytes", (uint64_t)one->tier_pair.fragment_bytes * one->tier_pair.regions);
    row_count(row, "blocks", one->tier_pair.blocks);
    row_text(row, "pattern", one->tier_pair.pattern.name);
}

static void fill_speed(const run *run, const collective_case *one, const collective_result *result,
                       json_t *row) {
    double ranks = run->self.ranks;
    double algbw = (double)result->bytes / result->ns.median;
    double factor = one->mode == KVF_SHARE_STRIPED ? (ranks - 1) / ranks : 1;
    double links = 0;
    for (int rank = 0; rank < run->self.ranks; rank++)
        links += run->links[rank];
    row_count(row, "bytes", result->bytes);
    row_summary(row, "us", 1000, &result->ns);
    row_real(row, "wait_us", result->wait_us);
    row_real(row, "run_us", result->run_us);
    row_real(row, "algbw_gbps", algbw);
    row_real(row, "busbw_gbps", run->self.ranks > 1 ? algbw * factor : NAN);
    row_real(row, "link_gbps", run->links[0]);
    row_real(row, "links_gbps", links);
    row_real(row, "fraction_of_links", algbw / links);
}

/* The columns that depend on all ranks' results. */
static void fill_ranks(const run *run, const collective_case *one, const collective_result *all,
                       json_t *row) {
    uint64_t host = 0, wire = 0;
    bool verified = true;
    for (int rank = 0; rank < run->self.ranks; rank++) {
        host += all[rank].host_bytes;
        wire += all[rank].wire_bytes;
        verified = verified && !is_wrong(&all[rank]);
    }
    row_count(row, "host_bytes", all[0].host_bytes);
    row_count(row, "host_bytes_all", host);
    row_count(row, "wire_bytes", all[0].wire_bytes);
    row_count(row, "wire_bytes_all", wire);
    row_count(row, "chunks", all[0].chunks);
    row_text(row, "wire_memory", memory_name(all[0].memory));
    row_flag(row, "imitated", run->backend.imitated);
    row_verified(row, one->verify, verified);
}

/* Prints a cell's failures, on rank 0. */
static void print_failures(const run *run, const collective_case *one,
                           const collective_result *all) {
    for (int rank = 0; rank < run->self.ranks; rank++) {
        if (all[rank].corrupt_blocks > 0)
            fprintf(stderr, "kvferry: rank %d: %llu blocks did not arrive intact\n", rank,
                    (unsigned long long)all[rank].corrupt_blocks);
        if (all[rank].wrong_samples > 0)
            fprintf(stderr,
                    "kvferry: rank %d: %llu bytes crossed its link, but mode %s needs %llu\n", rank,
                    (unsigned long long)all[rank].host_bytes, collective_mode_name(one->mode),
                    (unsigned long long)all[rank].host_share);
    }
}

/* Sends a cell's result to rank 0, which writes the row; returns on how many ranks it is wrong. */
static uint64_t output_cell(run *run, size_t number, collective_result *all) {
    collective_case one = collective_options_cell(run->chosen, number);
    uint64_t wrong = 0;
    gather_collect(run->gather, &run->results[number], all, sizeof *all);
    for (int rank = 0; run->self.rank == 0 && rank < run->self.ranks; rank++)
        wrong += is_wrong(&all[rank]);
    gather_broadcast(run->gather, &wrong, sizeof wrong);
    if (run->self.rank == 0) {
        json_t *row = output_row(run->output);
        fill_case(run, &one, row);
        fill_speed(run, &one, &all[0], row);
        fill_ranks(run, &one, all, row);
        print_failures(run, &one, all);
    }
    return wrong;
}

static uint64_t output_cells(run *run) {
    collective_result *all = must_grow(NULL, (size_t)run->self.ranks, sizeof *all);
    uint64_t wrong = 0;
    for (size_t i = 0; i < collective_options_cells(run->chosen); i++)
        wrong += output_cell(run, i, all);
    free(all);
    return wrong;
}

/* The loaded NCCL's version, such as "2.28.9"; null without one. Needs no header of NCCL. */
static json_t *nccl_version(void) {
    int (*get)(int *version) = NULL;
    int version = 0;
    if (!find_function(RTLD_DEFAULT, "ncclGetVersion", &get) || get(&version) != 0)
        return json_null();
    return json_sprintf("%d.%d.%d", version / 10000, version % 10000 / 100, version % 100);
}

static void describe(run *run) {
    json_t *context = output_context(run->output);
    json_t *links = json_array();
    for (int rank = 0; rank < run->self.ranks; rank++)
        json_array_append_new(links, json_real(run->links[rank]));
    run->backend.link_known = true; /* just measured by all ranks at once */
    backend_describe(&run->backend, context);
    json_object_set_new(context, "ranks", json_integer(run->self.ranks));
    json_object_set_new(context, "nccl", nccl_version());
    json_object_set_new(context, "links_gbps", links);
}

static void note_formulas(const run *run) {
    output *output = run->output;
    output_note(output, "time: from rank 0's submit, after an empty operation has synchronized the "
                        "ranks, until all ranks have voted that every block is in place; wait_us: "
                        "its first part, until all ranks were known to have submitted; run_us: the "
                        "rest");
    output_note(output,
                "algbw = bytes / time, in 10^9 bytes/s; busbw, as nccl-tests define it: "
                "algbw * (ranks - 1) / ranks for striped (all-gather), algbw for broadcast");
    output_note(output, "links_gbps: the sum of all ranks' links; each is the median of large "
                        "copies from pinned memory to the rank's GPU, measured on all ranks at "
                        "once");
    output_note(output,
                "fraction_of_links = algbw / links_gbps: 1 would mean reading each byte once "
                "at the full speed of all links, with agreement, sharing and scattering for "
                "free. broadcast uses one link, so it reaches at most 1 / ranks if all links "
                "are equally fast");
    output_note(output,
                "host_bytes: bytes over rank 0's link in one sample; wire_bytes: bytes that "
                "rank 0 asked NCCL to move; ..._all: of all ranks together; wire_memory: "
                "plain, nccl (from ncclMemAlloc) or window (symmetric)");
}

/* The run */

static void open_run(run *run, const collective_options *chosen, const rank_self *self) {
    backend_options options = chosen->backend;
    *run = (struct run){.chosen = chosen, .self = *self};
    if (self->rank == 0)
        run->output = output_open(&chosen->output, "bench collective", "cuda");
    int gpus = device_count();
    if (self->ranks == 1 && self->device < 0 && gpus > 1)
        fprintf(stderr,
                "kvferry: one rank on a machine with %d GPUs; to use all of them, start one rank "
                "per GPU with a launcher (see --help)\n",
                gpus);
    options.device = self->device >= 0 ? self->device : self->local % gpus;
    backend_open(&run->backend, &options);
}

/* Launchers kill all ranks when one fails, so no rank ends before the output is written. */
static void end_together(run *run) {
    bool written = fflush(stdout) == 0; /* if not, main reports it */
    gather_broadcast(run->gather, &written, sizeof written);
    gather_close(run->gather);
}

static void close_run(run *run) {
    if (run->self.rank == 0) {
        note_formulas(run);
        backend_conclude(&run->backend, output_context(run->output));
    }
    backend_close(&run->backend);
    if (run->self.rank == 0)
        output_close(run->output);
    end_together(run);
    free(run->results);
    free(run->links);
}

static int run_rank(const rank_self *self, const collective_options *chosen) {
    run run;
    open_run(&run, chosen, self);
    exchange_info(&run);
    if (self->rank == 0) {
        describe(&run);
        output_begin(run.output);
    }
    open_group(&run);
    run_cells(&run);
    kvf_group_destroy(run.group);
    uint64_t wrong = output_cells(&run);
    close_run(&run);
    if (wrong > 0 && self->rank > 0)
        fprintf(stderr, "kvferry: rank %d: a check has failed; rank 0 prints details\n",
                self->rank);
    return wrong > 0 ? EXIT_CHECK : 0;
}

int bench_collective_main(int argc, char **argv) {
    collective_options chosen;
    rank_self self;
    collective_options_parse(&chosen, argc, argv);
    ranks_find(&chosen.ranks, &self);
    int code = run_rank(&self, &chosen);
    free(self.address);
    collective_options_free(&chosen);
    return code;
}
