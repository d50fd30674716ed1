/* Predictions from stored results: interpolated, and not extrapolated below the smallest size. */
#include "support/support.h"

#include <advise/stored_results.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add_row(json_t *rows, const char *direction, const char *strategy, int fragment_bytes,
                    double gbps) {
    json_t *row = json_pack("{s:s, s:s, s:s?, s:s, s:i, s:i, s:i, s:f, s:b}", "direction",
                            direction, "pattern", "random", "strategy", strategy, "host_layout",
                            "whole", "fragment_bytes", fragment_bytes, "regions", 8, "bytes",
                            1 << 24, "gbps", gbps, "verified", 1);
    assert_non_null(row);
    assert_int_equal(json_array_append_new(rows, row), 0);
}

static stored_results *must_parse(json_t *rows) {
    char message[128] = "";
    results results = {.name = "results", .root = json_pack("{s:O}", "rows", rows), .rows = rows};
    stored_results *read = stored_results_take(results, message, sizeof message);
    if (!read)
        fail_msg("%s", message);
    return read;
}

static double gbps_at(const stored_results *stored, bool to_device, double piece_bytes) {
    return 1e6 / (1000 * stored_results_move(stored, to_device, "random", piece_bytes, 1e6).us);
}

static void interpolates(void **state) {
    (void)state;
    json_t *rows = json_array();
    add_row(rows, "h2d", "auto", 65536, 40);
    add_row(rows, "h2d", "auto", 4096, 10);
    add_row(rows, "d2h", "auto", 4096, 7);
    stored_results *read = must_parse(rows);
    assert_false(stored_results_is_host(read));
    assert_false(stored_results_is_imitated(read));
    assert_true(fabs(gbps_at(read, true, 4096) - 10) < 1e-9);
    assert_true(fabs(gbps_at(read, true, 16384) - 25) < 1e-9); /* half way in the logarithm */
    assert_true(fabs(gbps_at(read, true, 65536) - 40) < 1e-9);
    assert_true(fabs(gbps_at(read, false, 4096) - 7) < 1e-9);
    assert_false(stored_results_move(read, true, "random", 65536, 1e6).held);
    prediction above = stored_results_move(read, true, "random", 65537, 1e6);
    assert_true(above.held);
    assert_true(fabs(above.us - 25) < 1e-9);
    assert_true(isnan(stored_results_move(read, true, "random", 4095, 1e6).us));
    assert_true(isnan(stored_results_move(read, true, "run:8", 8192, 1e6).us));
    stored_results_close(read);
    json_decref(rows);
}

/* The engine's own choice takes precedence over forced strategies; of these the fastest counts. */
static void takes_a_strategy(void **state) {
    (void)state;
    json_t *rows = json_array();
    add_row(rows, "h2d", "loop", 4096, 10);
    add_row(rows, "h2d", "staged", 4096, 30);
    add_row(rows, "h2d", "staged", 4096, 20); /* equal in size and bytes: the slower one */
    stored_results *read = must_parse(rows);
    prediction said = stored_results_move(read, true, "random", 4096, 1e6);
    assert_string_equal(said.by, "staged");
    assert_true(fabs(said.us - 50) < 1e-9);
    stored_results_close(read);
    add_row(rows, "h2d", "auto", 4096, 15);
    read = must_parse(rows);
    assert_string_equal(stored_results_move(read, true, "random", 4096, 1e6).by, "auto");
    stored_results_close(read);
    json_decref(rows);
}

static void knows_host_memory(void **state) {
    (void)state;
    json_t *rows = json_array();
    add_row(rows, "h2h", NULL, 4096, 12);
    json_object_set_new(json_array_get(rows, 0), "imitated", json_true());
    stored_results *read = must_parse(rows);
    assert_true(stored_results_is_host(read));
    assert_true(stored_results_is_imitated(read));
    prediction said = stored_results_move(read, true, "random", 4096, 1e6);
    assert_null(said.by);
    assert_true(isfinite(said.us));
    assert_true(isfinite(stored_results_move(read, false, "random", 4096, 1e6).us));
    stored_results_close(read);
    json_decref(rows);
}

/* A row with this value is not usable. */
static void refuses_row(const char *key, json_t *value) {
    char message[128] = "";
    json_t *rows = json_array();
    add_row(rows, "h2d", "auto", 4096, 10);
    json_object_set_new(json_array_get(rows, 0), key, value);
    results results = {.name = "results", .root = json_pack("{s:o}", "rows", rows), .rows = rows};
    assert_null(stored_results_take(results, message, sizeof message));
    assert_string_equal(strstr(message, "no row is usable"), message + strlen("results: "));
}

static void leaves_rows_out(void **state) {
    (void)state;
    refuses_row("both_ways", json_true());
    refuses_row("verified", json_false());
    refuses_row("host_layout", json_string("layer"));
    refuses_row("host_layout", json_null());
    refuses_row("host_pattern", json_string("random"));
    refuses_row("regions", json_integer(1));
    refuses_row("gbps", json_null());
    refuses_row("gbps", json_integer(0));
    refuses_row("gbps", json_string("10"));
    refuses_row("fragment_bytes", json_integer(-4096));
    refuses_row("bytes", json_array());
    refuses_row("direction", json_integer(1));
    refuses_row("pattern", json_null());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interpolates),
        cmocka_unit_test(takes_a_strategy),
        cmocka_unit_test(knows_host_memory),
        cmocka_unit_test(leaves_rows_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
