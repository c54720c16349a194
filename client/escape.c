#include "client/escape.h"

#include <stdio.h>
#include <string.h>

#define CHAR_INTR 0x03
#define CHAR_QUIT 0x1c
#define CHAR_SUSPEND 0x1a

static bool is_enter(int byte)
{
    return byte == '\r' || byte == '\n';
}

static bool is_needed(int byte)
{
    return is_enter(byte) || byte == CHAR_INTR || byte == CHAR_QUIT ||
           byte == CHAR_SUSPEND || byte == '.' || byte == 'x' || byte == '?';
}

int escape_key(const char *text, int *key, struct err *e)
{
    const size_t len = strlen(text);
    int byte = (unsigned char)text[0];

    if (strcmp(text, "none") == 0) {
        *key = ESCAPE_NONE;
        return 0;
    }
    if (len == 2 && byte == '^' &&
        ((text[1] >= '@' && text[1] <= '_') ||
         (text[1] >= 'a' && text[1] <= 'z')))
        byte = text[1] & 0x1f;
    else if (len != 1 || byte <= ' ' || byte >= 0x7f)
        byte = -1;
    if (byte < 0 || is_needed(byte))
        return err_set(e, ERR_INPUT,
                       "--escape %.20s: want one character, ^X for Ctrl-X, or "
                       "none; not the dot, x, ?, Enter, Ctrl-C, Ctrl-Z or "
                       "Ctrl-\\",
                       text);
    *key = byte;
    return 0;
}

void escape_name(int key, char out[16])
{
    if (key < ' ')
        snprintf(out, 16, "Ctrl-%c", key + '@');
    else
        snprintf(out, 16, "%c", key);
}

void escape_help(int key, char *out, size_t size)
{
    char name[16], gap[2] = {key < ' ' ? ' ' : 0, 0};

    escape_name(key, name);
    snprintf(out, size,
             "%s%s. detach  %s%sx end the session  %s%s^Z suspend  %s%s%s type "
             "%s",
             name, gap, name, gap, name, gap, name, gap, name, name);
}

void escape_init(struct escape *d, int key)
{
    *d = (struct escape){.key = key, .is_at_start = true};
}

/* Follows the brackets of a paste. Their bytes are no line of their own: is
 * this one of them? */
static bool in_bracket(struct escape *d, int byte)
{
    static const char open[] = "\033[200~", close[] = "\033[201~";
    const char *want = d->is_pasted ? close : open;

    if (byte != want[d->bracket])
        d->bracket = 0;
    if (byte != want[d->bracket])
        return false;
    if (!want[++d->bracket]) {
        d->bracket = 0;
        d->is_pasted = !d->is_pasted;
    }
    return true;
}

/* The byte behind the key. true: it is an act, and neither is typed. */
static bool held_act(struct escape *d, int byte, enum escape_act *act)
{
    switch (byte) {
    case '.':
        *act = ESCAPE_DETACH;
        return true;
    case 'x':
        d->is_asked = true;
        *act = ESCAPE_ASK_END;
        return true;
    case CHAR_SUSPEND:
        *act = ESCAPE_SUSPEND;
        return true;
    case '?':
        *act = ESCAPE_HELP;
        return true;
    default:
        return false;
    }
}

/* One byte. true: what it means stands in *act. */
static bool take(struct escape *d, int byte, uint8_t *out, size_t *n,
                 enum escape_act *act)
{
    const bool was_held = d->is_held;
    const bool was_at_start = d->is_at_start && d->bracket == 0;

    if (d->is_asked) {
        d->is_asked = false;
        d->is_at_start = true;
        *act = byte == 'y' || byte == 'Y' ? ESCAPE_END : ESCAPE_KEEP;
        return true;
    }
    d->is_held = false;
    if (was_held && held_act(d, byte, act)) {
        d->is_at_start = true;
        return true;
    }
    if (!was_held && was_at_start && !d->is_pasted && byte == d->key) {
        d->is_held = true;
        return false;
    }
    if (was_held && byte != d->key) /* else: the one typed for two */
        out[(*n)++] = (uint8_t)d->key;
    out[(*n)++] = (uint8_t)byte;
    if (!in_bracket(d, byte))
        d->is_at_start = is_enter(byte);
    return false;
}

size_t escape_take(struct escape *d, const uint8_t *bytes, size_t *len,
                   uint8_t *out, enum escape_act *act)
{
    size_t n = 0;

    *act = ESCAPE_NOTHING;
    for (size_t i = 0; i < *len; i++)
        if (take(d, bytes[i], out, &n, act)) {
            *len = i + 1;
            break;
        }
    return n;
}
