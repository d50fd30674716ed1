/* An NCCL for tests, beside the fake CUDA runtime: how a test steers it and asks it.
 *
 * The library stands in for libnccl.so.2 under its own name, so one test program runs on either.
 * Everything below is weak: under the real library the functions are NULL, and FAKENCCL is false.
 *
 * What it does behind nccl.h:
 * - ranks are threads of one process, or processes; all bytes go through a shared file, of which
 *   nothing is left once all ranks have come;
 * - an operation runs in its stream, in the communicator's order, and blocks it until its peers
 *   have come; a send ends when the last byte was received, a collective begins on all at once;
 * - what the real one answers with a hang or garbage is recorded as a violation: counts, kinds,
 *   roots and orders that differ, memory that is not the device's, groups left open, communicators
 *   left behind, used by two threads at once, in progress or after their end;
 * - an operation that waits for longer than the patience says who waits for whom, is a violation,
 *   and ends with an asynchronous error;
 * - an operation that fails, or whose communicator is aborted or revoked, leaves garbage in all
 *   memory it was to write, and so does a collective that is refused;
 * - under ThreadSanitizer a receive comes after the send that it got, and nothing else is ordered
 *   but by streams; using one communicator from two threads without order is a race.
 *
 * A rank that dies is not noticed by the others, just as within a real host. Ranks of different
 * processes are on different devices when the numbers of their devices differ.
 *
 * Not there: types but bytes, reductions, groups of anything but the sends and receives of one
 * communicator in one stream, operations inside a capture, more than 16 ranks, cudaStreamPerThread
 * on a non-blocking communicator. Each is refused.
 */
#ifndef KVF_TEST_FAKENCCL_H
#define KVF_TEST_FAKENCCL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nccl.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef FAKENCCL_BUILD
#define FAKENCCL_API __attribute__((visibility("default")))
#else
#define FAKENCCL_API __attribute__((weak))
#endif

/* Whether this program runs on the fake. */
#define FAKENCCL (fakenccl_reset != NULL)

#define FAKENCCL_RANKS 16 /* in a communicator */

/* Zero is the usual value of everything. */
typedef struct fakenccl_config {
    unsigned patience_ms; /* for what makes no progress; 20,000 when 0 */
    unsigned lag_us; /* that a call on a non-blocking communicator stays in progress; 200 when 0 */
    bool meet;       /* connections are made by the first operation with a peer, and the call
                        waits for the peer's, on the host */
    bool no_windows; /* registering a window succeeds at once, with a NULL window */
    bool no_revoke;  /* revoking is refused */
    bool deaf;       /* revoking succeeds and ends nothing */
    int version;     /* what ncclGetVersion says; NCCL_VERSION_CODE when 0 */
} fakenccl_config;

/* From now on. NULL is the usual. */
FAKENCCL_API void fakenccl_configure(const fakenccl_config *config);

/* Ends a test: records what was left behind, ends it, prints all violations on stderr, forgets
 * everything and returns how many there were. Before fakecuda_reset, and not while another thread
 * is inside an NCCL call. */
FAKENCCL_API size_t fakenccl_reset(void);

/* Violations so far in this process, the text of one (NULL behind the last; valid until forgiven or
 * reset), and forgetting them, in a test that provoked them. */
FAKENCCL_API size_t fakenccl_violations(void);
FAKENCCL_API const char *fakenccl_violation(size_t index);
FAKENCCL_API void fakenccl_forgive(void);

/* Calls so far of one function, or of all that can fail when NULL. */
FAKENCCL_API uint64_t fakenccl_calls(const char *function);

/* The nth call from now (1 the next) of a function, or of any when NULL, returns the result and
 * does nothing; all behind it too with `for_ever`. Calls that give back give back nevertheless, and
 * ncclGroupEnd closes the group and drops what is in it. */
FAKENCCL_API void fakenccl_fail_call(const char *function, uint64_t nth, ncclResult_t result,
                                     bool for_ever);

/* The same among the calls on communicators in which the caller has that rank. */
FAKENCCL_API void fakenccl_fail_call_of(int rank, const char *function, uint64_t nth,
                                        ncclResult_t result, bool for_ever);

/* The nth operation of a rank from now that begins on its device does not happen, nor do those of
 * its group, and its communicator fails with the result. Its peers are not told. */
FAKENCCL_API void fakenccl_async_error(int rank, uint64_t nth, ncclResult_t result);

/* The process is killed when the nth operation of a rank from now begins on its device, with the
 * lock that the ranks share in its hands. */
FAKENCCL_API void fakenccl_die(int rank, uint64_t nth);

/* Forgets faults that have not come yet. */
FAKENCCL_API void fakenccl_fail_nothing(void);

/* Everything that a rank does on its device begins that much later. */
FAKENCCL_API void fakenccl_delay(int rank, unsigned microseconds);

typedef enum fakenccl_kind {
    FAKENCCL_SEND,
    FAKENCCL_RECV,
    FAKENCCL_BROADCAST,
    FAKENCCL_ALL_GATHER,
    FAKENCCL_KINDS
} fakenccl_kind;

/* Of operations that were completed. A broadcast sends its bytes once, however many ranks there
 * are, an all-gather and a reduction what the rank puts in; received is what came from others. */
typedef struct fakenccl_traffic {
    uint64_t operations, sent, received; /* bytes */
} fakenccl_traffic;

/* Of a rank, in all communicators of this process in which somebody has that rank. */
FAKENCCL_API fakenccl_traffic fakenccl_traffic_of(int rank, fakenccl_kind kind);

/* The configuration a communicator was made with. False when there never was one. The names in it
 * are not kept. */
FAKENCCL_API bool fakenccl_comm_config(ncclComm_t comm, ncclConfig_t *out);

/* NCCL's from 2.28.7 on, whichever header there is. The real one's state is ncclSuccess again once
 * all is quiet, the fake's is ncclInvalidUsage, which nobody can take for health. */
ncclResult_t ncclCommRevoke(ncclComm_t comm, int revokeFlags);

#ifdef __cplusplus
}
#endif

#endif
