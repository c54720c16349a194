/*
 * The session's terminal: the PTY master on one side, the state's ring and
 * offsets on the other.
 *
 * Output is read straight into the ring, at most TERMINAL_TURN_BYTES a turn,
 * and only while there is room: where unacknowledged bytes are held, a full
 * ring stops the reading and the program blocks, as on a slow terminal.
 * Input waits in a buffer of fixed size until the PTY takes it, so the socket
 * it came from is never stopped. Loop's thread only.
 */
#ifndef PODTERM_AGENT_TERMINAL_H
#define PODTERM_AGENT_TERMINAL_H

#include "agent/state.h"
#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TERMINAL_TURN_BYTES 28672      /* and a read more: 8 of 4095 */
#define TERMINAL_DRAIN_BYTES (1 << 20) /* and a turn more: of one drain */
#define TERMINAL_INTR_MAX 64 /* interrupts delivered ahead of blocked input */

struct terminal;

struct terminal_verbs {
    void (*output)(void *arg); /* output_end moved */
    void (*input)(void *arg);  /* input_received moved */
    void (*ended)(void *arg);  /* end of file: every byte is in the ring */
};

/* input_bytes: size of the input buffer (the protocol's input_window). */
struct terminal *terminal_new(struct loop *l, struct state *s,
                              size_t input_bytes,
                              const struct terminal_verbs *verbs, void *arg);
void terminal_free(struct terminal *t); /* takes NULL */

/* Take over a master (non-blocking); replaces and closes an older one. */
void terminal_adopt(struct terminal *t, int master_fd);
bool terminal_has_master(const struct terminal *t);
/* Was the end of file reached? Nobody holds the other side any more. */
bool terminal_is_at_end(const struct terminal *t);
/* To be asked now and then: does the master block? Whoever shares its
 * description with us clears O_NONBLOCK only to make us stand still. Such a
 * master is closed: what had been read is all there is. */
bool terminal_is_foul(struct terminal *t);

/* Are bytes the owner has not acknowledged to be kept? */
void terminal_hold(struct terminal *t, bool hold);
/* output_acked moved: there may be room again. */
void terminal_acked(struct terminal *t);
/* The program is gone: read what is left now, some TERMINAL_DRAIN_BYTES at
 * most. True when the master has no more (end of file, or nothing to read at
 * this moment); false: come again. */
bool terminal_drain(struct terminal *t);

/*
 * Take typed bytes that begin at the session's input offset `offset`; what
 * was received before is dropped. ERR_INPUT: a gap, or more than the buffer
 * holds (the window was not kept): nothing is taken.
 * An interrupt character behind input that the program does not read is
 * delivered as a signal at once, as a person expects of Ctrl-C.
 */
int terminal_input(struct terminal *t, uint64_t offset, const uint8_t *bytes,
                   size_t len, struct err *e);
/* Forget input that was taken but not written: whoever attaches next has it
 * still and sends it again. */
void terminal_input_forget(struct terminal *t);

/* Set the size; the kernel sends SIGWINCH. */
void terminal_resize(struct terminal *t, uint16_t cols, uint16_t rows);
/* SIGINT or SIGQUIT to the foreground group by TIOCSIG. -1 when it cannot. */
int terminal_signal(struct terminal *t, int signum);

#endif
