/* Cost tables: curves, predictions, choices of strategy, and fits to simulated machines. */
#include "support/support.h"

#include <kvferry/cuda.h>

#include "cost/costs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static const kvf_cuda_direction to = KVF_CUDA_TO_DEVICE, from = KVF_CUDA_FROM_DEVICE,
                                on = KVF_CUDA_ON_DEVICE;

static void expect_near(double actual, double expected, double relative) {
    if (fabs(actual - expected) <= relative * fabs(expected))
        return;
    print_error("%.17g is not %.17g\n", actual, expected);
    fail();
}

static kvf_cuda_costs *builtin(void) {
    kvf_cuda_costs *m = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_costs_builtin(NULL, &m, &e), &e);
    return m;
}

/* A move of `count` pieces of `bytes`, contiguous on the host's side. */
static kvf__cuda_move_profile profile_of(size_t bytes, uint64_t count) {
    kvf__cuda_move_profile profile = {.bytes = bytes * count, .host_boxes = 1, .layers = 1};
    kvf__cuda_tally_add(&profile.pieces, count, profile.bytes);
    kvf__cuda_tally_add(&profile.lines, count, profile.bytes);
    return profile;
}

static void predict(const kvf_cuda_costs *m, kvf_cuda_direction direction,
                    const kvf__cuda_move_profile *profile, double us[KVF_CUDA_STRATEGIES]) {
    double wire_us;
    kvf__cuda_costs_predict(m, direction, profile, us, &wire_us);
}

/* Curves */

static void test_curve(void **state) {
    (void)state;
    static const size_t sizes[] = {512, 2 * KIB, 20 * KIB, 24 * KIB, 64 * KIB, 4 * MIB};
    static const double times[] = {100, 150.125, 3000, 700, 1500, 84000};
    kvf_cuda_costs *m = builtin();
    kvf__cuda_curve *c = &m->cost[to][KVF_CUDA_LOOP].piece;
    c->count = 6;
    memcpy(c->bytes, sizes, sizeof sizes);
    memcpy(c->ns, times, sizeof times);
    kvf__cuda_costs_seal(m);
    for (size_t i = 0; i < c->count; i++)
        assert_true(kvf__cuda_curve_at(c, (double)sizes[i]) == times[i]);
    for (size_t i = 0; i + 1 < c->count; i++) {
        double last = times[i];
        for (size_t k = 1; k < 100; k++) {
            double at = (double)sizes[i] + (double)(sizes[i + 1] - sizes[i]) * (double)k / 100;
            double ns = kvf__cuda_curve_at(c, at);
            assert_true(times[i] < times[i + 1] ? last < ns && ns < times[i + 1]
                                                : last > ns && ns > times[i + 1]);
            last = ns;
        }
    }
    expect_near(kvf__cuda_curve_at(c, sqrt(512.0 * 2048)), sqrt(100 * 150.125), 1e-12);
    /* Beyond its ends a curve continues their slope. */
    double first = log(1.50125) / log(4), end = log(56) / log(64);
    expect_near(kvf__cuda_curve_at(c, 128), 100 * pow(0.25, first), 1e-12);
    expect_near(kvf__cuda_curve_at(c, 64.0 * MIB), 84000 * pow(16, end), 1e-12);
    kvf_cuda_costs_destroy(m);
}

/* Outside the measured sizes a larger piece is never cheaper, nor dearer than in proportion to its
 * size. */
static void test_curve_ends(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    kvf__cuda_curve *c = &m->cost[to][KVF_CUDA_LOOP].piece;
    *c = (kvf__cuda_curve){.count = 3, .bytes = {KIB, 2 * KIB, 4 * KIB}, .ns = {200, 100, 300}};
    kvf__cuda_costs_seal(m);
    expect_near(kvf__cuda_curve_at(c, 64), 200, 1e-12);
    expect_near(kvf__cuda_curve_at(c, 8.0 * KIB), 600, 1e-12);
    *c = (kvf__cuda_curve){.count = 1, .bytes = {KIB}, .ns = {200}};
    kvf__cuda_costs_seal(m);
    expect_near(kvf__cuda_curve_at(c, 2.0 * KIB), 400, 1e-12);
    expect_near(kvf__cuda_curve_at(c, 512), 100, 1e-12);
    *c = (kvf__cuda_curve){.count = 0};
    kvf__cuda_costs_seal(m);
    assert_true(isnan(kvf__cuda_curve_at(c, 512)));
    kvf_cuda_costs_destroy(m);
}

