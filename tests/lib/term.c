#include "tests/lib/term.h"

#include "base/json_scan.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

void term_init(struct term *t, size_t cols, size_t rows)
{
    assert_true(cols <= TERM_COLS_MAX && rows <= TERM_ROWS_MAX);
    memset(t, 0, sizeof(*t));
    t->cols = cols;
    t->rows = rows;
}

static void term_down(struct term *t)
{
    if (++t->y < t->rows)
        return;
    t->y = t->rows - 1;
    t->scrolled++;
    memmove(t->cells[0], t->cells[1], sizeof(t->cells[0]) * (t->rows - 1));
    memset(t->cells[t->rows - 1], 0, sizeof(t->cells[0]));
}

static void term_put(struct term *t, const char *c, size_t n)
{
    if (t->x == t->cols) {
        t->wraps++;
        t->x = t->no_wrap ? t->cols - 1 : 0;
        if (!t->no_wrap)
            term_down(t);
    }
    memset(t->cells[t->y][t->x], 0, sizeof(t->cells[0][0]));
    memcpy(t->cells[t->y][t->x++], c, n);
}

static void term_erase(struct term *t, char how)
{
    for (size_t x = t->x; x < TERM_COLS_MAX; x++)
        t->cells[t->y][x][0] = 0;
    for (size_t y = t->y + 1; how == 'J' && y < t->rows; y++)
        memset(t->cells[y], 0, sizeof(t->cells[y]));
}

/* "\033[" has been read; returns what follows the sequence. */
static const char *term_control(struct term *t, const char *p)
{
    size_t n = strtoul(p, NULL, 10);

    if (strncmp(p, "?25h", 4) == 0 || strncmp(p, "?25l", 4) == 0) {
        t->is_cursor_hidden = p[3] == 'l';
        return p + 4;
    }
    if (strncmp(p, "?7h", 3) == 0 || strncmp(p, "?7l", 3) == 0) {
        t->no_wrap = p[2] == 'l';
        return p + 3;
    }
    p += strspn(p, "0123456789;");
    switch (*p) {
    case 'A':
        n = n ? n : 1;
        t->y -= n < t->y ? n : t->y;
        break;
    case 'B':
        n = n ? n : 1;
        t->y += n < t->rows - 1 - t->y ? n : t->rows - 1 - t->y;
        break;
    case 'K':
    case 'J':
        assert_int_equal(n, 0);
        term_erase(t, *p);
        break;
    case 'm':
        t->colors++;
        break;
    default:
        fail_msg("the terminal does not know ESC [ ... %c", *p);
    }
    return p + 1;
}

static void term_keep(struct term *t, bool is_back)
{
    if (is_back) {
        t->x = t->kept_x;
        t->y = t->kept_y;
    }
    t->kept_x = t->x;
    t->kept_y = t->y;
}

void term_feed(struct term *t, const char *text)
{
    while (*text) {
        size_t n = utf8_step((const uint8_t *)text, strlen(text));

        assert_true(n > 0);
        if (strncmp(text, "\033[", 2) == 0) {
            text = term_control(t, text + 2);
            continue;
        }
        if (strncmp(text, "\0337", 2) == 0 || strncmp(text, "\0338", 2) == 0) {
            term_keep(t, text[1] == '8');
            text += 2;
            continue;
        }
        if (strncmp(text, "\033D", 2) == 0) {
            term_down(t);
            text += 2;
            continue;
        }
        if (*text == '\r')
            t->x = 0;
        else if (*text == '\n')
            term_down(t);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            fail_msg("a control character: %02x", *text);
        else
            term_put(t, text, n);
        text += n;
    }
}

char *term_row(const struct term *t, size_t y)
{
    char *out = mem_zero(TERM_COLS_MAX + 1, sizeof(t->cells[0][0]));
    size_t len = 0, end = 0;

    for (size_t x = 0; x < t->cols; x++) {
        const char *c = t->cells[y][x][0] ? t->cells[y][x] : " ";

        memcpy(out + len, c, strlen(c));
        len += strlen(c);
        if (*c != ' ')
            end = len;
    }
    out[end] = 0;
    return out;
}

char *term_text(const struct term *t)
{
    char *all = mem_str("");

    for (size_t y = 0; y < t->rows; y++) {
        char *row = term_row(t, y);
        char *more = *row ? mem_printf("%s%s\n", all, row) : mem_str(all);

        free(row);
        free(all);
        all = more;
    }
    return all;
}
