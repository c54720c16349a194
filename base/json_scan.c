#include "base/json_scan.h"

#include "base/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const uint8_t *p;
    size_t len, pos;
    size_t depth, nodes, nodes_max;
    const char *wrong; /* what is wrong at pos */
};

static int scan_value(struct scan *s);

static int scan_fail(struct scan *s, const char *wrong)
{
    s->wrong = wrong;
    return -1;
}

/* The byte at pos, or -1 at the end. */
static int scan_peek(const struct scan *s)
{
    return s->pos < s->len ? s->p[s->pos] : -1;
}

static bool scan_eat(struct scan *s, char c)
{
    if (scan_peek(s) != c)
        return false;
    s->pos++;
    return true;
}

static void scan_space(struct scan *s)
{
    int c;

    while ((c = scan_peek(s)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        s->pos++;
}

size_t utf8_step(const uint8_t *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n;
    uint32_t c;

    if (p[0] < 0x80)
        return 1;
    n = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
        : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
        : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                      : 0;
    if (n == 0 || left < n)
        return 0;
    c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return n;
}

/* Four hex digits behind \u; -1 when they are none. */
static int scan_hex4(struct scan *s)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        int c = scan_peek(s);

        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            v = v << 4 | (c - 'A' + 10);
        else
            return scan_fail(s, "four hex digits are missing");
        s->pos++;
    }
    return v;
}

static int scan_unicode(struct scan *s)
{
    int high = scan_hex4(s), low;

    if (high < 0)
        return -1;
    if (high == 0)
        return scan_fail(s, "\\u0000 is not accepted");
    if (high < 0xd800 || high > 0xdfff)
        return 0;
    if (high >= 0xdc00 || !scan_eat(s, '\\') || !scan_eat(s, 'u'))
        return scan_fail(s, "a lone surrogate");
    low = scan_hex4(s);
    if (low < 0)
        return -1;
    if (low < 0xdc00 || low > 0xdfff)
        return scan_fail(s, "a lone surrogate");
    return 0;
}

static int scan_escape(struct scan *s)
{
    int c = scan_peek(s);

    if (c <= 0 || !strchr("\"\\/bfnrtu", c))
        return scan_fail(s, "an unknown escape");
    s->pos++;
    return c == 'u' ? scan_unicode(s) : 0;
}

static int scan_string(struct scan *s)
{
    if (!scan_eat(s, '"'))
        return scan_fail(s, "a string is missing");
    for (;;) {
        int c = scan_peek(s);
        size_t n;

        if (c < 0)
            return scan_fail(s, "a string without its end");
        if (c < 0x20)
            return scan_fail(s, "a control character in a string");
        if (scan_eat(s, '"'))
            return 0;
        if (scan_eat(s, '\\')) {
            if (scan_escape(s) < 0)
                return -1;
            continue;
        }
        n = utf8_step(s->p + s->pos, s->len - s->pos);
        if (n == 0)
            return scan_fail(s, "invalid UTF-8");
        s->pos += n;
    }
}

static int scan_digits(struct scan *s)
{
    size_t from = s->pos;

    while (scan_peek(s) >= '0' && scan_peek(s) <= '9')
        s->pos++;
    return s->pos > from ? 0 : scan_fail(s, "a digit is missing");
}

static int scan_number(struct scan *s)
{
    char text[JSON_NUMBER_MAX + 1] = {0};
    size_t from = s->pos;

    scan_eat(s, '-');
    if (!scan_eat(s, '0') && scan_digits(s) < 0)
        return -1;
    if (scan_eat(s, '.') && scan_digits(s) < 0)
        return -1;
    if (scan_eat(s, 'e') || scan_eat(s, 'E')) {
        if (!scan_eat(s, '+'))
            scan_eat(s, '-');
        if (scan_digits(s) < 0)
            return -1;
    }
    if (s->pos - from > JSON_NUMBER_MAX)
        return scan_fail(s, "a number of too many digits");
    memcpy(text, s->p + from, s->pos - from);
    if (!isfinite(strtod(text, NULL)))
        return scan_fail(s, "a number out of range");
    return 0;
}

static int scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if (s->len - s->pos < n || memcmp(s->p + s->pos, word, n) != 0)
        return scan_fail(s, "a value is missing");
    s->pos += n;
    return 0;
}

static int scan_member(struct scan *s)
{
    scan_space(s);
    if (scan_string(s) < 0)
        return -1;
    scan_space(s);
    if (!scan_eat(s, ':'))
        return scan_fail(s, "a colon is missing");
    return scan_value(s);
}

/* Behind the opening bracket. */
static int scan_items(struct scan *s, char close, int (*item)(struct scan *))
{
    if (s->depth++ == JSON_DEPTH_MAX)
        return scan_fail(s, "nested too deep");
    scan_space(s);
    if (!scan_eat(s, close)) {
        do {
            if (item(s) < 0)
                return -1;
        } while (scan_eat(s, ','));
        if (!scan_eat(s, close))
            return scan_fail(s, "a comma or the closing bracket is missing");
    }
    s->depth--;
    return 0;
}

static int scan_bare(struct scan *s)
{
    switch (scan_peek(s)) {
    case '{':
        s->pos++;
        return scan_items(s, '}', scan_member);
    case '[':
        s->pos++;
        return scan_items(s, ']', scan_value);
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    case '-':
    case '0' ... '9':
        return scan_number(s);
    default:
        return scan_fail(s, "a value is missing");
    }
}

/* A value with the white space around it. */
static int scan_value(struct scan *s)
{
    scan_space(s);
    if (s->nodes++ == s->nodes_max)
        return scan_fail(s, "too many values");
    if (scan_bare(s) < 0)
        return -1;
    scan_space(s);
    return 0;
}

int json_scan(const void *text, size_t len, size_t nodes_max, struct err *e)
{
    struct scan s = {.p = text, .len = len, .nodes_max = nodes_max};

    if (scan_value(&s) == 0) {
        if (s.pos == s.len)
            return 0;
        s.wrong = "bytes behind the value";
    }
    return err_set(e, s.nodes > nodes_max ? ERR_TOO_LARGE : ERR_INPUT,
                   "JSON, byte %zu: %s", s.pos, s.wrong);
}
