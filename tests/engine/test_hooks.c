/* Hooks of an engine: log lines, nesting of ranges, counters, and their text. */
#include "support/engine_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 8, LINES = 64, DEPTH = 8 };

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};
static const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 512};

/* The hooks' calls, by any thread. */
typedef struct recorder {
    pthread_mutex_t lock;
    size_t lines;
    kvf_log_level levels[LINES];
    char text[LINES][512];
    size_t begun[6], ended;
    bool wrong;
} recorder;

static void recorder_init(recorder *r) {
    *r = (recorder){.lines = 0};
    pthread_mutex_init(&r->lock, NULL);
}

static void write_line(void *user, kvf_log_level level, const char *text) {
    recorder *r = user;
    pthread_mutex_lock(&r->lock);
    r->wrong |= r->lines == LINES || strlen(text) > 511 || strchr(text, '\n');
    if (r->lines < LINES) {
        r->levels[r->lines] = level;
        (void)snprintf(r->text[r->lines++], 512, "%s", text);
    }
    pthread_mutex_unlock(&r->lock);
}

static size_t lines_of(recorder *r, kvf_log_level level, const char *part) {
    size_t count = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->lines; i++)
        count += r->levels[i] == level && strstr(r->text[i], part);
    pthread_mutex_unlock(&r->lock);
    return count;
}

static const char *const names[] = {"plan", "submit", "copy", "verify", "wait", "share"};

static _Thread_local size_t depth;
static _Thread_local const char *stack[DEPTH];

static void begin(void *user, const char *name) {
    recorder *r = user;
    pthread_mutex_lock(&r->lock);
    size_t i = 0;
    while (i < 6 && strcmp(names[i], name) != 0)
        i++;
    r->wrong |= i == 6 || depth == DEPTH || (i == 0 && (depth != 1 || stack[0] != names[1]));
    if (i < 6 && depth < DEPTH) {
        r->begun[i]++;
        stack[depth++] = names[i];
    }
    pthread_mutex_unlock(&r->lock);
}

static void end(void *user) {
    recorder *r = user;
    pthread_mutex_lock(&r->lock);
    r->wrong |= depth == 0;
    depth -= depth > 0;
    r->ended++;
    pthread_mutex_unlock(&r->lock);
}

static size_t all_begun(const recorder *r) {
    size_t sum = 0;
    for (size_t i = 0; i < 6; i++)
        sum += r->begun[i];
    return sum;
}

typedef struct fixture {
    recorder *r;
    kvf_engine *engine;
    fixture_tier a, b;
} fixture;

static fixture open_fixture(recorder *r, kvf_log_level level, kvf_host_options o) {
    const kvf_log log = {write_line, r, level};
    const kvf_ranges ranges = {begin, end, r};
    o.log = &log; /* not needed after creation */
    o.ranges = &ranges;
    fixture f = {.r = r, .engine = fixture_engine(&o)};
    f.a = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    f.b = fixture_tier_make(f.engine, &shape, FIXTURE_PER_PART, true);
    fixture_fill_all(f.a.memory.layout, 100);
    return f;
}

static void close_fixture(fixture *f) {
    fixture_tier_free(&f->a);
    fixture_tier_free(&f->b);
    kvf_engine_destroy(f->engine);
    assert_false(f->r->wrong);
    assert_int_equal(all_begun(f->r), f->r->ended);
}

static kvf_status move(fixture *f, size_t count, const kvf_submit_options *o) {
    const kvf_plan plan = fixture_plan(ids, ids, count);
    kvf_transfer *t = NULL;
    kvf_status status = kvf_transfer_submit(f->a.tier, f->b.tier, &plan, 1, o, &t, NULL);
    if (status == KVF_OK)
        status = kvf_transfer_wait(t, -1, NULL);
    kvf_transfer_release(t);
    return status;
}

static kvf_counters counters_of(kvf_engine *engine) {
    kvf_counters c;
    assert_int_equal(kvf_engine_counters_get(engine, &c, NULL), KVF_OK);
    return c;
}

