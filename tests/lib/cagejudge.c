#include "tests/lib/cagejudge.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINES_MAX 4096
#define NAME_MAX_BYTES 80
#define COLUMNS 6 /* of a row */

enum { NAMES, WHAT, WHO, LOCAL, POD, LOG }; /* columns */

struct judge {
    char *said, *log; /* our copies, cut into lines */
    char *lines[LINES_MAX];
    bool used[LINES_MAX]; /* a row speaks of it */
    int count;
    char *seen[LINES_MAX]; /* owned; "verdict host why" of the log's lines */
    bool seen_used[LINES_MAX];
    int seen_count;
    enum cage_setting setting;
    struct cage_count result;
};

/* --- what was said --- */

/* One program may have had several sessions: from each BEGIN to its END. */
static void cut(struct judge *j, const char *program)
{
    own_mem char *begin = mem_printf("BEGIN %s", program);
    own_mem char *end = mem_printf("END %s", program);
    bool is_in = false;
    int begun = 0, ended = 0;
    char *rest = j->said, *line;

    while ((line = strsep(&rest, "\n"))) {
        line[strcspn(line, "\r")] = 0;
        if (strcmp(line, end) == 0) {
            is_in = false;
            ended++;
        } else if (strcmp(line, begin) == 0) {
            is_in = true;
            begun++;
        } else if (is_in && *line && *line != '#' && j->count < LINES_MAX) {
            j->lines[j->count++] = line;
        }
    }
    if (begun == 0 || begun != ended) {
        print_error("%s began %d times and came to its end %d times\n", program,
                    begun, ended);
        j->result.wrong++;
    }
}

/* What stands behind the name; NULL = it was not said. */
static const char *verdict_of(struct judge *j, const char *name)
{
    const size_t len = strlen(name);
    const char *found = NULL;

    for (int i = 0; i < j->count; i++) {
        if (strncmp(j->lines[i], name, len) != 0 || j->lines[i][len] != ' ')
            continue;
        if (found) {
            print_error("%s was said twice\n", name);
            j->result.wrong++;
        }
        j->used[i] = true;
        found = j->lines[i] + len + 1;
    }
    return found;
}

/* --- the log --- */

static void read_log(struct judge *j)
{
    char *rest = j->log, *line;

    while (rest && (line = strsep(&rest, "\n"))) {
        struct err e = {0};
        own_json struct json *o = json_parse(line, strlen(line), &e);
        const char *event = json_get_str(o, "ev");
        const char *verdict = json_get_str(o, "verdict");
        const char *host = json_get_str(o, "host");
        const char *why = json_get_str(o, "why");

        if (event && verdict && host && why && strcmp(event, "egress") == 0 &&
            j->seen_count < LINES_MAX)
            j->seen[j->seen_count++] =
                mem_printf("%s %s %s", verdict, host, why);
    }
}

/* A line with these words that no other attempt has. "$" is the part of the
 * attempt's name that stood in braces. */
static bool take_line(struct judge *j, const char *words, const char *part)
{
    const char *sign = strchr(words, '$');
    own_mem char *want = sign ? mem_printf("%.*s%s%s", (int)(sign - words),
                                           words, part, sign + 1)
                              : mem_str(words);

    for (int i = 0; i < j->seen_count; i++)
        if (!j->seen_used[i] && strstr(j->seen[i], want)) {
            j->seen_used[i] = true;
            return true;
        }
    return false;
}

/* --- one attempt --- */

static bool is_among(const char *word, const char *alternatives)
{
    const size_t len = strlen(word);

    for (const char *at = alternatives; *at;) {
        const size_t n = strcspn(at, "/");

        if (n == len && strncmp(at, word, len) == 0)
            return true;
        at += n + (at[n] == '/');
    }
    return false;
}

/* "n/a" has the sign that separates alternatives. */
static bool is_as_wanted(struct judge *j, const char *verdict, const char *want)
{
    if (strcmp(want, "n/a") == 0) {
        j->result.absent++;
        return strncmp(verdict, "n/a ", 4) == 0;
    }
    if (strcmp(want, "THROUGH") == 0) {
        j->result.through++;
        return strncmp(verdict, "THROUGH ", 8) == 0;
    }
    j->result.refused++;
    return strncmp(verdict, "refused ", 8) == 0 && is_among(verdict + 8, want);
}

