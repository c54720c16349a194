/*
 * The user's terminal: raw mode while attached, and restored on every way
 * out but SIGKILL: return, exit(), a signal. Leaving is quiet: modes
 * a program may have set (alternate screen, mouse, bracketed paste, cursor
 * keys, charset, focus, title stack, ...) are reset, a device status is asked
 * for and input is discarded until its answer or TTY_QUIET_MS, then flushed, so
 * that no late report lands on the user's shell. (A program may have asked for
 * a device status too: the wait ends TTY_CALM_MS after the last byte.) One per
 * process; main thread alone. Source: SECURITY rule 8; termios(3); xterm's
 * ctlseqs.
 */
#ifndef PODTERM_CLIENT_TTY_H
#define PODTERM_CLIENT_TTY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TTY_QUIET_MS 200
#define TTY_CALM_MS 30

/* Are both terminals? Else the client streams. */
bool tty_is_terminal(int in_fd, int out_fd);
/* Take in_fd and out_fd (0 and 1) into raw mode; the title is pushed on the
 * terminal's stack. Does nothing when they are already. ERR_SYSTEM. Every
 * signal whose default ends a process restores the terminal and then takes
 * that default, unless the caller has a handler of its own by then. */
int tty_raw(int in_fd, int out_fd, struct err *e);
/* For a terminal that is only written to, before the first byte that may
 * change a mode: the same ways out reset the modes, but ask and read
 * nothing. ERR_SYSTEM. */
int tty_screen(int out_fd, struct err *e);
/* Does the program have the cursor's place counted from its margins? Not every
 * terminal takes that back with a soft reset, and what does moves the cursor:
 * restoring does it only where it is needed. */
void tty_origin(bool on);
/* Has the program shown a progress bar (OSC 9;4)? It is taken away, and only
 * then: some terminals show an OSC 9 to the user. */
void tty_progress(bool on);
/* Back to what it was, quietly (see above), with the descriptors' flags as
 * tty_raw found them; at most TTY_QUIET_MS, also when the terminal does not
 * take or answer anything. Safe to call again, and when tty_raw was never
 * called. Does nothing in a forked child, nor while another process group has
 * the terminal. */
void tty_restore(void);
/* Is this process group in front of the terminal on fd? */
bool tty_is_front(int fd);
/* Raw mode once more, after a stop in which a shell had the terminal. Does
 * nothing unless tty_raw holds it, nor while another process group has it. */
void tty_again(void);
/* Size in cells, each clamped to 1..1000; 80x24 when unknown. */
void tty_size(int fd, uint16_t *cols, uint16_t *rows);

#endif
