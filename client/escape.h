/*
 * What a key at the beginning of a line means to podterm and not to the
 * program, as in ssh: Enter, the key (~), and a letter. The key is held back
 * only until the byte behind it shows what was meant; what was not meant goes
 * on as it came. Pure: no I/O, no clock.
 *
 *   ~.   detach            ~^Z  suspend podterm
 *   ~x   end the session,  ~?   tell these
 *        if y follows      ~~   one ~ for the program
 *
 * What a terminal brackets as pasted (CSI 200 ~ to CSI 201 ~) is the
 * program's, whatever it says; a line begun within goes on behind it.
 */
#ifndef PODTERM_CLIENT_ESCAPE_H
#define PODTERM_CLIENT_ESCAPE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ESCAPE_NONE (-1)

enum escape_act {
    ESCAPE_NOTHING,
    ESCAPE_DETACH,
    ESCAPE_ASK_END, /* the next byte answers */
    ESCAPE_END,
    ESCAPE_KEEP, /* it was no y */
    ESCAPE_SUSPEND,
    ESCAPE_HELP,
};

struct escape {
    int key; /* a byte, or ESCAPE_NONE */
    bool is_at_start;
    bool is_held;  /* the key was typed, and nothing behind it yet */
    bool is_asked; /* whether the session is to end */
    bool is_pasted;
    size_t bracket; /* bytes of a paste's bracket seen so far */
};

/* "~", "^X" for Ctrl-X, or "none". ERR_INPUT: none of these, or a key that is
 * needed (Enter, Ctrl-C, Ctrl-\, Ctrl-Z, the dot, x, ?). */
int escape_key(const char *text, int *key, struct err *e);
/* How the key is called: "~", "Ctrl-X". */
void escape_name(int key, char out[16]);
/* All of them in a line. */
void escape_help(int key, char *out, size_t size);

void escape_init(struct escape *d, int key);
/*
 * Typed bytes up to the next act; those that are the program's into out, which
 * has room for one more than len.
 *
 * *len  in: how many there are; out: how many were taken
 * *act  what is to be done now
 * returns how many bytes are the program's
 */
size_t escape_take(struct escape *d, const uint8_t *bytes, size_t *len,
                   uint8_t *out, enum escape_act *act);

#endif
