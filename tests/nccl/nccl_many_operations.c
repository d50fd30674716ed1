/* Many small operations, many of which a rank refuses, need no more memory than a few, and the
 * group goes on. */
#include "group_fixture.h"
#include "needs.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { OPS = 100000, AT_ONCE = 20, REFUSED = 4, WARM = 1000 }; /* rank 1 refuses 20,000 */

static atomic_size_t live_bytes, most_bytes;

static void *count_bytes(void *user, void *block, size_t old_size, size_t new_size) {
    (void)user;
    size_t now = atomic_fetch_add(&live_bytes, new_size - old_size) + new_size - old_size;
    if (now > atomic_load(&most_bytes))
        atomic_store(&most_bytes, now);
    if (new_size > 0)
        return realloc(block, new_size);
    free(block);
    return NULL;
}

static kvf_wire_op *submit(fixture_rank *k, bool refused) {
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    if (refused && k->rank == 1)
        test_expect(KVF_OK, kvf_wire_refuse(k->wire, KVF_ERR_CORRUPT, &e), &e);
    else
        test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, NULL, 0, NULL, &op, &e), &e);
    return op;
}

static void submit_small_ones(fixture_rank *k) {
    const kvf_allocator allocator = {.resize = count_bytes};
    const kvf_group_options options = {.rank = k->rank,
                                       .ranks = k->fixture->ranks,
                                       .id = k->fixture->id,
                                       .allocator = k->rank == 0 ? &allocator : NULL};
    size_t warm = 0;
    kvf_error e = {0};
    test_expect(KVF_OK, fixture_join(k, &options, &e), &e);
    for (unsigned n = 0; n < OPS; n += AT_ONCE) {
        kvf_wire_op *ops[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++)
            ops[i] = submit(k, i < REFUSED);
        for (int i = 0; i < AT_ONCE; i++)
            if (ops[i])
                fixture_expect_end(ops[i], i < REFUSED ? KVF_ERR_PEER : KVF_OK);
        if (n == WARM)
            warm = atomic_load(&most_bytes);
    }
    fixture_barrier(k); /* rank 1 does not wait for its refusals */
    if (k->rank == 0)
        assert_int_equal(atomic_load(&most_bytes), warm);
}

static void test_memory_stays(void **state) {
    (void)state;
    fixture_run(2, &(fixture_options){.alone = true, .nccl = {.lag_us = 1}}, submit_small_ones);
    assert_int_equal(atomic_load(&live_bytes), 0);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
