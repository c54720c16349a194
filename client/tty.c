/*
 * All that restoring does is async-signal-safe: it may run in a handler, even
 * in one that interrupts a restore under way, and is then done again.
 */
#include "client/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DEVICE_OK "\033[0n"

/* Ends a string or sequence under way, then resets. The cursor is saved
 * before the alternate screen is left: where there is none to leave, the
 * restoring that 1049 brings with it then moves nothing. */
static const char reset[] =
    "\030\033\\"
    "\0337\033[?69l\033[r\0338" /* margins, which homes */
    "\0337\033[?1049l"
    "\033[!p"                                   /* soft reset */
    "\033[?9l\033[?1000l\033[?1001l\033[?1002l" /* mouse */
    "\033[?1003l\033[?1005l\033[?1006l\033[?1015l\033[?1016l"
    "\033[?1004l\033[?2004l"                      /* focus, paste */
    "\033[?2026l\033[?2031l\033[?2048l"           /* batches, colour, size */
    "\033[<99u\033[=0u\033[>4m\033[>m\033[?9001l" /* keyboard protocols */
    "\033[?1l\033[?66l\033>\033[4l\033[20l"       /* keys, insert, newline */
    "\033[2l\033[12h\033[?8h\033[?5W"             /* lock, echo, repeat, tabs */
    "\033[?5l\033[?7h\033[?25h\033[0 q\033[0m"    /* looks */
    "\033]8;;\033\\"                              /* link */
    "\033(B\033)B\033*B\033+B\017\033 F"          /* character sets */
    "\033]104\033\\\033]105\033\\\033]110\033\\\033]111\033\\"
    "\033]112\033\\\033]113\033\\\033]114\033\\\033]115\033\\"
    "\033]116\033\\\033]117\033\\\033]118\033\\\033]119\033\\"
    "\033]22;\033\\\033]7;\033\\" /* pointer, directory */
    "\033[23;0t";                 /* the title that was pushed */
/* The cursor goes to the last row: where it was nobody knows. */
static const char origin[] = "\033[?6l\033[999;1H";
/* Only where there was one: some terminals show OSC 9 as a message. */
static const char progress[] = "\033]9;4;0\033\\";
static const char ask[] = "\033[5n";

/* One terminal a process; handlers take no argument, so it is static. */
static struct {
    volatile sig_atomic_t has_origin, has_progress;
    volatile sig_atomic_t is_raw; /* or only written to: in_fd is -1 */
    pid_t owner;                  /* a forked child leaves the terminal alone */
    int in_fd, out_fd;
    int in_flags, out_flags;
    struct termios saved;
} tty;

static char handler_stack[32768]; /* for a fault by stack overflow */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Ready within what is left of the time? Interruptions are taken in. */
static bool is_ready(int fd, short what, int64_t until)
{
    struct pollfd p = {.fd = fd, .events = what};
    int64_t left;
    int n;

    do {
        left = until - now_ms();
        n = poll(&p, 1, left > 0 ? (int)left : 0);
    } while (n < 0 && errno == EINTR && left > 0);
    return n > 0 && (p.revents & what);
}

static bool say(const char *text, size_t len, int64_t until)
{
    while (len > 0) {
        ssize_t n = write(tty.out_fd, text, len);

        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (!is_ready(tty.out_fd, POLLOUT, until)) {
            return false;
        }
    }
    return true;
}

static bool say_reset(int64_t until)
{
    return say(reset, sizeof(reset) - 1, until) &&
           (!tty.has_origin || say(origin, sizeof(origin) - 1, until)) &&
           (!tty.has_progress || say(progress, sizeof(progress) - 1, until));
}

/* Discard input until the answer, and what comes on its heels: an answer to
 * the program's own question may be the one seen first. */
static void listen_out(int64_t until)
{
    char in[256];
    size_t matched = 0;

    while (is_ready(tty.in_fd, POLLIN, until)) {
        ssize_t n = read(tty.in_fd, in, sizeof(in));

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        for (ssize_t i = 0; i < n && DEVICE_OK[matched]; i++)
            if (in[i] == DEVICE_OK[matched])
                matched++;
            else
                matched = in[i] == DEVICE_OK[0];
        if (!DEVICE_OK[matched] &&
            !is_ready(tty.in_fd, POLLIN,
                      now_ms() + TTY_CALM_MS < until ? now_ms() + TTY_CALM_MS
                                                     : until))
            return;
    }
}

static bool is_ours(void)
{
    pid_t front = tcgetpgrp(tty.in_fd);

    /* -1: not our controlling terminal, so nobody is in front of it */
    return front < 0 || front == getpgrp();
}

static void restore(void)
{
    int64_t until = now_ms() + TTY_QUIET_MS;

    if (!tty.is_raw || tty.owner != getpid())
        return;
    if (tty.in_fd < 0) { /* whoever reads may be of another pipe: no asking */
        fcntl(tty.out_fd, F_SETFL, tty.out_flags | O_NONBLOCK);
        say_reset(until);
        fcntl(tty.out_fd, F_SETFL, tty.out_flags);
    } else if (is_ours()) {
        fcntl(tty.out_fd, F_SETFL, tty.out_flags | O_NONBLOCK);
        fcntl(tty.in_fd, F_SETFL, tty.in_flags | O_NONBLOCK);
        if (say_reset(until) && say(ask, sizeof(ask) - 1, until))
            listen_out(until);
        fcntl(tty.in_fd, F_SETFL, tty.in_flags);
        fcntl(tty.out_fd, F_SETFL, tty.out_flags);
        tcflush(tty.in_fd, TCIFLUSH);
        tcsetattr(tty.in_fd, TCSANOW, &tty.saved);
        tcflush(tty.in_fd, TCIFLUSH); /* what came in between */
    }
    tty.is_raw = 0;
}

