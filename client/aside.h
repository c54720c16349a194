/*
 * A sentence beside a program that has the terminal, without changing what the
 * program shows: in the terminal's title, which is pushed on its stack first;
 * or, when the program draws on the alternate screen, in the corner of the
 * first row, with the cursor where it was. Cells of the ordinary screen are
 * never written to: nobody could bring back what stood there.
 */
#ifndef PODTERM_CLIENT_ASIDE_H
#define PODTERM_CLIENT_ASIDE_H

#include "client/modes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aside { /* private; zeroed and with fd and screen set: nothing said */
    int fd;
    const struct modes *screen; /* what the program has made of it */
    size_t corner;              /* cells of text that stand there */
    bool is_titled;
    int64_t stands_ms;
};

/* Would it stand in the corner now? */
bool aside_has_corner(const struct aside *a);
/*
 * Say it, instead of what was said before.
 *
 * text       any; shown escaped
 * shorter    what to say where the corner has no room for it; NULL ends them
 * stands_ms  for aside_stands_ms
 * returns    true: it is in the title
 */
bool aside_say(struct aside *a, const char *text, const char *const *shorter,
               int64_t stands_ms);
/* How long what stands there is to stand; 0 = nothing does. */
int64_t aside_stands_ms(const struct aside *a);
/* Take it away. true: cells were written to, so the program should draw. */
bool aside_clear(struct aside *a);

/* The whole text, whatever becomes of it: nobody reading must stop nothing. */
void aside_write(int fd, const char *text);

#endif