/* Predictions, computed by hand */

static void test_predict_formulas(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    double us[KVF_CUDA_STRATEGIES], wire_us;
    m->link[to] = 50;
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        m->cost[to][s] = (kvf__cuda_cost){
            .fixed_ns = 1000 * (int)s,
            .layer_ns = 100,
            .piece = {.count = 2, .bytes = {KIB, MIB}, .ns = {10.0 * (int)s, 10240.0 * (int)s}},
            .row_call_ns = 7000,
            .row = {.count = 2, .bytes = {KIB, MIB}, .ns = {20, 20480}},
            .chunk_ns = 5000,
        };
    m->cost[to][KVF_CUDA_BATCH].row.count = 0;
    kvf__cuda_costs_seal(m);
    kvf__cuda_move_profile profile = {.layers = 1, .row_calls = 3};
    kvf__cuda_tally_add(&profile.pieces, 100, 100 * KIB);
    kvf__cuda_tally_add(&profile.rows, 30, 30 * 2 * KIB);
    kvf__cuda_tally_add(&profile.lines, 160, 160 * KIB);
    profile.bytes = 160 * KIB;
    profile.host_boxes = 1;
    kvf__cuda_costs_predict(m, to, &profile, us, &wire_us);
    double wire = 160.0 * 1024 / 50;
    expect_near(wire_us, wire / 1e3, 1e-12);
    expect_near(us[KVF_CUDA_LOOP], (1000 + 100 * 10 + 3 * 7000 + 30 * 40) / 1e3, 1e-9);
    /* A batch's rows count as pieces; by their cost alone they would beat the wire. */
    expect_near(us[KVF_CUDA_BATCH], (2000 + fmax(wire, 100 * 20 + 30 * 40)) / 1e3, 1e-9);
    expect_near(us[KVF_CUDA_KERNEL], (3000 + fmax(wire, 160 * 30)) / 1e3, 1e-9);
    expect_near(us[KVF_CUDA_STAGED], (4000 + 5000 + 160 * 40 + fmax(wire, 1600)) / 1e3, 1e-9);
    assert_true(isnan(us[KVF_CUDA_AUTO]));

    profile.layers = 5;
    kvf__cuda_costs_predict(m, to, &profile, us, &wire_us);
    expect_near(us[KVF_CUDA_LOOP], (1400 + 100 * 10 + 3 * 7000 + 30 * 40) / 1e3, 1e-9);
    double copy = fmax(wire, 1600), pack = 160 * 40;
    expect_near(us[KVF_CUDA_STAGED], (4400 + 5 * 5000 + pack + copy / 5) / 1e3, 1e-9);

    /* 64 MiB in 8 chunks; small boxes on the host's side cost more than packing. */
    profile = profile_of(KIB, 64 * KIB);
    profile.host_boxes = 64 * KIB;
    m->cost[to][KVF_CUDA_LOOP].piece.ns[0] = 90;
    kvf__cuda_costs_seal(m);
    kvf__cuda_costs_predict(m, to, &profile, us, &wire_us);
    copy = fmax(64.0 * MIB / 50, 65536.0 * 20); /* by batch, unless the link is slower */
    pack = 65536.0 * 40;
    expect_near(us[KVF_CUDA_STAGED], (4000 + 8 * 5000 + pack + copy / 8) / 1e3, 1e-9);
    kvf_cuda_costs_destroy(m);
}

static void test_nothing_to_move(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    const kvf__cuda_move_profile none = {.layers = 1};
    double us[KVF_CUDA_STRATEGIES], wire_us;
    for (kvf_cuda_direction d = to; d <= on; d++) {
        kvf__cuda_costs_predict(m, d, &none, us, &wire_us);
        assert_true(wire_us == 0);
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_KERNEL; s++)
            assert_true(us[s] >= 0 && us[s] < 100);
    }
    kvf_cuda_costs_destroy(m);
}

/* More pieces never take less time, and nothing is faster than the link. */
static void test_builtin_is_sane(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    assert_false(m->calibrated);
    for (kvf_cuda_direction d = to; d <= on; d++) {
        for (size_t bytes = 64; bytes <= 64 * MIB; bytes += bytes / 2) {
            double before[KVF_CUDA_STRATEGIES] = {0};
            for (uint64_t count = 1; count <= 100000; count *= 7) {
                kvf__cuda_move_profile profile = profile_of(bytes, count);
                double us[KVF_CUDA_STRATEGIES], wire_us;
                kvf__cuda_costs_predict(m, d, &profile, us, &wire_us);
                for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
                    if (d == on && s == KVF_CUDA_STAGED) {
                        assert_true(isnan(us[s]));
                        continue;
                    }
                    assert_true(us[s] >= wire_us && us[s] > before[s]);
                    before[s] = us[s];
                }
            }
        }
    }
    kvf_cuda_costs_destroy(m);
}

