#include "engines/cost_cache.h"

#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *copy_text(const char *text) {
    return strcpy(must_grow(NULL, strlen(text) + 1, 1), text);
}

/* "NVIDIA H100 80GB HBM3" as "nvidia-h100-80gb-hbm3". */
static void make_name(const char *gpu, char *out) {
    char *at = out;
    for (; *gpu != '\0'; gpu++)
        if (isalnum((unsigned char)*gpu))
            *at++ = (char)tolower((unsigned char)*gpu);
        else if (at > out && at[-1] != '-')
            *at++ = '-';
    at -= at > out && at[-1] == '-';
    *at = '\0';
}

char *cost_cache_path(const char *gpu) {
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    bool has_cache = cache && cache[0] == '/'; /* the specification says to ignore relative paths */
    const char *root = has_cache ? cache : home;
    if (!root || root[0] == '\0')
        return NULL;
    char *name = must_grow(NULL, strlen(gpu) + 1, 1);
    make_name(gpu, name);
    size_t size = strlen(root) + strlen(name) + sizeof("/.cache/kvferry/cuda-.json");
    char *path = must_grow(NULL, size, 1);
    snprintf(path, size, "%s%s/kvferry/cuda-%s.json", root, has_cache ? "" : "/.cache", name);
    free(name);
    return path;
}

bool cost_cache_make_folders(const char *path) {
    char *folder = copy_text(path);
    bool made = true;
    for (char *at = strchr(folder + 1, '/'); made && at; at = strchr(at + 1, '/')) {
        *at = '\0';
        made = mkdir(folder, 0777) == 0 || errno == EEXIST;
        *at = '/';
    }
    free(folder);
    return made;
}

static kvf_cuda_costs *builtin(char **from) {
    kvf_cuda_costs *costs = NULL;
    kvf_error error = {0};
    must(kvf_cuda_costs_builtin(NULL, &costs, &error), &error, "making the built-in cost table");
    *from = copy_text("built-in");
    return costs;
}

/* A file that an option names: errors end the program. */
static kvf_cuda_costs *load(const char *path, int device, char **from) {
    kvf_cuda_costs *costs = NULL;
    kvf_error error = {0};
    char text[256];
    kvf_status status = kvf_cuda_costs_load(path, device, NULL, &costs, &error);
    if (status != KVF_OK) {
        kvf_error_format(&error, text, sizeof text);
        fail(EXIT_USAGE, "%s: %s", path, text);
    }
    *from = copy_text(path);
    return costs;
}

/* The cached table. NULL, after a warning if there is a file, when it cannot be used. */
static kvf_cuda_costs *load_cached(const char *path, int device) {
    kvf_cuda_costs *costs = NULL;
    kvf_error error = {0};
    char text[256];
    if (access(path, F_OK) != 0 ||
        kvf_cuda_costs_load(path, device, NULL, &costs, &error) == KVF_OK)
        return costs;
    kvf_error_format(&error, text, sizeof text);
    fprintf(
        stderr,
        "kvferry: %s: %s; using the built-in cost table (`kvferry calibrate` makes a new one)\n",
        path, text);
    return NULL;
}

kvf_cuda_costs *cost_cache_choose(const backend_options *options, const char *gpu, char **from) {
    if (options->costs)
        return load(options->costs, options->device, from);
    char *path = options->builtin_costs ? NULL : cost_cache_path(gpu);
    kvf_cuda_costs *costs = path ? load_cached(path, options->device) : NULL;
    if (costs) {
        *from = path;
        return costs;
    }
    free(path);
    return builtin(from);
}
