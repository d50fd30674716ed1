/* A fake NCCL for tests, used together with the fake CUDA runtime: how tests control and query it.
 *
 * The library has the name of libnccl.so.2, so one test program runs on either. All symbols below
 * are weak: with the real library the functions are NULL, and FAKENCCL is false.
 *
 * How it implements nccl.h:
 * - Ranks are threads of one process, or processes. All bytes go through a shared file, which is
 *   deleted once all ranks have connected.
 * - An operation runs in its stream, in the communicator's order, and blocks the stream until its
 *   peers have arrived. A send ends when its last byte has been received; a collective starts on
 *   all ranks at once.
 * - Misuse that makes the real library hang or produce garbage is recorded as a violation: counts,
 *   kinds, roots and orders that differ; memory that is not the device's; groups left open;
 *   communicators that leak or are used by two threads at once, while in progress, or after their
 *   end.
 * - An operation that waits for longer than the patience is a violation, which says which rank
 * waits for which, and ends with an asynchronous error.
 * - An operation that fails, or whose communicator is aborted or revoked, leaves garbage in all
 *   memory that it would have written. So does a refused collective.
 * - For ThreadSanitizer, a receive happens after the send of its bytes; everything else is ordered
 * by streams only. Using one communicator from two threads without order is a race.
 *
 * The other ranks do not notice when a rank dies, just as with the real library on one host. Ranks
 * of different processes are on different devices if their device numbers differ.
 *
 * The fake refuses what it lacks: types other than bytes; reductions; groups of anything except
 * sends and receives of one communicator in one stream; operations inside a capture; more than 16
 * ranks; cudaStreamPerThread on a non-blocking communicator.
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

/* Zero is the default everywhere. */
typedef struct fakenccl_config {
    unsigned patience_ms; /* how long an operation may make no progress; 0: 20,000 */
    unsigned lag_us; /* how long calls on a non-blocking communicator stay in progress; 0: 200 */
    bool meet;       /* the first operation with a peer makes the connection, for which its call
                        waits on the host until the peer calls, too */
    bool no_windows; /* registering a window succeeds at once, with a NULL window */
    bool no_revoke;  /* revoking is refused */
    bool deaf;       /* revoking succeeds and ends nothing */
    int version;     /* the result of ncclGetVersion; 0: NCCL_VERSION_CODE */
} fakenccl_config;

/* Applies from now on. NULL: the defaults. */
FAKENCCL_API void fakenccl_configure(const fakenccl_config *config);

/* Ends a test: records leaks as violations and ends what leaked, prints all violations on stderr,
 * resets everything and returns the number of violations. Call it before fakecuda_reset, and while
 * no other thread is inside an NCCL call. */
FAKENCCL_API size_t fakenccl_reset(void);

/* The number of violations so far in this process; the text of one, valid until forgiven or reset,
 * NULL after the last; and dropping them, in a test that provoked them. */
FAKENCCL_API size_t fakenccl_violations(void);
FAKENCCL_API const char *fakenccl_violation(size_t index);
FAKENCCL_API void fakenccl_forgive(void);

/* Calls of a function so far; NULL: of all functions that can fail. */
FAKENCCL_API uint64_t fakenccl_calls(const char *function);

/* The nth call from now (1: the next) of a function (NULL: of any) returns the result and does
 * nothing; with `for_ever`, so do all later ones. Functions that free still do so, and ncclGroupEnd
 * closes the group and drops its operations. */
FAKENCCL_API void fakenccl_fail_call(const char *function, uint64_t nth, ncclResult_t result,
                                     bool for_ever);

/* The same, counting only calls on communicators in which the caller has that rank. */
FAKENCCL_API void fakenccl_fail_call_of(int rank, const char *function, uint64_t nth,
                                        ncclResult_t result, bool for_ever);

/* The nth operation of a rank from now does not happen when it would start on the device, nor does
 * the rest of its group, and its communicator fails with the result. Its peers do not learn of it.
 */
FAKENCCL_API void fakenccl_async_error(int rank, uint64_t nth, ncclResult_t result);

/* Kills the process when the nth operation of a rank from now starts on its device, while it holds
 * the lock that the ranks share. */
FAKENCCL_API void fakenccl_die(int rank, uint64_t nth);

/* Drops faults that have not happened yet. */
FAKENCCL_API void fakenccl_fail_nothing(void);

/* Delays everything that a rank does on its device. */
FAKENCCL_API void fakenccl_delay(int rank, unsigned microseconds);

typedef enum fakenccl_kind {
    FAKENCCL_SEND,
    FAKENCCL_RECV,
    FAKENCCL_BROADCAST,
    FAKENCCL_ALL_GATHER,
    FAKENCCL_KINDS
} fakenccl_kind;

/* Bytes of completed operations. A broadcast sends its bytes once, whatever the number of ranks; an
 * all-gather sends the rank's part. `received` counts bytes from other ranks. */
typedef struct fakenccl_traffic {
    uint64_t operations, sent, received; /* bytes */
} fakenccl_traffic;

/* Of a rank, over all communicators of this process that have the rank. */
FAKENCCL_API fakenccl_traffic fakenccl_traffic_of(int rank, fakenccl_kind kind);

/* The configuration of a communicator, without the names in it. False when the communicator never
 * existed. */
FAKENCCL_API bool fakenccl_comm_config(ncclComm_t comm, ncclConfig_t *out);

/* In NCCL since 2.28.7; declared here for older headers. A revoked communicator's state becomes
 * ncclSuccess in the real library, but ncclInvalidUsage here, so that no caller takes it for a
 * healthy one. */
ncclResult_t ncclCommRevoke(ncclComm_t comm, int revokeFlags);

#ifdef __cplusplus
}
#endif

#endif
