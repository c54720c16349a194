/*
 * The agent's end of the shim protocol (PROTOCOL.md 8, runner-image/shim.h):
 * makes socket and cookie in the ipc directory, takes one connection, checks
 * who is there, and tells what the shim says. The shim is hostile to us: the
 * runner may have taken it over. Its messages are bounded, each kind comes at
 * most once on a connection, a descriptor comes only with STARTED and must be
 * a PTY master, or with LISTENER and must be a listening TCP socket.
 *
 * While a shim is connected nobody else is accepted. After `lost` the socket
 * listens again; a shim that still lives is back within SHIM_DIAL_MS.
 * One thread: the loop's. Verbs may call any function here but
 * shimlink_free.
 */
#ifndef PODTERM_AGENT_SHIMLINK_H
#define PODTERM_AGENT_SHIMLINK_H

#include "base/err.h"
#include "base/loop.h"
#include "runner-image/shim.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Connections that have not said HELLO yet; the oldest gives way. */
#define SHIMLINK_PENDING_MAX 4
/* From accept to a right HELLO. */
#define SHIMLINK_HELLO_MS 5000
/* After a shim was dropped, until the next is taken. */
#define SHIMLINK_AGAIN_MS 50
/* Bytes queued for a shim that does not read. */
#define SHIMLINK_QUEUE_MAX (2 * (SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX))

struct shimlink;

/* What a shim says of the program it has started. */
struct shimlink_run {
    int pid;          /* the runner's number, for show */
    uint8_t held;     /* layers of the cage that hold: enum shim_layer */
    uint8_t landlock; /* its ABI; 0 = this kernel has none */
};

struct shimlink_verbs {
    /* A shim with the right cookie is here (each time it comes). The first
     * time ever, the cookie file is gone by now: store that (is_cookie_spent)
     * before anything is started. kind and value matter with SHIM_ENDED. */
    void (*hello)(void *arg, enum shim_state state, enum shim_end kind,
                  int value);
    /* Where the program connects to a proxy: a socket listening on that port
     * of the runner's loopback, the callee's, non-blocking, close-on-exec.
     * Each that START named, before the first started and after each hello.
     * NULL = there is to be none. */
    void (*listener)(void *arg, uint16_t port, int listen_fd);
    /* The program runs, or has run, on this PTY: master_fd is the callee's,
     * non-blocking, close-on-exec. */
    void (*started)(void *arg, int master_fd, const struct shimlink_run *run);
    /* The program has ended; what it wrote is still in the PTY, read to EIO.
     * Told again after each hello in state SHIM_ENDED. */
    void (*exited)(void *arg, enum shim_end kind, int value);
    /* The platform stops the runner; lost follows. */
    void (*stopping)(void *arg);
    /* START could not be done. error is an errno; text is escaped to
     * printable ASCII and at most SHIM_TEXT_MAX bytes. */
    void (*failed)(void *arg, int error, const char *text);
    /* The connection of the last hello is gone. why: for the log. */
    void (*lost)(void *arg, const struct err *why);
};

struct shimlink_conf {
    const char *ipc_dir;   /* of any length; ours alone to write to */
    const uint8_t *cookie; /* SHIM_COOKIE_BYTES, kept by the caller's state */
    bool is_cookie_spent;  /* a shim has read it in an earlier life */
    uid_t runner_uid;      /* what the peer must be */
    /* The runner has a PID namespace below ours: the peer must be PID 1 in
     * it. (A peer of pid 0, in a namespace beside ours, is judged by uid.) */
    bool is_caged;
    const struct shimlink_verbs *verbs;
    void *arg;
};

struct shimlink_filter { /* seccomp's; code is borrowed */
    enum shim_when when;
    const struct sock_filter *code;
    size_t count; /* 1..SHIM_FILTER_MAX */
};

/* The kernel's share of the cage; all borrowed. {0} = none of it. */
struct shimlink_cage {
    uint8_t want, must; /* layers: enum shim_layer */
    struct shimlink_filter filters[SHIM_FILTERS_MAX];
    int filter_count;
    const char *const *readable; /* NULL-terminated paths, or NULL */
    const char *const *writable;
    uint16_t ports[SHIM_PORTS_MAX]; /* that it may connect to */
    int port_count;
};

struct shimlink_start {
    uint16_t cols, rows; /* 1..SHIM_SIZE_MAX */
    enum shim_isolation isolation;
    enum shim_egress egress;
    struct shim_limits limits;
    const struct shimlink_cage *cage; /* NULL = none */
    uint16_t listen[SHIM_PORTS_MAX];  /* for listener */
    int listen_count;
    const char *cwd;         /* as the runner sees it */
    const char *const *argv; /* NULL-terminated, at least one */
    const char *const *env;  /* NULL-terminated, "NAME=value" */
};

/* Write the cookie file (unless spent), bind and listen. Strings and cookie
 * are copied. NULL with *e: ERR_SYSTEM, naming the path. */
struct shimlink *shimlink_new(struct loop *l, const struct shimlink_conf *conf,
                              struct err *e);
/* Closes, removes the socket; no verb comes any more. Takes NULL. */
void shimlink_free(struct shimlink *s);

bool shimlink_is_up(const struct shimlink *s); /* between hello and lost */

/* Each -1 with ERR_PEER when no shim is there. start also: ERR_INPUT for a
 * bad size or an empty argv, ERR_TOO_LARGE past the limits of shim.h,
 * ERR_CONFLICT when this connection was given a START before. */
int shimlink_start(struct shimlink *s, const struct shimlink_start *what,
                   struct err *e);
int shimlink_signal(struct shimlink *s, int number, struct err *e);
/* code: 0 or LEAVE_* (base/vocab.h) */
int shimlink_leave(struct shimlink *s, int code, struct err *e);

/* --- the parser, for its tests and its fuzzer --- */

struct shimlink_message {
    enum shim_type type;
    uint8_t version, state, kind; /* HELLO; kind: EXITED too */
    int32_t value;          /* HELLO, EXITED; pid of STARTED; errno of FAILED */
    uint8_t held, landlock; /* STARTED */
    uint16_t port;          /* LISTENER */
    const uint8_t *cookie;  /* HELLO: SHIM_COOKIE_BYTES, borrowed */
    char text[SHIM_TEXT_MAX + 1]; /* FAILED: printable ASCII */
};

/* One message from the front of len bytes. 1: *out and *used (bytes); 0: more
 * bytes are needed; -1 with ERR_PEER: no shim says that. */
int shimlink_parse(const void *bytes, size_t len, struct shimlink_message *out,
                   size_t *used, struct err *e);

#endif
