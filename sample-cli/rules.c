#include "sample-cli/rules.h"

#include "base/buf.h"
#include "base/json_scan.h"
#include "sample-cli/text.h"

#include <ctype.h>
#include <string.h>

#define QUOTE_MAX 1024

/* Characters; a byte that is no UTF-8 counts as one. */
static size_t rules_characters(const char *text, size_t len)
{
    size_t count = 0, n;

    for (size_t i = 0; i < len; i += n, count++) {
        n = utf8_step((const uint8_t *)text + i, len - i);
        if (n == 0)
            n = 1;
    }
    return count;
}

void rules_long_lines(const struct source *s, const struct rules_conf *conf,
                      struct findings *f)
{
    struct source_line line = {0};
    size_t at = 0;

    if (s->lang == LANG_MARKDOWN) /* a paragraph or a table row is a line */
        return;
    while (source_next(s, &at, &line)) {
        size_t n = rules_characters(line.text, line.len);

        if (n > conf->line_max)
            findings_add(f, RULE_LONG_LINE, s->path, line.number,
                         "the line has %zu characters, at most %zu are wanted",
                         n, conf->line_max);
    }
}

void rules_trailing(const struct source *s, const struct rules_conf *conf,
                    struct findings *f)
{
    struct source_line line = {0};
    size_t at = 0;

    (void)conf;
    while (source_next(s, &at, &line)) {
        size_t n = 0;

        while (n < line.len && (line.text[line.len - 1 - n] == ' ' ||
                                line.text[line.len - 1 - n] == '\t'))
            n++;
        if (s->lang == LANG_MARKDOWN && n == 2 && line.len > 2 &&
            line.text[line.len - 1] == ' ' && line.text[line.len - 2] == ' ')
            continue;
        if (n)
            findings_add(f, RULE_TRAILING, s->path, line.number,
                         "the line ends in %zu blank%s", n, n == 1 ? "" : "s");
    }
}

/* The words are cut in two, so as not to be found here. */
static const char *const markers[] = {"TO"
                                      "DO",
                                      "FIX"
                                      "ME",
                                      "XX"
                                      "X",
                                      "HA"
                                      "CK"};

static bool rules_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* The first marker in the line that is a word of its own; its place. */
static const char *rules_marker(const struct source_line *line,
                                const char **word)
{
    const char *end = line->text + line->len;

    for (const char *p = line->text; p < end; p++) {
        if (p > line->text && rules_is_word(p[-1]))
            continue;
        for (size_t i = 0; i < sizeof(markers) / sizeof(*markers); i++) {
            size_t len = strlen(markers[i]);

            if ((size_t)(end - p) >= len && memcmp(p, markers[i], len) == 0 &&
                (p + len == end || !rules_is_word(p[len]))) {
                *word = markers[i];
                return p;
            }
        }
    }
    return NULL;
}

/* What the marker's author wrote behind it, escaped and cut. */
static void rules_quote(struct buf *out, const char *text, size_t len,
                        bool is_utf8)
{
    struct buf whole;

    buf_init(&whole, QUOTE_MAX);
    /* full: the rest would be cut anyway */
    (void)text_escape(&whole, text, len, is_utf8);
    (void)text_clip(out, buf_cstr(&whole), RULES_QUOTE_COLS, is_utf8);
    buf_fini(&whole);
}

void rules_markers(const struct source *s, const struct rules_conf *conf,
                   struct findings *f)
{
    struct source_line line = {0};
    size_t at = 0;

    while (source_next(s, &at, &line)) {
        const char *end = line.text + line.len, *word = NULL;
        const char *p = rules_marker(&line, &word);
        struct buf quote;

        if (!p)
            continue;
        p += strlen(word);
        while (p < end && (*p == ':' || *p == ' ' || *p == '\t'))
            p++;
        while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        buf_init(&quote, QUOTE_MAX);
        rules_quote(&quote, p, (size_t)(end - p), conf->is_utf8);
        findings_add(f, RULE_MARKER, s->path, line.number, "%s is left%s%s",
                     word, quote.len ? ": " : "", buf_cstr(&quote));
        buf_fini(&quote);
    }
}

void rules_line_ends(const struct source *s, const struct rules_conf *conf,
                     struct findings *f)
{
    struct source_line line = {0};
    long crlf = 0, lf = 0, first_crlf = 0, first_lf = 0;
    size_t at = 0;

    (void)conf;
    while (source_next(s, &at, &line)) {
        if (line.has_cr && crlf++ == 0)
            first_crlf = line.number;
        else if (!line.has_cr && line.has_lf && lf++ == 0)
            first_lf = line.number;
    }
    if (line.number && !line.has_lf)
        findings_add(f, RULE_FINAL_NEWLINE, s->path, line.number,
                     "the last line does not end in a newline");
    if (crlf && lf)
        findings_add(f, RULE_LINE_ENDINGS, s->path,
                     crlf <= lf ? first_crlf : first_lf,
                     "%ld line%s in CR LF, %ld in LF alone", crlf,
                     crlf == 1 ? " ends" : "s end", lf);
}
