/* Shared by all test programs: cmocka, a seeded generator, an allocator that fails on demand. */
#ifndef KVF_TEST_SUPPORT_H
#define KVF_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <kvferry/kvferry.h>

/* Elements of an array. */
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Counts allocations, fails chosen ones, and detects leaks and wrong sizes. Not thread-safe. */
typedef struct test_allocator {
    kvf_allocator allocator; /* pass &t.allocator to the library */
    size_t calls;            /* allocations and growths so far */
    size_t fail_at;          /* the call that fails, from 1; 0: none */
    bool fail_ever_after;    /* and all later ones */
    size_t live_blocks, live_bytes;
} test_allocator;

void test_allocator_init(test_allocator *t);

/* Fails the test if anything is still allocated. */
void test_allocator_done(const test_allocator *t);

/* xorshift64*: a seed gives the same numbers everywhere. */
typedef struct test_random {
    uint64_t state;
} test_random;

test_random test_random_make(uint64_t seed);
uint64_t test_random_next(test_random *random);
/* A number below `bound`, which must not be 0. */
uint64_t test_random_below(test_random *random, uint64_t bound);

/* The number of seeds to run: `usual` times KVF_TEST_SEEDS from the environment, which may be a
 * fraction; at least 1. */
uint64_t test_seeds(uint64_t usual);

/* A lineage hash of the position with arbitrary fragments, v1.2. */
kvf_hash test_hash(uint64_t position, uint64_t salt);

/* A free port of this machine, a different one each time; 0 without sockets. Outside the ephemeral
 * range, so that no connection takes it in the meantime. */
int test_port(void);

/* Asserts the status; on failure prints the error's text. */
void test_expect(kvf_status expected, kvf_status actual, const kvf_error *error);

#endif
