/*
 * The real shim against an agent of the test's own: blocking sockets, one
 * shim at a time, as PID 1 of a PID namespace or bare.
 */
#ifndef PODTERM_TESTS_LIB_SHIMRIG_H
#define PODTERM_TESTS_LIB_SHIMRIG_H

#include "base/buf.h"
#include "runner-image/shim.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PATIENCE_MS 5000

struct rig {
    char *dir;
    int listen_fd, sock_fd, master_fd;
    pid_t pid;     /* what we wait for: its exit code is the shim's */
    pid_t init;    /* the shim itself, seen from here; 0 when bare */
    uint8_t state; /* of the last HELLO */
    uint8_t body[1024];
    size_t body_len;
};

/* A cmocka setup and teardown; *state is a struct rig, no shim yet. */
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_listen(struct rig *r);
/* Start the shim. is_init: as PID 1 of a namespace; wait_ms may be NULL. */
void rig_run(struct rig *r, bool is_init, const char *wait_ms);
/* The shim dials and says HELLO; it is answered. */
void rig_accept(struct rig *r);
/* The three above. */
struct rig *rig_ready(void **state, bool is_init);
/* It leaves by itself: its exit code, 128 and more for a signal. */
int rig_end(struct rig *r);

/* The next message must be of that type; its body is in r->body. */
void rig_expect(struct rig *r, uint8_t type);
void rig_expect_exit(struct rig *r, uint8_t kind, uint8_t value);
void rig_say(struct rig *r, uint8_t type, const void *body, size_t len);
void rig_say_byte(struct rig *r, uint8_t type, uint8_t value);

/* START's body for `sh -c SCRIPT` with PATH and COLOUR; buf_fini releases. */
void rig_put_start(struct buf *b, uint8_t sandbox_version,
                   const struct shim_limits *l, const char *script);
/* A string as START has them. */
void rig_put_str(struct buf *b, const char *text);
/* Start the script without limits: the terminal is r->master_fd. */
void rig_start(struct rig *r, const char *script);
/* Read the terminal to its end, or until it shows `upto`; the caller's. */
char *rig_terminal(struct rig *r, const char *upto);
/* Start, see it end with code, let the shim leave: what it showed. */
char *rig_run_to_end(struct rig *r, const char *script, uint8_t code);

#endif