static kvf_cuda_strategy chosen(const kvf_cuda_costs *m, kvf_cuda_direction d, size_t bytes,
                                uint64_t count) {
    const unsigned all =
        1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_BATCH | 1u << KVF_CUDA_KERNEL | 1u << KVF_CUDA_STAGED;
    kvf__cuda_move_profile profile = profile_of(bytes, count);
    kvf_cuda_explanation x;
    kvf__cuda_costs_choose(m, d, &profile, all, false, &x);
    return x.chosen;
}

/* The built-in cost table chooses the strategies that the design expects. */
static void test_builtin_choices(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    for (kvf_cuda_direction d = to; d <= from; d++) {
        assert_int_equal(chosen(m, d, MIB, 1), KVF_CUDA_LOOP);
        assert_int_equal(chosen(m, d, MIB, 256), KVF_CUDA_LOOP);
        assert_int_equal(chosen(m, d, 256 * KIB, 2000), KVF_CUDA_LOOP);
        assert_int_equal(chosen(m, d, 4 * KIB, 16), KVF_CUDA_KERNEL);
        assert_int_equal(chosen(m, d, 4 * KIB, 10000), KVF_CUDA_STAGED);
        assert_int_equal(chosen(m, d, 512, 100000), KVF_CUDA_STAGED);
    }
    assert_int_equal(chosen(m, on, 4 * KIB, 10000), KVF_CUDA_KERNEL);
    kvf_cuda_costs_destroy(m);
}

/* Choosing */

/* A strategy that takes thread blocks must save a tenth, or a quarter, to be chosen. */
static void check_crossing(kvf_cuda_costs *m, kvf_cuda_strategy without, kvf_cuda_strategy with) {
    static const uint64_t last[] = {123, 152};
    m->cost[to][KVF_CUDA_LOOP] = m->cost[to][KVF_CUDA_BATCH] = (kvf__cuda_cost){0};
    m->cost[to][KVF_CUDA_STAGED] = m->cost[to][KVF_CUDA_KERNEL] = (kvf__cuda_cost){0};
    /* 1 us a piece against 100 us and 0.1 us a piece: they cross at 110. */
    m->cost[to][without] =
        (kvf__cuda_cost){.fixed_ns = 1000, .piece = {.count = 1, .bytes = {KIB}, .ns = {1000}}};
    m->cost[to][with] =
        (kvf__cuda_cost){.fixed_ns = 100000, .piece = {.count = 1, .bytes = {KIB}, .ns = {100}}};
    kvf__cuda_costs_seal(m);
    for (uint64_t n = 1; n < 300; n++)
        for (size_t computing = 0; computing < 2; computing++) {
            kvf__cuda_move_profile profile = profile_of(KIB, n);
            kvf_cuda_explanation x;
            kvf__cuda_costs_choose(m, to, &profile, 1u << without | 1u << with, computing, &x);
            assert_int_equal(x.chosen, n <= last[computing] ? without : with);
            assert_int_equal(x.reason,
                             n > 110 && x.chosen == without ? KVF_CUDA_SPARING : KVF_CUDA_CHEAPEST);
            assert_true(x.us[KVF_CUDA_AUTO] == x.us[x.chosen]);
        }
}

static void test_choice_flips_where_costs_cross(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    m->link[to] = 1e6;
    check_crossing(m, KVF_CUDA_LOOP, KVF_CUDA_KERNEL);
    check_crossing(m, KVF_CUDA_BATCH, KVF_CUDA_KERNEL);
    kvf_cuda_costs_destroy(m);
}

