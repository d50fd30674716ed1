/* A group's counters: snapshots and their text. */
#include "nccl/group.h"

#include "base/counters.h"

kvf_status kvf_group_counters_get(kvf_group *g, kvf_group_counters *out, kvf_error *error) {
    if (!g || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    pthread_mutex_lock(&g->lock);
    *out = g->counters;
    pthread_mutex_unlock(&g->lock);
    return KVF_OK;
}

#define AT(member) [offsetof(kvf_group_counters, member) / sizeof(uint64_t)]

static const kvf__counter counters[sizeof(kvf_group_counters) / sizeof(uint64_t)] = {
    AT(operations_submitted) = {1, "kvferry_operations_submitted_total", "",
                                "Operations that were accepted"},
    AT(operations_succeeded) = {1, "kvferry_operations_ended_total", "outcome=\"ok\"",
                                "Operations that have ended"},
    AT(operations_failed) = {1, "kvferry_operations_ended_total", "outcome=\"failed\"", ""},
    AT(operations_refused) =
        {1, "kvferry_operations_refused_total", "",
         "Operations that failed before anything moved, because the ranks disagreed"},
    AT(votes_lost) = {1, "kvferry_votes_lost_total", "",
                      "Operations that succeeded on this rank and failed by another rank's vote"},
    AT(blocks) = {1, "kvferry_operation_blocks_total", "",
                  "Blocks that have arrived in this rank's slots or host tier"},
    AT(chunks) = {1, "kvferry_operation_chunks_total", "", "Chunks of operations that have ended"},
    AT(host_bytes) = {1, "kvferry_operation_host_bytes_total", "",
                      "Bytes over this rank's link to the host"},
    AT(wire_bytes) = {1, "kvferry_operation_wire_bytes_total", "",
                      "Bytes that NCCL was asked to send and receive, padding included"},
    AT(gathers) = {1, "kvferry_group_gathers_total", "", "Gathers of announcements and votes"},
    AT(wait_ns) =
        {KVF__NS_PER_S, "kvferry_operation_wait_seconds_total", "",
         "Time from submit until all ranks had arrived, of operations that started and have ended"},
    AT(run_ns) = {KVF__NS_PER_S, "kvferry_operation_run_seconds_total", "",
                  "Time from then until all ranks had voted, of the same operations"},
    AT(broken) = {1, "kvferry_groups_broken_total", "", "Groups that are broken"},
};

static kvf__counted group_at(const void *sets, size_t i) {
    const kvf_labelled_group_counters *g = (const kvf_labelled_group_counters *)sets + i;
    return (kvf__counted){(const uint64_t *)g->counters, g->labels, g->label_count};
}

int kvf_group_counters_print(const kvf_labelled_group_counters *groups, size_t count, char *text,
                             size_t size) {
    return kvf__counters_print(counters, sizeof counters / sizeof counters[0], group_at, groups,
                               count, text, size);
}
