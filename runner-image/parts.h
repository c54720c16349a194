/*
 * What the shim's own files share: one object, and who does what with it.
 * shim.h is what the agent sees of it. Every file here needs libc alone.
 */
#ifndef PODTERM_SHIM_PARTS_H
#define PODTERM_SHIM_PARTS_H

#include "runner-image/shim.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

struct shim {
    uid_t agent_uid; /* as seen from in here */
    int64_t wait_ms; /* without an agent, then we leave */
    bool is_init;
    bool has_cookie;
    bool is_start_used;
    bool is_greeted;
    bool is_stopped; /* by the platform */
    bool is_killed;  /* the program, by the agent's word */
    int sock_fd;
    int master_fd;
    int signal_fd;
    struct {
        int fd;
        uint16_t port;
    } listeners[SHIM_PORTS_MAX]; /* the program's ways to its proxies */
    int listener_count;
    pid_t program;
    long memory_kills; /* there had been when it was started */
    uint8_t held;      /* layers of its cage: enum shim_layer */
    uint8_t landlock;  /* ABI */
    uint8_t state;     /* enum shim_state */
    uint8_t end_kind;
    int32_t end_value;
    int64_t lost_ms;  /* since when no agent has greeted us */
    int64_t hello_ms; /* when HELLO was sent */
    uint8_t cookie[SHIM_COOKIE_BYTES];
    size_t in_len;
    uint8_t *in; /* SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX */
};

/* START, as it was read: strings are in the message's own bytes. */
struct start {
    struct winsize size;
    struct shim_limits limits;
    uint8_t isolation, egress;
    uint8_t want, must; /* layers */
    struct {
        uint8_t when; /* enum shim_when */
        uint16_t count;
        struct sock_filter code[SHIM_FILTER_MAX];
    } filters[SHIM_FILTERS_MAX];
    int filter_count;
    char *readable[SHIM_PATHS_MAX + 1];
    char *writable[SHIM_PATHS_MAX + 1];
    uint16_t ports[SHIM_PORTS_MAX]; /* to connect to */
    int port_count;
    uint16_t listen[SHIM_PORTS_MAX];
    int listen_count;
    char *cwd;
    char *argv[SHIM_ARGS_MAX + 1];
    char *env[SHIM_ENV_MAX + 1];
};

/* A message's bytes not yet taken. */
struct reader {
    uint8_t *at;
    size_t left;
    bool is_bad;
};

/* --- shim.c --- */

int64_t shim_now_ms(void);

/* --- link.c: to the agent --- */

/* One try to reach the agent: connected and HELLO sent, or sock_fd is -1. */
void link_dial(struct shim *s);
/* The link is lost; does nothing without one. */
void link_hang_up(struct shim *s);

/* Each tells nothing while no agent has greeted us; may hang up. */
void link_tell_listeners(struct shim *s);
void link_tell_started(struct shim *s);
void link_tell_exited(struct shim *s);
void link_tell_stopping(struct shim *s);
void link_tell_failed(struct shim *s, int error, const char *what,
                      const char *name);

/* --- start.c: START, read --- */

/* A big-endian integer of width bytes; 0 and is_bad when they are not there. */
uint64_t start_take(struct reader *r, size_t width);
/* Takes body apart in place. 0, EPROTO for a body that is not one, ENOTSUP
 * for a cage newer than us: better refused than started with less than was
 * asked for. */
int start_read(uint8_t *body, size_t len, struct start *out);

/* --- network.c --- */

/* Listen where the program finds its proxies. -1 and errno. */
int network_listen(struct shim *s, const struct start *st);

/* --- cage.c --- */

/* Close the cage around the caller, who is to be the program: Landlock, then
 * the filters. What holds then goes to *held (enum shim_layer) and *landlock
 * (its ABI). -1 and errno: one that it must not be without does not. */
int cage_close(const struct start *st, uint8_t *held, uint8_t *landlock);

/* --- program.c: the program on its terminal --- */

/* Fork and exec, on a terminal of its own. The exec itself is waited for.
 * 0, or -1 when a step failed: the agent has been told which. */
int program_spawn(struct shim *s, struct start *st);

/* --- ending.c: signals, and the end of everything --- */

/* Ignore all signals but two, and watch those. -1 when it cannot be. */
int ending_watch(struct shim *s);
/* Take in what came: SIGTERM from outside is noted, the dead are reaped. */
void ending_on_signal(struct shim *s);
/* How often the kernel killed in our cgroup for want of memory, as far as
 * that can be seen. */
long ending_memory_kills(void);
/* End whatever the program left, and ourselves. */
_Noreturn void ending_leave(struct shim *s, int code);

#endif