/* restore() without being stopped for touching the terminal, should another
 * process group come to its front meanwhile. */
static void restore_unstopped(void)
{
    int saved_errno = errno;
    sigset_t stops, before;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTTOU);
    sigaddset(&stops, SIGTTIN);
    pthread_sigmask(SIG_BLOCK, &stops, &before);
    restore();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved_errno;
}

static void on_fatal(int number)
{
    restore_unstopped();
    signal(number, SIG_DFL);
    raise(number); /* delivered on return */
}

/* Signals that by default do not end a process, or always do. */
static bool is_harmless(int number)
{
    static const int list[] = {SIGCHLD, SIGCONT, SIGURG,  SIGWINCH, SIGTSTP,
                               SIGTTIN, SIGTTOU, SIGSTOP, SIGKILL};

    for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
        if (list[i] == number)
            return true;
    return false;
}

/* Handlers where there are none yet; what is ignored stays so. */
static void handlers_set(void)
{
    stack_t old,
        stack = {.ss_sp = handler_stack, .ss_size = sizeof(handler_stack)};
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = SA_ONSTACK};
    struct sigaction now;

    if (sigaltstack(NULL, &old) == 0 && (old.ss_flags & SS_DISABLE))
        sigaltstack(&stack, NULL);
    sigemptyset(&action.sa_mask);
    for (int i = 1; i <= SIGRTMAX; i++)
        if (!is_harmless(i) && sigaction(i, NULL, &now) == 0 &&
            now.sa_handler == SIG_DFL)
            sigaction(i, &action, NULL);
}

static void handlers_unset(void)
{
    struct sigaction now;

    for (int i = 1; i <= SIGRTMAX; i++)
        if (sigaction(i, NULL, &now) == 0 && now.sa_handler == on_fatal)
            signal(i, SIG_DFL);
}

static void make_raw(struct termios *t)
{
    cfmakeraw(t);
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

bool tty_is_terminal(int in_fd, int out_fd)
{
    return isatty(in_fd) && isatty(out_fd);
}

static int restore_at_exit(struct err *e)
{
    static bool is_set;

    if (!is_set && atexit(tty_restore))
        return err_sys(e, "atexit");
    is_set = true;
    return 0;
}

static void push_title(void)
{
    static const char push[] = "\033[22;0t";

    say(push, sizeof(push) - 1, now_ms() + TTY_QUIET_MS);
}

int tty_screen(int out_fd, struct err *e)
{
    int out_flags;

    if (tty.is_raw && tty.owner == getpid())
        return 0;
    out_flags = fcntl(out_fd, F_GETFL);
    if (out_flags < 0)
        return err_sys(e, "the terminal's flags");
    if (restore_at_exit(e) < 0)
        return -1;
    tty.owner = getpid();
    tty.in_fd = -1;
    tty.out_fd = out_fd;
    tty.out_flags = out_flags;
    tty.is_raw = 1;
    handlers_set();
    push_title();
    return 0;
}

int tty_raw(int in_fd, int out_fd, struct err *e)
{
    struct termios raw;
    int in_flags, out_flags;

    if (tty.is_raw && tty.owner == getpid())
        return 0;
    if (tcgetattr(in_fd, &raw) < 0 || !isatty(out_fd))
        return err_sys(e, "the terminal's settings");
    in_flags = fcntl(in_fd, F_GETFL);
    out_flags = fcntl(out_fd, F_GETFL);
    if (in_flags < 0 || out_flags < 0)
        return err_sys(e, "the terminal's flags");
    if (restore_at_exit(e) < 0)
        return -1;

    tty.saved = raw;
    tty.owner = getpid();
    tty.in_fd = in_fd;
    tty.out_fd = out_fd;
    tty.in_flags = in_flags;
    tty.out_flags = out_flags;
    tty.is_raw = 1; /* from here on a signal restores */
    handlers_set();
    make_raw(&raw);
    if (tcsetattr(in_fd, TCSADRAIN, &raw) < 0) {
        err_sys(e, "the terminal: raw mode");
        tty.is_raw = 0;
        handlers_unset();
        return -1;
    }
    push_title();
    return 0;
}

void tty_restore(void)
{
    restore_unstopped();
    if (tty.owner == getpid())
        handlers_unset();
}

void tty_origin(bool on)
{
    tty.has_origin = on;
}

void tty_progress(bool on)
{
    tty.has_progress = on;
}

bool tty_is_front(int fd)
{
    return tcgetpgrp(fd) == getpgrp();
}

void tty_again(void)
{
    struct termios raw = tty.saved;

    if (!tty.is_raw || tty.owner != getpid() || tty.in_fd < 0 || !is_ours())
        return;
    make_raw(&raw);
    tcsetattr(tty.in_fd, TCSANOW, &raw);
}

void tty_size(int fd, uint16_t *cols, uint16_t *rows)
{
    struct winsize size = {0};

    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        size = (struct winsize){0};
    *cols = size.ws_col ? size.ws_col : 80;
    *rows = size.ws_row ? size.ws_row : 24;
    if (*cols > 1000)
        *cols = 1000;
    if (*rows > 1000)
        *rows = 1000;
}