static void test_log(void **state) {
    (void)state;
    recorder r;
    recorder_init(&r);
    fixture f = open_fixture(&r, KVF_LOG_DEBUG, (kvf_host_options){.threads = 2});
    assert_int_equal(lines_of(&r, KVF_LOG_INFO, "engine host: 2 threads"), 1);
    assert_int_equal(move(&f, BLOCKS, NULL), KVF_OK);
    assert_int_equal(move(&f, BLOCKS, &(kvf_submit_options){.strategy = 7}), KVF_ERR_INVALID);
    assert_int_equal(lines_of(&r, KVF_LOG_DEBUG, "submit refused: invalid argument"), 1);
    assert_int_equal(lines_of(&r, KVF_LOG_ERROR, ""), 0);
    assert_int_equal(kvf_tier_seal(f.a.tier, ids, BLOCKS, NULL), KVF_OK);
    *fixture_byte(f.a.memory.layout, 0, 3, 0, 0) ^= 1;
    assert_int_equal(move(&f, BLOCKS, NULL), KVF_ERR_CORRUPT);
    close_fixture(&f); /* all lines are written when it returns */
    assert_int_equal(lines_of(&r, KVF_LOG_DEBUG, "transfer of 8 blocks, 16384 bytes: ok"), 1);
    assert_int_equal(lines_of(&r, KVF_LOG_ERROR, "checksum mismatch (id 3"), 1);
    assert_int_equal(lines_of(&r, KVF_LOG_ERROR, ""), 1);
    assert_int_equal(lines_of(&r, KVF_LOG_INFO, "engine host ended: 2 transfers, of which 1"), 1);
}

static void test_levels_that_are_off(void **state) {
    (void)state;
    recorder r;
    recorder_init(&r);
    fixture f = open_fixture(&r, KVF_LOG_ERROR, (kvf_host_options){.no_threads = true});
    assert_int_equal(move(&f, BLOCKS, NULL), KVF_OK);
    assert_int_equal(move(&f, 0, &(kvf_submit_options){.strategy = 7}), KVF_ERR_INVALID);
    close_fixture(&f);
    assert_int_equal(r.lines, 0);
    assert_string_equal(kvf_log_level_name(KVF_LOG_ERROR), "error");
    assert_string_equal(kvf_log_level_name(KVF_LOG_DEBUG), "debug");
    assert_null(kvf_log_level_name((kvf_log_level)4));
    assert_null(kvf_log_level_name((kvf_log_level)-1));
}

static void test_incomplete_hooks(void **state) {
    (void)state;
    recorder r;
    recorder_init(&r);
    const kvf_log logs[] = {{NULL, &r, KVF_LOG_INFO}, {write_line, &r, (kvf_log_level)4}};
    const kvf_ranges ranges[] = {{begin, NULL, &r}, {NULL, end, &r}, {NULL, NULL, &r}};
    kvf_engine *engine = NULL;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            kvf_engine_host_create(&(kvf_host_options){.log = &logs[i]}, &engine, NULL),
            KVF_ERR_INVALID);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            kvf_engine_host_create(&(kvf_host_options){.ranges = &ranges[i]}, &engine, NULL),
            KVF_ERR_INVALID);
    assert_null(engine);
    kvf_counters c;
    assert_int_equal(kvf_engine_counters_get(NULL, &c, NULL), KVF_ERR_INVALID);
}

static void test_ranges(void **state) {
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        recorder r;
        recorder_init(&r);
        fixture f = open_fixture(
            &r, KVF_LOG_ERROR, (kvf_host_options){.no_threads = !threads, .threads = 2 * threads});
        for (int i = 0; i < 3; i++)
            assert_int_equal(move(&f, BLOCKS, NULL), KVF_OK);
        close_fixture(&f);
        assert_int_equal(r.begun[0], 3); /* plan */
        assert_int_equal(r.begun[1], 3); /* submit */
        assert_true(r.begun[2] >= 3);    /* copy */
        assert_true(r.begun[3] >= 3);    /* verify */
        assert_true(r.begun[4] >= 3);    /* wait */
        assert_int_equal(r.begun[5], 0);
    }
}

static void count_call(void *user, const kvf_error *error) {
    (void)error;
    ++*(size_t *)user;
}