static void judge_one(struct judge *j, const char *name, const char *part,
                      char *const *row)
{
    const char *want = row[j->setting == CAGE_POD ? POD : LOCAL];
    const char *verdict = verdict_of(j, name);

    if (!verdict || !is_as_wanted(j, verdict, want)) {
        print_error("%s: %s (wanted: %s)\n", name,
                    verdict ? verdict : "not tried", want);
        j->result.wrong++;
    } else if (j->log && strcmp(row[LOG], "-") != 0) {
        j->result.logged++;
        if (!take_line(j, row[LOG], part)) {
            print_error("%s: no line of its own in the log has \"%s\"\n", name,
                        row[LOG]);
            j->result.wrong++;
        }
    }
}

/* --- rows --- */

/* "a_{b,3..5}c": one after the other. */
static void judge_names(struct judge *j, const char *word, const char *of,
                        char *const *row)
{
    const char *open = strchr(word, '{'), *close = strchr(word, '}');
    own_mem char *inner = NULL;
    char *rest, *part;

    if (!open || !close) {
        judge_one(j, word, of, row);
        return;
    }
    rest = inner = mem_strn(open + 1, (size_t)(close - open - 1));
    while ((part = strsep(&rest, ","))) {
        const char *dots = strstr(part, "..");
        int from = dots ? atoi(part) : 0, to = dots ? atoi(dots + 2) : 0;

        for (int i = from; i <= to; i++) {
            char number[16];
            own_mem char *name = NULL;

            snprintf(number, sizeof(number), "%d", i);
            name = mem_printf("%.*s%s%s", (int)(open - word), word,
                              dots ? number : part, close + 1);
            judge_names(j, name, dots ? number : part, row);
        }
    }
}

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " `");
    len = strlen(text);
    while (len > 0 && strchr(" `", text[len - 1]))
        text[--len] = 0;
    return text;
}

/* A table's line taken apart; false = it is none. */
static bool row_of(char *line, char *out[COLUMNS])
{
    int n = 0;

    if (strncmp(line, "| `", 3) != 0)
        return false;
    for (char *rest = line + 1, *cell; n < COLUMNS && rest;) {
        cell = strsep(&rest, "|");
        out[n++] = trim(cell);
    }
    if (n < COLUMNS)
        fail_msg("a row of %d columns: %s", n, out[0]);
    return true;
}

static void judge_rows(struct judge *j, char *text, const char *program)
{
    own_mem char *chapter = mem_printf("## %s", program);
    bool is_in = false;
    char *line, *row[COLUMNS];

    while ((line = strsep(&text, "\n"))) {
        if (strncmp(line, "## ", 3) == 0)
            is_in = strcmp(line, chapter) == 0;
        if (!is_in || !row_of(line, row))
            continue;
        for (char *rest = row[NAMES], *word; (word = strsep(&rest, " "));)
            if (*word)
                judge_names(j, word, "", row);
    }
}

/* An attempt without a row would be one that nobody judges. */
static void judge_unknown(struct judge *j)
{
    for (int i = 0; i < j->count; i++)
        if (!j->used[i]) {
            print_error("no row for: %s\n", j->lines[i]);
            j->result.wrong++;
        }
}

struct cage_count cagejudge(const char *readme, const char *program,
                            enum cage_setting setting, const char *said,
                            const char *log)
{
    own_mem struct judge *j = mem_zero(1, sizeof(*j));
    own_mem char *text = NULL, *copy = NULL, *log_copy = NULL;
    size_t len;

    text = tree_get(readme, &len);
    j->said = copy = mem_str(said);
    j->log = log_copy = log ? mem_str(log) : NULL;
    j->setting = setting;
    cut(j, program);
    read_log(j);
    judge_rows(j, text, program);
    judge_unknown(j);
    for (int i = 0; i < j->seen_count; i++)
        free(j->seen[i]);
    return j->result;
}

bool cagejudge_through(const char *said, const char *name)
{
    own_mem char *line = mem_printf("\n%s THROUGH ", name);

    return strstr(said, line) != NULL;
}
