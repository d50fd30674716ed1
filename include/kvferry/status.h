/** @file
 * Statuses, error details and the caller's allocator.
 *
 * @par Threads
 * Any thread, at any time: nothing here has state.
 *
 * @par Ownership
 * A kvf_error is the caller's and owns nothing. An object copies its kvf_allocator when it is
 * created; what `user` is stays the caller's.
 *
 * @par Lifetimes
 * Texts that functions return, and `what` of a kvf_error, are static. What an allocator calls is
 * needed until every object that was given it is gone, and what keeps such an object: its header
 * says which.
 *
 * @par Errors
 * Every function that can fail returns a kvf_status. Functions that can say more take an optional
 * `kvf_error *` as their last argument: NULL is fine, it is written on failure only, and
 * KVF_PENDING is none. A failed call changes nothing but the details, unless its comment says
 * otherwise, and writes no other output. NULL for what a function needs is KVF_ERR_INVALID where it
 * returns a status.
 */
#ifndef KVFERRY_STATUS_H
#define KVFERRY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Before every public function: it is exported. */
#if defined(__GNUC__)
#define KVF_API __attribute__((visibility("default")))
#else
#define KVF_API
#endif

/** Of kvf_status: a C++17 compiler warns where a call's status is dropped. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define KVF_CHECKED [[nodiscard]]
#else
#define KVF_CHECKED
#endif

/* Before 1.0 a minor version may change anything; a patch version only adds. The full rule is in
 * include/README.md of the source tree. */

/** The first number of the version of these headers. */
#define KVF_VERSION_MAJOR 0
/** The second number of the version of these headers. */
#define KVF_VERSION_MINOR 1
/** The third number of the version of these headers. */
#define KVF_VERSION_PATCH 0
/** The version of these headers, "major.minor.patch". */
#define KVF_VERSION_STRING "0.1.0"

/** The version of the library that is running, "major.minor.patch". */
KVF_API const char *kvf_version(void);

/** How a call went. */
typedef enum KVF_CHECKED kvf_status {
    KVF_OK,                     /**< Done. */
    KVF_PENDING,                /**< Not finished yet; no error. */
    KVF_ERR_INVALID,            /**< An argument that is never allowed, such as NULL. */
    KVF_ERR_NO_MEMORY,          /**< Out of host, pinned or device memory. */
    KVF_ERR_RANGE,              /**< An id, index, position, count or size out of range. */
    KVF_ERR_ORDERING_VIOLATION, /**< A known block id comes after a new one. */
    KVF_ERR_POSITION_MISMATCH,  /**< The hash of a block belongs to another position. */
    KVF_ERR_DUPLICATE_BLOCK_ID, /**< A block id is present already, or comes twice. */
    KVF_ERR_GAP,                /**< A plan does not begin at the destination's next position. */
    KVF_ERR_LINEAGE,            /**< The source does not continue the destination's prefix. */
    KVF_ERR_BUSY,               /**< Blocks are in flight or in use. */
    KVF_ERR_CLOSED,             /**< The flight, its tracker or the group is no longer open. */
    KVF_ERR_CONFLICT,           /**< Blocks of one move conflict: one destination twice, say. */
    KVF_ERR_LAYOUT,             /**< A layout is invalid, or two of them disagree. */
    KVF_ERR_AGAIN,              /**< The engine is full: try again later. */
    KVF_ERR_TIMEOUT,            /**< The time is up. A transfer that was waited for goes on. */
    KVF_ERR_CANCELLED,          /**< It was cancelled before its end. */
    KVF_ERR_CORRUPT,            /**< A block does not match its checksum. */
    KVF_ERR_UNSUPPORTED,        /**< The device, engine or tier cannot do this. */
    KVF_ERR_ENGINE,             /**< The runtime or the system failed; see `native_code`. */
    KVF_ERR_BROKEN, /**< The engine, the group, or the runtime below can no longer be used. */
    KVF_ERR_PEER,   /**< Another rank failed, is missing or disagrees. */
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
 * Details of one error. Plain data owned by the caller.
 *
 * For the errors of the reference: ORDERING_VIOLATION has known_id in `id`, new_id in `other_id`,
 * known_index in `index`, first_new_index in `other_index`; POSITION_MISMATCH has block_id in `id`,
 * actual in `position` and expected in `expected`; DUPLICATE_BLOCK_ID has block_id in `id`.
 */
typedef struct kvf_error {
    kvf_status status;    /**< What the call returned. */
    uint32_t fields;      /**< KVF_ERROR_* bits of the members that are set. */
    const char *what;     /**< The rule that was broken; static text, may be NULL. */
    int native_code;      /**< errno, or the code of the runtime below. */
    uint64_t id;          /**< The offending block id. */
    uint64_t other_id;    /**< The id it collides with. */
    uint64_t index;       /**< Index of the offender in its list (ids, plans, regions, ...). */
    uint64_t other_index; /**< Index of what it collides with. */
    uint64_t position;    /**< Absolute block position. */
    uint64_t expected;    /**< The position, count or size that was expected. */
} kvf_error;

/** The status's name ("KVF_ERR_RANGE"), or "unknown status". */
KVF_API const char *kvf_status_name(kvf_status status);

/** The status's text ("out of range"), or "unknown status". */
KVF_API const char *kvf_status_text(kvf_status status);

/**
 * Writes the error as one line without a newline, always terminated when `size` > 0. The three
 * errors of the reference have the reference's text. Returns the length of the whole text, as
 * snprintf does; `buffer` may be NULL when `size` is 0.
 */
KVF_API int kvf_error_format(const kvf_error *error, char *buffer, size_t size);

/**
 * The caller's allocator.
 *
 * `resize` gets a block of `old_size` bytes (NULL and 0 for none) and returns one of `new_size`
 * bytes, aligned for any type, with the common prefix kept; NULL leaves the old block as it was.
 * `new_size` 0 frees and returns NULL. It is called on whatever thread uses the object; for
 * engines, tiers and transfers that may be several at a time. A NULL allocator means malloc. What
 * the C library and other libraries take for work of their own, such as sorting, files and threads,
 * does not come from here.
 */
typedef struct kvf_allocator {
    /** Makes, resizes or frees a block. NULL: malloc, as without an allocator. */
    void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
    void *user; /**< Given to every call. */
} kvf_allocator;

/** Half open: start <= x < end. */
typedef struct kvf_range {
    uint64_t start; /**< The first. */
    uint64_t end;   /**< The first behind it. */
} kvf_range;

#ifdef __cplusplus
}
#endif
#endif
