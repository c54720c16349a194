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
#include "runner-image/shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/vocab.h" /* LEAVE_*: constants only, nothing is linked */

struct shim {
    uid_t agent_uid; /* as seen from in here */
    int64_t wait_ms; /* without an agent, then we leave */
    bool is_init;
    bool has_cookie;
    bool is_start_used;
    bool is_greeted;
    int sock_fd;
    int master_fd;
    int signal_fd;
    pid_t program;
    uint8_t state; /* enum shim_state */
    uint8_t end_kind;
    int32_t end_value;
    int64_t lost_ms;  /* since when no agent has greeted us */
    int64_t hello_ms; /* when HELLO was sent */
    uint8_t cookie[SHIM_COOKIE_BYTES];
    size_t in_len;
    uint8_t *in; /* SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX */
};

struct start {
    struct winsize size;
    struct shim_limits limits;
    uint8_t isolation;
    char *cwd;
    char *argv[SHIM_ARGS_MAX + 1];
    char *env[SHIM_ENV_MAX + 1];
};

/* What the child tells through its pipe when a step fails. */
struct step_failed {
    int error;
    int step;
};

enum { STEP_SESSION, STEP_TERMINAL, STEP_LIMITS, STEP_CWD, STEP_EXEC };
static const char *const step_names[] = {
    [STEP_SESSION] = "cannot make a session for ",
    [STEP_TERMINAL] = "cannot give the terminal to ",
    [STEP_LIMITS] = "cannot set the limits of ",
    [STEP_CWD] = "cannot enter the working directory of ",
    [STEP_EXEC] = "cannot run ",
};

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void put_u32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)(v >> 24);
    out[1] = (uint8_t)(v >> 16);
    out[2] = (uint8_t)(v >> 8);
    out[3] = (uint8_t)v;
}

/* --- ending --- */

/* Kill our direct children; their orphans become our children in turn. */
static void kill_children(void)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    char path[64], line[512];

    while (d && (de = readdir(d))) {
        pid_t pid = (pid_t)atoi(de->d_name);
        int fd, parent = 0;
        ssize_t n;
        char *p;

        if (pid <= 1)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        n = read(fd, line, sizeof(line) - 1);
        close(fd);
        line[n > 0 ? n : 0] = 0;
        /* the name in parentheses may hold anything: look for its last ) */
        p = strrchr(line, ')');
        if (p && sscanf(p + 1, " %*c %d", &parent) == 1 && parent == getpid())
            kill(pid, SIGKILL);
    }
    if (d)
        closedir(d);
}

/*
 * End everything the program left. As PID 1 one call reaches every process
 * of the namespace, and the kernel holds forks off while it does. Never
 * kill(-1) otherwise: that would be every process of the user.
 */
static void kill_rest(struct shim *s)
{
    int64_t until = now_ms() + SHIM_SWEEP_MS;

    if (s->is_init) {
        kill(-1, SIGKILL);
        return;
    }
    for (;;) {
        pid_t pid;

        kill_children();
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 || now_ms() >= until)
            return;
        poll(NULL, 0, 1);
    }
}

_Noreturn static void leave(struct shim *s, int code)
{
    kill_rest(s);
    _exit(code);
}

/* --- to the agent --- */

static void hang_up(struct shim *s)
{
    if (s->sock_fd >= 0)
        close(s->sock_fd);
    if (s->is_greeted)
        s->lost_ms = now_ms();
    s->sock_fd = -1;
    s->in_len = 0;
    s->is_greeted = false;
}

/* Our messages are small and few: what does not fit into the socket's buffer
 * at once means an agent that stopped reading, and is a lost link. */
static void tell(struct shim *s, uint8_t type, const void *body, size_t len,
                 int fd)
{
    uint8_t head[SHIM_LENGTH_BYTES + 1];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)body, len}};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (s->sock_fd < 0 || (type != SHIM_HELLO && !s->is_greeted))
        return;
    put_u32(head, (uint32_t)(1 + len));
    head[SHIM_LENGTH_BYTES] = type;
    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
    }
    if (sendmsg(s->sock_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) !=
        (ssize_t)(sizeof(head) + len))
        hang_up(s);
}