static void test_choose_among_available(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    kvf__cuda_move_profile profile = profile_of(4 * KIB, 10000);
    profile.row_calls = 2;
    kvf__cuda_tally_add(&profile.rows, 60, 60 * KIB);
    kvf_cuda_explanation x;
    kvf__cuda_costs_choose(m, to, &profile, 1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_BATCH, false, &x);
    assert_int_equal(x.chosen, KVF_CUDA_BATCH);
    assert_int_equal(x.reason, KVF_CUDA_CHEAPEST);
    assert_false(x.calibrated);
    assert_true(isnan(x.us[KVF_CUDA_KERNEL]) && isnan(x.us[KVF_CUDA_STAGED]));
    assert_true(isnan(x.measured_us));
    assert_true(x.us[KVF_CUDA_AUTO] == x.us[KVF_CUDA_BATCH]);
    assert_true(x.us[KVF_CUDA_BATCH] < x.us[KVF_CUDA_LOOP]);
    assert_int_equal(x.boxes, 10002);
    assert_int_equal(x.fragments, 10060);
    assert_int_equal(x.host_boxes, 1);
    assert_int_equal(x.bytes, profile.bytes);
    kvf__cuda_costs_choose(m, to, &profile, 1u << KVF_CUDA_LOOP, false, &x);
    assert_int_equal(x.chosen, KVF_CUDA_LOOP);
    assert_int_equal(x.reason, KVF_CUDA_ONLY);
    /* A strategy that the cost table lacks is chosen only when it is the only one. */
    m->cost[to][KVF_CUDA_LOOP].piece.count = 0;
    kvf__cuda_costs_choose(m, to, &profile, 1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_KERNEL, false, &x);
    assert_int_equal(x.chosen, KVF_CUDA_KERNEL);
    m->cost[to][KVF_CUDA_KERNEL].piece.count = 0;
    kvf__cuda_costs_choose(m, to, &profile, 1u << KVF_CUDA_LOOP | 1u << KVF_CUDA_KERNEL, false, &x);
    assert_int_equal(x.chosen, KVF_CUDA_LOOP);
    assert_true(isnan(x.us[KVF_CUDA_AUTO]));
    kvf_cuda_costs_destroy(m);
}

/* Noise: repeated cells show lasting changes, spreads show fluctuations. */
static void test_noise(void **state) {
    (void)state;
    kvf__cuda_sample samples[8] = {{.bytes = 1, .ns = 100}, {.bytes = 2, .ns = 200},
                                   {.bytes = 3, .ns = 300}, {.bytes = 9, .ns = 7},
                                   {.bytes = 9, .ns = 8},   {.bytes = 3, .ns = 270},
                                   {.bytes = 2, .ns = 240}, {.bytes = 1, .ns = 101}};
    double quiet[8] = {0.01, 0.02, 0.9, 0.01, 0.02, 0.01, 0.02, 0.01};
    double loud[8] = {0.3, 0.2, 0.9, 0.01, 0.25, 0.3, 0.2, 0.01};
    expect_near(kvf__cuda_noise(samples, quiet, 8, 3), 0.1, 1e-9);
    expect_near(kvf__cuda_noise(samples, loud, 8, 3), 0.25, 1e-9);
    samples[5].ns = 301;
    samples[6].ns = 199;
    expect_near(kvf__cuda_noise(samples, quiet, 8, 3), 0.02, 1e-9);
    samples[5].bytes = 4; /* not measured the first time */
    expect_near(kvf__cuda_noise(samples, quiet, 8, 3), 0.02, 1e-9);
    kvf_cuda_costs *m = builtin();
    assert_true(isnan(kvf_cuda_costs_noise(m)) && isnan(kvf_cuda_costs_noise(NULL)));
    m->noise_ppm = 12500;
    assert_true(kvf_cuda_costs_noise(m) == 0.0125);
    kvf_cuda_costs_destroy(m);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(kvf_cuda_strategy_name(KVF_CUDA_AUTO), "auto");
    assert_string_equal(kvf_cuda_strategy_name(KVF_CUDA_STAGED), "staged");
    assert_null(kvf_cuda_strategy_name((kvf_cuda_strategy)KVF_CUDA_STRATEGIES));
    assert_null(kvf_cuda_strategy_name((kvf_cuda_strategy)-1));
}

/* Simulated machines: formulas that share nothing with the cost table's. */

typedef struct machine {
    double link, call, descriptor, row, kernel_link, round_trip, pack_speed, pack_piece;
    double latency, chunk;
    double noise; /* relative, up or down */
    test_random random;
} machine;

static double noisy(machine *m, double ns) {
    double unit = (double)test_random_below(&m->random, 2001) / 1000 - 1;
    return ns * (1 + m->noise * unit);
}

/* Enqueueing and copying overlap. */
static double pieces_take(double enqueue, double wire, double count, double first) {
    return first + fmax(enqueue * count, wire * count) + fmin(enqueue, wire);
}

