/*
 * Cost tables as JSON files.
 *
 *     {"kind": "kvferry-cuda-costs", "schema_version": 2, "library": "0.1.0", "date": "...",
 *      "calibrated": true, "noise_ppm": 21000,
 *      "gpu": "NVIDIA H100 ...", "driver": 13000, "link": "32.0 GT/s PCIe x16",
 *      "to_device": {"link_bytes_per_us": 55000,
 *          "loop": {"fixed_ps": ..., "layer_ps": ..., "chunk_ps": 0, "row_call_ps": ...,
 *                   "piece": {"bytes": [512, ...], "ps": [2300000, ...]},
 *                   "row": {"bytes": [...], "ps": [...]}},
 *          "batch": ..., "kernel": ..., "staged": null},
 *      "from_device": ..., "on_device": ...}
 *
 * Unknown values are null. All numbers are integers, so that the program's locale does not matter
 * and reading restores exactly what was written. Version 1 had no noise.
 */
#include "cost/costs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char kind[] = "kvferry-cuda-costs";
static const char *const directions[KVF_CUDA_DIRECTIONS] = {"to_device", "from_device",
                                                            "on_device"};

enum {
    SCHEMA = 2,
    LONGEST_FILE = 1 << 20,
    LONGEST_PIECE = 1 << 30,
    ATTEMPTS = 100, /* at finding an unused name */
};

/* More than anything measured: an hour, and a petabyte a second. */
#define MOST_PS   INT64_C(3600000000000000)
#define MOST_LINK INT64_C(1000000000)

/* Writing. A value is NULL when there was no memory for it; putting NULL anywhere fails. */

static json_t *whole(double ns) {
    return json_integer((json_int_t)llround(ns * 1e3));
}

/* The value if it is complete; otherwise frees it and returns NULL. */
static json_t *complete(json_t *value, bool ok) {
    if (ok)
        return value;
    json_decref(value);
    return NULL;
}

static bool put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0;
}

static json_t *curve_to_json(const kvf__cuda_curve *c) {
    if (c->count == 0)
        return json_null();
    json_t *object = json_object(), *bytes = json_array(), *ps = json_array();
    bool ok = put(object, "bytes", bytes);
    ok = put(object, "ps", ps) && ok;
    for (size_t i = 0; ok && i < c->count; i++)
        ok = json_array_append_new(bytes, json_integer((json_int_t)c->bytes[i])) == 0 &&
             json_array_append_new(ps, whole(c->ns[i])) == 0;
    return complete(object, ok);
}

static json_t *cost_to_json(const kvf__cuda_cost *c) {
    if (c->piece.count == 0)
        return json_null();
    json_t *object = json_object();
    bool ok = put(object, "fixed_ps", whole(c->fixed_ns)) &&
              put(object, "layer_ps", whole(c->layer_ns)) &&
              put(object, "chunk_ps", whole(c->chunk_ns)) &&
              put(object, "row_call_ps", whole(c->row_call_ns)) &&
              put(object, "piece", curve_to_json(&c->piece)) &&
              put(object, "row", curve_to_json(&c->row));
    return complete(object, ok);
}

static json_t *direction_to_json(const kvf_cuda_costs *costs, size_t direction) {
    json_t *object = json_object();
    bool ok = put(object, "link_bytes_per_us", whole(costs->link[direction]));
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; ok && s < KVF_CUDA_STRATEGIES; s++)
        ok = put(object, kvf_cuda_strategy_name(s), cost_to_json(&costs->cost[direction][s]));
    return complete(object, ok);
}

static json_t *noise_to_json(const kvf_cuda_costs *costs) {
    return costs->noise_ppm < 0 ? json_null() : json_integer(costs->noise_ppm);
}

static json_t *to_json(const kvf_cuda_costs *costs) {
    json_t *root = json_object();
    bool ok = put(root, "kind", json_string(kind)) &&
              put(root, "schema_version", json_integer(SCHEMA)) &&
              put(root, "library", json_string(KVF_VERSION_STRING)) &&
              put(root, "date", json_string(costs->date)) &&
              put(root, "calibrated", json_boolean(costs->calibrated)) &&
              put(root, "noise_ppm", noise_to_json(costs)) &&
              put(root, "gpu", json_string(costs->key.gpu)) &&
              put(root, "driver", json_integer(costs->key.driver)) &&
              put(root, "link", json_string(costs->key.link));
    for (size_t d = 0; ok && d < KVF_CUDA_DIRECTIONS; d++)
        ok = put(root, directions[d], direction_to_json(costs, d));
    return complete(root, ok);
}

/* The text to write. jansson's own buffers silently drop what they have no memory for. */
typedef struct output {
    const kvf_allocator *allocator;
    char *text;
    size_t length, capacity;
    bool failed;
} output;

static int append(const char *text, size_t length, void *context) {
    output *out = context;
    out->failed = out->failed ||
                  !kvf__grow(out->allocator, &out->text, &out->capacity, out->length + length, 1);
    if (out->failed)
        return -1;
    memcpy(out->text + out->length, text, length);
    out->length += length;
    return 0;
}

