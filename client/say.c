#include "client/say.h"

#include "base/own.h"
#include "client/command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of the UTF-8 character at text (1..4) and its code point; 0 when
 * there is none: not UTF-8, overlong, a surrogate, beyond U+10FFFF. */
static size_t say_char(const uint8_t *text, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = 1;
    uint32_t c = text[0];

    if (c >= 0xf0 && c < 0xf8)
        n = 4, c &= 0x07;
    else if (c >= 0xe0 && c < 0xf0)
        n = 3, c &= 0x0f;
    else if (c >= 0xc0 && c < 0xe0)
        n = 2, c &= 0x1f;
    else if (c >= 0x80)
        return 0;
    if (n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (text[i] & 0x3f);
    }
    if (c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
        return 0;
    *code = c;
    return n;
}

/* Would this change how the text around it is read? Controls, line and
 * paragraph separators, marks and overrides of direction, invisible ones. */
static bool say_is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0x061c || c == 0x180e ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

void say_escape(struct buf *b, const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;

    while (len > 0) {
        uint32_t code = 0;
        size_t n = say_char(at, len, &code);
        int full;

        if (n == 0)
            full = buf_printf(b, "\\x%02x", at[0]);
        else if (!say_is_unsafe(code))
            full = buf_append(b, at, n);
        else if (code < 0x100)
            full = buf_printf(b, "\\x%02x", (unsigned)code);
        else
            full = buf_printf(b, "\\u%04x", (unsigned)code);
        if (full < 0)
            return;
        n = n ? n : 1;
        at += n;
        len -= n;
    }
}

const char *say_text(const char *text, char *out, size_t size)
{
    struct buf b;

    buf_init(&b, size - 1);
    say_escape(&b, text, strlen(text));
    memcpy(out, buf_cstr(&b), b.len + 1);
    buf_fini(&b);
    return out;
}

/* Two from where scripts of double width begin; none is said to be narrower
 * than it is. */
static size_t say_walk(const char *text, size_t most, size_t *cells)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t left = strlen(text);

    *cells = 0;
    while (left > 0) {
        uint32_t c = 0;
        size_t n = say_char(at, left, &c), wide = n && c >= 0x1100 ? 2 : 1;

        if (*cells + wide > most)
            break;
        *cells += wide;
        n = n ? n : 1;
        at += n;
        left -= n;
    }
    return (size_t)(at - (const uint8_t *)text);
}

size_t say_cells(const char *text)
{
    return say_cells_upto(text, SIZE_MAX / 2);
}

size_t say_cut(const char *text, size_t most)
{
    size_t cells;

    return say_walk(text, most, &cells);
}

size_t say_cells_upto(const char *text, size_t most)
{
    size_t cells;

    say_walk(text, most, &cells);
    return cells;
}

bool say_colors(int fd)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    return isatty(fd) && term && term[0] && strcmp(term, "dumb") != 0 &&
           (!no_color || !no_color[0]);
}

static bool is_json; /* a setting of the command line */

void say_as_json(bool on)
{
    is_json = on;
}

static void say_line(const char *event, const char *text)
{
    char shown[SAY_LINE_MAX];
    own_json struct json *j = NULL;

    if (!is_json) {
        fprintf(stderr, "podterm: %s\n", say_text(text, shown, sizeof(shown)));
        return;
    }
    j = json_object();
    json_set_str(j, "event", event);
    json_set_str(j, "message", text);
    say_json(stderr, j);
}

void say(const char *fmt, ...)
{
    char text[SAY_LINE_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    say_line("notice", text);
}

int say_failed(const char *doing, const struct err *e)
{
    char text[SAY_LINE_MAX];

    snprintf(text, sizeof(text), "%s%s%s", doing ? doing : "",
             doing ? ": " : "", e->text);
    say_line("error", text);
    return EXIT_PODTERM;
}

void say_json(FILE *to, const struct json *j)
{
    own_mem char *text = json_text(j);
    const uint8_t *at = (const uint8_t *)text;
    size_t len = strlen(text);

    /* behind the grammar's own characters all is inside of strings */
    while (len > 0) {
        uint32_t c = at[0];
        size_t n = say_char(at, len, &c);

        if (n == 0) /* cannot be: strict JSON is UTF-8 */
            fputs("\\ufffd", to);
        else if (!say_is_unsafe(c))
            fwrite(at, 1, n, to);
        else if (c < 0x10000)
            fprintf(to, "\\u%04x", (unsigned)c);
        else
            fprintf(to, "\\u%04x\\u%04x",
                    (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                    (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
        n = n ? n : 1;
        at += n;
        len -= n;
    }
    fputc('\n', to);
    fflush(to);
}