static void tell_started(struct shim *s)
{
    uint8_t body[SHIM_STARTED_BYTES];

    put_u32(body, (uint32_t)s->program);
    tell(s, SHIM_STARTED, body, sizeof(body), s->master_fd);
}

static void tell_exited(struct shim *s)
{
    uint8_t body[SHIM_EXITED_BYTES] = {s->end_kind};

    put_u32(body + 1, (uint32_t)s->end_value);
    tell(s, SHIM_EXITED, body, sizeof(body), -1);
}

static void tell_failed(struct shim *s, int error, const char *what,
                        const char *name)
{
    uint8_t body[SHIM_FAILED_BYTES + SHIM_TEXT_MAX + 1];
    char *text = (char *)body + SHIM_FAILED_BYTES;

    put_u32(body, (uint32_t)error);
    snprintf(text, SHIM_TEXT_MAX + 1, "%s%s", what, name);
    tell(s, SHIM_FAILED, body, SHIM_FAILED_BYTES + strlen(text), -1);
}

static void tell_hello(struct shim *s)
{
    uint8_t body[SHIM_HELLO_BYTES] = {SHIM_VERSION, s->state, s->end_kind};

    put_u32(body + 3, (uint32_t)s->end_value);
    memcpy(body + 7, s->cookie, SHIM_COOKIE_BYTES);
    tell(s, SHIM_HELLO, body, sizeof(body), -1);
}

/* --- reaching the agent --- */

/* Read once; the agent removes the file after the first HELLO. */
static bool read_cookie(struct shim *s)
{
    uint8_t raw[SHIM_COOKIE_BYTES + 1];
    ssize_t n;
    int fd;

    if (s->has_cookie)
        return true;
    fd = open(SHIM_COOKIE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    n = read(fd, raw, sizeof(raw));
    close(fd);
    if (n != SHIM_COOKIE_BYTES)
        return false;
    memcpy(s->cookie, raw, SHIM_COOKIE_BYTES);
    s->has_cookie = true;
    return true;
}

/*
 * The agent lives in another PID namespace, so a listener made by the
 * program shows a pid and ours shows 0. Where we are not PID 1 (isolation
 * none) all share one namespace and only the uid is left to judge by.
 */
static bool is_agent(const struct shim *s, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    return (peer.pid == 0 || !s->is_init) && peer.uid == s->agent_uid;
}

static void dial(struct shim *s)
{
    /* relative: IPC_DIR is our working directory, and may be too long */
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = SHIM_SOCKET};
    int fd;

    if (!read_cookie(s))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        !is_agent(s, fd)) {
        close(fd);
        return;
    }
    s->sock_fd = fd;
    s->hello_ms = now_ms();
    tell_hello(s);
}

/* --- START --- */

struct reader {
    uint8_t *at;
    size_t left;
    bool is_bad;
};

static uint64_t take(struct reader *r, size_t width)
{
    uint64_t v = 0;

    if (r->left < width) {
        r->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < width; i++)
        v = v << 8 | r->at[i];
    r->at += width;
    r->left -= width;
    return v;
}

/* A string, moved to the front of its own length field so that there is room
 * for the terminator. */
static char *take_string(struct reader *r)
{
    uint8_t *room = r->at;
    size_t len = (size_t)take(r, 4);

    if (r->is_bad || len > r->left || memchr(r->at, 0, len)) {
        r->is_bad = true;
        return NULL;
    }
    memmove(room, r->at, len);
    room[len] = 0;
    r->at += len;
    r->left -= len;
    return (char *)room;
}

static void take_strings(struct reader *r, char **out, size_t min, size_t max)
{
    size_t count = (size_t)take(r, 2);

    if (count < min || count > max)
        r->is_bad = true;
    for (size_t i = 0; i < count && !r->is_bad; i++)
        out[i] = take_string(r);
    out[r->is_bad ? 0 : count] = NULL;
}

/* 0, EPROTO for a body that is not one, ENOTSUP for a cage newer than us:
 * better refused than started with less than was asked for. */
