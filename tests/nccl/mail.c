#include "mail.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct letter {
    struct letter *next;
    int from;
    size_t bytes;
    unsigned char message[KVF_CHANNEL_BYTES];
} letter;

typedef struct box {
    struct mail *mail;
    int rank;
    letter *first, **last;
    pthread_cond_t arrived;
    bool woken, silent;
    uint64_t calls, fails; /* fails: from this call on; 0: never */
} box;

struct mail {
    pthread_mutex_t lock;
    int ranks;
    box boxes[MAIL_RANKS];
};

mail *mail_open(int ranks) {
    mail *m = calloc(1, sizeof *m);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->lock, NULL);
    m->ranks = ranks;
    for (int r = 0; r < ranks; r++) {
        box *b = &m->boxes[r];
        b->mail = m;
        b->rank = r;
        b->last = &b->first;
        pthread_cond_init(&b->arrived, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return m;
}

static void empty(box *b) {
    while (b->first) {
        letter *l = b->first;
        b->first = l->next;
        free(l);
    }
    b->last = &b->first;
}

void mail_close(mail *m) {
    for (int r = 0; r < m->ranks; r++) {
        empty(&m->boxes[r]);
        pthread_cond_destroy(&m->boxes[r].arrived);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* With the lock held: whether this call is one that fails. */
static bool fails(box *b) {
    b->calls++;
    return b->fails > 0 && b->calls >= b->fails;
}

static kvf_status failure(kvf_error *error) {
    if (error)
        *error = (kvf_error){.status = KVF_ERR_ENGINE,
                             .fields = KVF_ERROR_NATIVE_CODE,
                             .native_code = EIO,
                             .what = "the mail fails"};
    return KVF_ERR_ENGINE;
}

static kvf_status mail_send(void *user, int to, const void *message, size_t bytes,
                            kvf_error *error) {
    box *b = user, *other = &b->mail->boxes[to];
    letter *l = calloc(1, sizeof *l);
    l->from = b->rank;
    l->bytes = bytes;
    memcpy(l->message, message, bytes);
    pthread_mutex_lock(&b->mail->lock);
    bool failed = fails(b), lost = failed || b->silent || other->silent;
    if (!lost) {
        *other->last = l;
        other->last = &l->next;
        pthread_cond_signal(&other->arrived);
    }
    pthread_mutex_unlock(&b->mail->lock);
    if (lost)
        free(l);
    return failed ? failure(error) : KVF_OK;
}

static struct timespec later(int64_t us) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + us % 1000000 * 1000;
    t.tv_sec += (time_t)(us / 1000000 + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

static letter *wait_for_letter(box *b, int64_t timeout_us) {
    struct timespec end = later(timeout_us);
    while (!b->first && !b->woken && pthread_cond_timedwait(&b->arrived, &b->mail->lock, &end) == 0)
        ;
    b->woken = false;
    letter *l = b->first;
    if (!l)
        return NULL;
    b->first = l->next;
    if (!l->next)
        b->last = &b->first;
    return l;
}

static kvf_status mail_receive(void *user, int64_t timeout_us, int *from, void *message,
                               size_t capacity, size_t *bytes, kvf_error *error) {
    box *b = user;
    pthread_mutex_lock(&b->mail->lock);
    bool failed = fails(b);
    letter *l = failed ? NULL : wait_for_letter(b, timeout_us);
    pthread_mutex_unlock(&b->mail->lock);
    if (failed)
        return failure(error);
    kvf_status status = !l ? KVF_ERR_TIMEOUT : l->bytes > capacity ? KVF_ERR_RANGE : KVF_OK;
    if (status == KVF_OK) {
        *from = l->from;
        *bytes = l->bytes;
        memcpy(message, l->message, l->bytes);
    }
    free(l);
    return status;
}

static void mail_wake(void *user) {
    box *b = user;
    pthread_mutex_lock(&b->mail->lock);
    b->woken = true;
    pthread_cond_signal(&b->arrived);
    pthread_mutex_unlock(&b->mail->lock);
}

kvf_channel mail_channel(mail *m, int rank) {
    return (kvf_channel){&m->boxes[rank], mail_send, mail_receive, mail_wake};
}

void mail_silence(mail *m, int rank) {
    pthread_mutex_lock(&m->lock);
    m->boxes[rank].silent = true;
    empty(&m->boxes[rank]);
    pthread_mutex_unlock(&m->lock);
}

void mail_fail(mail *m, int rank, uint64_t nth) {
    pthread_mutex_lock(&m->lock);
    m->boxes[rank].fails = m->boxes[rank].calls + nth;
    pthread_mutex_unlock(&m->lock);
}