/* The driver copies a batch's pieces of up to 26 KiB into its own buffers. */
static double batch_take(const machine *m, double bytes, double count) {
    double each = bytes / m->link;
    if (bytes < 26 * 1024)
        each = bytes / 7;
    return pieces_take(m->descriptor, each, count, m->latency + 2000);
}

/* Packing a chunk overlaps with copying the previous one. */
static double staged_take(const machine *m, double bytes, double count) {
    double total = bytes * count, packed_at = 0, copied_at = 0;
    size_t chunks = (size_t)ceil(total / KVF__CUDA_CHUNK);
    for (size_t i = 0; i < chunks; i++) {
        double chunk = fmin(total - (double)i * KVF__CUDA_CHUNK, KVF__CUDA_CHUNK);
        packed_at += m->chunk / 4 + fmax(chunk / m->pack_speed, chunk / bytes * m->pack_piece);
        copied_at = fmax(copied_at, packed_at) + m->chunk + chunk / m->link;
    }
    return 2 * m->latency + copied_at;
}

static double takes(machine *m, const kvf__cuda_sample *s) {
    double bytes = (double)s->bytes, count = (double)s->pieces, calls = (double)s->row_calls;
    double layers = s->layers - 1;
    switch (s->strategy) {
    case KVF_CUDA_LOOP:
        if (calls > 0)
            return noisy(m, m->latency + calls * m->call + count * fmax(m->row, bytes / m->link));
        return noisy(m, pieces_take(m->call, bytes / m->link, count, m->latency) + 1500 * layers);
    case KVF_CUDA_BATCH:
        return noisy(m, batch_take(m, bytes, count) + 4000 * layers);
    case KVF_CUDA_KERNEL:
        return noisy(m, 1.2 * m->latency + 6000 * layers +
                            count * fmax(bytes / m->kernel_link, m->round_trip / 500));
    default:
        return noisy(m, staged_take(m, bytes, count) + 5000 * layers);
    }
}

static void add(kvf__cuda_sample *samples, size_t *count, machine *m, kvf__cuda_sample s) {
    s.ns = takes(m, &s);
    samples[(*count)++] = s;
}

enum { MOST = 2048 };

static const size_t grid[] = {512,      1 * KIB,  2 * KIB,  4 * KIB,   8 * KIB,   12 * KIB,
                              16 * KIB, 20 * KIB, 24 * KIB, 28 * KIB,  32 * KIB,  40 * KIB,
                              48 * KIB, 64 * KIB, 96 * KIB, 128 * KIB, 256 * KIB, 512 * KIB,
                              MIB,      2 * MIB,  4 * MIB};

/* The cells that calibration measures. */
static size_t measure(kvf__cuda_sample samples[MOST], machine *machines) {
    size_t count = 0;
    for (kvf_cuda_direction d = to; d <= on; d++) {
        machine *m = &machines[d];
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++) {
            if (d == on && s == KVF_CUDA_STAGED)
                continue;
            for (size_t i = 0; i < sizeof grid / sizeof *grid; i++) {
                kvf__cuda_sample cell = {.direction = d, .strategy = s, .bytes = grid[i]};
                size_t most = 16 * MIB / grid[i] < 2048 ? 16 * MIB / grid[i] : 2048;
                cell.layers = 1;
                for (cell.pieces = most; cell.pieces * 100 > most && cell.pieces > 0;
                     cell.pieces /= 8)
                    add(samples, &count, m, cell);
                for (size_t rows = 8;
                     s <= KVF_CUDA_BATCH && i % 3 == 0 && rows <= 64 && rows <= most; rows *= 8) {
                    cell.row_calls = most / rows;
                    cell.pieces = cell.row_calls * rows;
                    add(samples, &count, m, cell);
                }
            }
            add(samples, &count, m,
                (kvf__cuda_sample){
                    .direction = d, .strategy = s, .bytes = 4096, .pieces = 256, .layers = 16});
        }
    }
    return count;
}

