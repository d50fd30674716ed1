/* Numbers as people read them, and text that is safe inside a page. */
#ifndef KVF_BENCH_PAGE_TEXT_H
#define KVF_BENCH_PAGE_TEXT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* A short text by value. */
typedef struct text {
    char s[48];
} text;

/* "1,048,576"; less than 1e15. */
text text_count(double value);

/* "4 KiB", "1.5 MiB", "100 B". */
text text_bytes(double value);

/* Three or four digits: "0.28", "22.99", "5,838", "5.27e-7". */
text text_real(double value);

/* A round number: "0", "2.5", "1e-5", "20,000". */
text text_tick(double value);

/* "+12 %", "8x" from 10 on. */
text text_percent(double fraction);

/* Text from elsewhere, as that of an element or an attribute of a page that is XML as well. What no
 * XML may contain becomes U+FFFD. At most `most` characters of it, the last an ellipsis if there
 * are more; 0: all. */
void put_text(FILE *out, const char *text, size_t most);

/* A text in memory that is written like a file. */
typedef struct sheet {
    FILE *out;
    char *text;
    size_t length;
} sheet;

void sheet_open(sheet *sheet);

/* The text, with a NUL behind it, which the caller frees; ends the program for lack of memory. */
char *sheet_close(sheet *sheet);

/* A value of JSON as text that the caller frees: what it says, or "-" for null and for none. Not
 * changed. */
char *value_text(json_t *value);

/* NaN for what is no number. */
double value_number(const json_t *value);

#endif
