/*
 * One event loop a process (doorway on libuv): descriptors, timers, signals,
 * and the one way in for other threads. Every callback runs on the loop's
 * thread. A handle is freed by its _stop, which is safe inside its own
 * callback; no callback comes after it.
 */
#ifndef PODTERM_BASE_LOOP_H
#define PODTERM_BASE_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;
struct loop_signal;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };

struct loop *loop_new(void);
void loop_free(struct loop *l); /* closes what is left */
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l);
/* CLOCK_MONOTONIC milliseconds, read afresh */
int64_t loop_now_ms(void);
int64_t loop_now_us(void);
/* wall clock seconds and milliseconds since 1970 */
int64_t loop_wall_s(void);
int64_t loop_wall_ms(void);

/* Watch fd (borrowed; stop before closing it). events: LOOP_* bits, 0 = pause.
 * Level-triggered. A PTY master, a pidfd (LOOP_READ = exited), sockets. */
struct loop_fd *loop_fd_start(struct loop *l, int fd, int events,
                              void (*cb)(void *arg, int events), void *arg);
void loop_fd_events(struct loop_fd *w, int events);
void loop_fd_stop(struct loop_fd *w); /* takes NULL */

/* First after ms, then every repeat_ms (0 = once; the handle stays until
 * _stop and may be armed again). */
struct loop_timer *loop_timer_start(struct loop *l, int64_t ms,
                                    int64_t repeat_ms, void (*cb)(void *arg),
                                    void *arg);
void loop_timer_again(struct loop_timer *t, int64_t ms, int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t); /* takes NULL */

struct loop_signal *loop_signal_start(struct loop *l, int signum,
                                      void (*cb)(void *arg, int signum),
                                      void *arg);
void loop_signal_stop(struct loop_signal *s);

/* From any thread: run fn(arg) on the loop, in order of posting. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* On the loop's thread: run what has been posted up to now, at once. For
 * taking things down in order. */
void loop_run_posted(struct loop *l);

/* The uv_loop_t, for base/ws.c and base/http_client.c alone. */
void *loop_uv(struct loop *l);

#endif
