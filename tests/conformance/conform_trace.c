#include "conform.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A declared name: a sequence or assignments. */
struct object {
    char *name;
    kvf_sequence *sequence;
    kvf_assignments *assignments;
};

static object *find_object(const replay *r, const char *name, size_t length) {
    for (size_t i = 0; i < r->object_count; i++)
        if (strncmp(r->objects[i].name, name, length) == 0 && r->objects[i].name[length] == '\0')
            return &r->objects[i];
    return NULL;
}

/* Exactly one of the two is not NULL; a name keeps its kind. */
static void declare(replay *r, const char *name, kvf_sequence *sequence,
                    kvf_assignments *assignments) {
    object *o = find_object(r, name, strlen(name));
    if (!o) {
        r->objects = script_realloc(r->script, r->objects, r->object_count + 1, sizeof *r->objects);
        o = &r->objects[r->object_count++];
        *o = (object){.name = script_alloc(r->script, strlen(name) + 1, 1)};
        strcpy(o->name, name);
    } else if (sequence ? !o->sequence : !o->assignments) {
        script_die(r->script, "'%s' already names something else", name);
    }
    kvf_sequence_destroy(o->sequence);
    kvf_assignments_destroy(o->assignments);
    o->sequence = sequence;
    o->assignments = assignments;
}

static const kvf_assignments *need_assignments(const replay *r, const char *name) {
    const object *o = find_object(r, name, strlen(name));
    if (!o || !o->assignments)
        script_die(r->script, "unknown assignments '%s'", name);
    return o->assignments;
}

/* Answers. */

static void put_u64(replay *r, uint64_t value) {
    fprintf(r->out, "%" PRIu64, value);
}

static void put_range(replay *r, kvf_range range) {
    fprintf(r->out, "%" PRIu64 "..%" PRIu64, range.start, range.end);
}

static void put_pair(replay *r, uint64_t id, kvf_hash hash) {
    fprintf(r->out, "%" PRIu64 ":", id);
    put_hash(r, hash);
}

static void put_pair_or_none(replay *r, bool found, uint64_t id, kvf_hash hash) {
    if (found)
        put_pair(r, id, hash);
    else
        fputs("none", r->out);
}

static void put_separator(replay *r, size_t index) {
    if (index > 0)
        fputc(' ', r->out);
}

/* Only ids when `hashes` is NULL. */
static void put_list(replay *r, const uint64_t *ids, const kvf_hash *hashes, size_t count) {
    fputc('[', r->out);
    for (size_t i = 0; i < count; i++) {
        put_separator(r, i);
        if (hashes)
            put_pair(r, ids[i], hashes[i]);
        else
            put_u64(r, ids[i]);
    }
    fputc(']', r->out);
}

static void put_view(replay *r, kvf_view view) {
    put_list(r, view.ids, view.hashes, view.count);
}

static void put_plan(replay *r, kvf_plan plan) {
    fputc('[', r->out);
    for (size_t i = 0; i < plan.count; i++) {
        put_separator(r, i);
        fprintf(r->out, "%" PRIu64 ":%" PRIu64 ":%" PRIu64, plan.first_position + i,
                plan.src_ids[i], plan.dst_ids[i]);
    }
    fputc(']', r->out);
}

static void put_error(replay *r, kvf_status status, const kvf_error *e) {
    switch (status) {
    case KVF_ERR_ORDERING_VIOLATION:
        fprintf(r->out,
                "err ordering_violation known_id=%" PRIu64 " new_id=%" PRIu64
                " known_index=%" PRIu64 " first_new_index=%" PRIu64,
                e->id, e->other_id, e->index, e->other_index);
        break;
    case KVF_ERR_POSITION_MISMATCH:
        fprintf(r->out,
                "err position_mismatch expected=%" PRIu64 " actual=%" PRIu64 " block_id=%" PRIu64,
                e->expected, e->position, e->id);
        break;
    case KVF_ERR_DUPLICATE_BLOCK_ID:
        fprintf(r->out, "err duplicate_block_id block_id=%" PRIu64, e->id);
        break;
    default:
        fprintf(r->out, "err %s", kvf_status_name(status));
    }
}

/* Operations on a sequence; `w` has the words after their name. */

static void sequence_extend(replay *r, object *o, words w) {
    size_t count;
    uint32_t *tokens = parse_tokens(r->script, w.count > 0 ? w.word[0] : "", &count);
    kvf_range done = {0};
    kvf_error error = {0};
    kvf_status status = kvf_sequence_extend(o->sequence, tokens, count, &done, &error);
    free(tokens);
    if (status != KVF_OK)
        put_error(r, status, &error);
    else if (done.start == done.end)
        fputs("none", r->out);
    else
        put_range(r, done);
}

