/* Streaming copies: every size and alignment, and nothing written outside the destination. */
#include "support/support.h"

#include "host/copy.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 3 * 8192 };

static void check(kvf__copy *copy, size_t to, size_t from, size_t bytes) {
    static char src[ROOM], dst[ROOM], expected[ROOM];
    for (size_t i = 0; i < ROOM; i++)
        src[i] = (char)(i * 31 + i / 251);
    memset(dst, 0x5a, ROOM);
    memset(expected, 0x5a, ROOM);
    memcpy(expected + to, src + from, bytes);
    copy(dst + to, src + from, bytes, src);
    kvf__copy_fence();
    assert_memory_equal(dst, expected, ROOM);
}

static void test_sizes_and_alignments(void **state) {
    (void)state;
    kvf__copy *copies[] = {kvf__copy_plain, kvf__copy_streaming()};
    static const size_t sizes[] = {0,   1,   63,   64,   65,   255,  256,  257,  319,
                                   320, 511, 1000, 4095, 4096, 4097, 4160, 8191, 8192};
    for (size_t c = 0; c < 2; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (size_t shift = 0; shift < 70; shift += 7) {
                check(copies[c], 64 + shift, 64, sizes[s]);
                check(copies[c], 64, 64 + shift, sizes[s]);
            }
}

static void test_next_may_be_anywhere(void **state) {
    (void)state;
    char src[8192], dst[8192];
    memset(src, 7, sizeof src);
    kvf__copy_streaming()(dst, src, sizeof src, NULL);
    kvf__copy_fence();
    assert_memory_equal(dst, src, sizeof src);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_alignments),
        cmocka_unit_test(test_next_may_be_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