static int by_value(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The median error of predictions for cells that were not measured: sizes off the grid, counts from
 * one to many times the measured ones, at most 256 MiB. */
static double error_of(const kvf_cuda_costs *costs, machine *m, kvf_cuda_direction d,
                       kvf_cuda_strategy s) {
    enum { CELLS = 400 };
    double errors[CELLS];
    for (size_t i = 0; i < CELLS; i++) {
        kvf__cuda_sample cell = {.direction = d, .strategy = s, .layers = 1};
        double octave = (double)test_random_below(&m->random, 13000) / 1000;
        cell.bytes = (size_t)(512 * exp2(octave)) & ~(size_t)15;
        double most = fmin(20000, 256.0 * 1024 * 1024 / (double)cell.bytes);
        double share = (double)test_random_below(&m->random, 1001) / 1000;
        cell.pieces = (uint64_t)pow(most, share);
        if (s <= KVF_CUDA_BATCH && i % 4 == 0) {
            cell.row_calls = 1 + cell.pieces / (2 + test_random_below(&m->random, 100));
            cell.pieces = cell.row_calls * (2 + cell.pieces / cell.row_calls);
        }
        kvf__cuda_move_profile profile = profile_of(cell.bytes, cell.pieces);
        if (cell.row_calls > 0) {
            profile.rows = profile.pieces;
            profile.pieces = (kvf__cuda_tally){.count = 0};
            profile.row_calls = cell.row_calls;
        }
        double us[KVF_CUDA_STRATEGIES];
        predict(costs, d, &profile, us);
        errors[i] = fabs(us[s] * 1e3 / takes(m, &cell) - 1);
    }
    qsort(errors, CELLS, sizeof *errors, by_value);
    return errors[CELLS / 2];
}

static const machine gen5 = {.link = 55,
                             .call = 2300,
                             .descriptor = 500,
                             .row = 60,
                             .kernel_link = 35,
                             .round_trip = 1800,
                             .pack_speed = 400,
                             .pack_piece = 3,
                             .latency = 9000,
                             .chunk = 6000,
                             .noise = 0.03};
/* A slow processor on a slow link, where packing is no faster than the link. */
static const machine slow = {.link = 12,
                             .call = 6000,
                             .descriptor = 1500,
                             .row = 400,
                             .kernel_link = 11,
                             .round_trip = 3000,
                             .pack_speed = 13,
                             .pack_piece = 60,
                             .latency = 20000,
                             .chunk = 15000,
                             .noise = 0.05};
static const machine inside = {.link = 1500,
                               .call = 2300,
                               .descriptor = 500,
                               .row = 2,
                               .kernel_link = 1400,
                               .round_trip = 600,
                               .pack_speed = 1e3,
                               .pack_piece = 1,
                               .latency = 7000,
                               .chunk = 6000,
                               .noise = 0.03};

static void fit_and_judge(machine machines[KVF_CUDA_DIRECTIONS], uint64_t seed) {
    static kvf__cuda_sample samples[MOST];
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        machines[d].random = test_random_make(seed + d);
    size_t count = measure(samples, machines);
    kvf_cuda_costs *m = builtin();
    kvf_error e = {0};
    test_expect(KVF_OK, kvf__cuda_costs_fit(m, samples, count, &e), &e);
    assert_true(m->calibrated);
    for (kvf_cuda_direction d = to; d <= on; d++) {
        expect_near(m->link[d], machines[d].link, 0.1);
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++) {
            if (d == on && s == KVF_CUDA_STAGED)
                continue;
            double error = error_of(m, &machines[d], d, s);
            if (getenv("KVF_TEST_VERBOSE"))
                print_message("%d %s: %.1f %%\n", (int)d, kvf_cuda_strategy_name(s), 100 * error);
            assert_true(error < 0.15);
        }
    }
    kvf_cuda_costs_destroy(m);
}

static void test_fit_predicts_other_cells(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(10); seed++) {
        machine machines[KVF_CUDA_DIRECTIONS] = {gen5, gen5, inside};
        fit_and_judge(machines, 3 * seed);
        machines[to] = machines[from] = slow;
        fit_and_judge(machines, 3 * seed);
    }
}

