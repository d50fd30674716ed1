/* The tool's trace reader and its made-up traces. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <replay/synthetic.h>
#include <replay/trace.h>

static bool read_bytes(const char *text, size_t size, trace *out, char message[256]) {
    FILE *in = fmemopen((void *)(uintptr_t)text, size, "r");
    assert_non_null(in);
    bool good = trace_read(in, "name", out, message, 256);
    fclose(in);
    return good;
}

static void expect_trace(const char *text, size_t requests, size_t blocks, trace *out) {
    char message[256];
    assert_true(read_bytes(text, strlen(text), out, message));
    assert_string_equal(message, "");
    assert_int_equal(out->requests, requests);
    assert_int_equal(out->blocks, blocks);
}

static void expect_refusal(const char *text, size_t size, const char *expected) {
    char message[256];
    trace out = {0};
    assert_false(read_bytes(text, size, &out, message));
    if (strncmp(message, expected, strlen(expected)) != 0)
        fail_msg("'%s' instead of '%s'", message, expected);
    trace_free(&out);
}

static void refuses(const char *text, const char *expected) {
    expect_refusal(text, strlen(text), expected);
}

/* The digest equals that of xxh64sum, for any bytes. */
static void digests_every_byte(void **state) {
    static const char *const texts[] = {"", "{\"hash_ids\": [1]}\n{\"hash_ids\": []}\r\n",
                                        "{\"hash_ids\": [1]}"};
    static const uint64_t digests[] = {0xef46db3751d8e999, 0x742503d6959d9675, 0x2096ab8cf221bf39};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char message[256];
        trace out = {0};
        FILE *in = tmpfile();
        assert_true(in && fputs(texts[i], in) >= 0);
        rewind(in);
        assert_true(trace_read(in, "name", &out, message, sizeof message));
        assert_int_equal(out.digest, digests[i]);
        trace_free(&out);
        fclose(in);
    }
}

static void reads_requests(void **state) {
    (void)state;
    trace out = {0};
    size_t count;
    expect_trace(
        "{\"timestamp\": 0, \"input_length\": 900, \"output_length\": 3, \"hash_ids\": [0, 7]}\n"
        "{\"hash_ids\": [], \"unknown\": \"\\u00e9\"}\r\n"
        " {\"hash_ids\":[9223372036854775807,0,0], \"timestamp\": 1.5}", /* no newline */
        3, 5, &out);
    const uint64_t *ids = trace_request(&out, 0, &count);
    assert_int_equal(count, 2);
    assert_int_equal(ids[1], 7);
    trace_request(&out, 1, &count);
    assert_int_equal(count, 0);
    ids = trace_request(&out, 2, &count);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], INT64_MAX);
    trace_truncate(&out, 9);
    assert_int_equal(out.requests, 3);
    trace_truncate(&out, 1);
    assert_int_equal(out.requests, 1);
    assert_int_equal(out.blocks, 2);
    trace_free(&out);
}

static void reads_an_empty_file(void **state) {
    (void)state;
    trace out = {0};
    char message[256];
    FILE *in = fopen("/dev/null", "r");
    assert_non_null(in);
    assert_true(trace_read(in, "name", &out, message, sizeof message));
    assert_int_equal(out.requests, 0);
    trace_truncate(&out, 0);
    fclose(in);
    trace_free(&out);
}

