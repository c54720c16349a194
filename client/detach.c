#include "client/detach.h"

#include <stdio.h>
#include <string.h>

#define DETACH_DOT '.'
#define CHAR_INTR 0x03
#define CHAR_QUIT 0x1c

static bool is_enter(int byte)
{
    return byte == '\r' || byte == '\n';
}

int detach_key(const char *text, int *key, struct err *e)
{
    const size_t len = strlen(text);
    int byte = (unsigned char)text[0];

    if (strcmp(text, "none") == 0) {
        *key = DETACH_NONE;
        return 0;
    }
    if (len == 2 && byte == '^' && text[1] >= '@' && text[1] <= '_')
        byte = text[1] & 0x1f;
    else if (len == 2 && byte == '^' && text[1] >= 'a' && text[1] <= 'z')
        byte = text[1] & 0x1f;
    else if (len != 1 || byte <= ' ' || byte >= 0x7f)
        byte = -1;
    if (byte < 0 || is_enter(byte) || byte == CHAR_INTR || byte == CHAR_QUIT ||
        byte == DETACH_DOT)
        return err_set(e, ERR_INPUT,
                       "--detach-key %.20s: want one character, ^X for Ctrl-X, "
                       "or none; not the dot, Enter, Ctrl-C or Ctrl-\\",
                       text);
    *key = byte;
    return 0;
}

void detach_name(int key, char out[16])
{
    if (key < ' ')
        snprintf(out, 16, "Ctrl-%c", key + '@');
    else
        snprintf(out, 16, "%c", key);
}

void detach_init(struct detach *d, int key)
{
    *d = (struct detach){.key = key, .is_at_start = true};
}

size_t detach_take(struct detach *d, const uint8_t *bytes, size_t len,
                   uint8_t *out, bool *wants_out)
{
    size_t n = 0;

    *wants_out = false;
    for (size_t i = 0; i < len; i++) {
        if (d->is_held && bytes[i] == DETACH_DOT) {
            d->is_held = false;
            *wants_out = true;
            return n;
        }
        if (d->is_held)
            out[n++] = (uint8_t)d->key;
        d->is_held = d->is_at_start && !d->is_held && (int)bytes[i] == d->key;
        d->is_at_start = is_enter(bytes[i]);
        if (!d->is_held)
            out[n++] = bytes[i];
    }
    return n;
}