/* The fit to a machine that follows the cost table's formulas is exact. */
static void test_fit_is_exact(void **state) {
    (void)state;
    kvf__cuda_sample samples[64];
    size_t count = 0;
    for (kvf_cuda_direction d = to; d <= on; d++)
        for (size_t k = 0; k < 5; k++)
            for (uint64_t n = 10; n <= 1000; n *= 10)
                samples[count++] = (kvf__cuda_sample){
                    .direction = d,
                    .strategy = KVF_CUDA_LOOP,
                    .bytes = KIB << k,
                    .pieces = n,
                    .layers = 1,
                    .ns = 8000 + (double)n * (double)(1000 + 100 * k),
                };
    kvf_cuda_costs *m = builtin();
    kvf_error e = {0};
    memset(m->cost, 0, sizeof m->cost);
    test_expect(KVF_OK, kvf__cuda_costs_fit(m, samples, count, &e), &e);
    for (kvf_cuda_direction d = to; d <= on; d++) {
        const kvf__cuda_cost *c = m->cost[d];
        assert_true(c[KVF_CUDA_LOOP].fixed_ns == 8000);
        assert_int_equal(c[KVF_CUDA_LOOP].piece.count, 5);
        for (size_t k = 0; k < 5; k++) {
            assert_int_equal(c[KVF_CUDA_LOOP].piece.bytes[k], KIB << k);
            assert_true(c[KVF_CUDA_LOOP].piece.ns[k] == (double)(1000 + 100 * k));
        }
        assert_int_equal(c[KVF_CUDA_LOOP].row.count, 0);
        assert_int_equal(c[KVF_CUDA_BATCH].piece.count, 0);
        assert_int_equal(c[KVF_CUDA_STAGED].piece.count, 0);
        /* 16 KiB each 1.4 us. */
        expect_near(m->link[d], 16384.0 / 1400, 1e-4);
    }
    kvf_cuda_costs_destroy(m);
}

/* The cells of `measure`, with the times that a cost table predicts. */
static size_t measure_costs(const kvf_cuda_costs *m, kvf__cuda_sample samples[MOST]) {
    machine none[KVF_CUDA_DIRECTIONS] = {gen5, gen5, inside};
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        none[d].random = test_random_make(1);
    size_t count = measure(samples, none);
    for (size_t i = 0; i < count; i++) {
        kvf__cuda_sample *s = &samples[i];
        kvf__cuda_move_profile profile = profile_of(s->bytes, s->pieces);
        double us[KVF_CUDA_STRATEGIES];
        profile.layers = s->layers;
        profile.host_boxes = s->layers;
        if (s->row_calls > 0) {
            profile.rows = profile.pieces;
            profile.pieces = (kvf__cuda_tally){.count = 0};
            profile.row_calls = s->row_calls;
        }
        predict(m, s->direction, &profile, us);
        s->ns = us[s->strategy] * 1e3;
    }
    return count;
}

/* A fit to a cost table's own predictions recovers all of its parts. */
static void test_fit_finds_every_part(void **state) {
    (void)state;
    static kvf__cuda_sample samples[MOST];
    kvf_cuda_costs *m = builtin(), *found = builtin();
    kvf_error e = {0};
    for (kvf_cuda_direction d = to; d <= on; d++)
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++) {
            kvf__cuda_cost *c = &m->cost[d][s];
            c->fixed_ns = 9000 + 1000 * s;
            c->layer_ns = 2000 + 300 * s;
            c->chunk_ns = s == KVF_CUDA_STAGED ? 12000 : 0;
            c->row_call_ns = s <= KVF_CUDA_BATCH ? 3000 + 500 * s : 0;
            if (s == KVF_CUDA_BATCH)
                c->row = m->cost[d][KVF_CUDA_LOOP].row;
        }
    kvf__cuda_costs_seal(m);
    size_t count = measure_costs(m, samples);
    memset(found->cost, 0, sizeof found->cost);
    test_expect(KVF_OK, kvf__cuda_costs_fit(found, samples, count, &e), &e);
    for (kvf_cuda_direction d = to; d <= on; d++) {
        expect_near(found->link[d], m->link[d], 0.02);
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++) {
            const kvf__cuda_cost *a = &m->cost[d][s], *b = &found->cost[d][s];
            assert_true((b->piece.count == 0) == (d == on && s == KVF_CUDA_STAGED));
            if (b->piece.count == 0)
                continue;
            expect_near(b->fixed_ns, a->fixed_ns, 0.02);
            expect_near(b->layer_ns, a->layer_ns, 0.05);
            expect_near(b->chunk_ns, a->chunk_ns, 0.05);
            expect_near(b->row_call_ns, a->row_call_ns, 0.05);
            assert_true((b->row.count > 0) == (s <= KVF_CUDA_BATCH));
            for (size_t i = 0; i < b->row.count; i++)
                expect_near(b->row.ns[i], kvf__cuda_curve_at(&a->row, (double)b->row.bytes[i]),
                            0.05);
        }
    }
    kvf_cuda_costs_destroy(found);
    kvf_cuda_costs_destroy(m);
}

