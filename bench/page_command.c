/* kvferry report: results as one page for a browser. */
#include "command.h"

#include "page.h"
#include "page_text.h"
#include "tool.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct page_options {
    const char **files;
    size_t count;
    const char *output;
} page_options;

static const struct argp_option options[] = {
    {"output", 'o', "PAGE", 0, "Write the page to PAGE; - is standard output", 0},
    {0},
};

static const char doc[] =
    "Show results as one page of HTML that needs no network and no script."
    "\v"
    "FILE is what --json of another command wrote; - is standard input. Several files become "
    "sections of the page, in their order. There are charts for bench transfer (bandwidth by "
    "fragment size; which strategy wins at which size and count), bench plan, bench pinned, bench "
    "collective, replay and calibrate, and tables of all values. What was imitated, not verified "
    "or noisy is marked.\n"
    "\n"
    "Nothing is written unless all files can be read, and PAGE is replaced in one step.\n"
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
        chosen->files = must_grow(chosen->files, chosen->count + 1, sizeof(*chosen->files));
        chosen->files[chosen->count++] = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say which results to show");
        return 0;
    case ARGP_KEY_END:
        if (chosen->output == NULL) {
            argp_error(state, "say where the page goes: --output");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Writing */

_Noreturn static void fail_to_write(int code, const char *path) {
    fail(code, "%s: cannot be written: %s", path, strerror(errno));
}

static bool write_all(FILE *file, const char *text) {
    errno = 0;
    bool written = fputs(text, file) >= 0;
    return fflush(file) == 0 && written;
}

/* What is no regular file, such as a pipe, is written to as it is. */
static void write_to(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fail_to_write(EXIT_USAGE, path);
    }
    bool written = write_all(file, text);
    if (fclose(file) != 0 || !written) {
        fail_to_write(EXIT_CHECK, path);
    }
}

/* The mode that a new file would have. */
static mode_t usual_mode(void) {
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

/* Ends the program when it fails, with the file as it was. */
static void replace(const char *path, const char *text, mode_t mode) {
    static const char suffix[] = ".XXXXXX";
    char *made = must_grow(NULL, strlen(path) + sizeof(suffix), 1);
    int descriptor = mkstemp(strcat(strcpy(made, path), suffix));
    if (descriptor < 0) {
        fail_to_write(EXIT_USAGE, path);
    }
    FILE *file = fdopen(descriptor, "w");
    bool written = file != NULL && write_all(file, text) && fchmod(descriptor, mode) == 0;
    int error = errno;
    if (file == NULL) {
        close(descriptor);
    } else if (fclose(file) != 0 && written) {
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

/* Behind links, a file stays where it is. */
static void write_page(const char *path, const char *text) {
    struct stat found;
    if (strcmp(path, "-") == 0) {
        write_all(stdout, text); /* close_stdout tells of errors */
        return;
    }
    if (stat(path, &found) != 0) {
        replace(path, text, usual_mode());
        return;
    }
    if (!S_ISREG(found.st_mode)) {
        write_to(path, text);
        return;
    }
    char *real = realpath(path, NULL);
    if (real == NULL || access(real, W_OK) != 0) {
        fail_to_write(EXIT_USAGE, path);
    }
    replace(real, text, found.st_mode & 07777);
    free(real);
}

/* The page is not to take the place of what it shows. */
static void check_output(const page_options *chosen) {
    struct stat output, file;
    if (stat(chosen->output, &output) != 0 || !S_ISREG(output.st_mode)) {
        return;
    }
    for (size_t i = 0; i < chosen->count; i++) {
        if (stat(chosen->files[i], &file) == 0 && file.st_dev == output.st_dev &&
            file.st_ino == output.st_ino) {
            fail(EXIT_USAGE, "%s: the page would take the place of the results", chosen->output);
        }
    }
}

int report_main(int argc, char **argv) {
    static const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "FILE...", .doc = doc};
    page_options chosen = {0};
    char message[512];
    sheet page;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);
    check_output(&chosen);
    results *all = must_grow(NULL, chosen.count, sizeof(*all));
    for (size_t i = 0; i < chosen.count; i++) {
        if (!results_read(chosen.files[i], NULL, &all[i], message, sizeof(message))) {
            fail(EXIT_USAGE, "%s", message);
        }
    }
    sheet_open(&page);
    put_page(page.out, all, chosen.count);
    char *text = sheet_close(&page);
    write_page(chosen.output, text);
    free(text);
    for (size_t i = 0; i < chosen.count; i++) {
        results_free(&all[i]);
    }
    free(all);
    free(chosen.files);
    return 0;
}
