/*
 * A group's thread may still receive on one rank when another has left its group and goes on here.
 * So the group's channel is one that puts words of a circle aside. Of a rank there is one at most,
 * since it says nothing before it has its answer.
 */
#include "circle.h"

#include "measure.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Unlike a group's messages, which begin with a version. */
static const char magic[8] = "kvferry";

typedef struct word {
    char magic[8];
    uint64_t bytes;
    unsigned char content[CIRCLE_BYTES];
} word;

_Static_assert(sizeof(word) <= KVF_CHANNEL_BYTES, "a word is a message");

struct circle {
    int rank, ranks;
    int64_t timeout_us;
    kvf_channel channel; /* the real one */
    kvf_channel outside; /* what a group gets */
    word *aside;         /* [ranks] by the rank that said it; bytes 0: none */
};

/* Puts a message aside if it is a word. */
static bool put_aside(circle *circle, int from, const void *message, size_t bytes) {
    word said;
    if (bytes != sizeof(said)) {
        return false;
    }
    memcpy(&said, message, sizeof(said));
    if (memcmp(said.magic, magic, sizeof(magic)) != 0 || said.bytes < 1 ||
        said.bytes > CIRCLE_BYTES) {
        return false;
    }
    circle->aside[from] = said;
    return true;
}

/* The group's channel */

static kvf_status send_through(void *user, int to, const void *message, size_t bytes,
                               kvf_error *error) {
    const circle *circle = user;
    return circle->channel.send(circle->channel.user, to, message, bytes, error);
}

static kvf_status receive_through(void *user, int64_t timeout_us, int *from, void *message,
                                  size_t capacity, size_t *bytes, kvf_error *error) {
    circle *circle = user;
    kvf_status status = circle->channel.receive(circle->channel.user, timeout_us, from, message,
                                                capacity, bytes, error);
    if (status != KVF_OK || !put_aside(circle, *from, message, *bytes)) {
        return status;
    }
    if (error != NULL) {
        *error = (kvf_error){.status = KVF_ERR_TIMEOUT}; /* as if it had been woken */
    }
    return KVF_ERR_TIMEOUT;
}

static void wake_through(void *user) {
    const circle *circle = user;
    circle->channel.wake(circle->channel.user);
}

const kvf_channel *circle_channel(circle *circle) {
    return circle->ranks > 1 ? &circle->outside : NULL;
}

/* Opening */

static void meet(circle *circle, const kvf_channel_tcp_options *options) {
    kvf_error error = {0};
    char doing[64];
    kvf_status status = kvf_channel_tcp_create(options, &circle->channel, &error);
    if (status == KVF_ERR_INVALID) {
        fail(EXIT_USAGE, "%s: %s", options->address, error.what);
    }
    snprintf(doing, sizeof(doing), "rank %d: meeting the other ranks", circle->rank);
    must(status, &error, doing);
}

circle *circle_open(const rank_self *self, int64_t timeout_us) {
    circle *circle = must_grow(NULL, 1, sizeof(*circle));
    *circle = (struct circle){.rank = self->rank, .ranks = self->ranks, .timeout_us = timeout_us};
    circle->aside = must_grow(NULL, (size_t)self->ranks, sizeof(*circle->aside));
    memset(circle->aside, 0, (size_t)self->ranks * sizeof(*circle->aside));
    circle->outside = (kvf_channel){circle, send_through, receive_through, wake_through};
    if (self->ranks > 1) {
        const kvf_channel_tcp_options options = {.rank = self->rank,
                                                 .ranks = self->ranks,
                                                 .address = self->address,
                                                 .timeout_us = timeout_us};
        meet(circle, &options);
    }
    return circle;
}

void circle_close(circle *circle) {
    if (circle->ranks > 1) {
        kvf_channel_tcp_destroy(&circle->channel);
    }
    free(circle->aside);
    free(circle);
}

/* Telling */

static void say(circle *circle, int to, const void *content, size_t bytes) {
    word word = {.bytes = bytes};
    kvf_error error = {0};
    memcpy(word.magic, magic, sizeof(magic));
    memcpy(word.content, content, bytes);
    if (circle->channel.send(circle->channel.user, to, &word, sizeof(word), &error) != KVF_OK) {
        fail(EXIT_CHECK, "rank %d: telling rank %d: %s", circle->rank, to,
             kvf_status_text(error.status));
    }
}

/* Waits for a message and puts it aside if it is a word. What a group has left is dropped. */
static void listen(circle *circle, int whom, uint64_t deadline) {
    unsigned char message[KVF_CHANNEL_BYTES];
    size_t bytes = 0;
    int from = 0;
    uint64_t now = clock_ns();
    int64_t left_us = deadline > now ? (int64_t)((deadline - now) / 1000) : 0;
    kvf_error error = {0};
    kvf_status status = circle->channel.receive(circle->channel.user, left_us, &from, message,
                                                sizeof(message), &bytes, &error);
    if (status == KVF_OK) {
        (void)put_aside(circle, from, message, bytes);
    }
    if (status == KVF_ERR_TIMEOUT && clock_ns() >= deadline) {
        fail(EXIT_CHECK, "rank %d: rank %d has not answered in time", circle->rank, whom);
    }
    if (status != KVF_OK && status != KVF_ERR_TIMEOUT) {
        int rank = (error.fields & KVF_ERROR_INDEX) != 0 ? (int)error.index : whom;
        fail(EXIT_CHECK, "rank %d: waiting for rank %d: %s", circle->rank, rank,
             error.what != NULL ? error.what : kvf_status_text(status));
    }
}

static void hear(circle *circle, int from, void *content, size_t bytes) {
    word *word = &circle->aside[from];
    uint64_t deadline = clock_ns() + (uint64_t)circle->timeout_us * 1000;
    while (word->bytes == 0) {
        listen(circle, from, deadline);
    }
    if (word->bytes != bytes) {
        fail(EXIT_CHECK, "rank %d: rank %d is another version", circle->rank, from);
    }
    memcpy(content, word->content, bytes);
    word->bytes = 0;
}

void circle_gather(circle *circle, const void *mine, void *all, size_t bytes) {
    if (circle->rank > 0) {
        say(circle, 0, mine, bytes);
        return;
    }
    memcpy(all, mine, bytes);
    for (int rank = 1; rank < circle->ranks; rank++) {
        hear(circle, rank, (char *)all + (size_t)rank * bytes, bytes);
    }
}

void circle_answer(circle *circle, uint64_t *answer) {
    if (circle->rank > 0) {
        hear(circle, 0, answer, sizeof(*answer));
        return;
    }
    for (int rank = 1; rank < circle->ranks; rank++) {
        say(circle, rank, answer, sizeof(*answer));
    }
}
