/* Violations, counts of calls and scripted failures, for both fakes. Each library has a copy of its
 * own, called with that library's lock held. */
#ifndef KVF_TEST_FAKE_SCRIPT_H
#define KVF_TEST_FAKE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the block; ends the program when it is NULL. */
void *fake_must(void *block);

void fake_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
size_t fake_violations(void);
const char *fake_violation_at(size_t index); /* NULL past the last */
void fake_forgive(void);

/* Prints the violations, prefixed with `who`, clears them and returns how many there were. */
size_t fake_violations_report(const char *who);

/* `function` is a string literal. */
void fake_count_call(const char *function, bool can_fail);

/* Calls of one function; with NULL, of all that can fail. */
uint64_t fake_calls(const char *function);

#define FAKE_ANY (-1)

typedef struct fake_fault {
    const char *function; /* copied; NULL: any */
    bool operation;       /* fails an operation, not a call */
    int of;               /* the kind of operation, rank, ... that it strikes; or FAKE_ANY */
    uint64_t nth;         /* from now, 1 the next */
    int error;            /* not 0 */
    bool for_ever;        /* and all after it */
} fake_fault;

void fake_fault_add(const fake_fault *fault);

/* The error of a call, or of an operation (NULL); 0: none. */
int fake_fault_strike(const char *function, int of);
void fake_faults_forget(void);

/* Clears faults and counts. */
void fake_script_reset(void);

#endif