static void sequence_append(replay *r, object *o, words w) {
    kvf_range done = {0};
    kvf_error error = {0};
    kvf_status status =
        kvf_sequence_append(o->sequence, parse_token(r->script, w.word[0]), &done, &error);
    if (status != KVF_OK)
        put_error(r, status, &error);
    else if (done.start == done.end)
        fputs("none", r->out);
    else
        put_u64(r, done.start);
}

static void sequence_block(replay *r, object *o, words w) {
    kvf_token_block b;
    if (kvf_sequence_block(o->sequence, parse_u64(r->script, w.word[0]), &b, NULL) != KVF_OK) {
        fputs("none", r->out);
        return;
    }
    fprintf(r->out, "block_hash=%016" PRIx64 " sequence_hash=%016" PRIx64 " plh=", b.block_hash,
            b.sequence_hash);
    put_hash(r, b.lineage);
    fprintf(r->out, " position=%" PRIu64, b.position);
}

static void sequence_blocks(replay *r, object *o, words w) {
    (void)w;
    const kvf_hash *hashes = kvf_sequence_hashes(o->sequence);
    fputc('[', r->out);
    for (size_t i = 0; i < kvf_sequence_block_count(o->sequence); i++) {
        put_separator(r, i);
        put_hash(r, hashes[i]);
    }
    fputc(']', r->out);
}

static void sequence_block_count(replay *r, object *o, words w) {
    (void)w;
    put_u64(r, kvf_sequence_block_count(o->sequence));
}

static void sequence_total_tokens(replay *r, object *o, words w) {
    (void)w;
    put_u64(r, kvf_sequence_token_count(o->sequence));
}

/* Operations on assignments. */

#define READ(name, put, value)                                                                     \
    static void assignments_##name(replay *r, object *o, words w) {                                \
        (void)w;                                                                                   \
        put(r, value(o->assignments));                                                             \
    }
READ(offset, put_u64, kvf_assignments_offset)
READ(assigned_count, put_u64, kvf_assignments_assigned_count)
READ(staged_count, put_u64, kvf_assignments_staged_count)
READ(unassigned_count, put_u64, kvf_assignments_pending_count)
READ(next_position, put_u64, kvf_assignments_next_position)
READ(assigned_positions, put_range, kvf_assignments_assigned_positions)
READ(staged_positions, put_range, kvf_assignments_staged_positions)
READ(pending_positions, put_range, kvf_assignments_pending_positions)
READ(assigned_iter, put_view, kvf_assignments_assigned)
READ(staged_iter, put_view, kvf_assignments_staged)
READ(unassigned_iter, put_view, kvf_assignments_pending)
READ(commit_staged, put_range, kvf_assignments_commit_staged)
#undef READ

static void assignments_contains(replay *r, object *o, words w) {
    bool there = kvf_assignments_contains(o->assignments, parse_u64(r->script, w.word[0]));
    fputs(there ? "true" : "false", r->out);
}

#define GET(name)                                                                                  \
    static void assignments_##name(replay *r, object *o, words w) {                                \
        uint64_t id = 0;                                                                           \
        kvf_hash hash = {0};                                                                       \
        bool found =                                                                               \
            kvf_assignments_##name(o->assignments, parse_u64(r->script, w.word[0]), &id, &hash);   \
        put_pair_or_none(r, found, id, hash);                                                      \
    }
GET(get_assigned)
GET(get_staged)
GET(get_at_position)
#undef GET

static void assignments_get_pending_at_position(replay *r, object *o, words w) {
    uint64_t id;
    if (kvf_assignments_get_pending_at_position(o->assignments, parse_u64(r->script, w.word[0]),
                                                &id))
        put_u64(r, id);
    else
        fputs("none", r->out);
}

static void assignments_extend_block_ids(replay *r, object *o, words w) {
    uint64_t *ids = script_alloc(r->script, w.count, sizeof *ids);
    for (size_t i = 0; i < w.count; i++)
        ids[i] = parse_u64(r->script, w.word[i]);
    kvf_error error = {0};
    kvf_status status = kvf_assignments_extend_block_ids(o->assignments, ids, w.count, &error);
    free(ids);
    if (status != KVF_OK)
        put_error(r, status, &error);
    else
        fputs("ok", r->out);
}

