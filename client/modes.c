#include "client/modes.h"

#include <stdio.h>
#include <string.h>

#define MODE_ORIGIN 6
#define MODE_SAVED 1048

enum { GROUND, IN_ESC, IN_CSI, IN_STRING, IN_STRING_ESC };

/* Modes of DECSET, and whether a terminal has them on at first. */
static const struct {
    unsigned number;
    bool is_on;
} table[] = {
    {1049, false}, {1047, false}, {47, false},   {1, false},    {5, false},
    {6, false},    {7, true},     {9, false},    {12, false},   {25, true},
    {45, false},   {66, false},   {69, false},   {1000, false}, {1002, false},
    {1003, false}, {1004, false}, {1005, false}, {1006, false}, {1007, false},
    {1015, false}, {1016, false}, {2004, false}, {2031, false}, {2048, false},
};
#define COUNT (sizeof(table) / sizeof(*table))

void modes_init(struct modes *m)
{
    memset(m, 0, sizeof(*m));
}

static bool is_screen(unsigned number)
{
    return number == 1049 || number == 1047 || number == 47;
}

static void set(struct modes *m, unsigned number, bool on)
{
    if (number == MODE_SAVED)
        m->is_saved = true;
    if (is_screen(number) && on)
        m->is_saved = false; /* each screen has a cursor of its own */
    for (size_t i = 0; i < COUNT; i++) {
        if (table[i].number == number && on != table[i].is_on)
            m->changed |= 1u << i;
        else if (table[i].number == number ||
                 (is_screen(number) && is_screen(table[i].number)))
            m->changed &= ~(1u << i); /* one screen, by three names */
    }
}

static void csi_end(struct modes *m, uint8_t final)
{
    if (m->prefix == '?' && !m->inter && (final == 'h' || final == 'l')) {
        for (size_t i = 0; i < m->count; i++)
            set(m, m->params[i], final == 'h');
    } else if (!m->prefix && !m->inter && (final == 's' || final == 'u')) {
        m->is_saved = true;
    } else if (m->inter == '!' && final == 'p') { /* soft reset */
        set(m, 1, false);
        set(m, MODE_ORIGIN, false);
        set(m, 7, true);
        set(m, 25, true);
        m->is_keypad = false;
    }
}

static void csi(struct modes *m, uint8_t c)
{
    if (c >= '0' && c <= '9') {
        unsigned *p = &m->params[m->count - 1];

        *p = *p > 99999 ? *p : *p * 10 + (c - '0');
    } else if (c == ';' && m->count < MODES_PARAMS_MAX) {
        m->params[m->count++] = 0;
    } else if (c >= '<' && c <= '?') {
        m->prefix = c;
    } else if (c < '0') {
        m->inter = c;
    } else if (c >= '@' && c <= '~') {
        csi_end(m, c);
        m->state = GROUND;
    }
}

static void string(struct modes *m, uint8_t c)
{
    static const uint8_t bar[] = {'9', ';', '4'};

    if (m->number < sizeof(bar) && c == bar[m->number])
        m->has_progress |= ++m->number == sizeof(bar);
    else
        m->number = sizeof(bar) + 1; /* another string */
    if (c == 0x07)
        m->state = GROUND;
}

static void full_reset(struct modes *m)
{
    const bool has_progress = m->has_progress; /* not of the screen */

    modes_init(m);
    m->has_progress = has_progress;
}

static void esc(struct modes *m, uint8_t c)
{
    m->state = GROUND;
    m->number = c == ']' ? 0 : SIZE_MAX;
    switch (c) {
    case '[':
        m->state = IN_CSI;
        m->prefix = m->inter = 0;
        m->count = 1;
        m->params[0] = 0;
        break;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_':
        m->state = IN_STRING;
        break;
    case '7':
    case '8':
        m->is_saved = true;
        break;
    case '=':
    case '>':
        m->is_keypad = c == '=';
        break;
    case 'c':
        full_reset(m);
        break;
    default:
        break;
    }
}

static void see(struct modes *m, uint8_t c)
{
    if (c == 0x18 || c == 0x1a) {
        m->state = GROUND;
    } else if (m->state == IN_STRING_ESC) {
        m->state = GROUND;
        if (c != '\\')
            esc(m, c);
    } else if (c == 0x1b) {
        m->state = m->state == IN_STRING ? IN_STRING_ESC : IN_ESC;
    } else if (m->state == IN_STRING) {
        string(m, c);
    } else if (c >= ' ') {
        if (m->state == IN_ESC)
            esc(m, c);
        else if (m->state == IN_CSI)
            csi(m, c);
    }
}

void modes_see(struct modes *m, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (m->state == GROUND) { /* most of any output */
            const uint8_t *at = memchr(bytes + i, 0x1b, len - i);

            if (!at)
                return;
            i = (size_t)(at - bytes);
        }
        see(m, bytes[i]);
    }
}

bool modes_is_alternate(const struct modes *m)
{
    for (size_t i = 0; i < COUNT; i++)
        if (is_screen(table[i].number) && (m->changed & 1u << i))
            return true;
    return false;
}

bool modes_has_origin(const struct modes *m)
{
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].number == MODE_ORIGIN)
            return m->changed & 1u << i;
    return false;
}

bool modes_has_progress(const struct modes *m)
{
    return m->has_progress;
}

bool modes_may_draw(const struct modes *m)
{
    return !m->is_saved && !modes_has_origin(m) && m->state == GROUND;
}

size_t modes_anew(const struct modes *m, char out[MODES_ANEW_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < COUNT; i++)
        if (m->changed & 1u << i)
            n += (size_t)snprintf(out + n, MODES_ANEW_MAX - n, "\033[?%u%c",
                                  table[i].number, table[i].is_on ? 'l' : 'h');
    if (m->is_keypad)
        n += (size_t)snprintf(out + n, MODES_ANEW_MAX - n, "\033=");
    return n;
}
