#include "output/context.h"

#include "output/json_file.h"
#include "base/base.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The value of the first line "KEY: VALUE" in a file of the kernel whose key starts with `key`;
 * null if there is none. */
static json_t *kernel_says(const char *path, const char *key) {
    char *line = NULL;
    size_t capacity = 0;
    json_t *said = NULL;
    FILE *file = fopen(path, "r");
    while (file && !said && getline(&line, &capacity, file) >= 0) {
        char *value = strchr(line, ':');
        if (value && strncmp(line, key, strlen(key)) == 0) {
            value += 1 + strspn(value + 1, " \t");
            value[strcspn(value, "\n")] = '\0';
            said = json_string(value);
        }
    }
    free(line);
    if (file)
        fclose(file);
    return said ? said : json_null();
}

/* x86 has a flag for it. Other processors do not tell. */
static json_t *virtual_machine(void) {
    json_t *flags = kernel_says("/proc/cpuinfo", "flags");
    const char *text = json_string_value(flags);
    json_t *is_one = text ? json_boolean(strstr(text, " hypervisor")) : json_null();
    json_decref(flags);
    return is_one;
}

/* The word in brackets of "always [madvise] never". */
static json_t *huge_pages(void) {
    char line[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file) {
        (void)!fgets(line, sizeof line, file);
        fclose(file);
    }
    char *first = strchr(line, '['), *last = first ? strchr(first, ']') : NULL;
    return last ? json_stringn(first + 1, (size_t)(last - first - 1)) : json_null();
}

