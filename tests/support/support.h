/* What the test programs share: cmocka, a seeded generator, an allocator that fails on demand. */
#ifndef KVF_TEST_SUPPORT_H
#define KVF_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <kvferry/kvferry.h>

/* Counts allocations, fails the chosen ones, and finds leaks and wrong sizes. Not for threads. */
typedef struct test_allocator {
    kvf_allocator allocator; /* pass &t.allocator to the library */
    size_t calls;            /* allocations and growths asked for so far */
    size_t fail_at;          /* the call that fails, 1 the first; 0 none */
    bool fail_ever_after;    /* ... and all behind it */
    size_t live_blocks, live_bytes;
} test_allocator;

void test_allocator_init(test_allocator *t);

/* Fails the test when anything is still allocated. */
void test_allocator_done(const test_allocator *t);

/* xorshift64*: the same numbers from the same seed everywhere. */
typedef struct test_random {
    uint64_t state;
} test_random;

test_random test_random_make(uint64_t seed);
uint64_t test_random_next(test_random *random);
/* Below `bound`, which is more than 0. */
uint64_t test_random_below(test_random *random, uint64_t bound);

/* Seeds to run: `usual` times KVF_TEST_SEEDS from the environment, which may be a fraction; 1 or
 * more. */
uint64_t test_seeds(uint64_t usual);

/* A lineage hash of the position with arbitrary fragments, v1.2. */
kvf_hash test_hash(uint64_t position, uint64_t salt);

/* A port of this machine that nobody listens at, another one each time; 0 where there are no
 * sockets. Not of those that connections get theirs from, or one of these could have it meanwhile.
 */
int test_port(void);

/* Asserts the status and, when it is another, prints the error's text. */
void test_expect(kvf_status expected, kvf_status actual, const kvf_error *error);

#endif
