/* What the fake's own tests share. */
#ifndef KVF_TEST_FAKE_CHECK_H
#define KVF_TEST_FAKE_CHECK_H

#include "fakecuda.h"
#include "hide.h" /* FAKE_ASAN, FAKE_TSAN */
#include "support/support.h"

#define CHECK_BYTES ((size_t)65536)

/* A call that must succeed; cmocka tells the line. */
#define ok(call) assert_int_equal(call, cudaSuccess)

/* Two non-blocking streams, pinned buffers of CHECK_BYTES and a device's. */
typedef struct check_buffers {
    cudaStream_t a, b;
    char *in, *out, *device;
} check_buffers;

void check_buffers_make(check_buffers *buffers);
void check_buffers_free(check_buffers *buffers);

/* Around every test: the usual machine; nothing left behind and no violations. */
int check_begin(void **state);
int check_end(void **state);

#define CHECK(test) cmocka_unit_test_setup_teardown(test, check_begin, check_end)

/* Exactly one violation was recorded, and its text has this part; it is forgiven. */
void check_violation(const char *part);

/* In a process of its own: whether touching the address kills it. */
bool check_deadly(const char *address);

void check_fill(char *bytes, size_t size, unsigned seed);
bool check_filled(const char *bytes, size_t size, unsigned seed);

/* Asks for a driver's function; NULL when it is not there. */
void *check_entry(const char *symbol, unsigned version);

#endif
