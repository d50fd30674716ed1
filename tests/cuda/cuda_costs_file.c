/* Cost table files: round trips, every kind of damage, other machines' tables, no memory. */
#include "support/support.h"

#include <kvferry/cuda.h>

#include "fakecuda.h"
#include "needs.h"
#include "cost/costs.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST = 1 << 20 };

static char folder[] = "/tmp/kvferry-cost table-XXXXXX";
static char path[64];

static kvf_cuda_costs *builtin(void) {
    kvf_cuda_costs *m = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_costs_builtin(NULL, &m, &e), &e);
    return m;
}

/* The built-in cost table as if it had been calibrated on the device. */
static kvf_cuda_costs *of_device(int device) {
    kvf_cuda_costs *m = builtin();
    kvf_error e = {0};
    test_expect(KVF_OK, kvf__cuda_machine_key_of(device, &m->key, &e), &e);
    (void)snprintf(m->date, sizeof m->date, "2026-11-23T00:00:00Z");
    m->calibrated = true;
    m->noise_ppm = 12345;
    return m;
}

static void save(const kvf_cuda_costs *m) {
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_costs_save(m, path, &e), &e);
}

static kvf_status load(int device, kvf_cuda_costs **out, kvf_error *error) {
    *out = NULL;
    kvf_status status = kvf_cuda_costs_load(path, device, NULL, out, error);
    assert_true((status == KVF_OK) == (*out != NULL));
    if (status != KVF_OK) {
        assert_int_equal(error->status, status);
        assert_non_null(error->what);
    }
    return status;
}

static void expect_load(kvf_status expected, int device, const char *what) {
    kvf_cuda_costs *m;
    kvf_error e = {0};
    test_expect(expected, load(device, &m, &e), &e);
    if (what)
        assert_string_equal(e.what, what);
    kvf_cuda_costs_destroy(m);
}

static void write_text(const char *text, size_t length) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static size_t read_text(char *text) {
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t length = fread(text, 1, LONGEST, file);
    assert_int_equal(fclose(file), 0);
    return length;
}

static void expect_equal(const kvf_cuda_costs *a, const kvf_cuda_costs *b) {
    assert_int_equal(a->calibrated, b->calibrated);
    assert_int_equal(a->noise_ppm, b->noise_ppm);
    assert_memory_equal(&a->key, &b->key, sizeof a->key);
    assert_string_equal(a->date, b->date);
    assert_memory_equal(a->link, b->link, sizeof a->link);
    assert_memory_equal(a->cost, b->cost, sizeof a->cost);
}

/* Random times of all magnitudes, in whole picoseconds, as kvf__cuda_costs_seal leaves them. */
static void scramble(kvf_cuda_costs *m, test_random *random) {
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        m->link[d] = (double)(1 + test_random_below(random, 1000000)) / 7;
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
            kvf__cuda_cost *c = &m->cost[d][s];
            if (c->piece.count == 0)
                continue;
            c->fixed_ns = (double)test_random_below(random, UINT64_C(1) << 40) / 3;
            c->layer_ns = (double)test_random_below(random, 1000) / 7;
            c->chunk_ns = (double)test_random_below(random, 100000) / 9;
            for (size_t i = 0; i < c->piece.count; i++)
                c->piece.ns[i] = (double)(1 + test_random_below(random, UINT64_C(1) << 30)) / 3;
        }
    }
    kvf__cuda_costs_seal(m);
}

static void test_round_trip(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(20); seed++) {
        test_random random = test_random_make(seed);
        kvf_cuda_costs *m = of_device(0), *read;
        kvf_error e = {0};
        if (seed > 0)
            scramble(m, &random);
        save(m);
        test_expect(KVF_OK, load(0, &read, &e), &e);
        expect_equal(m, read);
        kvf_cuda_costs_destroy(read);
        kvf_cuda_costs_destroy(m);
    }
    assert_int_equal(fakecuda_reset(), 0);
}

