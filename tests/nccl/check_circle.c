/* What ranks tell each other beside a group: to rank 0 and back, and through a channel that a group
 * still receives from. */
#include "support.h"

#include "circle.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RANKS = 3, ROUNDS = 50 };

static const int64_t timeout_us = 10000000;

/* A port that nobody is likely to have. */
static char *address_of(char buffer[32]) {
    snprintf(buffer, 32, "127.0.0.1:%d", 30000 + (int)getpid() % 10000);
    return buffer;
}

/* What a rank's thread was given and saw. */
typedef struct member {
    rank_self self;
    uint64_t answers[ROUNDS];
} member;

static void *tell_numbers(void *argument) {
    member *member = argument;
    circle *circle = circle_open(&member->self, timeout_us);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t mine = round * 10 + (uint64_t)member->self.rank, all[RANKS] = {0};
        uint64_t *answer = &member->answers[round];
        circle_gather(circle, &mine, all, sizeof(mine));
        for (int rank = 0; rank < RANKS; rank++) {
            *answer += all[rank];
        }
        circle_answer(circle, answer);
    }
    circle_close(circle);
    return NULL;
}

static void all_tell_the_first(void **state) {
    (void)state;
    static member members[RANKS];
    pthread_t threads[RANKS];
    char address[32];
    address_of(address);
    for (int rank = 0; rank < RANKS; rank++) {
        members[rank].self = (rank_self){.rank = rank, .ranks = RANKS, .address = address};
        assert_int_equal(pthread_create(&threads[rank], NULL, tell_numbers, &members[rank]), 0);
    }
    for (int rank = 0; rank < RANKS; rank++) {
        pthread_join(threads[rank], NULL);
    }
    for (int rank = 0; rank < RANKS; rank++) {
        for (uint64_t round = 0; round < ROUNDS; round++) {
            assert_int_equal(members[rank].answers[round], RANKS * round * 10 + 3);
        }
    }
}

/* In a thread, which cmocka's own assertions cannot leave. */
static void must_send(const kvf_channel *channel, const char *text) {
    kvf_status status = channel->send(channel->user, 0, text, strlen(text), NULL);
    assert(status == KVF_OK);
    (void)status;
}

/* A rank that has left its group: its last message, then a word. */
static void *leave_and_tell(void *argument) {
    member *member = argument;
    circle *circle = circle_open(&member->self, timeout_us);
    const kvf_channel *channel = circle_channel(circle);
    uint64_t mine = 42;
    must_send(channel, "bye");
    circle_gather(circle, &mine, NULL, sizeof(mine));
    circle_answer(circle, &member->answers[0]);
    circle_close(circle);
    return NULL;
}

/* What a group is given of what comes: messages, and no words. */
static void words_pass_a_group_by(void **state) {
    (void)state;
    static member other;
    char address[32], message[KVF_CHANNEL_BYTES];
    const rank_self self = {.ranks = 2, .address = address_of(address)};
    pthread_t thread;
    kvf_error error = {0};
    size_t bytes = 0;
    int from = -1;
    uint64_t mine = 1, all[2] = {0}, answer = 7;
    other.self = (rank_self){.rank = 1, .ranks = 2, .address = address};
    assert_int_equal(pthread_create(&thread, NULL, leave_and_tell, &other), 0);
    circle *circle = circle_open(&self, timeout_us);
    const kvf_channel *channel = circle_channel(circle);
    assert_int_equal(channel->receive(channel->user, timeout_us, &from, message, sizeof(message),
                                      &bytes, &error),
                     KVF_OK);
    assert_int_equal(from, 1);
    assert_int_equal(bytes, 3);
    assert_memory_equal(message, "bye", 3);
    assert_int_equal(channel->receive(channel->user, timeout_us, &from, message, sizeof(message),
                                      &bytes, &error),
                     KVF_ERR_TIMEOUT); /* the word, put aside */
    assert_int_equal(error.status, KVF_ERR_TIMEOUT);
    circle_gather(circle, &mine, all, sizeof(mine));
    assert_int_equal(all[0], 1);
    assert_int_equal(all[1], 42);
    circle_answer(circle, &answer);
    pthread_join(thread, NULL);
    assert_int_equal(other.answers[0], 7);
    circle_close(circle);
}

/* What a group has left on the way is nobody's. */
static void *send_late(void *argument) {
    member *member = argument;
    circle *circle = circle_open(&member->self, timeout_us);
    const kvf_channel *channel = circle_channel(circle);
    uint64_t mine = 5;
    for (int i = 0; i < 20; i++) {
        must_send(channel, "late");
    }
    circle_gather(circle, &mine, NULL, sizeof(mine));
    circle_answer(circle, &member->answers[0]);
    circle_close(circle);
    return NULL;
}

static void drops_what_groups_leave(void **state) {
    (void)state;
    static member other;
    char address[32];
    const rank_self self = {.ranks = 2, .address = address_of(address)};
    pthread_t thread;
    uint64_t mine = 1, all[2] = {0}, answer = 9;
    other.self = (rank_self){.rank = 1, .ranks = 2, .address = address};
    assert_int_equal(pthread_create(&thread, NULL, send_late, &other), 0);
    circle *circle = circle_open(&self, timeout_us);
    circle_gather(circle, &mine, all, sizeof(mine));
    assert_int_equal(all[1], 5);
    circle_answer(circle, &answer);
    pthread_join(thread, NULL);
    assert_int_equal(other.answers[0], 9);
    circle_close(circle);
}

static void one_rank_needs_nobody(void **state) {
    (void)state;
    const rank_self self = {.ranks = 1};
    uint64_t mine = 3, all[1] = {0}, answer = 4;
    circle *circle = circle_open(&self, timeout_us);
    assert_null(circle_channel(circle));
    circle_gather(circle, &mine, all, sizeof(mine));
    assert_int_equal(all[0], 3);
    circle_answer(circle, &answer);
    assert_int_equal(answer, 4);
    circle_close(circle);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tell_the_first),
        cmocka_unit_test(words_pass_a_group_by),
        cmocka_unit_test(drops_what_groups_leave),
        cmocka_unit_test(one_rank_needs_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
