#include "context.h"

#include <kvferry/kvferry.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The first "model name" of the kernel's list; null where it names none. */
static json_t *cpu_model(void) {
    json_t *model = NULL;
    char *line = NULL;
    size_t capacity = 0;
    FILE *list = fopen("/proc/cpuinfo", "r");
    while (list != NULL && model == NULL && getline(&line, &capacity, list) >= 0) {
        char *value = strchr(line, ':');
        if (value != NULL && strncmp(line, "model name", strlen("model name")) == 0) {
            value += 1 + strspn(value + 1, " ");
            value[strcspn(value, "\n")] = '\0';
            model = json_string(value);
        }
    }
    free(line);
    if (list != NULL) {
        fclose(list);
    }
    return model != NULL ? model : json_null();
}

static json_t *date(void) {
    char text[32];
    struct tm parts;
    time_t now = time(NULL);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    return json_string(text);
}

json_t *context_make(const char *engine) {
    json_int_t memory = (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    json_t *context = json_object();
    json_object_set_new(context, "version", json_string(kvf_version()));
    json_object_set_new(context, "cpu", cpu_model());
    json_object_set_new(context, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(context, "memory_bytes", json_integer(memory));
    json_object_set_new(context, "compiler", json_string(COMPILER));
    json_object_set_new(context, "build_type", json_string(KVF_BUILD_TYPE));
    json_object_set_new(context, "engine", engine != NULL ? json_string(engine) : json_null());
    json_object_set_new(context, "gpu", json_null());
    json_object_set_new(context, "driver", json_null());
    json_object_set_new(context, "date", date());
    return context;
}

static const char *text_of(const json_t *context, const char *key) {
    const char *text = json_string_value(json_object_get(context, key));
    return text != NULL ? text : "-";
}

static void print_gpu(const json_t *context, FILE *out) {
    if (json_is_string(json_object_get(context, "gpu"))) {
        fprintf(out, "GPU %s, link %s, driver %s, CUDA %s on %s, model %s\n",
                text_of(context, "gpu"), text_of(context, "link"), text_of(context, "driver"),
                text_of(context, "cuda_runtime"), text_of(context, "cuda_driver"),
                text_of(context, "model"));
    }
}

static void print_group(const json_t *context, FILE *out) {
    if (json_is_integer(json_object_get(context, "ranks"))) {
        fprintf(out, "ranks %lld, NCCL %s\n",
                (long long)json_integer_value(json_object_get(context, "ranks")),
                text_of(context, "nccl"));
    }
}

void context_print(const json_t *context, FILE *out) {
    double memory = (double)json_integer_value(json_object_get(context, "memory_bytes"));
    fprintf(out, "kvferry %s (%s, %s), engine %s, %s\n", text_of(context, "version"),
            text_of(context, "compiler"), text_of(context, "build_type"),
            text_of(context, "engine"), text_of(context, "date"));
    fprintf(out, "on %s, %lld cores, %.1f GiB\n", text_of(context, "cpu"),
            (long long)json_integer_value(json_object_get(context, "cores")),
            memory / (1024.0 * 1024.0 * 1024.0));
    print_gpu(context, out);
    print_group(context, out);
    if (json_is_true(json_object_get(context, "imitated"))) {
        fprintf(out, "IMITATED: these times say nothing of a machine\n");
    }
}
