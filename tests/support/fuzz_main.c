/* Runs a fuzz target without libFuzzer: first the files given as arguments, then inputs generated
 * from random bytes and from those files. KVF_FUZZ_RUNS sets how many; the default is as many as
 * two seconds allow. Run n always has the same input. An input that crashes the target or does not
 * terminate is saved in the file fuzz-crash in the current folder. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FILES = 256,
    MAX_FILE_SIZE = 1 << 16,
    MAX_RANDOM_SIZE = 512,
    MAX_MUTATIONS = 8,
    USUAL_SECONDS = 2,
    MAX_INPUT_SECONDS = 20, /* limit for one input; longer counts as a crash */
};

typedef struct input {
    uint8_t *bytes;
    size_t size;
} input;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Sanitizers end the process without a signal, but call this callback. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier): theirs */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Global for the crash handler, which has no argument. */
static input current;

static void save_current(void) {
    int fd = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return;
    ssize_t written = write(fd, current.bytes, current.size);
    (void)written;
    close(fd);
}

static void on_signal(int signal_number) {
    save_current();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void save_when_it_crashes(void) {
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    signal(SIGALRM, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(save_current);
        return;
    }
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], on_signal);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Passes a copy of the exact size, so that a read past the end is found. */
static void run(const uint8_t *bytes, size_t size) {
    current = (input){.bytes = malloc(size > 0 ? size : 1), .size = size};
    if (!current.bytes)
        die("malloc");
    if (size > 0)
        memcpy(current.bytes, bytes, size);
    alarm(MAX_INPUT_SECONDS);
    LLVMFuzzerTestOneInput(current.bytes, size);
    free(current.bytes);
}

static input read_file(const char *path) {
    static uint8_t buffer[MAX_FILE_SIZE];
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    if (!bytes)
        die("malloc");
    memcpy(bytes, buffer, size);
    return (input){bytes, size};
}

/* Often the ends of the range, where mistakes are. */
static uint8_t random_byte(test_random *random) {
    static const uint8_t ends[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, '0', '9', '"', '\n', '-', '['};
    if (test_random_below(random, 2) == 0)
        return ends[test_random_below(random, sizeof ends)];
    return (uint8_t)test_random_below(random, 256);
}

/* Changes bytes[0 .. size - 1], with room for `capacity`, in one place. Returns the new size. */
static size_t mutate(test_random *random, uint8_t *bytes, size_t size, size_t capacity) {
    if (size == 0) {
        bytes[0] = random_byte(random);
        return 1;
    }
    size_t at = test_random_below(random, size);
    size_t length = 1 + test_random_below(random, size - at);
    size_t grown = length < capacity - size ? length : capacity - size;
    switch (test_random_below(random, 6)) {
    case 0: /* one bit */
        bytes[at] ^= (uint8_t)(1u << test_random_below(random, 8));
        return size;
    case 1: /* one byte */
        bytes[at] = random_byte(random);
        return size;
    case 2: /* a piece removed */
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 3: /* a piece doubled */
        memmove(bytes + at + grown, bytes + at, size - at);
        return size + grown;
    case 4: /* a piece copied over another */
        memmove(bytes + test_random_below(random, size - length + 1), bytes + at, length);
        return size;
    default: /* the end cut off */
        return at;
    }
}

static size_t make_input(test_random *random, const input *files, size_t file_count, uint8_t *bytes,
                         size_t capacity) {
    size_t size = 0;
    if (file_count > 0 && test_random_below(random, 4) > 0) {
        const input *file = &files[test_random_below(random, file_count)];
        memcpy(bytes, file->bytes, file->size);
        size = file->size;
        for (size_t n = 1 + test_random_below(random, MAX_MUTATIONS); n > 0; n--)
            size = mutate(random, bytes, size, capacity);
        return size;
    }
    /* Short inputs as often as long ones. */
    size = test_random_below(random, 1 + test_random_below(random, MAX_RANDOM_SIZE));
    for (size_t i = 0; i < size; i++)
        bytes[i] = random_byte(random);
    return size;
}

int main(int argc, char **argv) {
    static input files[MAX_FILES];
    static uint8_t bytes[2 * MAX_FILE_SIZE];
    size_t file_count = 0;
    save_when_it_crashes();
    for (int i = 1; i < argc && file_count < MAX_FILES; i++) {
        files[file_count] = read_file(argv[i]);
        run(files[file_count].bytes, files[file_count].size);
        file_count++;
    }

    const char *text = getenv("KVF_FUZZ_RUNS");
    unsigned long long runs = text ? strtoull(text, NULL, 10) : 0;
    time_t end = time(NULL) + USUAL_SECONDS;
    unsigned long long n = 0;
    for (; text ? n < runs : time(NULL) < end; n++) {
        test_random random = test_random_make(n);
        size_t size = make_input(&random, files, file_count, bytes, sizeof bytes);
        run(bytes, size);
    }
    printf("%zu files, %llu generated inputs\n", file_count, n);
    for (size_t i = 0; i < file_count; i++)
        free(files[i].bytes);
    return 0;
}
