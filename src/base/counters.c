#include "base/counters.h"

#include "base/arithmetic.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Appends to a buffer that may be too small; counts as snprintf does. */

typedef struct writer {
    char *text;
    size_t size, length;
} writer;

static void put(writer *w, const char *bytes, size_t count) {
    size_t room = w->length < w->size ? w->size - w->length : 0;
    memcpy(w->text + (room > 0 ? w->length : 0), bytes, kvf__min(count, room));
    w->length += count;
}

static void put_text(writer *w, const char *text) {
    put(w, text, strlen(text));
}

static void put_escaped(writer *w, const char *value) {
    for (; *value; value++) {
        if (*value == '\n') {
            put_text(w, "\\n");
            continue;
        }
        if (*value == '\\' || *value == '"')
            put_text(w, "\\");
        put(w, value, 1);
    }
}

static void put_labels(writer *w, const char *own, const kvf__counted *set) {
    const char *before = "{";
    for (size_t i = 0; i < set->label_count; i++) {
        put_text(w, before);
        put_text(w, set->labels[i].name);
        put_text(w, "=\"");
        put_escaped(w, set->labels[i].value);
        put_text(w, "\"");
        before = ",";
    }
    if (own[0]) {
        put_text(w, before);
        put_text(w, own);
        before = ",";
    }
    if (before[0] == ',')
        put_text(w, "}");
}

/* In decimal, since a double rounds large numbers of bytes. `per` is a power of ten. */
static void put_number(writer *w, uint64_t number, uint64_t per) {
    char text[48];
    int digits = 0;
    for (uint64_t p = per; p > 1; p /= 10)
        digits++;
    int length = per <= 1 ? snprintf(text, sizeof text, " %" PRIu64 "\n", number)
                          : snprintf(text, sizeof text, " %" PRIu64 ".%0*" PRIu64 "\n",
                                     number / per, digits, number % per);
    put(w, text, (size_t)length);
}

static void put_counter(writer *w, const kvf__counter *c, const kvf__counted *set,
                        uint64_t number) {
    put_text(w, c->metric);
    put_labels(w, c->label, set);
    put_number(w, number, c->per);
}

static void put_head(writer *w, const kvf__counter *c) {
    put_text(w, "# HELP ");
    put_text(w, c->metric);
    put_text(w, " ");
    put_text(w, c->text);
    put_text(w, ".\n# TYPE ");
    put_text(w, c->metric);
    put_text(w, " counter\n");
}

/* Labels */

static bool is_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return name[0] && strchr(letters, name[0]) && !name[strspn(name, all)];
}

static bool is_ours(const kvf__counter *counters, size_t count, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < count; i++)
        if (strncmp(counters[i].label, name, length) == 0 && counters[i].label[length] == '=')
            return true;
    return false;
}

static bool labels_fit(const kvf__counter *counters, size_t count, kvf__counted set) {
    if (!set.numbers || (!set.labels && set.label_count > 0))
        return false;
    for (size_t i = 0; i < set.label_count; i++) {
        const kvf_label *l = &set.labels[i];
        if (!l->name || !l->value || !is_name(l->name) || is_ours(counters, count, l->name))
            return false;
        for (size_t k = 0; k < i; k++)
            if (strcmp(l->name, set.labels[k].name) == 0)
                return false;
    }
    return true;
}

/* Returns the end of the counters that share the metric of `first`. */
static size_t end_of_metric(const kvf__counter *counters, size_t count, size_t first) {
    size_t end = first + 1;
    while (end < count && strcmp(counters[end].metric, counters[first].metric) == 0)
        end++;
    return end;
}

int kvf__counters_print(const kvf__counter *counters, size_t counter_count, kvf__counted_at *at,
                        const void *sets, size_t set_count, char *text, size_t size) {
    char nothing[1];
    writer w = {.text = text ? text : nothing, .size = text ? size : 0};
    if (w.size > 0)
        w.text[0] = '\0';
    if (!sets && set_count > 0)
        return -1;
    for (size_t i = 0; i < set_count; i++)
        if (!labels_fit(counters, counter_count, at(sets, i)))
            return -1;
    for (size_t first = 0, end; first < counter_count && set_count > 0; first = end) {
        put_head(&w, &counters[first]);
        end = end_of_metric(counters, counter_count, first);
        for (size_t i = 0; i < set_count; i++) {
            kvf__counted set = at(sets, i);
            for (size_t k = first; k < end; k++)
                put_counter(&w, &counters[k], &set, set.numbers[k]);
        }
    }
    if (w.size > 0)
        w.text[w.length < w.size ? w.length : w.size - 1] = '\0';
    return w.length <= INT_MAX ? (int)w.length : -1;
}

