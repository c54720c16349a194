/*
 * What of a terminal's state a program has changed by its output, as far as it
 * matters to us: whether it draws on the alternate screen, whether the
 * terminal keeps a cursor for it, and the modes to be set anew when the user
 * comes back from a shell. Watches what goes to the terminal; changes nothing.
 * Only sequences in 7-bit form are known. Pure: no I/O, no allocation.
 * Source: xterm's ctlseqs.
 */
#ifndef PODTERM_CLIENT_MODES_H
#define PODTERM_CLIENT_MODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODES_PARAMS_MAX 16
#define MODES_ANEW_MAX 512 /* bytes of modes_anew */

struct modes { /* all private */
    int state;
    uint8_t prefix, inter; /* of a CSI, or 0 */
    unsigned params[MODES_PARAMS_MAX];
    size_t count;
    uint32_t changed; /* bit per row of the table of modes */
    bool is_keypad;   /* application keypad */
    bool is_saved;    /* the program has used the saved cursor */
    size_t number;    /* of an OSC: bytes that are those of a progress bar's */
    bool has_progress;
};

void modes_init(struct modes *m);
void modes_see(struct modes *m, const uint8_t *bytes, size_t len);
/* Does the program draw on the alternate screen? */
bool modes_is_alternate(const struct modes *m);
/* Is the cursor's place counted from the margins? */
bool modes_has_origin(const struct modes *m);
/* Was a progress bar shown, at whatever time? */
bool modes_has_progress(const struct modes *m);
/* May podterm save and restore the cursor, and write at a place of its own,
 * so that the program cannot notice? */
bool modes_may_draw(const struct modes *m);
/* The sequences that set all that is set. Returns their length. */
size_t modes_anew(const struct modes *m, char out[MODES_ANEW_MAX]);

#endif
