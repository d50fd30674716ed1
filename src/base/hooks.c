#include "base/hooks.h"

#include <stdarg.h>
#include <stdio.h>

kvf_status kvf__hooks_take(kvf__hooks *hooks, const kvf_log *log, const kvf_ranges *ranges,
                           kvf_error *error) {
    const kvf__hooks none = {.log.write = NULL};
    *hooks = none;
    if (log && (!log->write || (unsigned)log->level > KVF_LOG_DEBUG))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "log needs a write function and a known level");
    if (ranges && (!ranges->begin || !ranges->end))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "ranges need both begin and end");
    if (log)
        hooks->log = *log;
    if (ranges)
        hooks->ranges = *ranges;
    return KVF_OK;
}

/* Logging */

const char *kvf_log_level_name(kvf_log_level level) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return (size_t)level < sizeof names / sizeof names[0] ? names[level] : NULL;
}

void kvf__log(const kvf_log *log, kvf_log_level level, const char *format, ...) {
    char text[KVF__LOG_BYTES];
    va_list arguments;
    if (!kvf__logs(log, level))
        return;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= 0)
        log->write(log->user, level, text);
}

void kvf__log_error(const kvf_log *log, kvf_log_level level, const char *what,
                    const kvf_error *error) {
    char text[KVF__LOG_BYTES];
    if (!kvf__logs(log, level))
        return;
    kvf_error_format(error, text, sizeof text);
    kvf__log(log, level, "%s: %s", what, text);
}

/* Ranges */

const char *const kvf__range_names[KVF__RANGES] = {
    [KVF__RANGE_PLAN] = "plan",     [KVF__RANGE_SUBMIT] = "submit", [KVF__RANGE_COPY] = "copy",
    [KVF__RANGE_VERIFY] = "verify", [KVF__RANGE_WAIT] = "wait",     [KVF__RANGE_SHARE] = "share",
};
