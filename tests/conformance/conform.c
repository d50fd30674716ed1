/*
 * conform FILE...: replays recorded traces and hash vectors and compares every answer.
 *
 * Prints mismatches, then `N passed, N failed`. Exit codes: 0 none failed, 1 some failed, 2 a file
 * cannot be read or a line is malformed.
 */
#include "conform.h"

#include <stdlib.h>
#include <string.h>

/* Cuts the line into its operation, which stays, and the expected answer, which is returned. In
 * hash vectors `block I ANSWER` has no arrow. */
static char *cut_answer(const script *s, char *line) {
    static const char arrow[] = " -> ";
    char *at = strstr(line, arrow), *answer;
    if (at) {
        answer = at + strlen(arrow);
        if (strstr(answer, arrow))
            script_die(s, "more than one '->'");
    } else {
        at = strncmp(line, "block ", 6) == 0 ? strchr(line + 6, ' ') : NULL;
        if (!at)
            script_die(s, "no '->'");
        answer = at + 1;
    }
    *at = '\0';
    return answer;
}

static void replay_line(replay *r, char *line) {
    char *got = NULL;
    size_t size = 0;
    const char *expected = cut_answer(r->script, line);
    words w = split_words(r->script, line);
    r->out = open_memstream(&got, &size);
    if (!r->out)
        script_die(r->script, "out of memory");
    if (!trace_answer(r, w) && !vectors_answer(r, w))
        script_die(r->script, "unknown operation, name or number of words: '%.40s'", line);
    if (fclose(r->out) != 0)
        script_die(r->script, "out of memory");
    if (strcmp(expected, got) == 0) {
        r->script->passed++;
    } else {
        r->script->failed++;
        printf("%s:%zu: expected %s, got %s\n", r->script->file, r->script->line, expected, got);
    }
    free(got);
    words_free(&w);
}

static void replay_file(script *s) {
    lines l = script_read(s);
    replay r = {.script = s, .layout = vectors_layout(&l)};
    for (size_t i = 0; i < l.count; i++) {
        s->line = i + 1;
        if (l.line[i][0] != '\0' && l.line[i][0] != '#')
            replay_line(&r, l.line[i]);
    }
    trace_end(&r);
    vectors_end(&r);
    lines_free(&l);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: conform FILE...\n");
        return 2;
    }
    script s = {0};
    for (int i = 1; i < argc; i++) {
        s.file = argv[i];
        replay_file(&s);
    }
    script_summary(&s);
    return s.failed > 0 ? 1 : 0;
}