static kvf_status failed(const char *what, kvf_error *error) {
    return KVF__FAIL(error, .status = errno == ENOMEM ? KVF_ERR_NO_MEMORY : KVF_ERR_ENGINE,
                     .fields = KVF_ERROR_NATIVE_CODE, .native_code = errno, .what = what);
}

static bool write_all(int file, const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(file, text, length);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* Creates a new file in the folder of `path` and stores its name; -1 and errno on failure. */
static int open_temporary(const char *path, char *name, size_t size) {
    static atomic_uint turn;
    int file = -1;
    errno = EEXIST;
    for (int i = 0; file < 0 && errno == EEXIST && i < ATTEMPTS; i++) {
        (void)snprintf(name, size, "%s.%ld.%u", path, (long)getpid(), atomic_fetch_add(&turn, 1));
        file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    return file;
}

/* Writes a temporary file and renames it to `path` once it is complete. */
static kvf_status replace(const char *path, char *name, size_t size, const output *text,
                          kvf_error *error) {
    int file = open_temporary(path, name, size);
    if (file < 0)
        return failed("cannot create the file", error);
    bool ok = write_all(file, text->text, text->length) && fsync(file) == 0;
    int code = errno;
    if (close(file) != 0 && ok) {
        ok = false;
        code = errno;
    }
    if (ok && rename(name, path) == 0)
        return KVF_OK;
    code = ok ? errno : code;
    (void)unlink(name);
    errno = code;
    return failed("cannot write the file", error);
}

kvf_status kvf_cuda_costs_save(const kvf_cuda_costs *costs, const char *path, kvf_error *error) {
    if (!costs || !path)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    output text = {.allocator = &costs->allocator};
    size_t size = strlen(path) + 64;
    char *name = kvf__alloc(text.allocator, size, 1);
    json_t *root = to_json(costs);
    bool ok = name && root && json_dump_callback(root, append, &text, JSON_INDENT(1)) == 0 &&
              !text.failed;
    kvf_status status = ok ? replace(path, name, size, &text, error)
                           : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    json_decref(root);
    kvf__free(text.allocator, text.text, text.capacity, 1);
    kvf__free(text.allocator, name, size, 1);
    return status;
}

/* Reading. The first error is kept; values read after it are not used. */

typedef struct reading {
    const char *wrong;
} reading;

static void complain(reading *r, const char *what) {
    if (!r->wrong)
        r->wrong = what;
}

/* Checks for an object of that many members. As each is then looked up by name, there are no
 * others.
 */
static const json_t *object(reading *r, const json_t *json, size_t members) {
    if (!json_is_object(json) || json_object_size(json) != members)
        complain(r, "an object in the file has missing or extra members");
    return json;
}

static int64_t integer(reading *r, const json_t *json, int64_t least, int64_t most) {
    int64_t value = json_integer_value(json);
    if (json_is_integer(json) && value >= least && value <= most)
        return value;
    complain(r, "the file has a value that is not an integer or is out of range");
    return least;
}

static int64_t member(reading *r, const json_t *json, const char *name, int64_t least,
                      int64_t most) {
    return integer(r, json_object_get(json, name), least, most);
}

static void text(reading *r, const json_t *json, const char *name, char *out, size_t size) {
    const json_t *value = json_object_get(json, name);
    size_t length = json_string_length(value);
    if (!json_is_string(value) || length >= size) {
        complain(r, "the file has a value that is not a string or is too long");
        return;
    }
    memcpy(out, json_string_value(value), length + 1);
}

static double picoseconds(reading *r, const json_t *json, const char *name) {
    return (double)member(r, json, name, 0, MOST_PS) / 1e3;
}

static void read_curve(reading *r, const json_t *json, kvf__cuda_curve *c) {
    const json_t *bytes = json_object_get(json, "bytes"), *ps = json_object_get(json, "ps");
    size_t count = json_array_size(bytes);
    object(r, json, 2);
    if (!json_is_array(bytes) || count == 0 || count > KVF__CUDA_POINTS ||
        json_array_size(ps) != count) {
        complain(r, "a curve in the file needs 1 to 32 sizes and as many times");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t least = i > 0 ? (int64_t)c->bytes[i - 1] + 1 : 1;
        c->bytes[i] = (size_t)integer(r, json_array_get(bytes, i), least, LONGEST_PIECE);
        c->ns[i] = (double)integer(r, json_array_get(ps, i), 1, MOST_PS) / 1e3;
    }
    c->count = count;
}

static void read_cost(reading *r, const json_t *json, kvf_cuda_strategy strategy,
                      kvf__cuda_cost *c) {
    const json_t *row = json_object_get(json, "row");
    if (json_is_null(json) && strategy != KVF_CUDA_LOOP)
        return;
    object(r, json, 6);
    c->fixed_ns = picoseconds(r, json, "fixed_ps");
    c->layer_ns = picoseconds(r, json, "layer_ps");
    c->chunk_ns = picoseconds(r, json, "chunk_ps");
    c->row_call_ns = picoseconds(r, json, "row_call_ps");
    read_curve(r, json_object_get(json, "piece"), &c->piece);
    if (!json_is_null(row))
        read_curve(r, row, &c->row);
}

static void read_direction(reading *r, const json_t *json, kvf_cuda_costs *costs,
                           size_t direction) {
    object(r, json, KVF_CUDA_STRATEGIES);
    costs->link[direction] = (double)member(r, json, "link_bytes_per_us", 1, MOST_LINK) / 1e3;
    for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        read_cost(r, json_object_get(json, kvf_cuda_strategy_name(s)), s,
                  &costs->cost[direction][s]);
}

static bool is_text(const json_t *json, const char *wanted) {
    return json_is_string(json) && strcmp(json_string_value(json), wanted) == 0;
}

static void read_costs(reading *r, const json_t *root, kvf_cuda_costs *costs) {
    char library[32];
    const json_t *calibrated = json_object_get(root, "calibrated");
    if (!is_text(json_object_get(root, "kind"), kind)) {
        complain(r, "the file is not a cost table of kvferry");
        return;
    }
    if (member(r, root, "schema_version", 1, INT32_MAX) != SCHEMA)
        complain(r, "the file has another schema version");
    object(r, root, 9 + KVF_CUDA_DIRECTIONS);
    text(r, root, "library", library, sizeof library);
    text(r, root, "date", costs->date, sizeof costs->date);
    text(r, root, "gpu", costs->key.gpu, sizeof costs->key.gpu);
    text(r, root, "link", costs->key.link, sizeof costs->key.link);
    costs->key.driver = (int)member(r, root, "driver", 0, INT32_MAX);
    costs->calibrated = json_is_true(calibrated);
    if (!json_is_null(json_object_get(root, "noise_ppm")))
        costs->noise_ppm = (int32_t)member(r, root, "noise_ppm", 0, INT32_MAX);
    if (!json_is_boolean(calibrated))
        complain(r, "calibrated must be true or false");
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        read_direction(r, json_object_get(root, directions[d]), costs, d);
    if (!r->wrong)
        kvf__cuda_costs_seal(costs);
}

static kvf_status parse(const char *content, size_t length, kvf_cuda_costs *costs,
                        kvf_error *error) {
    json_error_t details;
    reading r = {NULL};
    json_t *root = json_loadb(content, length, JSON_REJECT_DUPLICATES, &details);
    /* jansson gives no text when it runs out of memory. */
    if (!root && details.text[0] == '\0')
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (!root)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_POSITION,
                         .position = (uint64_t)details.position, .what = "the file is not JSON");
    read_costs(&r, root, costs);
    json_decref(root);
    if (r.wrong)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = r.wrong);
    return KVF_OK;
}

