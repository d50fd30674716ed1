/* Comparing runs, with made-up documents. */
#include "support/support.h"

#include <output/compare.h>
#include <string.h>

/* A document of bench plan with one row. */
static json_t *plan_of(const char *op, double ns_per_block, double spread) {
    json_t *document =
        json_pack("{s:i, s:s, s:{s:s, s:s}, s:[{s:s, s:i, s:n, s:f, s:f}]}", "schema_version", 2,
                  "command", "bench plan", "context", "cpu", "one", "date", "today", "rows", "op",
                  op, "blocks", 64, "ids", "ns_per_block", ns_per_block, "spread", spread);
    assert_non_null(document);
    return document;
}

static json_t *rows_of(json_t *document) {
    return json_object_get(document, "rows");
}

static json_t *compare(const json_t *now, const json_t *before) {
    json_t *comparison = compare_documents("bench plan", now, before, "file");
    assert_non_null(comparison);
    return comparison;
}

static void expect_count(const json_t *comparison, const char *key, int count) {
    assert_int_equal(json_integer_value(json_object_get(comparison, key)), count);
}

/* The verdict for times `now` and `before` with these spreads; NULL for none. */
static void expect_verdict(double now, double before, double spread_now, double spread_before,
                           const char *verdict, const char *counted) {
    json_t *a = plan_of("zip", now, spread_now), *b = plan_of("zip", before, spread_before);
    json_t *comparison = compare(a, b);
    const json_t *pair = json_array_get(rows_of(comparison), 0);
    const char *found = json_string_value(json_object_get(pair, "verdict"));
    assert_true(verdict ? found && strcmp(found, verdict) == 0 : !found);
    assert_true(json_real_value(json_object_get(pair, "ratio")) == now / before);
    expect_count(comparison, counted, 1);
    json_decref(comparison);
    json_decref(a);
    json_decref(b);
}

static void judges_by_both_spreads(void **state) {
    (void)state;
    expect_verdict(100, 100, 0, 0, "within noise", "within_noise");
    expect_verdict(101.9, 100, 0, 0, "within noise", "within_noise");
    expect_verdict(102.1, 100, 0, 0, "slower", "slower");
    expect_verdict(100, 102.1, 0, 0, "faster", "faster");
    /* sqrt(0.3^2 + 0.4^2) = 0.5, in both directions */
    expect_verdict(149, 100, 0.3, 0.4, "within noise", "within_noise");
    expect_verdict(151, 100, 0.3, 0.4, "slower", "slower");
    expect_verdict(100, 149, 0.3, 0.4, "within noise", "within_noise");
    expect_verdict(100, 151, 0.4, 0.3, "faster", "faster");
}

static void takes_more_gbps_for_faster(void **state) {
    json_t *fast = json_loads("{\"schema_version\": 2, \"context\": {}, \"rows\": [{\"engine\": "
                              "\"host\", \"gbps\": 20.0, \"spread\": 0.01}]}",
                              0, NULL);
    json_t *slow = json_deep_copy(fast);
    (void)state;
    json_object_set_new(json_array_get(rows_of(slow), 0), "gbps", json_real(10));
    json_t *comparison = compare_documents("bench transfer", fast, slow, "file");
    expect_count(comparison, "faster", 1);
    json_decref(comparison);
    comparison = compare_documents("bench transfer", slow, fast, "file");
    expect_count(comparison, "slower", 1);
    json_decref(comparison);
    json_decref(fast);
    json_decref(slow);
}

/* Without a spread on either side, or with invalid figures. */
static void knows_what_cannot_be_told(void **state) {
    static const char *const keys[] = {"spread", "ns_per_block"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        json_t *a = plan_of("zip", 1, 0.1), *b = plan_of("zip", 2, 0.1);
        json_object_set_new(json_array_get(rows_of(i % 2 == 0 ? a : b), 0), keys[i / 2],
                            json_null());
        json_t *comparison = compare(a, b);
        expect_count(comparison, "unknown", 1);
        expect_count(comparison, "faster", 0);
        assert_true(
            json_is_null(json_object_get(json_array_get(rows_of(comparison), 0), "verdict")));
        json_decref(comparison);
        json_decref(a);
        json_decref(b);
    }
}

static void counts_rows_without_partner(void **state) {
    json_t *a = plan_of("zip", 1, 0.1), *b = plan_of("zip", 1, 0.1), *other = plan_of("hash", 1, 0);
    (void)state;
    json_array_extend(rows_of(a), rows_of(other));
    json_array_append_new(rows_of(b), json_object());
    json_array_append_new(rows_of(b),
                          json_pack("{s:s, s:i, s:s}", "op", "zip", "blocks", 64, "ids", "dense"));
    json_t *comparison = compare(a, b);
    assert_int_equal(json_array_size(rows_of(comparison)), 1);
    expect_count(comparison, "only_now", 1);
    expect_count(comparison, "only_before", 2);
    json_decref(comparison);
    comparison = compare(other, b);
    json_object_set_new(other, "compare", comparison);
    assert_false(compare_found(other));
    json_decref(a);
    json_decref(b);
    json_decref(other);
}

static void names_what_differs_in_the_contexts(void **state) {
    json_t *a = plan_of("zip", 1, 0.1), *b = plan_of("zip", 1, 0.1);
    (void)state;
    json_object_set_new(json_object_get(a, "context"), "cpu", json_string("another"));
    json_object_set_new(json_object_get(a, "context"), "threads", json_integer(2));
    json_t *comparison = compare(a, b);
    const json_t *differs = json_object_get(comparison, "differs");
    assert_int_equal(json_object_size(differs), 1); /* threads: one did not say */
    assert_string_equal(json_string_value(json_array_get(json_object_get(differs, "cpu"), 1)),
                        "one");
    json_decref(comparison);
    json_decref(a);
    json_decref(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_by_both_spreads),
        cmocka_unit_test(takes_more_gbps_for_faster),
        cmocka_unit_test(knows_what_cannot_be_told),
        cmocka_unit_test(counts_rows_without_partner),
        cmocka_unit_test(names_what_differs_in_the_contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