static void names_file_line_and_fault(void **state) {
    (void)state;
    refuses("{\"hash_ids\": [1]}\n{\"hash_ids\": [1, -2]}\n", "name:2: hash_ids[1] is negative");
    refuses("{\"hash_ids\": [1.0]}\n", "name:1: hash_ids[0] is not an integer");
    refuses("{\"hash_ids\": [\"1\"]}\n", "name:1: hash_ids[0] is not an integer");
    refuses("{\"hash_ids\": [null]}\n", "name:1: hash_ids[0] is not an integer");
    refuses("{\"hash_ids\": [9223372036854775808]}\n", "name:1: too big");
    refuses("{\"hash_ids\": 3}\n", "name:1: hash_ids is not a list");
    refuses("{\"hash_ids\": null}\n", "name:1: hash_ids is not a list");
    refuses("{\"timestamp\": 1}\n", "name:1: hash_ids is missing");
    refuses("{\"timestamp\": -1, \"hash_ids\": [1]}\n", "name:1: timestamp is negative");
    refuses("{\"output_length\": \"1\", \"hash_ids\": [1]}\n", "name:1: output_length is not a");
    refuses("{\"input_length\": false, \"hash_ids\": [1]}\n", "name:1: input_length is not a");
    refuses("[1, 2]\n", "name:1: not a JSON object");
    refuses("{\"hash_ids\": [1]} {}\n", "name:1: end of file expected");
    refuses("{\"hash_ids\": [1], \"hash_ids\": [2]}\n", "name:1: duplicate object key");
    refuses("{\"hash_ids\": [1]\n}\n", "name:1: ");
    refuses("{\"hash_ids\": [1]}\n\n{\"hash_ids\": [1]}\n", "name:2: empty line");
    refuses("\xff\n", "name:1: ");
}

static void refuses_nul_and_excess(void **state) {
    (void)state;
    static const char nul[] = "{\"hash_ids\": [1]}\n{\"hash_ids\": [1]}\0\n";
    expect_refusal(nul, sizeof nul - 1, "name:2: NUL byte");

    size_t size = TRACE_MAX_LINE + 2;
    char *line = malloc(size);
    assert_non_null(line);
    memset(line, ' ', size);
    expect_refusal(line, size, "name:1: line is too long");

    size_t used = (size_t)snprintf(line, size, "{\"hash_ids\":[0");
    for (size_t i = 0; i < TRACE_MAX_BLOCKS; i++)
        used += (size_t)snprintf(line + used, size - used, ",0");
    used += (size_t)snprintf(line + used, size - used, "]}\n");
    expect_refusal(line, used, "name:1: hash_ids is too long");
    free(line);
}

static void counts_different_blocks(void **state) {
    (void)state;
    trace out = {0};
    /* 2 after 1 is a different block than 2 after 3 or 2 at the start. */
    expect_trace("{\"hash_ids\": [1, 2]}\n{\"hash_ids\": [1, 2, 4]}\n{\"hash_ids\": [3, 2]}\n"
                 "{\"hash_ids\": [2]}\n{\"hash_ids\": [2, 2]}\n",
                 5, 10, &out);
    assert_int_equal(trace_distinct(&out), 7);
    trace_free(&out);
    assert_int_equal(trace_distinct(&out), 0);
}

static bool near(size_t value, size_t expected, size_t percent) {
    size_t off = value > expected ? value - expected : expected - value;
    return off * 100 <= expected * percent;
}

static void makes_up_what_the_trace_is_like(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(10); seed++) {
        trace made = {0};
        synthetic_make(seed, SYNTHETIC_REQUESTS, &made);
        assert_int_equal(made.requests, SYNTHETIC_REQUESTS);
        assert_true(near(made.blocks, 288500, 10));
        assert_true(near(made.blocks - trace_distinct(&made), 105710, 15));
        for (size_t i = 0; i < made.requests; i++) {
            size_t count;
            const uint64_t *ids = trace_request(&made, i, &count);
            assert_in_range(count, 1, 247);
            assert_int_equal(ids[0], 0);
        }
        trace_free(&made);
    }
}

static void makes_up_the_same_again(void **state) {
    (void)state;
    trace a = {0}, b = {0}, other = {0};
    synthetic_make(7, 500, &a);
    synthetic_make(7, 500, &b);
    synthetic_make(8, 500, &other);
    assert_int_equal(a.blocks, b.blocks);
    assert_memory_equal(a.ids, b.ids, a.blocks * sizeof *a.ids);
    assert_memory_equal(a.starts, b.starts, (a.requests + 1) * sizeof *a.starts);
    assert_int_not_equal(a.blocks, other.blocks);
    trace_free(&a);
    trace_free(&b);
    trace_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(digests_every_byte),
        cmocka_unit_test(reads_an_empty_file),
        cmocka_unit_test(names_file_line_and_fault),
        cmocka_unit_test(refuses_nul_and_excess),
        cmocka_unit_test(counts_different_blocks),
        cmocka_unit_test(makes_up_what_the_trace_is_like),
        cmocka_unit_test(makes_up_the_same_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