/* Quotes the argument if a shell needs that. */
static void put_argument(FILE *out, const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=+,./:@%";
    if (text[0] != '\0' && text[strspn(text, plain)] == '\0') {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\'", out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

/* As given, without the program's folder; null if unknown. */
static json_t *command_line(void) {
    char *argument = NULL, *text = NULL;
    size_t capacity = 0, size = 0;
    FILE *arguments = fopen("/proc/self/cmdline", "r");
    FILE *out = open_memstream(&text, &size);
    if (arguments && out) {
        fputs("kvferry", out);
        for (size_t i = 0; getdelim(&argument, &capacity, '\0', arguments) >= 0; i++) {
            if (i > 0) {
                fputc(' ', out);
                put_argument(out, argument);
            }
        }
    }
    if (out)
        fclose(out);
    json_t *line = json_text(size > 0 ? text : NULL);
    if (arguments)
        fclose(arguments);
    free(argument);
    free(text);
    return line;
}

static json_t *load(void) {
    double average;
    return getloadavg(&average, 1) == 1 ? json_real(average) : json_null();
}

static json_t *date(void) {
    char text[32];
    struct tm parts;
    time_t now = time(NULL);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    return json_string(text);
}

static json_t *kernel(void) {
    struct utsname name;
    return uname(&name) == 0 ? json_sprintf("%s %s %s", name.sysname, name.release, name.machine)
                             : json_null();
}

/* Whether a folder is that of a NUMA node: "node" and digits. */
static bool is_node(const char *name) {
    return strncmp(name, "node", 4) == 0 && isdigit((unsigned char)name[4]);
}

/* Null if unknown. */
static json_t *numa_nodes(void) {
    DIR *nodes = opendir("/sys/devices/system/node");
    json_int_t count = 0;
    if (!nodes)
        return json_null();
    for (const struct dirent *entry = readdir(nodes); entry; entry = readdir(nodes))
        count += is_node(entry->d_name);
    closedir(nodes);
    return count > 0 ? json_integer(count) : json_null();
}

json_t *context_make(const char *engine) {
    json_int_t memory = (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    json_t *context = json_object();
    json_object_set_new(context, "version", json_string(kvf_version()));
    json_object_set_new(context, "command_line", command_line());
    json_object_set_new(context, "seed", json_integer(SEED));
    json_object_set_new(context, "cpu", kernel_says("/proc/cpuinfo", "model name"));
    json_object_set_new(context, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(context, "memory_bytes", json_integer(memory));
    json_object_set_new(context, "numa_nodes", numa_nodes());
    json_object_set_new(context, "affinity", kernel_says("/proc/self/status", "Cpus_allowed_list"));
    json_object_set_new(context, "load", load());
    json_object_set_new(context, "huge_pages", huge_pages());
    json_object_set_new(context, "virtual_machine", virtual_machine());
    json_object_set_new(context, "kernel", kernel());
    json_object_set_new(context, "compiler", json_string(COMPILER));
    json_object_set_new(context, "flags", json_string(KVF_BUILD_FLAGS));
    json_object_set_new(context, "build_type", json_string(KVF_BUILD_TYPE));
    json_object_set_new(context, "engine", engine ? json_string(engine) : json_null());
    json_object_set_new(context, "gpu", json_null());
    json_object_set_new(context, "driver", json_null());
    json_object_set_new(context, "date", date());
    return context;
}

static const char *text_of(const json_t *context, const char *key) {
    const char *text = json_string_value(json_object_get(context, key));
    return text ? text : "-";
}

static long long number_of(const json_t *context, const char *key) {
    return (long long)json_integer_value(json_object_get(context, key));
}

static void print_machine(const json_t *context, FILE *out) {
    double memory = (double)number_of(context, "memory_bytes");
    fprintf(out, "on %s, %lld cores, %.1f GiB", text_of(context, "cpu"),
            number_of(context, "cores"), memory / (1024.0 * 1024.0 * 1024.0));
    if (json_is_integer(json_object_get(context, "numa_nodes")))
        fprintf(out, ", NUMA nodes %lld", number_of(context, "numa_nodes"));
    fprintf(out, ", %s\n", text_of(context, "kernel"));
    const json_t *is_one = json_object_get(context, "virtual_machine");
    fprintf(out, "processors %s, ", text_of(context, "affinity"));
    if (json_is_real(json_object_get(context, "load")))
        fprintf(out, "load %.2f, ", json_real_value(json_object_get(context, "load")));
    fprintf(out, "transparent huge pages %s%s\n", text_of(context, "huge_pages"),
            json_is_true(is_one)    ? ", a virtual machine"
            : json_is_false(is_one) ? ", no virtual machine"
                                    : "");
}

static void print_engine(const json_t *context, FILE *out) {
    fprintf(out, "engine %s", text_of(context, "engine"));
    if (json_is_integer(json_object_get(context, "threads")))
        fprintf(out, ", threads %lld", number_of(context, "threads"));
    fprintf(out, ", %s\n", text_of(context, "date"));
}

/* The link's generation and width now and at most, and its measured speed. */
static void print_link(const json_t *context, FILE *out) {
    json_t *limits = json_object_get(context, "link_gbps"), *limit;
    const char *direction;
    fprintf(out, "link %s, at most %s", text_of(context, "link"), text_of(context, "link_at_most"));
    json_object_foreach(limits, direction, limit) {
        fprintf(out, ", %s %.2f GB/s", direction, json_number_value(limit));
    }
    fputc('\n', out);
}

/* "SM 1980 of 1980 MHz"; unknown values are left out or "-". */
static void print_state(const json_t *context, FILE *out) {
    static const struct {
        const char *what, *now, *most, *unit;
    } states[] = {
        {"SM", "sm_clock_mhz", "sm_clock_most_mhz", "MHz"},
        {"memory", "memory_clock_mhz", "memory_clock_most_mhz", "MHz"},
        {"power", "power_w", "power_limit_w", "W"},
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (json_is_integer(json_object_get(context, states[i].now))) {
            fprintf(out, "%s %lld of %lld %s, ", states[i].what, number_of(context, states[i].now),
                    number_of(context, states[i].most), states[i].unit);
        }
    }
    const json_t *persistence = json_object_get(context, "persistence");
    fprintf(out, "persistence %s, virtualisation %s\n",
            json_is_boolean(persistence) ? json_is_true(persistence) ? "on" : "off" : "-",
            text_of(context, "gpu_virtualisation"));
}

static void print_gpu(const json_t *context, FILE *out) {
    if (!json_is_string(json_object_get(context, "gpu")))
        return;
    fprintf(out, "GPU %s, driver %s, CUDA %s on %s, costs %s\n", text_of(context, "gpu"),
            text_of(context, "driver"), text_of(context, "cuda_runtime"),
            text_of(context, "cuda_driver"), text_of(context, "costs"));
    print_link(context, out);
    print_state(context, out);
}

static void print_group(const json_t *context, FILE *out) {
    if (json_is_integer(json_object_get(context, "ranks"))) {
        fprintf(out, "ranks %lld, NCCL %s\n",
                (long long)json_integer_value(json_object_get(context, "ranks")),
                text_of(context, "nccl"));
    }
}

void context_print(const json_t *context, FILE *out) {
    fprintf(out, "kvferry %s (%s, %s, %s)\n", text_of(context, "version"),
            text_of(context, "compiler"), text_of(context, "build_type"),
            text_of(context, "flags"));
    print_machine(context, out);
    print_engine(context, out);
    print_gpu(context, out);
    print_group(context, out);
    if (json_is_true(json_object_get(context, "imitated")))
        fprintf(out, "IMITATED: these times are not those of a real machine\n");
}
