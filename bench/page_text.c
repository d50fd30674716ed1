#include "page_text.h"

#include "tool.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GROUPED 1e15 /* exact, and fits a text with its commas */

static text format(const char *format, ...) __attribute__((format(printf, 1, 2)));

static text format(const char *format, ...) {
    text made;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(made.s, sizeof(made.s), format, arguments);
    va_end(arguments);
    return made;
}

/* Three digits, with an exponent where that is shorter: "0.0281", "5.27e-7". */
static text scientific(double value) {
    text made = format("%.3g", value);
    char *exponent = strchr(made.s, 'e');
    if (exponent != NULL && exponent[1] != '\0' && exponent[2] == '0') {
        memmove(exponent + 2, exponent + 3, strlen(exponent + 3) + 1);
    }
    return made;
}

text text_count(double value) {
    text digits = format("%.0f", fabs(value) < MOST_GROUPED ? value : 0.0);
    text made = {{0}};
    size_t at = 0, length = strlen(digits.s);
    if (!(fabs(value) < MOST_GROUPED)) {
        return scientific(value);
    }
    for (size_t i = 0; i < length; i++) {
        size_t left = length - i;
        if (left % 3 == 0 && i > 0 && digits.s[i - 1] != '-') {
            made.s[at++] = ',';
        }
        made.s[at++] = digits.s[i];
    }
    return made;
}

text text_bytes(double value) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    while (fabs(value) >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    return format("%.4g %s", value, units[unit]);
}

text text_real(double value) {
    double size = fabs(value);
    if ((size < 1 && size > 0) || size >= MOST_GROUPED) {
        return scientific(value);
    }
    if (size >= 1000) {
        return text_count(value);
    }
    return format("%.*f", size == 0 || size >= 100 ? 1 : size >= 10 ? 2 : 3, value);
}

text text_tick(double value) {
    double size = fabs(value);
    if (size > 0 && size < 0.001) {
        return scientific(value);
    }
    return size >= 1000 ? text_count(value) : format("%.4g", value);
}

text text_percent(double fraction) {
    return fabs(fraction) < 9 ? format("%+.0f %%", fraction * 100) : format("%.0fx", fraction + 1);
}

/* Escaping */

/* How many bytes the character takes; text of jansson's is valid UTF-8. */
static size_t character_bytes(const unsigned char *at) {
    size_t wanted = *at < 0xc0 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    size_t bytes = 1;
    while (bytes < wanted && (at[bytes] & 0xc0) == 0x80) {
        bytes++;
    }
    return bytes;
}

/* Control characters but tab, newline and return, U+FFFE and U+FFFF are none of XML's. */
static bool is_xml(const unsigned char *at, size_t bytes) {
    if (bytes == 1) {
        return (*at >= 0x20 && *at < 0x7f) || *at == '\t' || *at == '\n' || *at == '\r';
    }
    return !(bytes == 3 && at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe);
}

static const char *entity(unsigned char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void put_character(FILE *out, const unsigned char *at, size_t bytes) {
    const char *escaped = entity(*at);
    if (escaped != NULL) {
        fputs(escaped, out);
    } else if (is_xml(at, bytes)) {
        fwrite(at, 1, bytes, out);
    } else {
        fputs("\xef\xbf\xbd", out);
    }
}

static size_t count_characters(const char *text) {
    size_t count = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';
         at += character_bytes(at)) {
        count++;
    }
    return count;
}

void put_text(FILE *out, const char *text, size_t most) {
    const unsigned char *at = (const unsigned char *)text;
    bool cut = most > 0 && count_characters(text) > most;
    for (size_t i = 0; *at != '\0' && !(cut && i + 1 >= most); i++) {
        size_t bytes = character_bytes(at);
        put_character(out, at, bytes);
        at += bytes;
    }
    if (cut) {
        fputs("\xe2\x80\xa6", out);
    }
}

/* Sheets */

void sheet_open(sheet *sheet) {
    *sheet = (struct sheet){0};
    sheet->out = open_memstream(&sheet->text, &sheet->length);
    if (sheet->out == NULL) {
        fail(EXIT_CHECK, "out of memory for a page");
    }
}

char *sheet_close(sheet *sheet) {
    bool failed = ferror(sheet->out) != 0;
    if (fclose(sheet->out) != 0 || failed || sheet->text == NULL) {
        fail(EXIT_CHECK, "out of memory for a page");
    }
    return sheet->text;
}

/* Values */

static char *copy(const char *text) {
    size_t bytes = strlen(text) + 1;
    return memcpy(must_grow(NULL, bytes, 1), text, bytes);
}

static bool is_plain(const json_t *value) {
    return !json_is_array(value) && !json_is_object(value);
}

static bool has_plain_parts(json_t *value) {
    const char *key;
    json_t *part;
    size_t i;
    json_array_foreach(value, i, part) {
        if (!is_plain(part)) {
            return false;
        }
    }
    json_object_foreach(value, key, part) {
        if (!is_plain(part)) {
            return false;
        }
    }
    return true;
}

static void put_part(FILE *out, bool first, const char *key, json_t *value) {
    char *text = value_text(value);
    fprintf(out, "%s%s%s%s", first ? "" : ", ", key, key[0] != '\0' ? " " : "", text);
    free(text);
}

/* "1.5, 2.25" or "h2d 1.5, d2h 2.25" */
static char *join(json_t *value) {
    sheet sheet;
    const char *key;
    json_t *part;
    size_t i, count = 0;
    sheet_open(&sheet);
    json_array_foreach(value, i, part) {
        put_part(sheet.out, count++ == 0, "", part);
    }
    json_object_foreach(value, key, part) {
        put_part(sheet.out, count++ == 0, key, part);
    }
    return sheet_close(&sheet);
}

/* What has parts, as JSON. */
static char *dump(const json_t *value) {
    char *dumped = json_dumps(value, JSON_REAL_PRECISION(9));
    if (dumped == NULL) {
        fail(EXIT_CHECK, "out of memory for a page");
    }
    return dumped;
}

char *value_text(json_t *value) {
    if (json_is_string(value)) {
        return copy(json_string_value(value));
    }
    if (json_is_integer(value)) {
        return copy(text_count((double)json_integer_value(value)).s);
    }
    if (json_is_real(value)) {
        return copy(text_real(json_real_value(value)).s);
    }
    if (json_is_boolean(value)) {
        return copy(json_is_true(value) ? "yes" : "no");
    }
    if (json_is_null(value) || value == NULL) {
        return copy("-");
    }
    return has_plain_parts(value) ? join(value) : dump(value);
}

double value_number(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}
