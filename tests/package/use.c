/* A program that uses an installed kvferry, in C11 and, as use.cpp, in C++17. */
#include <kvferry/kvferry.h>

#include <stdio.h>
#include <string.h>

enum { TOKENS = 1000, BLOCK = 16, BLOCKS = 62 };

static int failed;

static void expect(bool holds, const char *what) {
    if (!holds) {
        printf("%s\n", what);
        failed = 1;
    }
}

/* Assigns all complete blocks of a sequence to ids. */
static void track(const kvf_sequence *sequence) {
    uint64_t ids[BLOCKS], id = 0;
    kvf_hash hash;
    kvf_assignments *assignments = NULL;
    for (uint64_t i = 0; i < BLOCKS; i++)
        ids[i] = 100 + i;
    expect(kvf_assignments_create(NULL, &assignments, NULL) == KVF_OK, "cannot create assignments");
    expect(kvf_assignments_extend_block_ids(assignments, ids, BLOCKS, NULL) == KVF_OK,
           "cannot add ids");
    expect(kvf_assignments_assign_pending(assignments, kvf_sequence_hashes(sequence), BLOCKS, NULL,
                                          NULL) == KVF_OK,
           "not assigned");
    expect(kvf_assignments_assigned_count(assignments) == BLOCKS, "too few assigned");
    expect(kvf_assignments_get_at_position(assignments, 7, &id, &hash) && id == 107, "wrong id");
    expect(memcmp(&hash, &kvf_sequence_hashes(sequence)[7], sizeof hash) == 0, "another hash");
    kvf_assignments_destroy(assignments);
}

int main(void) {
    uint32_t tokens[TOKENS];
    kvf_sequence_options options = {BLOCK, 0, KVF_HASH_V1_2, NULL};
    kvf_sequence *sequence = NULL;
    kvf_engine *engine = NULL;
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = i % 97;
    expect(strcmp(kvf_version(), KVF_VERSION_STRING) == 0, "library and headers differ");
    expect(kvf_sequence_create(&options, &sequence, NULL) == KVF_OK, "no sequence");
    expect(kvf_sequence_extend(sequence, tokens, TOKENS, NULL, NULL) == KVF_OK, "no tokens");
    expect(kvf_sequence_block_count(sequence) == BLOCKS, "wrong number of blocks");
    track(sequence);
    kvf_sequence_destroy(sequence);
    expect(kvf_engine_host_create(NULL, &engine, NULL) == KVF_OK, "no engine");
    kvf_engine_destroy(engine);
    if (!failed)
        printf("kvferry %s works\n", kvf_version());
    return failed;
}
