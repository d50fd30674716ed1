/* The caller's hooks as an engine keeps them: a log, and ranges for profilers. */
#ifndef KVF_HOOKS_H
#define KVF_HOOKS_H

#include <kvferry/hooks.h>

#include "base/allocator.h"

typedef struct kvf__hooks {
    kvf_log log;       /* none: `write` is NULL */
    kvf_ranges ranges; /* none: `begin` is NULL */
} kvf__hooks;

/* Copies the caller's hooks; NULL is none. Errors: INVALID when one of a hook's functions is
 * missing, or for an unknown level. */
KVF__MODULES kvf_status kvf__hooks_take(kvf__hooks *hooks, const kvf_log *log,
                                        const kvf_ranges *ranges, kvf_error *error);

/* Logging. Call it without any lock held. */

enum { KVF__LOG_BYTES = 512 };

static inline bool kvf__logs(const kvf_log *log, kvf_log_level level) {
    return log->write && level <= log->level;
}

KVF__MODULES __attribute__((format(printf, 3, 4))) void
kvf__log(const kvf_log *log, kvf_log_level level, const char *format, ...);

/* Logs "what: " and the error's text. */
KVF__MODULES void kvf__log_error(const kvf_log *log, kvf_log_level level, const char *what,
                                 const kvf_error *error);

/* Ranges */

typedef enum kvf__range {
    KVF__RANGE_PLAN,
    KVF__RANGE_SUBMIT,
    KVF__RANGE_COPY,
    KVF__RANGE_VERIFY,
    KVF__RANGE_WAIT,
    KVF__RANGE_SHARE,
    KVF__RANGES
} kvf__range;

KVF__MODULES extern const char *const kvf__range_names[KVF__RANGES];

static inline void kvf__range_begin(const kvf__hooks *hooks, kvf__range range) {
    if (hooks->ranges.begin)
        hooks->ranges.begin(hooks->ranges.user, kvf__range_names[range]);
}

static inline void kvf__range_end(const kvf__hooks *hooks) {
    if (hooks->ranges.begin)
        hooks->ranges.end(hooks->ranges.user);
}

#endif
