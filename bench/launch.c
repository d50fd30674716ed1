#include "launch.h"

#include "device.h"
#include "measure.h"
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS UINT64_C(5000000000) /* beside the timeout, for what a rank does at its end */
#define NAP_NS   10000000

/* The ranks that were started. */
typedef struct herd {
    int ranks, left;
    pid_t *processes; /* by rank; 0: it has ended */
    bool killed;      /* those that were left */
} herd;

/* How many GPUs there are. Asked by another process: the runtime does not survive a fork. */
static int count_gpus(void) {
    int ends[2], count = 0, status = 0;
    fflush(NULL);
    if (pipe(ends) != 0) {
        fail(EXIT_CHECK, "pipe: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        count = device_count();
        exit(write(ends[1], &count, sizeof(count)) == (ssize_t)sizeof(count) ? 0 : EXIT_CHECK);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &count, sizeof(count)) != (ssize_t)sizeof(count)) {
        count = 0;
    }
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || count == 0) {
        bool told = child > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0;
        if (told) {
            exit(WEXITSTATUS(status));
        }
        fail(EXIT_CHECK, "cannot find out how many GPUs there are");
    }
    return count;
}

/* The GPU of each rank */

static int ranks_wanted(const rank_options *options, int gpus) {
    if (options->ranks > 0) {
        return options->ranks;
    }
    return options->devices.count > 0 ? (int)options->devices.count : gpus;
}

static void check_devices(const number_list *devices, int ranks, int gpus) {
    if (devices->count != (size_t)ranks) {
        fail(EXIT_USAGE, "--devices has %zu GPUs for %d ranks", devices->count, ranks);
    }
    for (size_t i = 0; i < devices->count; i++) {
        if (devices->values[i] >= (uint64_t)gpus) {
            fail(EXIT_USAGE, "--devices: there is no GPU %llu, they are 0 to %d",
                 (unsigned long long)devices->values[i], gpus - 1);
        }
        for (size_t other = 0; other < i; other++) {
            if (devices->values[other] == devices->values[i]) {
                fail(EXIT_USAGE, "--devices: GPU %llu is there twice, and ranks cannot share one",
                     (unsigned long long)devices->values[i]);
            }
        }
    }
}

static void check_gpus(const rank_options *options, int ranks, int gpus) {
    if (options->devices.count > 0) {
        check_devices(&options->devices, ranks, gpus);
    } else if (ranks > gpus) {
        fail(EXIT_USAGE, "%d ranks need as many GPUs, and there %s %d", ranks,
             gpus == 1 ? "is" : "are", gpus);
    }
}

static int device_of(const rank_options *options, int rank) {
    return options->devices.count > 0 ? (int)options->devices.values[rank] : rank;
}

/* Starting */

/* A free port, kept from everybody but those who share addresses on purpose, as the channel does.
 * Returns the socket that keeps it. */
static int reserve_port(char **address) {
    const int on = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(place);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&place, sizeof(place)) != 0 ||
        getsockname(fd, (struct sockaddr *)&place, &bytes) != 0 ||
        asprintf(address, "127.0.0.1:%u", (unsigned)ntohs(place.sin_port)) < 0) {
        fail(EXIT_CHECK, "no port to be had on this machine: %s", strerror(errno));
    }
    return fd;
}

static _Noreturn void be_rank(const rank_self *self, const launch_job *job, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* what nobody waits for is not to run on */
    if (getppid() != parent) {
        exit(EXIT_CHECK);
    }
    exit(job->run(self, job->context));
}

static void kill_all(herd *herd) {
    herd->killed = true;
    for (int rank = 0; rank < herd->ranks; rank++) {
        if (herd->processes[rank] > 0) {
            kill(herd->processes[rank], SIGKILL);
        }
    }
}

static void start_all(herd *herd, const rank_options *options, const launch_job *job,
                      char *address) {
    pid_t parent = getpid();
    fflush(NULL);
    for (int rank = 0; rank < herd->ranks; rank++) {
        rank_self self = {.rank = rank,
                          .ranks = herd->ranks,
                          .device = device_of(options, rank),
                          .local = rank,
                          .address = address};
        pid_t process = fork();
        if (process == 0) {
            be_rank(&self, job, parent);
        }
        if (process < 0) {
            int code = errno;
            kill_all(herd);
            fail(EXIT_CHECK, "fork: %s", strerror(code));
        }
        herd->processes[rank] = process;
        herd->left++;
    }
}

/* Waiting */

/* Its exit code; tells of what went wrong. */
static int end_of(const herd *herd, int rank, int status) {
    if (WIFSIGNALED(status)) {
        if (herd->killed) {
            return EXIT_CHECK; /* what it was killed for has been told */
        }
        fprintf(stderr, "kvferry: rank %d was killed by signal %d\n", rank, WTERMSIG(status));
        return EXIT_CHECK;
    }
    if (WEXITSTATUS(status) != 0) {
        fprintf(stderr, "kvferry: rank %d ended with exit code %d\n", rank, WEXITSTATUS(status));
    }
    return WEXITSTATUS(status);
}

/* One that ended, noted as such; -1 when none did. */
static int reap(herd *herd, bool wait, int *status) {
    pid_t process = waitpid(-1, status, wait ? 0 : WNOHANG);
    for (int rank = 0; process > 0 && rank < herd->ranks; rank++) {
        if (herd->processes[rank] == process) {
            herd->processes[rank] = 0;
            herd->left--;
            return rank;
        }
    }
    return -1;
}

static int wait_all(herd *herd, int64_t timeout_us) {
    const struct timespec nap = {.tv_nsec = NAP_NS};
    uint64_t deadline = 0; /* 0: none, all is well */
    int worst = 0;
    while (herd->left > 0) {
        int status = 0;
        int rank = reap(herd, deadline == 0, &status);
        int code = rank >= 0 ? end_of(herd, rank, status) : 0;
        if (code != 0 && deadline == 0) {
            deadline = clock_ns() + (uint64_t)timeout_us * 1000 + GRACE_NS;
        }
        bool late = deadline != 0 && clock_ns() > deadline;
        if (late && !herd->killed) {
            fprintf(stderr, "kvferry: %d ranks do not end, and are killed\n", herd->left);
        }
        if (late || code == EXIT_USAGE) {
            kill_all(herd);
        }
        worst = code > worst ? code : worst;
        if (rank < 0 && deadline != 0) {
            nanosleep(&nap, NULL);
        }
    }
    return worst;
}

static int launch_several(const rank_options *options, const launch_job *job, int ranks) {
    char *address = NULL;
    herd herd = {.ranks = ranks};
    int port = reserve_port(&address);
    herd.processes = must_grow(NULL, (size_t)ranks, sizeof(*herd.processes));
    memset(herd.processes, 0, (size_t)ranks * sizeof(*herd.processes));
    start_all(&herd, options, job, address);
    int code = wait_all(&herd, job->timeout_us);
    close(port);
    free(herd.processes);
    free(address);
    return code;
}

int launch(const rank_options *options, const launch_job *job) {
    int ranks = options->ranks;
    if (ranks != 1 || options->devices.count > 0) {
        int gpus = count_gpus();
        ranks = ranks_wanted(options, gpus);
        check_gpus(options, ranks, gpus);
    }
    if (ranks > 1) {
        return launch_several(options, job, ranks);
    }
    rank_self alone = {.ranks = 1,
                       .device = options->device >= 0 ? options->device : device_of(options, 0)};
    return job->run(&alone, job->context);
}
