#include "support.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Every block starts with its size, so that a wrong `old_size` is detected. */
typedef union header {
    size_t size;
    max_align_t align;
} header;

static void *test_resize(void *user, void *block, size_t old_size, size_t new_size) {
    test_allocator *t = user;
    header *old = block ? (header *)block - 1 : NULL;
    assert_int_equal(old ? old->size : 0, old_size);
    if (new_size == 0) {
        if (old) {
            t->live_blocks--;
            t->live_bytes -= old_size;
            free(old);
        }
        return NULL;
    }
    t->calls++;
    if (t->fail_at != 0 &&
        (t->calls == t->fail_at || (t->fail_ever_after && t->calls > t->fail_at)))
        return NULL;
    /* Always moves the block, so that using an old pointer is a use after free. */
    header *grown = malloc(sizeof *grown + new_size);
    assert_non_null(grown);
    memset(grown + 1, 0xa5, new_size);
    grown->size = new_size;
    if (old) {
        memcpy(grown + 1, old + 1, old_size < new_size ? old_size : new_size);
        free(old);
        t->live_bytes -= old_size;
        t->live_blocks--;
    }
    t->live_blocks++;
    t->live_bytes += new_size;
    return grown + 1;
}

void test_allocator_init(test_allocator *t) {
    *t = (test_allocator){.allocator = {.resize = test_resize, .user = t}};
}

void test_allocator_done(const test_allocator *t) {
    assert_int_equal(t->live_blocks, 0);
    assert_int_equal(t->live_bytes, 0);
}

test_random test_random_make(uint64_t seed) {
    return (test_random){.state =
                             seed * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x2545f4914f6cdd1d)};
}

uint64_t test_random_next(test_random *random) {
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t test_random_below(test_random *random, uint64_t bound) {
    return (test_random_next(random) >> 11) % bound;
}

uint64_t test_seeds(uint64_t usual) {
    const char *text = getenv("KVF_TEST_SEEDS");
    const double seeds = (double)usual * (text ? strtod(text, NULL) : 1);
    return seeds > 1 ? (uint64_t)seeds : 1;
}

kvf_hash test_hash(uint64_t position, uint64_t salt) {
    kvf_hash hash;
    uint64_t parent = salt + position - 1;
    kvf_status status = kvf_hash_lineage(KVF_HASH_V1_2, salt + position, position ? &parent : NULL,
                                         position, &hash);
    assert_int_equal(status, KVF_OK);
    return hash;
}

void test_expect(kvf_status expected, kvf_status actual, const kvf_error *error) {
    if (expected == actual)
        return;
    char text[256] = "";
    if (error && actual != KVF_OK)
        kvf_error_format(error, text, sizeof text);
    print_error("expected %s, got %s: %s\n", kvf_status_name(expected), kvf_status_name(actual),
                text);
    assert_int_equal(actual, expected);
}

static bool is_free(int port) {
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return found;
}

int test_port(void) {
    enum { FIRST = 12000, COUNT = 20000 };
    static unsigned next;
    for (unsigned tries = 0; tries < COUNT; tries++) {
        int port = FIRST + (int)(((unsigned)getpid() * 211 + next++) % COUNT);
        if (is_free(port))
            return port;
    }
    return 0;
}
