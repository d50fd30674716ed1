#ifndef KVFERRY_ASSIGNMENTS_H
#define KVFERRY_ASSIGNMENTS_H
#include "sequence.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_assignments kvf_assignments;
typedef enum kvf_phase {
    KVF_PHASE_NONE,
    KVF_PHASE_ASSIGNED,
    KVF_PHASE_STAGED,
    KVF_PHASE_PENDING,
} kvf_phase;
typedef struct kvf_view {
    const uint64_t *ids;
    const kvf_hash *hashes;
    size_t count;
    uint64_t first_position;
} kvf_view;
typedef struct kvf_assignments_options {
    uint64_t offset;
    kvf_hash_layout layout;
    const kvf_allocator *allocator;
} kvf_assignments_options;
KVF_API kvf_status kvf_assignments_create(const kvf_assignments_options *options,
                                          kvf_assignments **out, kvf_error *error);
KVF_API void kvf_assignments_destroy(kvf_assignments *assignments);
KVF_API kvf_status kvf_assignments_clone(const kvf_assignments *assignments, kvf_assignments **out,
                                         kvf_error *error);
KVF_API uint64_t kvf_assignments_offset(const kvf_assignments *assignments);
KVF_API kvf_hash_layout kvf_assignments_hash_layout(const kvf_assignments *assignments);
KVF_API size_t kvf_assignments_assigned_count(const kvf_assignments *assignments);
KVF_API size_t kvf_assignments_staged_count(const kvf_assignments *assignments);
KVF_API size_t kvf_assignments_pending_count(const kvf_assignments *assignments);
KVF_API uint64_t kvf_assignments_next_position(const kvf_assignments *assignments);
KVF_API kvf_range kvf_assignments_assigned_positions(const kvf_assignments *assignments);
KVF_API kvf_range kvf_assignments_staged_positions(const kvf_assignments *assignments);
KVF_API kvf_range kvf_assignments_pending_positions(const kvf_assignments *assignments);
KVF_API kvf_view kvf_assignments_assigned(const kvf_assignments *assignments);
KVF_API kvf_view kvf_assignments_staged(const kvf_assignments *assignments);
KVF_API kvf_view kvf_assignments_pending(const kvf_assignments *assignments);
KVF_API bool kvf_assignments_contains(const kvf_assignments *assignments, uint64_t id);
KVF_API kvf_phase kvf_assignments_find(const kvf_assignments *assignments, uint64_t id,
                                       size_t *index);
KVF_API bool kvf_assignments_get_assigned(const kvf_assignments *assignments, size_t index,
                                          uint64_t *id, kvf_hash *hash);
KVF_API bool kvf_assignments_get_staged(const kvf_assignments *assignments, size_t index,
                                        uint64_t *id, kvf_hash *hash);
KVF_API bool kvf_assignments_get_at_position(const kvf_assignments *assignments, uint64_t position,
                                             uint64_t *id, kvf_hash *hash);
KVF_API bool kvf_assignments_get_pending_at_position(const kvf_assignments *assignments,
                                                     uint64_t position, uint64_t *id);
KVF_API int kvf_assignments_format(const kvf_assignments *assignments, char *buffer, size_t size);
KVF_API size_t kvf_assignments_memory(const kvf_assignments *assignments);
KVF_API kvf_status kvf_assignments_extend_block_ids(kvf_assignments *assignments,
                                                    const uint64_t *ids, size_t count,
                                                    kvf_error *error);
KVF_API kvf_status kvf_assignments_extend_assigned(kvf_assignments *assignments,
                                                   const uint64_t *ids, const kvf_hash *hashes,
                                                   size_t count, kvf_error *error);
KVF_API kvf_status kvf_assignments_stage_pending(kvf_assignments *assignments,
                                                 const kvf_hash *hashes, size_t count,
                                                 kvf_range *staged, kvf_error *error);
KVF_API kvf_status kvf_assignments_stage_next(kvf_assignments *assignments, const kvf_hash *hashes,
                                              size_t count, kvf_range *staged, kvf_error *error);
KVF_API kvf_range kvf_assignments_commit_staged(kvf_assignments *assignments);
KVF_API kvf_status kvf_assignments_assign_pending(kvf_assignments *assignments,
                                                  const kvf_hash *hashes, size_t count,
                                                  kvf_range *assigned, kvf_error *error);
KVF_API kvf_status kvf_assignments_take_staged(kvf_assignments *assignments, uint64_t *ids,
                                               kvf_hash *hashes, size_t capacity, size_t *count,
                                               kvf_error *error);
KVF_API void kvf_assignments_clear(kvf_assignments *assignments);
KVF_API kvf_status kvf_assignments_rollback_staged(kvf_assignments *assignments, size_t count,
                                                   kvf_error *error);
KVF_API kvf_status kvf_assignments_commit_oldest(kvf_assignments *assignments, size_t count,
                                                 kvf_error *error);
KVF_API kvf_status kvf_assignments_truncate(kvf_assignments *assignments, uint64_t position,
                                            kvf_error *error);
KVF_API kvf_status kvf_assignments_drop_front(kvf_assignments *assignments, size_t count,
                                              kvf_error *error);
KVF_API kvf_status kvf_assignments_reserve(kvf_assignments *assignments, size_t count,
                                           kvf_error *error);
#ifdef __cplusplus
}
#endif
#endif