static void assignments_extend_assigned(replay *r, object *o, words w) {
    uint64_t *ids = script_alloc(r->script, w.count, sizeof *ids);
    kvf_hash *hashes = script_alloc(r->script, w.count, sizeof *hashes);
    for (size_t i = 0; i < w.count; i++) {
        const char *at = w.word[i];
        ids[i] = take_u64(r->script, &at);
        take_text(r->script, &at, ":");
        hashes[i] = take_hash(r->script, &at);
        take_end(r->script, at);
    }
    kvf_error error = {0};
    kvf_status status =
        kvf_assignments_extend_assigned(o->assignments, ids, hashes, w.count, &error);
    free(ids);
    free(hashes);
    if (status != KVF_OK)
        put_error(r, status, &error);
    else
        fprintf(r->out, "ok %zu", w.count);
}

/* NAME[LO..HI], appended to the hashes. */
static kvf_hash *take_slice(replay *r, const char **at, kvf_hash *hashes, size_t *count) {
    size_t length = strcspn(*at, "[");
    const object *o = find_object(r, *at, length);
    if (!o || !o->sequence)
        script_die(r->script, "unknown sequence '%.*s'", (int)(length < 40 ? length : 40), *at);
    *at += length;
    take_text(r->script, at, "[");
    uint64_t low = take_u64(r->script, at);
    take_text(r->script, at, "..");
    uint64_t high = take_u64(r->script, at);
    take_text(r->script, at, "]");
    if (low > high || high > kvf_sequence_block_count(o->sequence))
        script_die(r->script, "range of blocks exceeds the sequence: %" PRIu64 "..%" PRIu64, low,
                   high);
    size_t added = (size_t)(high - low);
    hashes = script_realloc(r->script, hashes, *count + added, sizeof *hashes);
    if (added > 0)
        memcpy(hashes + *count, kvf_sequence_hashes(o->sequence) + low, added * sizeof *hashes);
    *count += added;
    return hashes;
}

typedef kvf_status stage_function(kvf_assignments *assignments, const kvf_hash *hashes,
                                  size_t count, kvf_range *staged, kvf_error *error);

static void stage(replay *r, object *o, const char *slice, stage_function *function) {
    size_t count = 0;
    kvf_hash *hashes = take_slice(r, &slice, NULL, &count);
    while (took_text(&slice, "+"))
        hashes = take_slice(r, &slice, hashes, &count);
    take_end(r->script, slice);
    kvf_range range;
    kvf_error error = {0};
    kvf_status status = function(o->assignments, hashes, count, &range, &error);
    free(hashes);
    if (status != KVF_OK) {
        put_error(r, status, &error);
        return;
    }
    fputs("ok ", r->out);
    put_range(r, range);
}

static void assignments_stage_pending(replay *r, object *o, words w) {
    stage(r, o, w.word[0], kvf_assignments_stage_pending);
}

static void assignments_assign_pending(replay *r, object *o, words w) {
    stage(r, o, w.word[0], kvf_assignments_assign_pending);
}

static void assignments_take_staged(replay *r, object *o, words w) {
    (void)w;
    size_t count = kvf_assignments_staged_count(o->assignments);
    uint64_t *ids = script_alloc(r->script, count, sizeof *ids);
    kvf_hash *hashes = script_alloc(r->script, count, sizeof *hashes);
    kvf_error error = {0};
    kvf_status status =
        kvf_assignments_take_staged(o->assignments, ids, hashes, count, &count, &error);
    if (status != KVF_OK)
        put_error(r, status, &error);
    else
        put_list(r, ids, hashes, count);
    free(ids);
    free(hashes);
}

static void assignments_clear(replay *r, object *o, words w) {
    (void)w;
    kvf_assignments_clear(o->assignments);
    fputs("ok", r->out);
}

static void assignments_debug(replay *r, object *o, words w) {
    (void)w;
    char text[256];
    kvf_assignments_format(o->assignments, text, sizeof text);
    fputs(text, r->out);
}

/* Lines that start with a keyword. */

static void declare_sequence(replay *r, words w) {
    kvf_sequence *made = make_sequence(r, w, false);
    if (!made)
        return;
    declare(r, w.word[1], made, NULL);
    fprintf(r->out, "ok blocks=%zu total_tokens=%zu", kvf_sequence_block_count(made),
            kvf_sequence_token_count(made));
}

static void declare_assignments(replay *r, words w) {
    const kvf_assignments_options options = {
        .offset = parse_u64(r->script, w.word[2]),
        .layout = r->layout,
    };
    kvf_assignments *made = NULL;
    kvf_error error = {0};
    kvf_status status = kvf_assignments_create(&options, &made, &error);
    if (status != KVF_OK) {
        put_error(r, status, &error);
        return;
    }
    declare(r, w.word[1], NULL, made);
    fputs("ok", r->out);
}

