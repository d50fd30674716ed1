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

/* How long links are measured, by all ranks at the same time, and how often at least and at most.
 */
#define LINK_NS       UINT64_C(300000000)
#define LEAST_SAMPLES 5
#define MOST_SAMPLES  100

/* One rank and what it has. */
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

/* What a rank says before there is a group. */
typedef struct greeting {
    uint64_t options; /* their digest */
    double link_gbps;
    uint64_t imitated;
    cudaUUID_t gpu;
} greeting;

/* Rank 0's answer. */
typedef struct invitation {
    bool fine;
    unsigned char id[KVF_GROUP_ID_BYTES];
} invitation;

_Static_assert(sizeof(greeting) <= GATHER_BYTES && sizeof(invitation) <= GATHER_BYTES &&
                   sizeof(collective_result) <= GATHER_BYTES,
               "what ranks tell each other fits");

static double link_ns(run *run, uint64_t bytes) {
    const link_copy copy = {.direction = &run->backend.type->directions[0], .bytes = bytes};
    return run->backend.type->link_ns(&run->backend, &copy);
}

/* Of this rank's link to its GPU, while the other ranks measure theirs. */
static double measure_link(run *run) {
    const uint64_t bytes = 1000000000;
    double times[MOST_SAMPLES];
    size_t count = 0;
    uint64_t start = clock_ns();
    while (count < MOST_SAMPLES && (count < LEAST_SAMPLES || clock_ns() - start < LINK_NS))
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

/* Whether the ranks can make a group; says why not. */
static bool fit_together(const run *run, const greeting *greetings) {
    for (int rank = 1; rank < run->self.ranks; rank++) {
        if (greetings[rank].options != greetings[0].options) {
            fprintf(stderr, "kvferry: rank %d was given other options than rank 0\n", rank);
            return false;
        }
        for (int other = 0; other < rank; other++)
            if (memcmp(&greetings[rank].gpu, &greetings[other].gpu, sizeof(cudaUUID_t)) == 0) {
                fprintf(stderr, "kvferry: ranks %d and %d have the same GPU\n", other, rank);
                return false;
            }
    }
    return true;
}

static void keep_links(run *run, const greeting *greetings) {
    run->links = must_grow(NULL, (size_t)run->self.ranks, sizeof *run->links);
    for (int rank = 0; rank < run->self.ranks; rank++) {
        run->links[rank] = greetings[rank].link_gbps;
        run->backend.imitated = run->backend.imitated || greetings[rank].imitated != 0;
    }
}

static invitation invite(const run *run, const greeting *greetings) {
    invitation invitation = {.fine = fit_together(run, greetings)};
    kvf_error error = {0};
    if (invitation.fine && run->self.ranks > 1)
        must(kvf_group_id_create(invitation.id, &error), &error, "rank 0: making a group's id");
    return invitation;
}

/* The ranks come together, measure their links at the same time and tell rank 0. */
static void greet(run *run) {
    const collective_options *chosen = run->chosen;
    greeting *all = must_grow(NULL, (size_t)run->self.ranks, sizeof *all);
    greeting mine = {.options = collective_options_digest(chosen),
                     .imitated = run->backend.imitated,
                     .gpu = own_gpu()};
    invitation invitation = {0};
    link_ns(run, 1); /* takes the memory for it, which is not to be waited for below */
    run->gather = gather_open(&run->self, chosen->timeout_us);
    mine.link_gbps = measure_link(run);
    gather_gather(run->gather, &mine, all, sizeof mine);
    if (run->self.rank == 0) {
        invitation = invite(run, all);
        keep_links(run, all);
    }
    gather_answer(run->gather, &invitation, sizeof invitation);
    free(all);
    if (!invitation.fine)
        exit(EXIT_USAGE);
    memcpy(run->id, invitation.id, sizeof run->id);
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
    snprintf(doing, sizeof doing, "rank %d: making a group", run->self.rank);
    must(kvf_group_create(&options, &run->group, &error), &error, doing);
}

static void measure_cells(run *run) {
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
    return result->corrupt_blocks > 0 || result->unlike > 0;
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

/* What all ranks say of a cell. */
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

/* Says what is wrong with a cell, on rank 0. */
static void complain(const run *run, const collective_case *one, const collective_result *all) {
    for (int rank = 0; rank < run->self.ranks; rank++) {
        if (all[rank].corrupt_blocks > 0) {
            fprintf(stderr, "kvferry: rank %d: %llu blocks did not arrive as they were\n", rank,
                    (unsigned long long)all[rank].corrupt_blocks);
        }
        if (all[rank].unlike > 0) {
            fprintf(stderr,
                    "kvferry: rank %d: %llu bytes came over its link, where mode %s has %llu\n",
                    rank, (unsigned long long)all[rank].host_bytes, collective_mode_name(one->mode),
                    (unsigned long long)all[rank].host_share);
        }
    }
}

/* Tells rank 0 of a cell, where it becomes a row; returns how many ranks it went wrong on. */
static uint64_t output_cell(run *run, size_t number, collective_result *all) {
    collective_case one = collective_options_cell(run->chosen, number);
    uint64_t wrong = 0;
    gather_gather(run->gather, &run->results[number], all, sizeof *all);
    for (int rank = 0; run->self.rank == 0 && rank < run->self.ranks; rank++)
        wrong += is_wrong(&all[rank]);
    gather_answer(run->gather, &wrong, sizeof wrong);
    if (run->self.rank == 0) {
        json_t *row = output_row(run->output);
        fill_case(run, &one, row);
        fill_speed(run, &one, &all[0], row);
        fill_ranks(run, &one, all, row);
        complain(run, &one, all);
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

/* "2.28.9" of the NCCL that runs; null without one. Its header is not needed for that. */
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
    run->backend.link_known = true; /* the ranks have just measured theirs, all at once */
    backend_describe(&run->backend, context);
    json_object_set_new(context, "ranks", json_integer(run->self.ranks));
    json_object_set_new(context, "nccl", nccl_version());
    json_object_set_new(context, "links_gbps", links);
}

static void note_formulas(const run *run) {
    output *output = run->output;
    output_note(output, "time: from rank 0's submit, behind an empty operation of all ranks, until "
                        "all have voted that every block is in place; wait_us and run_us: its "
                        "parts, until all were known to have come and from then on");
    output_note(output,
                "algbw = bytes / time; busbw, as nccl-tests define it: striped (all-gather) "
                "algbw * (ranks - 1) / ranks, broadcast algbw; 10^9 bytes/s");
    output_note(output, "links_gbps: the sum of all ranks' links, each the median of large pinned "
                        "copies to its GPU while the others measure theirs");
    output_note(output, "fraction_of_links = algbw / links_gbps: of reading each byte once over "
                        "some link; agreeing, sharing out and placing the blocks are in the time. "
                        "broadcast uses one link, and so has 1 / ranks at most where they are "
                        "alike");
    output_note(output, "host_bytes: over rank 0's link in a sample; wire_bytes: what NCCL was "
                        "asked for on rank 0; ..._all: on all ranks; wire_memory: plain, nccl "
                        "(ncclMemAlloc) or window (symmetric)");
}

/* Work */

static void open_run(run *run, const collective_options *chosen, const rank_self *self) {
    backend_options options = chosen->backend;
    *run = (struct run){.chosen = chosen, .self = *self};
    if (self->rank == 0)
        run->output = output_open(&chosen->output, "bench collective", "cuda");
    int gpus = device_count();
    if (self->ranks == 1 && self->device < 0 && gpus > 1) {
        fprintf(stderr,
                "kvferry: a group of one rank on a machine of %d GPUs; a launcher starts "
                "one for each, see --help\n",
                gpus);
    }
    options.device = self->device >= 0 ? self->device : self->local % gpus;
    backend_open(&run->backend, &options);
}

/* Launchers kill all ranks when one ends with a failure: none ends before the report is written. */
static void end_together(run *run) {
    bool written = fflush(stdout) == 0; /* of what is not, the tool's end speaks */
    gather_answer(run->gather, &written, sizeof written);
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

/* One rank, from its beginning to its end. */
static int be_rank(const rank_self *self, const collective_options *chosen) {
    run run;
    open_run(&run, chosen, self);
    greet(&run);
    if (self->rank == 0) {
        describe(&run);
        output_begin(run.output);
    }
    open_group(&run);
    measure_cells(&run);
    kvf_group_destroy(run.group);
    uint64_t wrong = output_cells(&run);
    close_run(&run);
    if (wrong > 0 && self->rank > 0)
        fprintf(stderr, "kvferry: rank %d: a check has failed, see rank 0\n", self->rank);
    return wrong > 0 ? EXIT_CHECK : 0;
}

int bench_collective_main(int argc, char **argv) {
    collective_options chosen;
    rank_self self;
    collective_options_parse(&chosen, argc, argv);
    ranks_find(&chosen.ranks, &self);
    int code = be_rank(&self, &chosen);
    free(self.address);
    collective_options_free(&chosen);
    return code;
}
