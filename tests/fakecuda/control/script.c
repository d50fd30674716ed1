#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct count {
    const char *function;
    uint64_t calls;
} count;

typedef struct fault {
    struct fault *next;
    fake_fault what; /* `nth` counts down; at 0 every concerned call fails */
} fault;

static char **violations;
static size_t violation_count;
static count counts[256];
static size_t count_count;
static uint64_t call_count;
static fault *faults;

void *fake_must(void *block) {
    if (!block)
        abort();
    return block;
}

void fake_violation(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    violations = fake_must(realloc(violations, (violation_count + 1) * sizeof *violations));
    violations[violation_count++] = text;
}

size_t fake_violations(void) {
    return violation_count;
}

const char *fake_violation_at(size_t index) {
    return index < violation_count ? violations[index] : NULL;
}

void fake_forgive(void) {
    for (size_t i = 0; i < violation_count; i++)
        free(violations[i]);
    free(violations);
    violations = NULL;
    violation_count = 0;
}

size_t fake_violations_report(const char *who) {
    size_t found = violation_count;
    for (size_t i = 0; i < violation_count; i++)
        fprintf(stderr, "%s: %s\n", who, violations[i]);
    fake_forgive();
    return found;
}

void fake_count_call(const char *function, bool can_fail) {
    size_t i = 0;
    while (i < count_count && counts[i].function != function)
        i++;
    if (i == count_count) {
        if (count_count == sizeof counts / sizeof *counts)
            abort();
        counts[count_count++] = (count){.function = function};
    }
    counts[i].calls++;
    call_count += can_fail;
}

uint64_t fake_calls(const char *function) {
    uint64_t calls = function ? 0 : call_count;
    for (size_t i = 0; function && i < count_count; i++)
        if (strcmp(counts[i].function, function) == 0)
            calls += counts[i].calls;
    return calls;
}

void fake_fault_add(const fake_fault *wanted) {
    fault *made = fake_must(malloc(sizeof *made));
    *made = (fault){.what = *wanted};
    if (wanted->function)
        made->what.function = fake_must(strdup(wanted->function));
    if (wanted->nth == 0)
        made->what.nth = 1;
    fault **at = &faults;
    while (*at)
        at = &(*at)->next;
    *at = made;
}

static bool concerns(const fake_fault *fault, const char *function, int of) {
    if (fault->operation != !function || (fault->of != FAKE_ANY && fault->of != of))
        return false;
    return !fault->function || strcmp(fault->function, function) == 0;
}

/* Counts down all faults that concern the call; of those that strike, the oldest is used. */
int fake_fault_strike(const char *function, int of) {
    int error = 0;
    for (fault *at = faults; at; at = at->next) {
        fake_fault *each = &at->what;
        if (!concerns(each, function, of))
            continue;
        if (each->nth > 0)
            each->nth--;
        if (each->nth > 0 || error != 0)
            continue;
        error = each->error;
        if (!each->for_ever)
            each->nth = UINT64_MAX; /* spent */
    }
    return error;
}

void fake_faults_forget(void) {
    while (faults) {
        fault *gone = faults;
        faults = gone->next;
        free((void *)gone->what.function);
        free(gone);
    }
}

void fake_script_reset(void) {
    fake_faults_forget();
    count_count = 0;
    call_count = 0;
}
