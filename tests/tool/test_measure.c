/* Summaries of samples: exact nearest-rank percentiles. */
#include "support/support.h"

#include <math.h>
#include <output/measure.h>
#include <base/splitmix.h>
#include <string.h>

/* 1 to `count`, in random order. */
static void count_up(double *values, size_t count) {
    test_random random = test_random_make(count);
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)test_random_below(&random, i + 1);
        values[i] = values[at];
        values[at] = (double)(i + 1);
    }
}

static void none_tell_nothing(void **state) {
    (void)state;
    double none = 0;
    summary of_none = summarize(&none, 0);
    assert_int_equal(of_none.count, 0);
    assert_true(isnan(of_none.median) && isnan(of_none.max));
    assert_true(isnan(of_none.p99) && isnan(of_none.spread) && isnan(of_none.p10));
}

static void one_has_no_spread(void **state) {
    (void)state;
    double one = 7;
    summary of_one = summarize(&one, 1);
    assert_true(of_one.median == 7 && of_one.max == 7 && of_one.p10 == 7 && of_one.p90 == 7);
    assert_true(isnan(of_one.p99) && isnan(of_one.spread));
}

static void takes_nearest_ranks(void **state) {
    static const struct {
        size_t count;
        double median, p99, p10, p90; /* p99 0: too few */
    } cases[] = {
        {2, 1.5, 0, 1, 2},      {3, 2, 0, 1, 3},
        {10, 5.5, 0, 1, 9},     {11, 6, 0, 2, 10},
        {99, 50, 0, 10, 90},    {100, 50.5, 99, 10, 90},
        {101, 51, 100, 11, 91}, {1000, 500.5, 990, 100, 900},
    };
    double values[1000] = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        count_up(values, cases[i].count);
        summary found = summarize(values, cases[i].count);
        assert_int_equal(found.count, cases[i].count);
        assert_true(found.median == cases[i].median);
        assert_true(found.p10 == cases[i].p10 && found.p90 == cases[i].p90);
        assert_true(found.max == (double)cases[i].count);
        assert_true(cases[i].p99 > 0 ? found.p99 == cases[i].p99 : isnan(found.p99));
        assert_true(found.spread == (cases[i].p90 - cases[i].p10) / cases[i].median);
    }
}

static void knows_spread_from_a_stray(void **state) {
    (void)state;
    double zeros[3] = {0}, equal[3] = {4, 4, 4}, one_far[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 90};
    assert_true(isnan(summarize(zeros, 3).spread));
    assert_true(summarize(equal, 3).spread == 0);
    assert_true(summarize(one_far, 11).spread == 0); /* one in eleven is no spread */
}

static size_t runs, prepares;

static void prepare(void *context, size_t instance) {
    (void)context, (void)instance;
    prepares++;
}

static void run(void *context, size_t instance) {
    (void)context, (void)instance;
    runs++;
}

static void measures_so_many_samples(void **state) {
    measured prepared = {.prepare = prepare, .run = run, .instances = 3};
    measured repeated = {.run = run, .instances = 1};
    (void)state;
    summary found = measure(&prepared, 5);
    assert_int_equal(found.count, 5);
    assert_true(prepares >= 18); /* the warm-up is one more at least */
    assert_int_equal(prepares % 3, 0);
    assert_int_equal(runs, prepares);
    found = measure(&repeated, 5);
    assert_int_equal(found.count, 5);
    assert_true(found.median > 0 && found.max >= found.median);
}

static void parts_lie_within(void **state) {
    (void)state;
    assert_true(part_within(10, 20, 0, 100) == 1);
    assert_true(part_within(10, 20, 10, 20) == 1);
    assert_true(part_within(10, 20, 0, 15) == 0.5);
    assert_true(part_within(10, 20, 12, 100) == 0.8);
    assert_true(part_within(10, 20, 14, 16) == 0.2);
    assert_true(part_within(10, 20, 20, 30) == 0);
    assert_true(part_within(10, 20, 0, 10) == 0);
    assert_true(part_within(10, 10, 0, 20) == 0);
}

/* The input of matrix products: finite, of sane size, and every bit of the fraction varies. */
static void makes_numbers(void **state) {
    enum { COUNT = 100000 };
    double sum = 0, squares = 0;
    size_t ones[16] = {0};
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        uint32_t bits = (uint32_t)mix_bf16(mix64(i)) << 16;
        float number;
        memcpy(&number, &bits, sizeof number);
        assert_true(number >= -1 && number <= 1);
        sum += number;
        squares += (double)number * number;
        for (size_t bit = 0; bit < 16; bit++)
            ones[bit] += bits >> (16 + bit) & 1;
    }
    assert_true(fabs(sum / COUNT) < 0.01 && fabs(squares / COUNT - 1.0 / 3) < 0.01);
    for (size_t bit = 0; bit < 7; bit++) /* the fraction */
        assert_true(ones[bit] > COUNT / 4 && ones[bit] < COUNT / 4 * 3);
    assert_true(ones[15] > COUNT / 4 && ones[15] < COUNT / 4 * 3); /* the sign */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_tell_nothing),
        cmocka_unit_test(one_has_no_spread),
        cmocka_unit_test(takes_nearest_ranks),
        cmocka_unit_test(knows_spread_from_a_stray),
        cmocka_unit_test(measures_so_many_samples),
        cmocka_unit_test(parts_lie_within),
        cmocka_unit_test(makes_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
