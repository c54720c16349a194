/*
 * A terminal that a person would have: tmux, with a shell in it, on a server
 * of its own. Keys go in; the screen, the title, the terminal's settings and
 * modes are looked at from outside.
 */
#ifndef PODTERM_TESTS_LIB_TMUX_H
#define PODTERM_TESTS_LIB_TMUX_H

#include <stdbool.h>

struct tmux {
    char name[64]; /* of the server's socket */
    char tty[64];  /* of the pane */
};

/* bash in cols x rows, its prompt "seat> ". */
void tmux_start(struct tmux *t, int cols, int rows);
void tmux_stop(struct tmux *t);
/* Type text as it is; keys by tmux's names ("C-c"). */
void tmux_type(struct tmux *t, const char *text);
void tmux_key(struct tmux *t, const char *name);
void tmux_resize(struct tmux *t, int cols, int rows);
/* What stands there now, the caller's: the screen (trailing blanks left out),
 * a format of tmux's. */
char *tmux_screen(struct tmux *t);
char *tmux_cells(struct tmux *t); /* the screen, with its attributes */
char *tmux_value(struct tmux *t, const char *format);
/* Wait until the screen has that text, or has it no more; fails the test. */
void tmux_expect(struct tmux *t, const char *text, int ms);
void tmux_expect_no(struct tmux *t, const char *text, int ms);
/* Wait until the format's value has that text. */
void tmux_expect_value(struct tmux *t, const char *format, const char *text,
                       int ms);
/* All of the terminal's settings (stty -a), the caller's; and the modes that
 * programs set (alternate screen, mouse, cursor, keys, ...). */
char *tmux_settings(struct tmux *t);
char *tmux_modes(struct tmux *t);

#endif
