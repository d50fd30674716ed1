#include "support/support.h"

#include <stdio.h>
#include <string.h>

/* The compiler warns about a missing status here; the tests check the names and texts of all. */
static bool exists(kvf_status status) {
    switch (status) {
    case KVF_OK:
    case KVF_PENDING:
    case KVF_ERR_INVALID:
    case KVF_ERR_NO_MEMORY:
    case KVF_ERR_RANGE:
    case KVF_ERR_ORDERING_VIOLATION:
    case KVF_ERR_POSITION_MISMATCH:
    case KVF_ERR_DUPLICATE_BLOCK_ID:
    case KVF_ERR_GAP:
    case KVF_ERR_LINEAGE:
    case KVF_ERR_BUSY:
    case KVF_ERR_CLOSED:
    case KVF_ERR_CONFLICT:
    case KVF_ERR_LAYOUT:
    case KVF_ERR_AGAIN:
    case KVF_ERR_TIMEOUT:
    case KVF_ERR_CANCELLED:
    case KVF_ERR_CORRUPT:
    case KVF_ERR_UNSUPPORTED:
    case KVF_ERR_ENGINE:
    case KVF_ERR_BROKEN:
    case KVF_ERR_PEER:
        return true;
    }
    return false;
}

static void test_every_status_has_its_own_name_and_text(void **state) {
    (void)state;
    for (int i = -1; i < 1000; i++) {
        const kvf_status status = (kvf_status)i;
        const char *name = kvf_status_name(status), *text = kvf_status_text(status);
        if (!exists(status)) {
            assert_string_equal(name, "unknown status");
            assert_string_equal(text, "unknown status");
            continue;
        }
        assert_non_null(name);
        assert_non_null(text);
        for (int k = -1; k < i; k++) {
            assert_string_not_equal(name, kvf_status_name((kvf_status)k));
            assert_string_not_equal(text, kvf_status_text((kvf_status)k));
        }
    }
    assert_int_equal(KVF_OK, 0);
    assert_string_equal(kvf_status_name(KVF_ERR_PEER), "KVF_ERR_PEER");
}

static void test_unknown_status(void **state) {
    (void)state;
    char text[64];
    kvf_error_format(&(kvf_error){.status = (kvf_status)1000}, text, sizeof text);
    assert_string_equal(text, "unknown status");
}

static void test_version(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", KVF_VERSION_MAJOR, KVF_VERSION_MINOR,
             KVF_VERSION_PATCH);
    assert_string_equal(kvf_version(), text);
    assert_string_equal(KVF_VERSION_STRING, text);
}

static const struct {
    kvf_error error;
    const char *text;
} formats[] = {
    {{.status = KVF_OK}, "ok"},
    {{.status = KVF_ERR_RANGE}, "out of range"},
    {{.status = KVF_ERR_BUSY, .what = "a flight is open"},
     "blocks are in flight: a flight is open"},
    /* The reference's own texts, whatever else is set. */
    {{.status = KVF_ERR_ORDERING_VIOLATION,
      .what = "not shown",
      .id = 1,
      .other_id = 2,
      .index = 3,
      .other_index = 4},
     "ordering violation: known block_id 1 at index 3 appeared after new block_id 2 at index 4"},
    {{.status = KVF_ERR_POSITION_MISMATCH, .id = 7, .position = 9, .expected = 8},
     "position mismatch for block_id 7: expected 8, actual 9"},
    {{.status = KVF_ERR_DUPLICATE_BLOCK_ID, .id = UINT64_MAX, .index = 5},
     "duplicate block_id 18446744073709551615 already present"},
    /* One field each. */
    {{.status = KVF_ERR_GAP, .fields = KVF_ERROR_ID, .id = 10},
     "plan does not start at the destination's next position (id 10)"},
    {{.status = KVF_ERR_RANGE, .fields = KVF_ERROR_OTHER_ID, .other_id = 11},
     "out of range (other id 11)"},
    {{.status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = 12}, "out of range (index 12)"},
    {{.status = KVF_ERR_RANGE, .fields = KVF_ERROR_OTHER_INDEX, .other_index = 13},
     "out of range (other index 13)"},
    {{.status = KVF_ERR_RANGE, .fields = KVF_ERROR_POSITION, .position = 14},
     "out of range (position 14)"},
    {{.status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED, .expected = 15},
     "out of range (expected 15)"},
    {{.status = KVF_ERR_ENGINE, .fields = KVF_ERROR_NATIVE_CODE, .native_code = -16},
     "engine failed (native code -16)"},
    /* A member without its bit is not shown; with it, even 0 is. */
    {{.status = KVF_ERR_CLOSED, .id = 1, .index = 2, .position = 3, .native_code = 4},
     "no longer open"},
    {{.status = KVF_ERR_CLOSED, .fields = KVF_ERROR_ID | KVF_ERROR_NATIVE_CODE},
     "no longer open (id 0, native code 0)"},
    /* All. */
    {{.status = KVF_ERR_CONFLICT,
      .fields = KVF_ERROR_ID | KVF_ERROR_OTHER_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX |
                KVF_ERROR_POSITION | KVF_ERROR_EXPECTED | KVF_ERROR_NATIVE_CODE,
      .what = "rule",
      .native_code = 7,
      .id = 1,
      .other_id = 2,
      .index = 3,
      .other_index = 4,
      .position = 5,
      .expected = 6},
     "blocks of one move conflict: rule (id 1, other id 2, index 3, other index 4, position 5, "
     "expected 6, native code 7)"},
};

static void test_format(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        char text[256];
        int length = kvf_error_format(&formats[i].error, text, sizeof text);
        assert_string_equal(text, formats[i].text);
        assert_int_equal(length, strlen(formats[i].text));
    }
}

/* Every buffer size from 0 to more than enough: the result is the whole text's length, what fits is
 * written and terminated, nothing past the buffer is touched. */
static void test_format_truncates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const size_t whole = strlen(formats[i].text);
        for (size_t size = 0; size <= whole + 2; size++) {
            char text[256];
            memset(text, '#', sizeof text);
            assert_int_equal(kvf_error_format(&formats[i].error, text, size), whole);
            size_t fits = size == 0 ? 0 : size - 1 < whole ? size - 1 : whole;
            assert_memory_equal(text, formats[i].text, fits);
            if (size > 0)
                assert_int_equal(text[fits], '\0');
            for (size_t k = size; k < sizeof text; k++)
                assert_int_equal(text[k], '#');
        }
        assert_int_equal(kvf_error_format(&formats[i].error, NULL, 0), whole);
    }
}

static void test_format_of_no_error(void **state) {
    (void)state;
    char text[16];
    assert_int_equal(kvf_error_format(NULL, text, sizeof text), 2);
    assert_string_equal(text, "ok");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_its_own_name_and_text),
        cmocka_unit_test(test_unknown_status),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_truncates),
        cmocka_unit_test(test_format_of_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
