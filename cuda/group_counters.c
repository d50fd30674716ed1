/* A group's counters, as its owner gets them. */
#include "group.h"

kvf_status kvf_group_counters_get(kvf_group *g, kvf_group_counters *out, kvf_error *error) {
    if (!g || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    pthread_mutex_lock(&g->lock);
    *out = g->counters;
    pthread_mutex_unlock(&g->lock);
    return KVF_OK;
}

static const kvf__counter counters[] = {
#define KVF_X(member, metric, label, per, text)                                                    \
    {metric, label, text, per, offsetof(kvf_group_counters, member)},
    KVF_GROUP_COUNTER_MAP(KVF_X)
#undef KVF_X
};

static kvf__counted group_at(const void *sets, size_t i) {
    const kvf_labelled_group_counters *g = (const kvf_labelled_group_counters *)sets + i;
    return (kvf__counted){g->counters, g->labels, g->label_count};
}

int kvf_group_counters_print(const kvf_labelled_group_counters *groups, size_t count, char *text,
                             size_t size) {
    return kvf__counters_print(counters, sizeof counters / sizeof counters[0], group_at, groups,
                               count, text, size);
}
