#include "transfer/case.h"

#include "transfer/opposing.h"
#include "base/base.h"

#include <math.h>
#include <stdlib.h>

/* The computation lasts COMPUTE_TIMES times as long as the transfer, and at least COMPUTE_NS. */
#define COMPUTE_TIMES 4
#define COMPUTE_NS    5e6
#define MOST_UNITS    256

/* The samples of one strategy, in nanoseconds, [samples] each. */
typedef struct series {
    kvf_submit_options options;
    double *times, *submits, *cpus, *opposing, *layers, *blocks;
    double *compute_alone, *compute_overlapped;
    double *transfers_overlapped; /* [transfers_overlapped_count] */
    size_t transfers_overlapped_count;
} series;

/* A case that is being measured. */
typedef struct bench {
    backend *backend;
    const transfer_case *chosen;
    tier_pair pair, back;
    opposing *opposing; /* over `back`; NULL unless both_ways */
    double *links;      /* [ways][samples] */
    unsigned ways;
    size_t units; /* of the computation */
    series *series;
    transfer_result *results;
} bench;

static double *series_values(const bench *bench) {
    return must_grow(NULL, bench->chosen->samples, sizeof(double));
}

static void open_series(const bench *bench, series *series, unsigned strategy) {
    *series = (struct series){
        .options = {.strategy = strategy},
        .times = series_values(bench),
        .submits = series_values(bench),
        .cpus = series_values(bench),
        .opposing = series_values(bench),
        .layers = series_values(bench),
        .blocks = series_values(bench),
        .compute_alone = series_values(bench),
        .compute_overlapped = series_values(bench),
    };
}

