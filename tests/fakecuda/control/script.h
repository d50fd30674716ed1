/* What each fake keeps for its test: violations, counts of calls, and the failures to come. A copy
 * of it is in either library; called with that one's lock held. */
#ifndef KVF_TEST_FAKE_SCRIPT_H
#define KVF_TEST_FAKE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The block, or the program ends. */
void *fake_must(void *block);

void fake_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
size_t fake_violations(void);
const char *fake_violation_at(size_t index); /* NULL past the last */
void fake_forgive(void);

/* Prints them in the name of `who`, forgets them and returns how many there were. */
size_t fake_violations_report(const char *who);

/* `function` is a string that stays. */
void fake_count_call(const char *function, bool can_fail);

/* Calls of one function, or of all that can fail when NULL. */
uint64_t fake_calls(const char *function);

#define FAKE_ANY (-1)

typedef struct fake_fault {
    const char *function; /* copied; NULL: any */
    bool operation;       /* fails an operation, not a call */
    int of;               /* the kind of operation, the rank, ... it must be of; or FAKE_ANY */
    uint64_t nth;         /* from now, 1 the next */
    int error;            /* not 0 */
    bool for_ever;        /* and all after it */
} fake_fault;

void fake_fault_add(const fake_fault *fault);

/* What a call fails with, or an operation (NULL); 0 for nothing. */
int fake_fault_strike(const char *function, int of);
void fake_faults_forget(void);

/* Forgets faults and counts. */
void fake_script_reset(void);

#endif