static int read_start(uint8_t *body, size_t len, struct start *out)
{
    struct reader r = {body, len, false};

    out->size.ws_col = (unsigned short)take(&r, 2);
    out->size.ws_row = (unsigned short)take(&r, 2);
    if (take(&r, 1) != SHIM_SANDBOX_VERSION)
        return r.is_bad ? EPROTO : ENOTSUP;
    out->isolation = (uint8_t)take(&r, 1);
    out->limits.nproc = take(&r, 8);
    out->limits.nofile = take(&r, 8);
    out->limits.data_bytes = take(&r, 8);
    out->limits.fsize_bytes = take(&r, 8);
    out->limits.cpu_s = take(&r, 8);
    if (take(&r, 1) != SHIM_NETWORK_VERSION)
        return r.is_bad ? EPROTO : ENOTSUP;
    take(&r, 1); /* egress is the network namespace's, not ours to make */
    out->cwd = take_string(&r);
    take_strings(&r, out->argv, 1, SHIM_ARGS_MAX);
    take_strings(&r, out->env, 0, SHIM_ENV_MAX);
    if (r.is_bad || r.left || out->size.ws_col < 1 || out->size.ws_row < 1 ||
        out->size.ws_col > SHIM_SIZE_MAX || out->size.ws_row > SHIM_SIZE_MAX)
        return EPROTO;
    return 0;
}

static int limit(int what, uint64_t value)
{
    struct rlimit old, want = {value, value};

    if (getrlimit(what, &old) < 0)
        return -1;
    if (want.rlim_max > old.rlim_max) /* we may only lower it */
        want.rlim_cur = want.rlim_max = old.rlim_max;
    return setrlimit(what, &want);
}

static int set_limits(const struct start *st)
{
    const struct shim_limits *l = &st->limits;
    int r = limit(RLIMIT_CORE, 0);

    /* without a namespace of its own RLIMIT_NPROC counts every process of
     * the user on the machine, and a fork would fail for no fault of ours */
    if (l->nproc && st->isolation == SHIM_ISOLATION_FULL)
        r |= limit(RLIMIT_NPROC, l->nproc);
    if (l->nofile)
        r |= limit(RLIMIT_NOFILE, l->nofile);
    if (l->data_bytes)
        r |= limit(RLIMIT_DATA, l->data_bytes);
    if (l->fsize_bytes)
        r |= limit(RLIMIT_FSIZE, l->fsize_bytes);
    if (l->cpu_s)
        r |= limit(RLIMIT_CPU, l->cpu_s);
    return r;
}