static void close_series(series *series) {
    double *all[] = {series->times,
                     series->submits,
                     series->cpus,
                     series->opposing,
                     series->layers,
                     series->blocks,
                     series->compute_alone,
                     series->compute_overlapped,
                     series->transfers_overlapped};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void open_bench(bench *bench) {
    const transfer_case *chosen = bench->chosen;
    tier_pair_open(&bench->pair, bench->backend, &chosen->pair);
    if (chosen->both_ways) {
        tier_pair_spec back = chosen->pair;
        back.direction.src = chosen->pair.direction.dst;
        back.direction.dst = chosen->pair.direction.src;
        tier_pair_open(&bench->back, bench->backend, &back);
        bench->opposing = opposing_open(&bench->back);
    }
    bench->ways = bench->backend->type->link_ways(bench->backend);
    bench->links = must_grow(NULL, chosen->samples * bench->ways, sizeof(double));
    bench->series = must_grow(NULL, chosen->strategy_count, sizeof *bench->series);
    for (size_t i = 0; i < chosen->strategy_count; i++) {
        open_series(bench, &bench->series[i], chosen->strategies[i]);
        bench->results[i] = (transfer_result){.bytes = bench->pair.bytes};
    }
}

static void close_bench(bench *bench) {
    if (bench->opposing) {
        opposing_close(bench->opposing);
        tier_pair_close(&bench->back);
    }
    tier_pair_close(&bench->pair);
    for (size_t i = 0; i < bench->chosen->strategy_count; i++)
        close_series(&bench->series[i]);
    free(bench->series);
    free(bench->links);
}

/* Poisons the destination before every timed copy, including those of the link, so that CPU caches
 * hold the same for both. */
static void poison(bench *bench, size_t count) {
    if (bench->chosen->verify)
        tier_pair_poison(&bench->pair, count);
    if (bench->chosen->verify && bench->opposing)
        tier_pair_poison(&bench->back, bench->back.count);
}

/* `back`: whether anything moved in the opposite direction. */
static void check(bench *bench, size_t strategy, size_t count, bool back) {
    size_t *corrupt = &bench->results[strategy].corrupt_blocks;
    if (bench->chosen->verify)
        *corrupt += tier_pair_check(&bench->pair, count);
    if (bench->chosen->verify && back)
        *corrupt += tier_pair_check(&bench->back, bench->back.count);
}

static void sample_link(bench *bench, size_t sample) {
    for (unsigned way = 0; way < bench->ways; way++) {
        poison(bench, bench->pair.count);
        link_copy copy = {
            .direction = &bench->chosen->pair.direction,
            .dst = bench->pair.dst.memory,
            .src = bench->pair.src.memory,
            .bytes = (size_t)bench->pair.bytes,
            .way = way,
            .opposed = bench->chosen->both_ways,
        };
        bench->links[way * bench->chosen->samples + sample] =
            bench->backend->type->link_ns(bench->backend, &copy);
    }
}

static void note_transfer(const bench *bench, size_t strategy, const kvf_transfer *transfer) {
    transfer_result *result = &bench->results[strategy];
    kvf_transfer_stats stats;
    kvf_transfer_stats_get(transfer, &stats);
    result->boxes = stats.boxes;
    result->moved_by = bench->backend->type->moved_by(transfer);
}

static void wait(const bench *bench, kvf_transfer *transfer) {
    kvf_error error = {0};
    kvf_status status = KVF_PENDING;
    while (bench->chosen->poll && status == KVF_PENDING)
        status = kvf_transfer_poll(transfer, &error);
    if (!bench->chosen->poll)
        status = kvf_transfer_wait(transfer, -1, &error);
    must(status, &error, "transfer failed");
}

/* Times the transfer, and measures what moved in the opposite direction during it. */
static void time_transfer(bench *bench, size_t strategy, size_t sample) {
    series *series = &bench->series[strategy];
    uint64_t cpu = cpu_ns();
    uint64_t start = clock_ns();
    kvf_transfer *transfer = tier_pair_submit(&bench->pair, bench->pair.count, &series->options);
    uint64_t submitted = clock_ns();
    wait(bench, transfer);
    uint64_t end = clock_ns();
    series->cpus[sample] = bench->opposing ? NAN : (double)(cpu_ns() - cpu);
    series->submits[sample] = (double)(submitted - start);
    series->times[sample] = (double)(end - start);
    series->opposing[sample] = bench->opposing ? opposing_end(bench->opposing, start, end) : NAN;
    note_transfer(bench, strategy, transfer);
    kvf_transfer_release(transfer);
}

static void sample_transfer(bench *bench, size_t strategy, size_t sample) {
    series *series = &bench->series[strategy];
    poison(bench, bench->pair.count);
    if (bench->opposing)
        opposing_begin(bench->opposing, &series->options);
    time_transfer(bench, strategy, sample);
    check(bench, strategy, bench->pair.count, bench->opposing);
}

/* Times the arrival of the first layer when layers move in order. */
static void sample_layer(bench *bench, size_t strategy, size_t sample) {
    series *series = &bench->series[strategy];
    kvf_submit_options options = series->options;
    kvf_error error = {0};
    options.by_layer = true;
    poison(bench, bench->pair.count);
    uint64_t start = clock_ns();
    kvf_transfer *transfer = tier_pair_submit(&bench->pair, bench->pair.count, &options);
    kvf_status status = KVF_ERR_TIMEOUT;
    while (status == KVF_ERR_TIMEOUT)
        status = kvf_transfer_wait_layer(transfer, 0, bench->chosen->poll ? 0 : -1, &error);
    must(status, &error, "transfer failed");
    series->layers[sample] = (double)(clock_ns() - start);
    tier_pair_finish(transfer);
    check(bench, strategy, bench->pair.count, false);
}

static void sample_block(bench *bench, size_t strategy, size_t sample) {
    series *series = &bench->series[strategy];
    poison(bench, 1);
    uint64_t start = clock_ns();
    kvf_transfer *transfer = tier_pair_submit(&bench->pair, 1, &series->options);
    wait(bench, transfer);
    series->blocks[sample] = (double)(clock_ns() - start);
    kvf_transfer_release(transfer);
    check(bench, strategy, 1, false);
}

static void add_overlapped(series *series, double ns) {
    size_t count = series->transfers_overlapped_count;
    if ((count & (count - 1)) == 0) { /* full at 0, 1, 2, 4, ... */
        series->transfers_overlapped =
            must_grow(series->transfers_overlapped, count > 0 ? 2 * count : 1, sizeof(double));
    }
    series->transfers_overlapped[series->transfers_overlapped_count++] = ns;
}

/* Times the computation alone, then with transfers one after the other until it ends. A transfer
 * counts if the computation outlasts it. */
static void sample_compute(bench *bench, size_t strategy, size_t sample) {
    const computation *computation = bench->backend->type->computation;
    series *series = &bench->series[strategy];
    computation->begin(bench->backend, bench->units);
    series->compute_alone[sample] = computation->end(bench->backend);
    poison(bench, bench->pair.count);
    computation->begin(bench->backend, bench->units);
    bool running = true;
    while (running) {
        uint64_t start = clock_ns();
        tier_pair_finish(tier_pair_submit(&bench->pair, bench->pair.count, &series->options));
        uint64_t end = clock_ns();
        running = computation->running(bench->backend);
        if (running)
            add_overlapped(series, (double)(end - start));
    }
    series->compute_overlapped[sample] = computation->end(bench->backend);
    check(bench, strategy, bench->pair.count, false);
}

/* Chooses the units so that the computation lasts several times as long as the slowest transfer. */
static void choose_units(bench *bench) {
    const computation *computation = bench->backend->type->computation;
    double slowest = 0;
    for (size_t i = 0; i < bench->chosen->strategy_count; i++)
        slowest = fmax(slowest, bench->series[i].times[0]);
    computation->begin(bench->backend, 1); /* the first one may load the kernel */
    computation->end(bench->backend);
    computation->begin(bench->backend, 1);
    double unit = computation->end(bench->backend);
    double units = ceil(fmax(COMPUTE_TIMES * slowest, COMPUTE_NS) / fmax(unit, 1));
    bench->units = units < MOST_UNITS ? (size_t)units : MOST_UNITS;
}

/* Strategies start in turn, in reversed order every other time, so that none always follows the
 * same other. */
static size_t whose_turn(size_t turn, size_t sample, size_t count) {
    size_t side = sample % 2 == 0 ? turn : count - 1 - turn;
    return (side + sample / 2) % count;
}

static void take_samples(bench *bench, size_t sample) {
    const transfer_case *chosen = bench->chosen;
    sample_link(bench, sample);
    for (size_t turn = 0; turn < chosen->strategy_count; turn++) {
        size_t i = whose_turn(turn, sample, chosen->strategy_count);
        sample_transfer(bench, i, sample);
        if (chosen->latency) {
            sample_layer(bench, i, sample);
            sample_block(bench, i, sample);
        }
        if (bench->units > 0)
            sample_compute(bench, i, sample);
    }
}

/* The median of the fastest way. */
static double best_link(bench *bench) {
    size_t samples = bench->chosen->samples;
    double best = INFINITY;
    for (unsigned way = 0; way < bench->ways; way++) {
        double *links = bench->links + way * samples;
        best = isnan(links[0]) ? best : fmin(best, median(links, samples));
    }
    return isfinite(best) ? best : NAN;
}

static void conclude(const bench *bench, size_t strategy, double link_ns) {
    const transfer_case *chosen = bench->chosen;
    series *series = &bench->series[strategy];
    transfer_result *result = &bench->results[strategy];
    size_t samples = chosen->samples;
    result->link_ns = link_ns;
    result->ns = summarize(series->times, samples);
    result->submit_ns = median(series->submits, samples);
    result->cpu_ns = chosen->both_ways ? NAN : median(series->cpus, samples);
    result->opposing_gbps = chosen->both_ways ? median(series->opposing, samples) : NAN;
    result->first_layer_ns = chosen->latency ? median(series->layers, samples) : NAN;
    result->first_block_ns = chosen->latency ? median(series->blocks, samples) : NAN;
    result->compute_alone_ns = chosen->compute ? median(series->compute_alone, samples) : NAN;
    result->compute_overlapped_ns =
        chosen->compute ? median(series->compute_overlapped, samples) : NAN;
    result->overlapped_ns =
        median(series->transfers_overlapped, series->transfers_overlapped_count);
}

void transfer_case_run(backend *backend, const transfer_case *chosen, transfer_result *results) {
    bench bench = {.backend = backend, .chosen = chosen, .results = results};
    open_bench(&bench);
    take_samples(&bench, 0); /* warm-up, overwritten below */
    if (chosen->compute)
        choose_units(&bench);
    for (size_t i = 0; i < chosen->samples; i++)
        take_samples(&bench, i);
    double link_ns = best_link(&bench);
    for (size_t i = 0; i < chosen->strategy_count; i++)
        conclude(&bench, i, link_ns);
    close_bench(&bench);
}
