/*
 * A user's seat: a program on a PTY whose other end the test holds, typing
 * and looking. What its terminal was before is kept, to see it restored.
 */
#ifndef PODTERM_TESTS_LIB_SEAT_H
#define PODTERM_TESTS_LIB_SEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

struct seat {
    pid_t pid;
    int master_fd, slave_fd; /* the slave stays open: it can be looked at */
    char *out;               /* all that came; zero-terminated */
    size_t len, cap;
    size_t seen;       /* seat_expect goes on behind what it found last */
    bool is_answering; /* say OK to a device status report, as terminals do */
    struct termios before;
    int flags_before;
};

/* Start argv on a PTY of this size. env: "NAME=value" added to ours, NULL =
 * none. stdout_fd: -1 = the PTY too. */
void seat_start(struct seat *s, const char *const *argv, const char *const *env,
                int cols, int rows, int stdout_fd);
/* Wait until text comes, behind what was found before; fails the test. */
void seat_expect(struct seat *s, const char *text, int ms);
/* Has it come so far? Looks for what is there now. */
bool seat_has(struct seat *s, const char *text);
/* Read for that long. */
void seat_pass(struct seat *s, int ms);
void seat_type(struct seat *s, const void *bytes, size_t len);
void seat_say(struct seat *s, const char *text);
void seat_resize(struct seat *s, int cols, int rows);
/* Is the terminal as it was: modes and flags? */
bool seat_is_restored(struct seat *s);
/* Wait for its end; the exit code, or 128 + signal. Fails after ms. */
int seat_wait(struct seat *s, int ms);
void seat_free(struct seat *s); /* kills what is left */

#endif