/* Reads up to `size` bytes; returns how many, or SIZE_MAX and errno. */
static size_t read_file(const char *path, char *content, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file)
        return SIZE_MAX;
    errno = 0;
    size_t length = fread(content, 1, size, file);
    if (ferror(file))
        length = SIZE_MAX;
    int code = errno;
    (void)fclose(file);
    errno = code;
    return length;
}

static kvf_status read_and_parse(const char *path, kvf_cuda_costs *costs, kvf_error *error) {
    const kvf_allocator allocator = costs->allocator;
    char *content = kvf__alloc(&allocator, LONGEST_FILE, 1);
    if (!content)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    size_t length = read_file(path, content, LONGEST_FILE);
    kvf_status status;
    if (length == SIZE_MAX)
        status = failed("cannot read the file", error);
    else if (length == LONGEST_FILE)
        status = KVF__FAIL(error, .status = KVF_ERR_INVALID,
                           .what = "the file must be shorter than 1 MiB");
    else
        status = parse(content, length, costs, error);
    kvf__free(&allocator, content, LONGEST_FILE, 1);
    return status;
}

/* UNSUPPORTED unless the cost table was measured on this device. */
static kvf_status check_key(const kvf__cuda_machine_key *key, int device, kvf_error *error) {
    kvf__cuda_machine_key here;
    kvf_status status = kvf__cuda_machine_key_of(device, &here, error);
    if (status != KVF_OK)
        return status;
    const char *what =
        strcmp(key->gpu, here.gpu) != 0     ? "the cost table was measured on another GPU"
        : key->driver != here.driver        ? "the cost table was measured with another driver"
        : strcmp(key->link, here.link) != 0 ? "the cost table was measured on another link"
                                            : NULL;
    if (what)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = what);
    return KVF_OK;
}

kvf_status kvf_cuda_costs_load(const char *path, int device, const kvf_allocator *allocator,
                               kvf_cuda_costs **out, kvf_error *error) {
    if (!path || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (device < -1)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "device must be -1 or a device number");
    kvf_cuda_costs *costs = kvf__cuda_costs_make(allocator);
    if (!costs)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = read_and_parse(path, costs, error);
    if (status == KVF_OK && device >= 0)
        status = check_key(&costs->key, device, error);
    if (status == KVF_OK)
        *out = costs;
    else
        kvf_cuda_costs_destroy(costs);
    return status;
}
