/*
 * A terminal, a shell and its job over a real PTY: the test plays the
 * terminal, a session leader the shell that waits, and its foreground job goes
 * into the client's raw mode and then one way out.
 */
#ifndef PODTERM_TESTS_LIB_TTYJOB_H
#define PODTERM_TESTS_LIB_TTYJOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#define ASK "\033[5n" /* what the client sends to know that all is read */
#define ANSWER "\033[0n"
#define PATIENCE_MS 5000

struct ttyjob {
    int master_fd, slave_fd;
    int news_fd; /* the leader tells: the job's pid, then its status */
    int life_fd; /* the leader leaves when this closes */
    pid_t leader, job;
    struct termios before;
    char out[65536]; /* what the terminal was sent */
    size_t out_len;
};

/* Signals that end a process, and the first and last of real time. */
#define TTYJOB_FATAL 22
int ttyjob_fatal(size_t i);

/* way_out runs in the job, once it is in raw mode. */
void ttyjob_start(struct ttyjob *f, void (*way_out)(void));
/* The leader leaves; everything is closed. */
void ttyjob_end(struct ttyjob *f);
/* Ends what a failed test left behind; a cmocka teardown. */
int ttyjob_teardown(void **state);
/* start, wait for the client's question and answer it; the job is killed by
 * kill_with, or leaves by itself (0) with exits_with. */
void ttyjob_check(void (*way)(void), int kill_with, int exits_with);

/* Take what the terminal is sent within ms. */
void ttyjob_take(struct ttyjob *f, int ms);
/* Was it sent this text? And: wait until it is. */
bool ttyjob_has(struct ttyjob *f, const char *text);
void ttyjob_expect(struct ttyjob *f, const char *text);
/* Type this text. */
void ttyjob_type(struct ttyjob *f, const char *text);
/* Wait for the job's end; its wait status. */
int ttyjob_status(struct ttyjob *f);
/* The terminal is raw; or all is as before and nothing waits to be read. */
void ttyjob_expect_raw(struct ttyjob *f);
void ttyjob_expect_before(struct ttyjob *f);

/* For the job itself. */
void ttyjob_put(int fd, const void *bytes, size_t len); /* or die */
void ttyjob_returns(void); /* restores, leaves with 7 */
void ttyjob_waits(void);   /* for ever */

int64_t ttyjob_now_ms(void);

#endif