static void test_counters(void **state) {
    (void)state;
    recorder r;
    recorder_init(&r);
    size_t called = 0;
    fixture f =
        open_fixture(&r, KVF_LOG_ERROR, (kvf_host_options){.no_threads = true, .max_transfers = 2});
    kvf_submit_options o = {.callback = count_call, .user = &called};
    assert_int_equal(move(&f, 5, &o), KVF_OK);
    kvf_transfer *t[2];
    const kvf_plan plan = fixture_plan(ids, ids, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kvf_transfer_submit(f.a.tier, f.b.tier, &plan, 1, NULL, &t[i], NULL),
                         KVF_OK);
    assert_int_equal(move(&f, 1, NULL), KVF_ERR_AGAIN);
    kvf_counters c = counters_of(f.engine);
    assert_int_equal(c.transfers_submitted, 3);
    assert_int_equal(c.transfers_succeeded, 1);
    assert_int_equal(c.refused_again, 1);
    kvf_transfer_cancel(t[1]);
    assert_int_equal(kvf_transfer_wait(t[0], -1, NULL), KVF_OK);
    kvf_transfer_release(t[0]);
    kvf_transfer_release(t[1]);
    fixture_drain(f.engine);
    assert_int_equal(move(&f, 1, &(kvf_submit_options){.src_layout = 1}), KVF_ERR_RANGE);
    c = counters_of(f.engine);
    assert_int_equal(c.transfers_submitted, 3);
    assert_int_equal(c.transfers_succeeded, 2);
    assert_int_equal(c.transfers_cancelled, 1);
    assert_int_equal(c.transfers_failed, 0);
    assert_int_equal(c.refused_other, 1);
    assert_int_equal(c.blocks, 7);
    assert_int_equal(c.bytes_host_to_host, 7 * 2048);
    assert_int_equal(c.bytes_host_to_device + c.bytes_device_to_host + c.bytes_device_to_device, 0);
    assert_int_equal(c.callbacks, called);
    assert_int_equal(called, 1);
    assert_true(c.waits >= 1 && c.wait_ns > 0 && c.submit_ns > 0 && c.copy_ns > 0);
    assert_int_equal(c.wait_timeouts, 0);
    close_fixture(&f);
}

enum { COUNTERS = sizeof(kvf_counters) / sizeof(uint64_t) };

/* Snapshots while transfers run: no counter decreases, and the sums hold. */
typedef struct watcher {
    kvf_engine *engine;
    atomic_bool stop;
    bool wrong;
} watcher;

static void *watch(void *user) {
    watcher *w = user;
    kvf_counters last = {0};
    uint64_t numbers[COUNTERS], before[COUNTERS];
    while (!atomic_load(&w->stop)) {
        kvf_counters now = counters_of(w->engine);
        memcpy(numbers, &now, sizeof now);
        memcpy(before, &last, sizeof last);
        for (size_t i = 0; i < COUNTERS; i++)
            w->wrong |= numbers[i] < before[i];
        w->wrong |= now.transfers_submitted <
                    now.transfers_succeeded + now.transfers_failed + now.transfers_cancelled;
        last = now;
    }
    return NULL;
}

static void test_snapshots_while_transfers_run(void **state) {
    (void)state;
    kvf_engine *engine = fixture_engine(&(kvf_host_options){.threads = 2});
    fixture f = {.engine = engine};
    f.a = fixture_tier_make(engine, &shape, FIXTURE_CONTIGUOUS, false);
    f.b = fixture_tier_make(engine, &shape, FIXTURE_PER_PART, false);
    watcher w = {.engine = engine};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(move(&f, BLOCKS, &(kvf_submit_options){.background = i % 2}), KVF_OK);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_false(w.wrong);
    assert_int_equal(counters_of(engine).transfers_succeeded, 300);
    fixture_tier_free(&f.a);
    fixture_tier_free(&f.b);
    kvf_engine_destroy(engine);
}

/* Text */

/* Reads a sample line: its metric, labels and number. */
static bool is_sample(const char *line, const char *metric, const char **number) {
    size_t length = strlen(metric);
    if (strncmp(line, metric, length) != 0)
        return false;
    const char *at = line + length;
    if (*at == '{') {
        bool quoted = false;
        for (at++; *at && (quoted || *at != '}'); at++)
            if (quoted && *at == '\\')
                at++;
            else if (*at == '"')
                quoted = !quoted;
        if (*at++ != '}')
            return false;
    }
    if (*at++ != ' ')
        return false;
    *number = at;
    return at[0] && at[strspn(at, "0123456789.")] == '\0';
}

