/* Reasons that came with a message, as static text: a kvf_error may be looked at when its operation
 * and group are long gone. There are few different ones, unless a rank makes them up. */
#include "group.h"

#include <string.h>

enum { REASONS = 128 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char reasons[REASONS][KVF__CONTROL_REASON];
static size_t reason_count;

const char *kvf__group_reason(const char *reason, kvf_status status) {
    size_t i = 0;
    pthread_mutex_lock(&lock);
    while (i < reason_count && strncmp(reasons[i], reason, KVF__CONTROL_REASON - 1) != 0)
        i++;
    if (i == reason_count && i < REASONS) {
        memcpy(reasons[i], reason, strnlen(reason, KVF__CONTROL_REASON - 1));
        reason_count++;
    }
    pthread_mutex_unlock(&lock);
    return i < REASONS ? reasons[i] : kvf_status_text(status);
}
