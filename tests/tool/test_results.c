/* Reading results: complete, and of the expected command. */
#include "support/support.h"

#include <output/json_file.h>
#include <output/results.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOOD "\"schema_version\": 2, \"command\": \"replay\", \"context\": {}"

static char message[256];

static bool read_bytes(const char *text, size_t bytes, const char *command, results *out) {
    char name[] = "/tmp/test_results_XXXXXX";
    int file = mkstemp(name);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, bytes), bytes);
    close(file);
    message[0] = '\0';
    bool read = results_read(name, command, out, message, sizeof message);
    unlink(name);
    assert_true(read || strstr(message, name) == message);
    return read;
}

static bool read_text(const char *text, const char *command, results *out) {
    return read_bytes(text, strlen(text), command, out);
}

static void reads_what_was_written(void **state) {
    static const char *const commands[] = {NULL, "replay"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        results read;
        assert_true(read_text("{" GOOD ", \"rows\": [{\"requests\": 3}], \"more\": 1}\n",
                              commands[i], &read));
        assert_string_equal(read.command, "replay");
        assert_int_equal(json_array_size(read.rows), 1);
        assert_true(json_is_object(read.context));
        results_free(&read);
    }
}

static void refuses_broken_files(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"{} {}", "not JSON"},
        {"{" GOOD ", \"rows\": [{\"a\": 1, \"a\": 1}]}", "not JSON"},
        {"\x01", "not JSON"},
        {"[]", "not a kvferry result"},
        {"{}", "not a kvferry result"},
        {"{\"schema_version\": \"2\", \"command\": \"replay\"}", "not a kvferry result"},
        {"{\"schema_version\": 2}", "not a kvferry result"},
        {"{\"schema_version\": 2, \"command\": 7}", "not a kvferry result"},
        {"{\"schema_version\": 2, \"command\": \"\\u001b[2J\"}", "not a kvferry result"},
        {"{\"schema_version\": 1, \"command\": \"replay\"}", "schema_version"},
        {"{\"schema_version\": 3, \"command\": \"replay\"}", "schema_version"},
        {"{\"schema_version\": -1, \"command\": \"replay\"}", "schema_version"},
        {"{\"schema_version\": 2, \"command\": \"replay\"}", "context"},
        {"{\"schema_version\": 2, \"command\": \"replay\", \"context\": []}", "context"},
        {"{" GOOD "}", "no rows"},
        {"{" GOOD ", \"rows\": {}}", "no rows"},
        {"{" GOOD ", \"rows\": []}", "no rows"},
        {"{" GOOD ", \"rows\": [{}, 1]}", "not an object"},
        {"{" GOOD ", \"rows\": [{}], \"compare\": {\"rows\": [5]}}", "not an object"},
        {"{\"schema_version\": 2, \"command\": \"bench\", \"context\": {}, \"rows\": [{}]}",
         "results of kvferry bench, not of kvferry replay"},
    };
    results read;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(read_text(cases[i].text, "replay", &read));
        if (!strstr(message, cases[i].says))
            fail_msg("case %zu: %s", i, message);
        for (const char *at = message; *at != '\0'; at++)
            assert_in_range((unsigned char)*at, ' ', '~');
    }
    assert_false(results_read("/nowhere/at/all", "replay", &read, message, sizeof message));
    assert_non_null(strstr(message, "/nowhere/at/all: cannot be read"));
    assert_false(results_read("/tmp", "replay", &read, message, sizeof message));
    assert_non_null(strstr(message, "/tmp: cannot be read"));
}

/* The most bytes and rows that are allowed, and one more. */
static void bounds_what_it_reads(void **state) {
    static const char head[] = "{" GOOD ", \"rows\": [{}", row[] = ", {}", tail[] = "]}";
    char *text = malloc(JSON_FILE_MOST_BYTES + 1);
    results read;
    (void)state;
    assert_non_null(text);
    for (size_t more = 0; more < 2; more++) {
        char *at = stpcpy(text, head);
        for (size_t i = 1; i < RESULTS_MOST_ROWS + more; i++)
            at = stpcpy(at, row);
        at = stpcpy(at, tail);
        assert_int_equal(read_text(text, NULL, &read), more == 0);
        if (more == 0)
            results_free(&read);
    }
    assert_non_null(strstr(message, "too many rows"));
    memset(text, ' ', JSON_FILE_MOST_BYTES + 1);
    *stpcpy(stpcpy(text, head), tail) = ' ';
    assert_true(read_bytes(text, JSON_FILE_MOST_BYTES, NULL, &read));
    results_free(&read);
    assert_false(read_bytes(text, JSON_FILE_MOST_BYTES + 1, NULL, &read));
    assert_non_null(strstr(message, "cannot be read: File too large"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(refuses_broken_files),
        cmocka_unit_test(bounds_what_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