/* Each metric occurs once: HELP, TYPE, then its samples, with valid names. */
static size_t check_format(char *text) {
    char seen[64][64], metric[64] = "", head[192];
    size_t metrics = 0, samples = 0;
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        const char *number;
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line, "# HELP %63s ", metric), 1);
            for (size_t i = 0; i < metrics; i++)
                assert_string_not_equal(seen[i], metric);
            strcpy(seen[metrics++], metric);
            assert_true(strlen(line) > strlen(metric) + 10);
            assert_string_equal(metric + strlen(metric) - 6, "_total");
            assert_int_equal(strncmp(metric, "kvferry_", 8), 0);
            line = strtok(NULL, "\n");
            (void)snprintf(head, sizeof head, "# TYPE %s counter", metric);
            assert_non_null(line);
            assert_string_equal(line, head);
            continue;
        }
        assert_true(is_sample(line, metric, &number));
        samples++;
    }
    return samples;
}

static void test_text(void **state) {
    (void)state;
    const kvf_counters a = {.wait_ns = UINT64_C(12000000345), .blocks = UINT64_MAX};
    const kvf_counters b = {.bytes_loop = 7};
    const kvf_label labels[] = {{"engine", "a\"b\\c\nd"}, {"_device0", ""}};
    const kvf_labelled_counters both[] = {{&a, labels, 2}, {&b, NULL, 0}};
    static char text[32768], cut[32768];
    int length = kvf_counters_print(both, 2, text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_int_equal(kvf_counters_print(both, 2, NULL, 0), length);
    for (size_t size = 1; size <= (size_t)length + 1; size += size < 300 ? 1 : 97) {
        memset(cut, 'x', sizeof cut);
        assert_int_equal(kvf_counters_print(both, 2, cut, size), length);
        assert_int_equal(strncmp(cut, text, size - 1), 0);
        assert_int_equal(strlen(cut), size - 1);
        assert_int_equal(cut[size], 'x');
    }
    const char *set = "{engine=\"a\\\"b\\\\c\\nd\",_device0=\"\"}";
    char line[256];
    (void)snprintf(line, sizeof line, "\nkvferry_wait_seconds_total%s 12.000000345\n", set);
    assert_non_null(strstr(text, line));
    (void)snprintf(line, sizeof line, "\nkvferry_moved_blocks_total%s 18446744073709551615\n", set);
    assert_non_null(strstr(text, line));
    assert_non_null(strstr(text, "\nkvferry_strategy_bytes_total{strategy=\"loop\"} 7\n"));
    assert_int_equal(check_format(text), 2 * COUNTERS);
    assert_int_equal(kvf_counters_print(both, 0, text, sizeof text), 0);
    assert_string_equal(text, "");
}

static void test_invalid_labels(void **state) {
    (void)state;
    const kvf_counters c = {0};
    const kvf_label bad[][2] = {
        {{"", "x"}, {"b", ""}},          {{"0a", "x"}, {"b", ""}},     {{"a-b", "x"}, {"b", ""}},
        {{"b", "x"}, {"b", "y"}},        {{NULL, "x"}, {"b", ""}},     {{"a", NULL}, {"b", ""}},
        {{"direction", "x"}, {"b", ""}}, {{"a", ""}, {"outcome", ""}},
    };
    char text[64] = "before";
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const kvf_labelled_counters set = {&c, bad[i], 2};
        assert_true(kvf_counters_print(&set, 1, text, sizeof text) < 0);
        assert_string_equal(text, "");
    }
    const kvf_labelled_counters none = {NULL, NULL, 0}, no_labels = {&c, NULL, 1};
    assert_true(kvf_counters_print(&none, 1, text, sizeof text) < 0);
    assert_true(kvf_counters_print(&no_labels, 1, text, sizeof text) < 0);
    assert_true(kvf_counters_print(NULL, 1, text, sizeof text) < 0);
    const kvf_label part[] = {{"direct", "x"}};
    assert_true(kvf_counters_print(&(kvf_labelled_counters){&c, part, 1}, 1, NULL, 0) > 0);
}

int main(void) {
    fixture_watchdog(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_levels_that_are_off),
        cmocka_unit_test(test_incomplete_hooks),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_snapshots_while_transfers_run),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_invalid_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
