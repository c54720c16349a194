/*
 * podterm-shim IPC_DIR AGENT_UID [AGENT_WAIT_MS]
 *
 * PID 1 of a runner (a child subreaper where it is not PID 1): opens the
 * terminal, starts the one program, hands the PTY master to the agent, and
 * again after the agent came back. Static, libc only, so that it runs in any
 * image. Protocol: PROTOCOL.md 8 and shim.h.
 *
 * States: WAITING (no program yet), RUNNING, ENDED (the program's exit is
 * known; stays until LEAVE). Beside them the link to the agent: none
 * (dialling), connected (HELLO sent), greeted (HELLO_OK came).
 *
 * Who holds the terminal. Slave: the program and what it started; the shim
 * closes its own copy once the child has been made, else the agent would
 * never see the end. Master: the agent's copy and the shim's, one open file
 * description, so that output waits in the kernel while the agent is away.
 * When the program exits the kernel sends SIGHUP to the foreground group but,
 * for a PTY, hangs nothing up: a background child may keep the slave open
 * for ever. So the shim kills whatever is left as soon as the program has
 * ended; their copies close, and the agent reads all that was written and
 * then EIO. The shim leaving changes nothing of that: the agent's copy of
 * the master stays readable to the end.
 */
#include "runner-image/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/vocab.h" /* LEAVE_*: constants only, nothing is linked */

int64_t shim_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- from the agent --- */

static void on_start(struct shim *s, uint8_t *body, size_t len)
{
    static struct start st; /* large, and there is one */
    int bad, r;

    if (s->is_start_used) {
        link_tell_failed(s, EALREADY, "this runner was started before", "");
        return;
    }
    bad = start_read(body, len, &st);
    if (bad == EPROTO)
        ending_leave(s, LEAVE_PROTOCOL);
    s->is_start_used = true;
    if (bad) {
        link_tell_failed(s, bad, "the shim does not know this sandbox version",
                         "");
        return;
    }
    if (network_listen(s, &st) < 0) {
        link_tell_failed(s, errno, "cannot listen for the program's network",
                         "");
        return;
    }
    link_tell_listeners(s);
    r = program_spawn(s, &st);
    explicit_bzero(body, len); /* the environment: secrets, the program's now */
    if (r < 0)
        return;
    s->state = SHIM_RUNNING;
    link_tell_started(s);
}

static void on_signal(struct shim *s, int number)
{
    pid_t front;

    if (number < 1 || number > SHIM_SIGNAL_MAX)
        ending_leave(s, LEAVE_PROTOCOL);
    if (s->state != SHIM_RUNNING)
        return;
    s->is_killed |= number == SIGKILL;
    /* a session leader cannot leave its group, so this always reaches it */
    front = tcgetpgrp(s->master_fd);
    kill(-s->program, number);
    if (front > 1 && front != s->program)
        kill(-front, number);
}

static void on_greeted(struct shim *s)
{
    if (s->is_greeted)
        ending_leave(s, LEAVE_PROTOCOL);
    s->is_greeted = true;
    link_tell_listeners(s);
    if (s->state != SHIM_WAITING)
        link_tell_started(s);
    if (s->state == SHIM_ENDED)
        link_tell_exited(s);
}

static void on_message(struct shim *s, uint8_t type, uint8_t *body, size_t len)
{
    if (!s->is_greeted && type != SHIM_HELLO_OK)
        ending_leave(s, LEAVE_PROTOCOL);
    if (type == SHIM_HELLO_OK && len == 0)
        on_greeted(s);
    else if (type == SHIM_START)
        on_start(s, body, len);
    else if (type == SHIM_SIGNAL && len == 1)
        on_signal(s, body[0]);
    else if (type == SHIM_LEAVE && len == 1)
        ending_leave(s, body[0]);
    else
        ending_leave(s, LEAVE_PROTOCOL);
}