/* The child between fork and exec. Returns only when a step failed: which. */
static int become(const struct start *st, int slave_fd, int pipe_fd)
{
    /* past libc, which keeps some signals to itself */
    static const struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } normal = {.handler = SIG_DFL};
    sigset_t none;

    /* dies with the shim, even where no PID namespace sees to it */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < NSIG; i++)
        syscall(SYS_rt_sigaction, i, &normal, NULL, sizeof(normal.mask));
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0)
        return STEP_SESSION;
    if (ioctl(slave_fd, TIOCSCTTY, 0) < 0)
        return STEP_TERMINAL;
    for (int i = 0; i < 3; i++)
        if (dup2(slave_fd, i) < 0)
            return STEP_TERMINAL;
    if (dup2(pipe_fd, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
        return STEP_TERMINAL;
    /* whatever we were given or opened ends here; old kernels: CLOEXEC,
     * which all of ours have, and main closed what was inherited */
    syscall(SYS_close_range, 4, ~0u, 0);
    if (set_limits(st) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return STEP_LIMITS;
    if (chdir(st->cwd) < 0)
        return STEP_CWD;
    environ = (char **)st->env; /* also the PATH that execvp looks along */
    execvp(st->argv[0], st->argv);
    return STEP_EXEC;
}

static int open_terminal(struct shim *s, const struct start *st)
{
    struct termios t;
    int slave;

    s->master_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (s->master_fd < 0 || unlockpt(s->master_fd) < 0)
        return -1;
    slave = ioctl(s->master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        slave = open(ptsname(s->master_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -1;
    if (tcgetattr(slave, &t) == 0) {
        t.c_iflag |= IUTF8; /* backspace over a character, not a byte */
        tcsetattr(slave, TCSANOW, &t);
    }
    ioctl(s->master_fd, TIOCSWINSZ, &st->size);
    return slave;
}

/* ENOENT of a file that is there speaks of the interpreter its first line
 * names. The bundle's bytes: bounded, one printable word, a plain file. */
static void missing_interpreter(const char *program, char *out, size_t size)
{
    int fd = open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char line[256] = "";
    struct stat st;
    ssize_t n = 0, at = 2, end;

    out[0] = 0;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        n = read(fd, line, sizeof(line));
    close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return;
    while (at < n && (line[at] == ' ' || line[at] == '\t'))
        at++;
    for (end = at; end < n && line[end] > ' ' && line[end] < 0x7f; end++)
        ;
    if (end > at)
        snprintf(out, size, ": its interpreter %.*s", (int)(end - at),
                 line + at);
}

static void tell_not_spawned(struct shim *s, const struct step_failed *failed,
                             const char *program)
{
    char interpreter[300] = "", name[SHIM_TEXT_MAX + sizeof(interpreter)];

    if (failed->step == STEP_EXEC && failed->error == ENOENT)
        missing_interpreter(program, interpreter, sizeof(interpreter));
    snprintf(name, sizeof(name), "%s%s", program, interpreter);
    tell_failed(s, failed->error, step_names[failed->step], name);
}

/* Fork and exec; 0 or the failed step with errno. The exec itself is waited
 * for: the pipe closes with it. */
static int spawn(struct shim *s, struct start *st)
{
    struct step_failed failed = {0, STEP_TERMINAL};
    int slave = open_terminal(s, st), pair[2] = {-1, -1};
    pid_t pid = -1;
    ssize_t n;

    if (slave >= 0 && pipe2(pair, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0) {
        failed.step = become(st, slave, pair[1]);
        failed.error = errno;
        /* the pipe's end tells as much if that fails */
        _exit(write(3, &failed, sizeof(failed)) < 0 ? 126 : 127);
    }
    failed.error = errno;
    if (slave >= 0)
        close(slave);
    close(pair[1]);
    n = 0;
    if (pid > 0) {
        do
            n = read(pair[0], &failed, sizeof(failed));
        while (n < 0 && errno == EINTR);
    }
    close(pair[0]);
    if (pid > 0 && n == 0) {
        s->program = pid;
        return 0;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (s->master_fd >= 0)
        close(s->master_fd);
    s->master_fd = -1;
    tell_not_spawned(s, &failed, st->argv[0]);
    return -1;
}

static void on_start(struct shim *s, uint8_t *body, size_t len)
{
    struct start st = {0};
    int bad, r;

    if (s->is_start_used) {
        tell_failed(s, EALREADY, "this runner was started before", "");
        return;
    }
    bad = read_start(body, len, &st);
    if (bad == EPROTO)
        leave(s, LEAVE_PROTOCOL);
    s->is_start_used = true;
    if (bad) {
        tell_failed(s, bad, "the shim does not know this sandbox version", "");
        return;
    }
    r = spawn(s, &st);
    explicit_bzero(body, len); /* the environment: secrets, the program's now */
    if (r < 0)
        return;
    s->state = SHIM_RUNNING;
    tell_started(s);
}

/* --- from the agent --- */

static void on_signal(struct shim *s, int number)
{
    pid_t front;

    if (number < 1 || number > SHIM_SIGNAL_MAX)
        leave(s, LEAVE_PROTOCOL);
    if (s->state != SHIM_RUNNING)
        return;
    /* a session leader cannot leave its group, so this always reaches it */
    front = tcgetpgrp(s->master_fd);
    kill(-s->program, number);
    if (front > 1 && front != s->program)
        kill(-front, number);
}

static void on_greeted(struct shim *s)
{
    if (s->is_greeted)
        leave(s, LEAVE_PROTOCOL);
    s->is_greeted = true;
    if (s->state != SHIM_WAITING)
        tell_started(s);
    if (s->state == SHIM_ENDED)
        tell_exited(s);
}

static void on_message(struct shim *s, uint8_t type, uint8_t *body, size_t len)
{
    if (!s->is_greeted && type != SHIM_HELLO_OK)
        leave(s, LEAVE_PROTOCOL);
    if (type == SHIM_HELLO_OK && len == 0)
        on_greeted(s);
    else if (type == SHIM_START)
        on_start(s, body, len);
    else if (type == SHIM_SIGNAL && len == 1)
        on_signal(s, body[0]);
    else if (type == SHIM_LEAVE && len == 1)
        leave(s, body[0]);
    else
        leave(s, LEAVE_PROTOCOL);
}

static void receive(struct shim *s)
{
    ssize_t n =
        recv(s->sock_fd, s->in + s->in_len,
             SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX - s->in_len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(s);
        return;
    }
    s->in_len += (size_t)n;
    while (s->in_len >= SHIM_LENGTH_BYTES) {
        struct reader r = {s->in, s->in_len, false};
        size_t len = (size_t)take(&r, 4);

        if (len < 1 || len > SHIM_MESSAGE_MAX)
            leave(s, LEAVE_PROTOCOL);
        if (r.left < len)
            return;
        on_message(s, r.at[0], r.at + 1, len - 1);
        if (s->sock_fd < 0) /* lost while answering */
            return;
        s->in_len -= SHIM_LENGTH_BYTES + len;
        memmove(s->in, r.at + len, s->in_len);
    }
}

/* --- signals --- */

static void reap(struct shim *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != s->program || s->state != SHIM_RUNNING)
            continue;
        s->state = SHIM_ENDED;
        s->end_kind = WIFSIGNALED(status) ? SHIM_END_SIGNAL : SHIM_END_CODE;
        s->end_value =
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
        tell_exited(s);
        kill_rest(s); /* see the head of this file */
    }
}

/*
 * SIGTERM from outside means that the platform stops us. A sender inside
 * our PID namespace shows its pid, one outside shows 0; what the program
 * sends is ignored. A program that floods us with it can only hide the
 * platform's own behind one still pending, and is then killed in its turn.
 */
static void on_unix_signal(struct shim *s)
{
    struct signalfd_siginfo si;

    while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        if (si.ssi_signo != SIGTERM)
            continue;
        /* whoever queues one may put any sender into it, but not this code */
        if (si.ssi_code != SI_USER && si.ssi_code != SI_KERNEL)
            continue;
        if (s->is_init ? si.ssi_pid != 0
                       : si.ssi_uid != 0 && si.ssi_uid != s->agent_uid)
            continue;
        tell(s, SHIM_STOPPING, NULL, 0, -1);
        leave(s, LEAVE_STOPPED);
    }
    reap(s);
}

static int set_signals(struct shim *s)
{
    static const int own_fault[] = {SIGSEGV, SIGBUS,  SIGFPE,
                                    SIGILL,  SIGABRT, SIGSYS};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t watched;

    /* ignored ones are not queued, however many the program sends */
    for (int i = 1; i < NSIG; i++)
        if (i != SIGCHLD && i != SIGTERM)
            sigaction(i, &ignore, NULL);
    for (size_t i = 0; i < sizeof(own_fault) / sizeof(own_fault[0]); i++)
        sigaction(own_fault[i], &normal, NULL);
    sigaction(SIGCHLD, &normal, NULL);
    sigaction(SIGTERM, &normal, NULL);
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    if (sigprocmask(SIG_SETMASK, &watched, NULL) < 0)
        return -1;
    s->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? -1 : 0;
}

/* --- the loop --- */

static int wait_for_ms(const struct shim *s)
{
    int64_t gone;

    if (s->is_greeted)
        return -1;
    gone = now_ms() - s->lost_ms;
    return gone < SHIM_DIAL_FAST_FOR_MS ? SHIM_DIAL_FAST_MS : SHIM_DIAL_MS;
}

_Noreturn static void run(struct shim *s)
{
    for (;;) {
        struct pollfd p[2] = {{s->signal_fd, POLLIN, 0},
                              {s->sock_fd, POLLIN, 0}};

        if (poll(p, 2, wait_for_ms(s)) < 0 && errno != EINTR)
            leave(s, LEAVE_INTERNAL);
        on_unix_signal(s);
        if (s->sock_fd >= 0)
            receive(s);
        if (s->sock_fd >= 0 && !s->is_greeted &&
            now_ms() - s->hello_ms >= SHIM_HELLO_MS)
            hang_up(s);
        if (s->sock_fd < 0)
            dial(s);
        if (!s->is_greeted && now_ms() - s->lost_ms >= s->wait_ms)
            leave(s, LEAVE_NO_AGENT);
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
    if (set_signals(&s) < 0)
        return refuse("signals cannot be watched");
    s.lost_ms = now_ms();
    dial(&s);
    run(&s);
}
