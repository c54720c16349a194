#include "sample-cli/text.h"

#include "base/json_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* The code point of a valid sequence of n bytes. */
static uint32_t text_point(const uint8_t *p, size_t n)
{
    static const uint8_t first[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = p[0] & first[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

/* Line and paragraph separators, and what reorders the text around it: a name
 * must not look like another. */
static bool text_is_trick(uint32_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static int text_safe(struct buf *out, const void *bytes, size_t len,
                     bool is_utf8, const char *backslash)
{
    const uint8_t *p = bytes;
    size_t n;

    for (size_t i = 0; i < len; i += n ? n : 1) {
        uint32_t c;
        int r;

        n = utf8_step(p + i, len - i);
        c = n ? text_point(p + i, n) : p[i];
        if (c == '\\' && n == 1)
            r = buf_append_str(out, backslash);
        else if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            r = buf_printf(out, "\\x%02x", (unsigned)c);
        else if (text_is_trick(c) || (n > 1 && !is_utf8))
            r = buf_printf(out, "\\u{%x}", (unsigned)c);
        else
            r = buf_append(out, p + i, n);
        if (r < 0)
            return -1;
    }
    return 0;
}

int text_escape(struct buf *out, const void *bytes, size_t len, bool is_utf8)
{
    return text_safe(out, bytes, len, is_utf8, "\\\\");
}

int text_tame(struct buf *out, const void *bytes, size_t len, bool is_utf8)
{
    return text_safe(out, bytes, len, is_utf8, "\\");
}

/* Bytes of the first character, its columns in *cols. */
static size_t text_step(const char *text, size_t left, size_t *cols)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t n = utf8_step(p, left);
    int w = n ? wcwidth((wchar_t)text_point(p, n)) : 1;

    *cols = w < 0 ? 1 : (size_t)w;
    return n ? n : 1;
}

size_t text_width(const char *text)
{
    size_t len = strlen(text), sum = 0, cols;

    for (size_t i = 0; i < len; sum += cols)
        i += text_step(text + i, len - i, &cols);
    return sum;
}

int text_clip(struct buf *out, const char *text, size_t cols, bool is_utf8)
{
    const char *dots = is_utf8 ? "\xe2\x80\xa6" : "...";
    size_t dots_cols = is_utf8 ? 1 : 3;
    size_t len = strlen(text), sum = 0, i = 0;

    if (text_width(text) <= cols)
        return buf_append(out, text, len);
    if (dots_cols > cols)
        return buf_append(out, "...", is_utf8 ? 0 : cols);
    while (i < len) {
        size_t w, n = text_step(text + i, len - i, &w);

        if (sum + w > cols - dots_cols)
            break;
        sum += w;
        i += n;
    }
    if (buf_append(out, text, i) < 0)
        return -1;
    return buf_append_str(out, dots);
}

int text_escape_lines(struct buf *out, const void *bytes, size_t len,
                      bool is_utf8)
{
    const char *p = bytes;
    size_t i = 0;

    while (i < len) {
        size_t n = i;
        int r = 0;

        while (n < len && p[n] != '\n' && p[n] != '\t' &&
               !(p[n] == '\r' && n + 1 < len && p[n + 1] == '\n'))
            n++;
        if (text_escape(out, p + i, n - i, is_utf8) < 0)
            return -1;
        if (n < len && p[n] != '\r')
            r = buf_append_str(out, p[n] == '\n' ? "\n" : "    ");
        if (r < 0)
            return -1;
        i = n + 1;
    }
    return 0;
}

void text_escape_err(struct err *e, bool is_utf8)
{
    struct buf b;

    buf_init(&b, sizeof(e->text) * 10);
    (void)text_escape(&b, e->text, strlen(e->text), is_utf8);
    err_set(e, e->kind, "%s", buf_cstr(&b));
    buf_fini(&b);
}

size_t text_row(const char *text, size_t cols, size_t *skip)
{
    size_t len = strcspn(text, "\n"), sum = 0, i = 0, blank = 0, w, n;

    *skip = 0;
    while (i < len) {
        n = text_step(text + i, len - i, &w);
        if (sum + w > cols)
            break;
        if (text[i] == ' ')
            blank = i;
        sum += w;
        i += n;
    }
    if (i == len) {
        *skip = text[len] == '\n' ? len + 1 : len;
        return len;
    }
    if (text[i] == ' ')
        blank = i;
    if (blank) {
        *skip = blank + 1;
        return blank;
    }
    /* not even one fits: it is passed over, or there would be no end */
    *skip = i ? i : text_step(text, len, &w);
    return i;
}

const char *text_duration(int64_t ms, char out[TEXT_NUMBER_MAX])
{
    if (ms < 10000)
        snprintf(out, TEXT_NUMBER_MAX, "%d.%ds", (int)(ms / 1000),
                 (int)(ms / 100 % 10));
    else if (ms < 60000)
        snprintf(out, TEXT_NUMBER_MAX, "%ds", (int)(ms / 1000));
    else
        snprintf(out, TEXT_NUMBER_MAX, "%" PRId64 "m %02ds", ms / 60000,
                 (int)(ms / 1000 % 60));
    return out;
}

const char *text_number(int64_t v, char out[TEXT_NUMBER_MAX])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRId64, v), n = 0;

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = 0;
    return out;
}

const char *text_size(int64_t bytes, char out[TEXT_NUMBER_MAX])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    const size_t last = sizeof(units) / sizeof(*units) - 1;
    double v = (double)bytes / 1024;
    size_t u = 0;

    if (bytes < 1024) {
        snprintf(out, TEXT_NUMBER_MAX, "%d byte%s", (int)bytes,
                 bytes == 1 ? "" : "s");
        return out;
    }
    /* 1023.95 KiB would read "1024.0 KiB" */
    for (; v >= 1023.95 && u < last; u++)
        v /= 1024;
    snprintf(out, TEXT_NUMBER_MAX, "%.1f %s", v, units[u]);
    return out;
}