/* The largest possible cost table, and the built-in one, which belongs to no device. */
static void test_extremes(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin(), *read;
    kvf_error e = {0};
    save(m);
    test_expect(KVF_OK, load(-1, &read, &e), &e);
    expect_equal(m, read);
    kvf_cuda_costs_destroy(read);
    expect_load(KVF_ERR_UNSUPPORTED, 0, "the cost table was measured on another GPU");
    memset(m->key.gpu, 'g', sizeof m->key.gpu - 1);
    memset(m->key.link, 'l', sizeof m->key.link - 1);
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
            kvf__cuda_curve *c = &m->cost[d][s].piece;
            c->count = KVF__CUDA_POINTS;
            for (size_t i = 0; i < c->count; i++) {
                c->bytes[i] = i + 1 + (i == c->count - 1) * ((size_t)1 << 29);
                c->ns[i] = i % 2 ? 0.001 : 3.6e12;
            }
            m->cost[d][s].row = *c;
        }
    }
    kvf__cuda_costs_seal(m);
    save(m);
    test_expect(KVF_OK, load(-1, &read, &e), &e);
    expect_equal(m, read);
    kvf_cuda_costs_destroy(read);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

static void test_every_truncation(void **state) {
    (void)state;
    static char text[LONGEST];
    kvf_cuda_costs *m = of_device(0);
    save(m);
    size_t length = read_text(text);
    for (size_t kept = 0; kept < length; kept++) {
        write_text(text, kept);
        expect_load(KVF_ERR_INVALID, -1, NULL);
    }
    write_text(text, length);
    expect_load(KVF_OK, -1, NULL);
    text[length] = '}';
    write_text(text, length + 1);
    expect_load(KVF_ERR_INVALID, -1, NULL);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* Values that are wrong wherever they occur. */
static json_t *damage(size_t kind) {
    switch (kind) {
    case 0:
        return json_integer(-1);
    case 1:
        return json_real(1.5);
    case 2:
        return json_integer(INT64_MAX);
    case 3:
        return json_pack("{s:i}", "a", 1);
    case 4:
        return json_pack("[i]", -1);
    case 5:
        return json_integer(INT64_MIN);
    default:
        return NULL; /* removed */
    }
}

enum { DAMAGES = 7 };

static void expect_damaged(const json_t *root) {
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    write_text(text, strlen(text));
    free(text);
    expect_load(KVF_ERR_INVALID, -1, NULL);
}

/* Damages the value of that number below `json`, counting all members and elements. `*number`
 * counts down; false when there are fewer. */
static bool damage_value(json_t *json, size_t *number, size_t kind) {
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach(json, key, value) {
        if ((*number)-- == 0) {
            json_t *bad = damage(kind);
            assert_int_equal(bad ? json_object_set_new(json, key, bad) : json_object_del(json, key),
                             0);
            return true;
        }
        if (damage_value(value, number, kind))
            return true;
    }
    json_array_foreach(json, i, value) {
        if ((*number)-- == 0) {
            json_t *bad = damage(kind);
            assert_int_equal(bad ? json_array_set_new(json, i, bad) : json_array_remove(json, i),
                             0);
            return true;
        }
        if (damage_value(value, number, kind))
            return true;
    }
    return false;
}

static json_t *read_json(void) {
    json_error_t details;
    json_t *root = json_load_file(path, 0, &details);
    assert_non_null(root);
    return root;
}

static void test_every_damage(void **state) {
    (void)state;
    kvf_cuda_costs *m = of_device(0);
    save(m);
    json_t *root = read_json();
    size_t value = 0;
    for (bool there = true; there; value++) {
        for (size_t kind = 0; there && kind < DAMAGES; kind++) {
            json_t *copy = json_deep_copy(root);
            size_t number = value;
            there = damage_value(copy, &number, kind);
            if (there)
                expect_damaged(copy);
            json_decref(copy);
        }
    }
    assert_in_range(value, 150, 1000);
    json_decref(root);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* The value at a path like "to_device/loop/piece". */
static json_t *at(json_t *root, const char *names) {
    char copy[128], *rest = copy;
    (void)snprintf(copy, sizeof copy, "%s", names);
    for (char *name; (name = strsep(&rest, "/")) != NULL;)
        root = json_object_get(root, name);
    assert_non_null(root);
    return root;
}

static void expect_refused(json_t *root, const char *what) {
    char *text = json_dumps(root, 0);
    write_text(text, strlen(text));
    free(text);
    expect_load(KVF_ERR_INVALID, -1, what);
    json_decref(root);
}

static void test_damage_by_hand(void **state) {
    (void)state;
    static const char *const never_null[] = {"to_device/loop", "to_device/batch/piece",
                                             "on_device/kernel/fixed_ps", "from_device"};
    kvf_cuda_costs *m = of_device(0);
    save(m);
    json_t *saved = read_json(), *root;
    for (size_t i = 0; i < sizeof never_null / sizeof *never_null; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s", never_null[i]);
        char *last = strrchr(name, '/');
        root = json_deep_copy(saved);
        if (last)
            *last++ = '\0';
        assert_int_equal(
            json_object_set_new(last ? at(root, name) : root, last ? last : name, json_null()), 0);
        expect_refused(root, NULL);
    }
    /* Sizes that decrease, repeat, are zero, or are too large. */
    static const json_int_t sizes[] = {1, 512, 0, (json_int_t)1 << 31};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        root = json_deep_copy(saved);
        json_t *bytes = at(root, "to_device/loop/piece/bytes");
        assert_int_equal(json_array_set_new(bytes, i < 2 ? 1 : 0, json_integer(sizes[i])), 0);
        expect_refused(root, "the file has a value that is not an integer or is out of range");
    }
    root = json_deep_copy(saved);
    json_object_set_new(root, "kind", json_string("kvferry"));
    expect_refused(root, "the file is not a cost table of kvferry");
    root = json_deep_copy(saved);
    json_object_set_new(root, "schema_version", json_integer(3));
    expect_refused(root, "the file has another schema version");
    root = json_deep_copy(saved);
    json_object_set_new(at(root, "to_device/loop"), "more", json_null());
    expect_refused(root, "an object in the file has missing or extra members");
    root = json_deep_copy(saved);
    json_object_set_new(root, "gpu", json_stringn("a\0b", 3));
    expect_refused(root, NULL);
    root = json_deep_copy(saved);
    json_object_set_new(root, "date", json_string("a date that is longer than any date there is"));
    expect_refused(root, "the file has a value that is not a string or is too long");
    json_t *many = at(saved, "to_device/loop/piece");
    json_array_clear(at(many, "bytes"));
    json_array_clear(at(many, "ps"));
    root = json_deep_copy(saved);
    expect_refused(root, NULL);
    for (json_int_t i = 1; i <= KVF__CUDA_POINTS + 1; i++) {
        json_array_append_new(at(many, "bytes"), json_integer(i));
        json_array_append_new(at(many, "ps"), json_integer(i));
    }
    expect_refused(saved, NULL);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* A file that is valid except for a duplicate member. */
static void test_duplicate(void **state) {
    (void)state;
    static char text[LONGEST + 64];
    static const char again[] = "{\"driver\": 1,";
    kvf_cuda_costs *m = of_device(0);
    save(m);
    size_t length = read_text(text + sizeof again - 2);
    memcpy(text, again, sizeof again - 1);
    write_text(text, length + sizeof again - 2);
    expect_load(KVF_ERR_INVALID, -1, "the file is not JSON");
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* Files that are not JSON, or not JSON that is accepted. */
static void test_other_files(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "null",
                                        "[]",
                                        "{}",
                                        "{\"kind\": \"kvferry-cuda-costs\"}",
                                        "{\"kind\": NaN}",
                                        "{\"kind\": 1, \"kind\": 2}",
                                        "{\"kind\": 1e999}",
                                        "\xff\xfe",
                                        "{\"kind\": \"\xff\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(texts[i], strlen(texts[i]));
        expect_load(KVF_ERR_INVALID, -1, NULL);
    }
    char *spaces = malloc(LONGEST);
    assert_non_null(spaces);
    memset(spaces, ' ', LONGEST);
    write_text(spaces, LONGEST);
    expect_load(KVF_ERR_INVALID, -1, "the file must be shorter than 1 MiB");
    memset(spaces, '[', 100000);
    write_text(spaces, 100000);
    expect_load(KVF_ERR_INVALID, -1, NULL);
    free(spaces);
}

static void test_foreign(void **state) {
    (void)state;
    fakecuda_config machine = {.devices = 2};
    fakecuda_configure(&machine);
    kvf_cuda_costs *m = of_device(0);
    save(m);
    expect_load(KVF_OK, 0, NULL);
    expect_load(KVF_ERR_UNSUPPORTED, 1, "the cost table was measured on another GPU");
    expect_load(KVF_OK, -1, NULL);
    expect_load(KVF_ERR_RANGE, 2, "device must be below the number of devices");
    expect_load(KVF_ERR_RANGE, -2, "device must be -1 or a device number");
    fakecuda_set_attribute(cudaDevAttrPageableMemoryAccessUsesHostPageTables, 1);
    expect_load(KVF_ERR_UNSUPPORTED, 0, "the cost table was measured on another link");
    fakecuda_set_attribute(cudaDevAttrPageableMemoryAccessUsesHostPageTables, 0);
    machine.driver_version = CUDART_VERSION + 10;
    fakecuda_configure(&machine);
    expect_load(KVF_ERR_UNSUPPORTED, 0, "the cost table was measured with another driver");
    machine = (fakecuda_config){.no_device = cudaErrorNoDevice};
    fakecuda_configure(&machine);
    expect_load(KVF_ERR_UNSUPPORTED, 0, NULL);
    kvf_cuda_costs_destroy(m);
    fakecuda_configure(NULL);
    assert_int_equal(fakecuda_reset(), 0);
}

static void test_every_call_of_a_key_fails(void **state) {
    (void)state;
    static const char *const calls[] = {"cudaGetDeviceCount", "cudaGetDeviceProperties",
                                        "cudaDriverGetVersion", "cudaDeviceGetPCIBusId",
                                        "cudaDeviceGetAttribute"};
    kvf_cuda_costs *m = of_device(0);
    save(m);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        kvf_cuda_costs *read;
        kvf_error e = {0};
        fakecuda_fail_call(calls[i], 1, cudaErrorOperatingSystem, false);
        test_expect(KVF_ERR_ENGINE, load(0, &read, &e), &e);
        assert_string_equal(e.what, calls[i]);
        assert_int_equal(e.native_code, cudaErrorOperatingSystem);
        assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
    }
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

static void write_line(const char *name, const char *line) {
    char file_name[128];
    (void)snprintf(file_name, sizeof file_name, "%s/%s", folder, name);
    FILE *file = fopen(file_name, "we");
    assert_non_null(file);
    assert_true(fputs(line, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect_link(const char *expected) {
    char link[KVF__CUDA_NAME];
    kvf__cuda_link_in(folder, link, sizeof link);
    assert_string_equal(link, expected);
}

static void test_link(void **state) {
    (void)state;
    char name[128];
    expect_link("unknown");
    write_line("max_link_speed", "32.0 GT/s PCIe\n");
    expect_link("unknown");
    write_line("max_link_width", "16\n");
    expect_link("32.0 GT/s PCIe x16");
    write_line("max_link_width", "\n");
    expect_link("unknown");
    write_line("max_link_width", "");
    expect_link("unknown");
    write_line("max_link_width", "255");
    write_line("max_link_speed", "Unknown\n");
    expect_link("unknown");
    (void)snprintf(name, sizeof name, "%s/max_link_speed", folder);
    assert_int_equal(unlink(name), 0);
    (void)snprintf(name, sizeof name, "%s/max_link_width", folder);
    assert_int_equal(unlink(name), 0);
}

/* Saving */

static void expect_no_others(void) {
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        assert_true(entry->d_name[0] == '.' || strcmp(entry->d_name, "cost table.json") == 0);
    assert_int_equal(closedir(listing), 0);
}

static void test_save(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin();
    kvf_error e = {0};
    struct stat before, after;
    save(m);
    assert_int_equal(stat(path, &before), 0);
    mode_t mask = umask(0);
    (void)umask(mask);
    assert_int_equal(before.st_mode & 0777, 0666 & ~mask);
    save(m);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino != after.st_ino);
    expect_no_others();
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_save(m, "/nowhere/at/all", &e), &e);
    assert_int_equal(e.native_code, ENOENT);
    /* The path is a folder: saving fails and removes its temporary file. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_save(m, path, &e), &e);
    assert_int_equal(e.native_code, EISDIR);
    expect_no_others();
    kvf_cuda_costs *read = NULL;
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_load(path, -1, NULL, &read, &e), &e);
    assert_int_equal(e.native_code, EISDIR);
    assert_int_equal(rmdir(path), 0);
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_load(path, -1, NULL, &read, &e), &e);
    assert_int_equal(e.native_code, ENOENT);
    assert_null(read);
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_save(m, "", &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_save(m, NULL, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_save(NULL, path, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_load(NULL, -1, NULL, &read, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_load(path, -1, NULL, NULL, &e), &e);
    kvf_cuda_costs_destroy(m);
}

/* On a full disk the old file is kept. */
static void test_disk_full(void **state) {
    (void)state;
    kvf_cuda_costs *m = builtin(), *read = NULL;
    kvf_error e = {0};
    test_expect(KVF_ERR_ENGINE, kvf_cuda_costs_save(m, "/proc/self/none", &e), &e);
    save(m);
    m->link[0] = 1;
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 1000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kvf_status status = kvf_cuda_costs_save(m, path, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    test_expect(KVF_ERR_ENGINE, status, &e);
    assert_int_equal(e.native_code, EFBIG);
    expect_no_others();
    test_expect(KVF_OK, kvf_cuda_costs_load(path, -1, NULL, &read, &e), &e);
    assert_true(read->link[0] == 50);
    kvf_cuda_costs_destroy(read);
    kvf_cuda_costs_destroy(m);
}

/* No memory: our allocations fail by the allocator, jansson's by its own hooks. */

static size_t json_calls, json_fail_at, json_live;

static void *json_malloc(size_t size) {
    if (++json_calls == json_fail_at)
        return NULL;
    json_live++;
    return malloc(size);
}

static void json_free(void *block) {
    json_live -= block != NULL;
    free(block);
}

static void test_out_of_memory(void **state) {
    (void)state;
    kvf_cuda_costs *m = of_device(0);
    save(m);
    for (size_t fail_at = 1;; fail_at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        memory.fail_at = fail_at;
        kvf_cuda_costs *read = NULL;
        kvf_error e = {0};
        kvf_status status = kvf_cuda_costs_load(path, 0, &memory.allocator, &read, &e);
        if (status == KVF_OK)
            status = kvf_cuda_costs_save(read, path, &e);
        kvf_cuda_costs_destroy(read);
        test_allocator_done(&memory);
        if (memory.calls < fail_at) {
            test_expect(KVF_OK, status, &e);
            assert_in_range(fail_at, 5, 100);
            break;
        }
        test_expect(KVF_ERR_NO_MEMORY, status, &e);
    }
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* Saves (with `costs`) or loads while one of jansson's allocations fails. False: it made fewer. */
static bool fails_without(size_t fail_at, const kvf_cuda_costs *costs) {
    kvf_cuda_costs *read = NULL;
    kvf_error e = {0};
    json_calls = json_live = 0;
    json_fail_at = fail_at;
    kvf_status status = costs ? kvf_cuda_costs_save(costs, path, &e)
                              : kvf_cuda_costs_load(path, 0, NULL, &read, &e);
    bool reached = json_calls >= fail_at;
    json_fail_at = 0;
    kvf_cuda_costs_destroy(read);
    assert_int_equal(json_live, 0);
    /* Inside a string, jansson reports lack of memory as a syntax error. */
    if (reached && !costs && status == KVF_ERR_INVALID)
        return reached;
    test_expect(reached ? KVF_ERR_NO_MEMORY : KVF_OK, status, &e);
    return reached;
}

static void test_jansson_out_of_memory(void **state) {
    (void)state;
    json_malloc_t old_malloc;
    json_free_t old_free;
    kvf_cuda_costs *m = of_device(0);
    save(m);
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(json_malloc, json_free);
    size_t saving = 1, loading = 1;
    while (fails_without(saving, m))
        saving++;
    while (fails_without(loading, NULL))
        loading++;
    json_set_alloc_funcs(old_malloc, old_free);
    assert_true(saving > 100 && loading > 100);
    expect_load(KVF_OK, 0, NULL);
    expect_no_others();
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/cost table.json", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_extremes),      cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_damage),  cmocka_unit_test(test_damage_by_hand),
        cmocka_unit_test(test_duplicate),     cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_foreign),       cmocka_unit_test(test_every_call_of_a_key_fails),
        cmocka_unit_test(test_save),          cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_jansson_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
