/* Control channels between ranks that are threads of a test: queues in memory, which a test can
 * cut.
 */
#ifndef KVF_TEST_MAIL_H
#define KVF_TEST_MAIL_H

#include <kvferry/nccl.h>

enum { MAIL_RANKS = 8 };

typedef struct mail mail;

mail *mail_open(int ranks);
void mail_close(mail *mail);

/* A rank's end; valid until the mail is closed. */
kvf_channel mail_channel(mail *mail, int rank);

/* From now on nothing of this rank arrives anywhere, and nothing reaches it: as if it had died
 * without a word. */
void mail_silence(mail *mail, int rank);

/* Every call on this rank's channel fails from the nth from now on, 1 the next. */
void mail_fail(mail *mail, int rank, uint64_t nth);

#endif