/* Contradictory, noisy samples still give a cost table without negative times. */
static void test_fit_of_noise(void **state) {
    (void)state;
    static kvf__cuda_sample samples[MOST];
    for (uint64_t seed = 0; seed < 50; seed++) {
        machine machines[KVF_CUDA_DIRECTIONS] = {gen5, gen5, inside};
        test_random random = test_random_make(seed);
        for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
            machines[d].random = test_random_make(seed + d);
        size_t count = measure(samples, machines);
        for (size_t i = 0; i < count; i++)
            samples[i].ns *= (double)(1 + test_random_below(&random, 1000)) / 100;
        kvf_cuda_costs *m = builtin();
        kvf_error e = {0};
        test_expect(KVF_OK, kvf__cuda_costs_fit(m, samples, count, &e), &e);
        for (kvf_cuda_direction d = to; d <= on; d++)
            for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_STAGED; s++) {
                const kvf__cuda_cost *c = &m->cost[d][s];
                assert_true(c->fixed_ns >= 0 && c->layer_ns >= 0 && c->row_call_ns >= 0);
                assert_true(c->chunk_ns >= 0);
            }
        kvf_cuda_costs_destroy(m);
    }
}

static void test_fit_refuses_nothing(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    kvf_error e = {0};
    test_expect(KVF_ERR_ENGINE, kvf__cuda_costs_fit(m, NULL, 0, &e), &e);
    assert_non_null(e.what);
    /* One size and one count: the fit is underdetermined, but nothing divides by zero. */
    kvf__cuda_sample one[KVF_CUDA_DIRECTIONS];
    for (kvf_cuda_direction d = to; d <= on; d++)
        one[d] = (kvf__cuda_sample){.direction = d,
                                    .strategy = KVF_CUDA_LOOP,
                                    .bytes = KIB,
                                    .pieces = 4,
                                    .layers = 1,
                                    .ns = 8000};
    test_expect(KVF_OK, kvf__cuda_costs_fit(m, one, KVF_CUDA_DIRECTIONS, &e), &e);
    kvf__cuda_move_profile profile = profile_of(KIB, 8);
    double us[KVF_CUDA_STRATEGIES];
    predict(m, to, &profile, us);
    expect_near(us[KVF_CUDA_LOOP], 16, 1e-9);
    kvf_cuda_costs_destroy(m);
}

static void test_arguments(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    kvf_cuda_explanation x;
    kvf_error e = {0};
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_builtin(NULL, NULL, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_explain(m, NULL, to, &x, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_explain(NULL, NULL, to, &x, NULL), NULL);
    kvf_cuda_costs_destroy(NULL);
    kvf_cuda_costs_destroy(m);
}

static void test_out_of_memory(void **state) {
    (void)state;
    static kvf__cuda_sample samples[MOST];
    machine machines[KVF_CUDA_DIRECTIONS] = {gen5, gen5, inside};
    size_t count = measure(samples, machines);
    for (size_t fail_at = 1; fail_at <= 4; fail_at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        memory.fail_at = fail_at;
        kvf_cuda_costs *m = NULL, *copy = NULL;
        kvf_error e = {0};
        kvf_status status = kvf_cuda_costs_builtin(&memory.allocator, &m, &e);
        test_expect(fail_at == 1 ? KVF_ERR_NO_MEMORY : KVF_OK, status, &e);
        if (m) {
            status = kvf__cuda_costs_fit(m, samples, count, &e);
            test_expect(fail_at <= 3 ? KVF_ERR_NO_MEMORY : KVF_OK, status, &e);
            copy = kvf__cuda_costs_copy(m, &memory.allocator);
            assert_true((!copy) == (fail_at == 4));
            if (copy)
                assert_memory_equal(copy->cost, m->cost, sizeof m->cost);
        } else {
            assert_null(m);
        }
        kvf_cuda_costs_destroy(copy);
        kvf_cuda_costs_destroy(m);
        test_allocator_done(&memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve),
        cmocka_unit_test(test_curve_ends),
        cmocka_unit_test(test_predict_formulas),
        cmocka_unit_test(test_nothing_to_move),
        cmocka_unit_test(test_builtin_is_sane),
        cmocka_unit_test(test_builtin_choices),
        cmocka_unit_test(test_choice_flips_where_costs_cross),
        cmocka_unit_test(test_choose_among_available),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fit_is_exact),
        cmocka_unit_test(test_fit_finds_every_part),
        cmocka_unit_test(test_fit_predicts_other_cells),
        cmocka_unit_test(test_fit_of_noise),
        cmocka_unit_test(test_fit_refuses_nothing),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
