/*
 * The way out of a terminal whose program goes on: a key behind Enter (or as
 * the first of all) and then a dot, "~." as in ssh. Nothing typed is changed
 * or lost: the key is held back only until the byte behind it shows what was
 * meant, and what was not meant goes on as it came. Pure: no I/O, no clock.
 */
#ifndef PODTERM_CLIENT_DETACH_H
#define PODTERM_CLIENT_DETACH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DETACH_NONE (-1)

struct detach {
    int key; /* a byte, or DETACH_NONE */
    bool is_at_start;
    bool is_held; /* the key was typed, and nothing behind it yet */
};

/* "~", "^X" for Ctrl-X, or "none". ERR_INPUT: none of these, or a key that is
 * needed (Enter, Ctrl-C, Ctrl-\, the dot). */
int detach_key(const char *text, int *key, struct err *e);
/* How the key is called: "~", "Ctrl-X". */
void detach_name(int key, char out[16]);

void detach_init(struct detach *d, int key);
/*
 * Typed bytes; those that are the program's into out, which has room for one
 * more than len. Returns how many.
 *
 * *wants_out  true: the way out was typed; what came behind it is dropped, as
 *             nobody is there any more to whom it could be meant
 */
size_t detach_take(struct detach *d, const uint8_t *bytes, size_t len,
                   uint8_t *out, bool *wants_out);

#endif