static void zip_assigned(replay *r, words w) {
    put_plan(r, kvf_zip_assigned(need_assignments(r, w.word[1]), need_assignments(r, w.word[2])));
}

static void zip_assigned_pending(replay *r, words w) {
    put_plan(r, kvf_zip_assigned_pending(need_assignments(r, w.word[1]),
                                         need_assignments(r, w.word[2])));
}

static void set_hash_layout(replay *r, words w) {
    if (strcmp(w.word[1], "v1.2") == 0)
        r->layout = KVF_HASH_V1_2;
    else if (strcmp(w.word[1], "v1.3") == 0)
        r->layout = KVF_HASH_V1_3;
    else
        script_die(r->script, "unknown hash layout '%s'", w.word[1]);
    fputs("ok", r->out);
}

typedef struct operation {
    const char *name;
    size_t min, max; /* words after the name */
    void (*run)(replay *r, object *o, words w);
} operation;

static const operation sequence_operations[] = {
    {"extend_tokens", 0, 1, sequence_extend},
    {"append_token", 1, 1, sequence_append},
    {"block", 1, 1, sequence_block},
    {"blocks", 0, 0, sequence_blocks},
    {"block_count", 0, 0, sequence_block_count},
    {"total_tokens", 0, 0, sequence_total_tokens},
    {0},
};

static const operation assignments_operations[] = {
    {"offset", 0, 0, assignments_offset},
    {"assigned_count", 0, 0, assignments_assigned_count},
    {"staged_count", 0, 0, assignments_staged_count},
    {"unassigned_count", 0, 0, assignments_unassigned_count},
    {"next_position", 0, 0, assignments_next_position},
    {"contains", 1, 1, assignments_contains},
    {"get_assigned", 1, 1, assignments_get_assigned},
    {"get_staged", 1, 1, assignments_get_staged},
    {"get_at_position", 1, 1, assignments_get_at_position},
    {"get_pending_at_position", 1, 1, assignments_get_pending_at_position},
    {"assigned_iter", 0, 0, assignments_assigned_iter},
    {"staged_iter", 0, 0, assignments_staged_iter},
    {"unassigned_iter", 0, 0, assignments_unassigned_iter},
    {"assigned_positions", 0, 0, assignments_assigned_positions},
    {"staged_positions", 0, 0, assignments_staged_positions},
    {"pending_positions", 0, 0, assignments_pending_positions},
    {"extend_block_ids", 0, SIZE_MAX, assignments_extend_block_ids},
    {"extend_assigned", 0, SIZE_MAX, assignments_extend_assigned},
    {"stage_pending", 1, 1, assignments_stage_pending},
    {"assign_pending", 1, 1, assignments_assign_pending},
    {"commit_staged", 0, 0, assignments_commit_staged},
    {"take_staged", 0, 0, assignments_take_staged},
    {"clear", 0, 0, assignments_clear},
    {"debug", 0, 0, assignments_debug},
    {0},
};

static bool object_answer(replay *r, words w) {
    object *o = find_object(r, w.word[0], strlen(w.word[0]));
    if (!o || w.count < 2)
        return false;
    words operands = {w.word + 2, w.count - 2};
    const operation *op = o->sequence ? sequence_operations : assignments_operations;
    for (; op->name; op++)
        if (strcmp(w.word[1], op->name) == 0 && operands.count >= op->min &&
            operands.count <= op->max) {
            op->run(r, o, operands);
            return true;
        }
    return false;
}

static bool keyword_answer(replay *r, words w) {
    static const struct {
        const char *name;
        size_t word_count;
        void (*run)(replay *r, words w);
    } kinds[] = {
        {"seq", 5, declare_sequence},        {"new", 3, declare_assignments},
        {"zip_assigned", 3, zip_assigned},   {"zip_assigned_pending", 3, zip_assigned_pending},
        {"hash_layout", 2, set_hash_layout},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(w.word[0], kinds[i].name) == 0 && w.count == kinds[i].word_count) {
            kinds[i].run(r, w);
            return true;
        }
    return false;
}

/* Names take precedence: any word may be one. */
bool trace_answer(replay *r, words w) {
    return object_answer(r, w) || keyword_answer(r, w);
}

void trace_end(replay *r) {
    for (size_t i = 0; i < r->object_count; i++) {
        kvf_sequence_destroy(r->objects[i].sequence);
        kvf_assignments_destroy(r->objects[i].assignments);
        free(r->objects[i].name);
    }
    free(r->objects);
}
