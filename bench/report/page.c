/* kvferry report: shows results as one HTML page. page.html is the page; this inserts the results.
 */
#include "base/command.h"

#include "output/results.h"
#include "base/base.h"

#include <kvferry/kvferry.h>

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char template[] = {
#include "page.inc"
    0};

typedef struct page_options {
    const char **files;
    size_t count;
    const char *output;
} page_options;

static const struct argp_option options[] = {
    {"output", 'o', "PAGE", 0, "Write the page to PAGE (required); - is standard output", 0},
    {0},
};

static const char doc[] =
    "Show results as one HTML page, which loads nothing from the network and needs JavaScript.\v"
    "FILE is a file that --json of another command wrote; - is standard input. Results of the same "
    "command share charts, with a series per FILE. There are charts for bench transfer (strategy "
    "map, bandwidth, latency, prediction error), bench plan, bench pinned, bench collective, "
    "replay and calibrate, and tables of all values. Imitated, corrupt, noisy and unverified rows "
    "are marked.\n"
    "\n"
    "Nothing is written unless all files can be read. PAGE is replaced atomically.\n"
    "\n"
    "Examples:\n"
    "  kvferry report transfer.json -o report.html\n"
    "  kvferry report transfer.json plan.json replay.json --output report.html\n"
    "  kvferry replay --synthetic --json - | kvferry report - -o replay.html\n";

static error_t parse(int key, char *argument, struct argp_state *state) {
    page_options *chosen = state->input;
    switch (key) {
    case 'o':
        chosen->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        chosen->files = must_grow(chosen->files, chosen->count + 1, sizeof *chosen->files);
        chosen->files[chosen->count++] = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "FILE is required: results to show");
        return 0;
    case ARGP_KEY_END:
        if (!chosen->output)
            argp_error(state, "--output is required: the page to write");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* {"version": ..., "files": [{"name": ..., "document": ...}, ...]}. The caller owns it. */
static json_t *read_files(const page_options *chosen) {
    json_t *files = json_array();
    for (size_t i = 0; i < chosen->count; i++) {
        char message[512];
        results results;
        if (!results_read(chosen->files[i], NULL, &results, message, sizeof message))
            fail(EXIT_USAGE, "%s", message);
        const char *slash = strrchr(results.name, '/');
        json_t *name = json_string(strcmp(results.name, "-") == 0 ? "standard input"
                                   : slash                        ? slash + 1
                                                                  : results.name);
        if (!name) /* not UTF-8 */
            name = json_sprintf("file %zu", i + 1);
        json_t *file = json_pack("{s:o, s:O}", "name", name, "document", results.root);
        if (json_array_append_new(files, file) != 0)
            fail(EXIT_CHECK, "out of memory for a page");
        results_free(&results);
    }
    return json_pack("{s:s, s:o}", "version", kvf_version(), "files", files);
}

/* JSON has < only in strings. Escaped, no string can end the script or open a comment. */
static int put_escaped(const char *text, size_t size, void *out) {
    for (size_t i = 0; i < size; i++)
        if (text[i] == '<' ? fputs("\\u003c", out) < 0 : putc(text[i], out) == EOF)
            return -1;
    return 0;
}

static bool put_page(FILE *out, const json_t *data) {
    static const char mark[] = "@RESULTS@";
    const char *begin = (const char *)template, *end = strstr(begin, mark);
    errno = 0;
    bool written =
        fwrite(begin, 1, (size_t)(end - begin), out) == (size_t)(end - begin) &&
        json_dump_callback(data, put_escaped, out, JSON_ENSURE_ASCII | JSON_COMPACT) == 0 &&
        fputs(end + strlen(mark), out) >= 0;
    return fflush(out) == 0 && written;
}

_Noreturn static void fail_to_write(int code, const char *path) {
    fail(code, "%s: cannot be written: %s", path, strerror(errno));
}

/* Not a regular file, such as a pipe: written to directly. */
static void write_to(const char *path, const json_t *data) {
    FILE *file = fopen(path, "w");
    if (!file)
        fail_to_write(EXIT_USAGE, path);
    bool written = put_page(file, data);
    if (fclose(file) != 0 || !written)
        fail_to_write(EXIT_CHECK, path);
}

/* The mode of a new file. */
static mode_t usual_mode(void) {
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

/* Replaces a file atomically. On failure ends the program, with the file unchanged. */
static void replace(const char *path, const json_t *data, mode_t mode) {
    static const char suffix[] = ".XXXXXX";
    char *made = must_grow(NULL, strlen(path) + sizeof suffix, 1);
    int descriptor = mkstemp(strcat(strcpy(made, path), suffix));
    if (descriptor < 0)
        fail_to_write(EXIT_USAGE, path);
    FILE *file = fdopen(descriptor, "w");
    bool written = file && put_page(file, data) && fchmod(descriptor, mode) == 0;
    int error = errno;
    if (file && fclose(file) != 0 && written) {
        error = errno;
        written = false;
    }
    if (!written || rename(made, path) != 0) {
        error = written ? errno : error;
        unlink(made);
        errno = error;
        fail_to_write(EXIT_CHECK, path);
    }
    free(made);
}

/* A symbolic link stays; the file it names is replaced. */
static void write_page(const char *path, const json_t *data) {
    struct stat found;
    if (strcmp(path, "-") == 0) {
        put_page(stdout, data); /* close_stdout reports errors */
    } else if (stat(path, &found) != 0) {
        replace(path, data, usual_mode());
    } else if (!S_ISREG(found.st_mode)) {
        write_to(path, data);
    } else {
        char *real = realpath(path, NULL);
        if (!real || access(real, W_OK) != 0)
            fail_to_write(EXIT_USAGE, path);
        replace(real, data, found.st_mode & 07777);
        free(real);
    }
}

/* The page must not replace its own input. */
static void check_output(const page_options *chosen) {
    struct stat output, file;
    if (stat(chosen->output, &output) != 0 || !S_ISREG(output.st_mode))
        return;
    for (size_t i = 0; i < chosen->count; i++)
        if (stat(chosen->files[i], &file) == 0 && file.st_dev == output.st_dev &&
            file.st_ino == output.st_ino)
            fail(EXIT_USAGE, "%s: the page would replace the results", chosen->output);
}

int report_main(int argc, char **argv) {
    static const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "FILE...", .doc = doc};
    page_options chosen = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    check_output(&chosen);
    json_t *data = read_files(&chosen);
    write_page(chosen.output, data);
    json_decref(data);
    free(chosen.files);
    return 0;
}