#define AT(member) [offsetof(kvf_counters, member) / sizeof(uint64_t)]

static const kvf__counter counters[sizeof(kvf_counters) / sizeof(uint64_t)] = {
    AT(transfers_submitted) = {1, "kvferry_transfers_submitted_total", "",
                               "Transfers that were accepted"},
    AT(transfers_succeeded) = {1, "kvferry_transfers_ended_total", "outcome=\"ok\"",
                               "Transfers that have ended"},
    AT(transfers_failed) = {1, "kvferry_transfers_ended_total", "outcome=\"failed\"", ""},
    AT(transfers_cancelled) = {1, "kvferry_transfers_ended_total", "outcome=\"cancelled\"", ""},
    AT(refused_again) = {1, "kvferry_submits_refused_total", "reason=\"again\"",
                         "Submits that were refused"},
    AT(refused_other) = {1, "kvferry_submits_refused_total", "reason=\"other\"", ""},
    AT(blocks) = {1, "kvferry_moved_blocks_total", "", "Blocks of transfers that succeeded"},
    AT(boxes) = {1, "kvferry_moved_boxes_total", "",
                 "Strided copies in the CUDA engine's transfers that succeeded"},
    AT(bytes_host_to_device) = {1, "kvferry_moved_bytes_total", "direction=\"host_to_device\"",
                                "Bytes of transfers that succeeded"},
    AT(bytes_device_to_host) = {1, "kvferry_moved_bytes_total", "direction=\"device_to_host\"", ""},
    AT(bytes_host_to_host) = {1, "kvferry_moved_bytes_total", "direction=\"host_to_host\"", ""},
    AT(bytes_device_to_device) = {1, "kvferry_moved_bytes_total", "direction=\"device_to_device\"",
                                  ""},
    AT(bytes_loop) = {1, "kvferry_strategy_bytes_total", "strategy=\"loop\"",
                      "Bytes of the CUDA engine's transfers that succeeded"},
    AT(bytes_batch) = {1, "kvferry_strategy_bytes_total", "strategy=\"batch\"", ""},
    AT(bytes_kernel) = {1, "kvferry_strategy_bytes_total", "strategy=\"kernel\"", ""},
    AT(bytes_staged) = {1, "kvferry_strategy_bytes_total", "strategy=\"staged\"", ""},
    AT(fallbacks) = {1, "kvferry_strategy_fallbacks_total", "",
                     "Transfers that succeeded with another strategy than the one requested"},
    AT(submit_ns) = {KVF__NS_PER_S, "kvferry_submit_seconds_total", "",
                     "Time spent in accepted submits"},
    AT(queue_ns) =
        {KVF__NS_PER_S, "kvferry_queue_seconds_total", "",
         "Time from submit to the first byte, over all transfers that started and ended"},
    AT(copy_ns) = {KVF__NS_PER_S, "kvferry_copy_seconds_total", "",
                   "Time from the first byte to the end, over the same transfers"},
    AT(waits) = {1, "kvferry_waits_total", "",
                 "Calls that had to wait for a transfer, a layer or the end of a tier"},
    AT(wait_timeouts) = {1, "kvferry_wait_timeouts_total", "", "Waits that timed out"},
    AT(wait_ns) = {KVF__NS_PER_S, "kvferry_wait_seconds_total", "", "Time spent in waits"},
    AT(corrupt_blocks) = {1, "kvferry_corrupt_blocks_total", "",
                          "Blocks that failed their checksum"},
    AT(callbacks) = {1, "kvferry_callbacks_total", "", "Completion callbacks called"},
};

static kvf__counted engine_at(const void *sets, size_t i) {
    const kvf_labelled_counters *e = (const kvf_labelled_counters *)sets + i;
    return (kvf__counted){(const uint64_t *)e->counters, e->labels, e->label_count};
}

int kvf_counters_print(const kvf_labelled_counters *engines, size_t count, char *text,
                       size_t size) {
    return kvf__counters_print(counters, sizeof counters / sizeof counters[0], engine_at, engines,
                               count, text, size);
}
