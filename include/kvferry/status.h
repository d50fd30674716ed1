/** @file
 * Statuses, error details and the caller's allocator.
 *
 * @par Threads
 * Any thread, at any time: nothing here has state.
 *
 * @par Ownership
 * A kvf_error belongs to the caller and owns nothing. An object copies its kvf_allocator when it is
 * created; `user` stays the caller's.
 *
 * @par Lifetimes
 * Texts that functions return, and the `what` of a kvf_error, are static. An allocator must outlive
 * every object created with it, and every object that keeps one of those alive; their headers name
 * these.
 *
 * @par Errors
 * Every function that can fail returns a kvf_status. A function with more to say takes an optional
 * `kvf_error *` as its last argument. NULL is allowed there; the details are written on failure
 * only, and KVF_PENDING is not a failure. Unless its comment says otherwise, a failed call changes
 * nothing and writes no output but the details. Functions that return a status answer
 * KVF_ERR_INVALID if a required argument is NULL.
 */
#ifndef KVFERRY_STATUS_H
#define KVFERRY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks a public function: the library exports it. */
#if defined(__GNUC__)
#define KVF_API __attribute__((visibility("default")))
#else
#define KVF_API
#endif

/** Marks kvf_status: a C++17 compiler warns about a call whose status is ignored. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define KVF_CHECKED [[nodiscard]]
#else
#define KVF_CHECKED
#endif

/* Before 1.0 a minor version may change anything; a patch version only adds. The full rule is in
 * include/README.md of the source tree. */

/** Major version of these headers. */
#define KVF_VERSION_MAJOR 0
/** Minor version of these headers. */
#define KVF_VERSION_MINOR 1
/** Patch version of these headers. */
#define KVF_VERSION_PATCH 0
/** The version of these headers, "major.minor.patch". */
#define KVF_VERSION_STRING "0.1.0"

/** The version of the library at run time, "major.minor.patch". Static text. */
KVF_API const char *kvf_version(void);

/** The result of a call. */
typedef enum KVF_CHECKED kvf_status {
    KVF_OK,                     /**< Success. */
    KVF_PENDING,                /**< Not finished yet; not an error. */
    KVF_ERR_INVALID,            /**< An argument that is never allowed, such as NULL. */
    KVF_ERR_NO_MEMORY,          /**< Out of host, pinned or device memory. */
    KVF_ERR_RANGE,              /**< An id, index, position, count or size is out of range. */
    KVF_ERR_ORDERING_VIOLATION, /**< A known block id follows a new one. */
    KVF_ERR_POSITION_MISMATCH,  /**< A block's hash names another position. */
    KVF_ERR_DUPLICATE_BLOCK_ID, /**< A block id is already present, or occurs twice. */
    KVF_ERR_GAP,                /**< The plan does not start at the destination's next position. */
    KVF_ERR_LINEAGE,            /**< The source does not continue the destination's prefix. */
    KVF_ERR_BUSY,               /**< Blocks are in flight or in use. */
    KVF_ERR_CLOSED,             /**< The flight, assignments or group is no longer open. */
    KVF_ERR_CONFLICT,           /**< Blocks of one move conflict: one destination twice, say. */
    KVF_ERR_LAYOUT,             /**< A layout is invalid, or two layouts disagree. */
    KVF_ERR_AGAIN,              /**< The engine is full; try again later. */
    KVF_ERR_TIMEOUT,            /**< Time ran out. A transfer that was waited for continues. */
    KVF_ERR_CANCELLED,          /**< Cancelled before it finished. */
    KVF_ERR_CORRUPT,            /**< A block does not match its checksum. */
    KVF_ERR_UNSUPPORTED,        /**< The device, engine or tier cannot do this. */
    KVF_ERR_ENGINE,             /**< The runtime or the system failed; see `native_code`. */
    KVF_ERR_BROKEN,             /**< The engine, the group or the runtime is unusable. */
    KVF_ERR_PEER,               /**< Another rank failed, is missing or disagrees. */
} kvf_status;

/** Which members of a kvf_error are set. */
enum {
    KVF_ERROR_ID = 1 << 0,          /**< `id` */
    KVF_ERROR_OTHER_ID = 1 << 1,    /**< `other_id` */
    KVF_ERROR_INDEX = 1 << 2,       /**< `index` */
    KVF_ERROR_OTHER_INDEX = 1 << 3, /**< `other_index` */
    KVF_ERROR_POSITION = 1 << 4,    /**< `position` */
    KVF_ERROR_EXPECTED = 1 << 5,    /**< `expected` */
    KVF_ERROR_NATIVE_CODE = 1 << 6, /**< `native_code` */
};

/**
 * Details of one error: plain data owned by the caller.
 *
 * Three errors come from the reference (see assignments.h) and fill it as follows, with the
 * reference's names. ORDERING_VIOLATION: known_id in `id`, new_id in `other_id`, known_index in
 * `index`, first_new_index in `other_index`. POSITION_MISMATCH: block_id in `id`, actual in
 * `position`, expected in `expected`. DUPLICATE_BLOCK_ID: block_id in `id`.
 */
typedef struct kvf_error {
    kvf_status status;    /**< What the call returned. */
    uint32_t fields;      /**< KVF_ERROR_* bits of the members that are set. */
    const char *what;     /**< The rule that was broken; static text, may be NULL. */
    int native_code;      /**< errno, or the code of the underlying runtime. */
    uint64_t id;          /**< The offending block id. */
    uint64_t other_id;    /**< The id it collides with. */
    uint64_t index;       /**< Index of the offender in its list (ids, plans, regions, ...). */
    uint64_t other_index; /**< Index of what it collides with. */
    uint64_t position;    /**< Absolute position, in blocks. */
    uint64_t expected;    /**< The expected position, or the allowed count or size. */
} kvf_error;

/** The status's name ("KVF_ERR_RANGE"), or "unknown status". Static text. */
KVF_API const char *kvf_status_name(kvf_status status);

/** The status's text ("out of range"), or "unknown status". Static text. */
KVF_API const char *kvf_status_text(kvf_status status);

/**
 * Writes the error as one line, without a newline, into `buffer` of `size` bytes, and terminates it
 * if `size` > 0. The three errors of the reference have the reference's text. Returns the length of
 * the whole text, as snprintf does; `buffer` may be NULL if `size` is 0.
 */
KVF_API int kvf_error_format(const kvf_error *error, char *buffer, size_t size);

/**
 * The caller's allocator. Where an allocator is optional, NULL means malloc.
 *
 * `resize` turns `block`, memory of `old_size` bytes (NULL and 0 for none), into memory of
 * `new_size` bytes, aligned for any type, and keeps the common prefix. If that fails, it returns
 * NULL and leaves the old memory unchanged. `new_size` 0 frees the memory and returns NULL. It runs
 * on whichever thread uses the object; for engines, tiers and transfers several threads may call it
 * at a time. Memory that the C library and other libraries allocate for their own use (sorting,
 * files, threads) does not come from here.
 */
typedef struct kvf_allocator {
    /** Allocates, resizes or frees memory. NULL: malloc, as without an allocator. */
    void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
    void *user; /**< Passed to every call. */
} kvf_allocator;

/** A half-open range: start <= x < end. */
typedef struct kvf_range {
    uint64_t start; /**< The first value. */
    uint64_t end;   /**< One past the last value. */
} kvf_range;

#ifdef __cplusplus
}
#endif
#endif
