/* Fixtures and checks that the fake's own tests share. */
#ifndef KVF_TEST_FAKE_CHECK_H
#define KVF_TEST_FAKE_CHECK_H

#include "fakecuda.h"
#include "hide.h" /* FAKE_ASAN, FAKE_TSAN */
#include "support/support.h"

#define CHECK_BYTES ((size_t)65536)

/* A call that must succeed. */
#define ok(call) assert_int_equal(call, cudaSuccess)

/* Two non-blocking streams, two pinned buffers of CHECK_BYTES and one on the device. */
typedef struct check_buffers {
    cudaStream_t a, b;
    char *in, *out, *device;
} check_buffers;

void check_buffers_make(check_buffers *buffers);
void check_buffers_free(check_buffers *buffers);

/* Setup and teardown of every test: the default machine; no leaks and no violations. */
int check_begin(void **state);
int check_end(void **state);

#define CHECK(test) cmocka_unit_test_setup_teardown(test, check_begin, check_end)

/* Expects exactly one violation, with this part in its text, and clears it. */
void check_violation(const char *part);

/* Whether touching the address kills a process; tried in a child process. */
bool check_deadly(const char *address);

void check_fill(char *bytes, size_t size, unsigned seed);
bool check_filled(const char *bytes, size_t size, unsigned seed);

/* The driver's function of that name, or NULL. */
void *check_entry(const char *symbol, unsigned version);

#endif