static void receive(struct shim *s)
{
    ssize_t n =
        recv(s->sock_fd, s->in + s->in_len,
             SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX - s->in_len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        link_hang_up(s);
        return;
    }
    s->in_len += (size_t)n;
    while (s->in_len >= SHIM_LENGTH_BYTES) {
        struct reader r = {s->in, s->in_len, false};
        size_t len = (size_t)start_take(&r, 4);

        if (len < 1 || len > SHIM_MESSAGE_MAX)
            ending_leave(s, LEAVE_PROTOCOL);
        if (r.left < len)
            return;
        on_message(s, r.at[0], r.at + 1, len - 1);
        if (s->sock_fd < 0) /* lost while answering */
            return;
        s->in_len -= SHIM_LENGTH_BYTES + len;
        memmove(s->in, r.at + len, s->in_len);
    }
}

/* --- the loop --- */

static int wait_for_ms(const struct shim *s)
{
    int64_t gone;

    if (s->is_greeted)
        return -1;
    gone = shim_now_ms() - s->lost_ms;
    return gone < SHIM_DIAL_FAST_FOR_MS ? SHIM_DIAL_FAST_MS : SHIM_DIAL_MS;
}

_Noreturn static void stop(struct shim *s)
{
    link_tell_stopping(s);
    ending_leave(s, LEAVE_STOPPED);
}

_Noreturn static void run(struct shim *s)
{
    for (;;) {
        struct pollfd p[2] = {{s->signal_fd, POLLIN, 0},
                              {s->sock_fd, POLLIN, 0}};

        if (poll(p, 2, wait_for_ms(s)) < 0 && errno != EINTR)
            ending_leave(s, LEAVE_INTERNAL);
        ending_on_signal(s);
        if (s->sock_fd >= 0)
            receive(s);
        /* only now: a LEAVE sent before it has the last word */
        if (s->is_stopped)
            stop(s);
        if (s->sock_fd >= 0 && !s->is_greeted &&
            shim_now_ms() - s->hello_ms >= SHIM_HELLO_MS)
            link_hang_up(s);
        if (s->sock_fd < 0)
            link_dial(s);
        if (!s->is_greeted && shim_now_ms() - s->lost_ms >= s->wait_ms)
            ending_leave(s, LEAVE_NO_AGENT);
    }
}

static bool number_of(const char *text, int64_t max, int64_t *out)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || v > max)
        return false;
    *out = v;
    return true;
}

static int refuse(const char *what)
{
    fprintf(stderr,
            "podterm-shim: %s\n"
            "usage: podterm-shim IPC_DIR AGENT_UID [AGENT_WAIT_MS]\n",
            what);
    return LEAVE_INTERNAL;
}

/* 0, 1 and 2 must be something, or our own descriptors would land there. */
static void fill_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

int main(int argc, char **argv)
{
    static uint8_t in[SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX];
    struct shim s = {.sock_fd = -1, .master_fd = -1, .signal_fd = -1};
    int64_t uid;

    s.in = in;
    s.wait_ms = SHIM_AGENT_WAIT_MS;
    if (argc < 3 || argc > 4 || !number_of(argv[2], UINT32_MAX - 1, &uid))
        return refuse("two arguments are needed, the second a user id");
    if (argc == 4 && !number_of(argv[3], INT32_MAX, &s.wait_ms))
        return refuse("AGENT_WAIT_MS is not a number of milliseconds");
    /* no debugger of the same user, no /proc/PID/mem: the cookie is here */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    syscall(SYS_close_range, 3, ~0u, 0);
    fill_standard();
    s.agent_uid = (uid_t)uid;
    s.is_init = getpid() == 1;
    if (!s.is_init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return refuse("this kernel has no child subreaper");
    if (chdir(argv[1]) < 0)
        return refuse("IPC_DIR cannot be entered");
    if (ending_watch(&s) < 0)
        return refuse("signals cannot be watched");
    s.lost_ms = shim_now_ms();
    link_dial(&s);
    run(&s);
}
