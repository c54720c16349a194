#include "runner-image/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
    STEP_SESSION,
    STEP_TERMINAL,
    STEP_LIMITS,
    STEP_CWD,
    STEP_CAGE,
    STEP_EXEC,
    STEP_NONE, /* has failed: only what holds is told */
};

/* What the child tells through its pipe: what holds of its cage, and then the
 * step that failed, if one does. */
struct told {
    int error;
    int step;
    uint8_t held, landlock;
};

static const char *const step_names[] = {
    [STEP_SESSION] = "cannot make a session for ",
    [STEP_TERMINAL] = "cannot give the terminal to ",
    [STEP_LIMITS] = "cannot set the limits of ",
    [STEP_CWD] = "cannot enter the working directory of ",
    [STEP_CAGE] = "the cage cannot be closed ",
    [STEP_EXEC] = "cannot run ",
};

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

/* One write is whole: it is smaller than a pipe's buffer. */
static void tell_parent(const struct told *t)
{
    if (write(3, t, sizeof(*t)) < 0)
        _exit(126); /* the pipe's end tells as much */
}

/* The child between fork and exec. Returns only when a step failed: which. */
static int become(const struct start *st, int slave_fd, int pipe_fd,
                  struct told *t)
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
    if (cage_close(st, &t->held, &t->landlock) < 0)
        return STEP_CAGE;
    t->step = STEP_NONE;
    tell_parent(t);
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

/* The layers that are missing, in the kernel's own words. */
static const char *missing_layers(const struct start *st, const struct told *t)
{
    const unsigned gone = st->must & (unsigned)~t->held;

    if (gone & SHIM_LAYER_CALLS)
        return "around it: this kernel takes no seccomp filter";
    if (t->landlock)
        return "around it: this kernel's Landlock is too old to judge ports";
    return "around it: this kernel has no Landlock";
}

static void tell_not_spawned(struct shim *s, const struct start *st,
                             const struct told *t)
{
    char interpreter[300] = "", name[SHIM_TEXT_MAX + sizeof(interpreter)];
    const char *program = st->argv[0];

    if (t->step == STEP_CAGE)
        program = missing_layers(st, t);
    if (t->step == STEP_EXEC && t->error == ENOENT)
        missing_interpreter(program, interpreter, sizeof(interpreter));
    snprintf(name, sizeof(name), "%s%s", program, interpreter);
    link_tell_failed(s, t->error, step_names[t->step], name);
}

/* What the child tells until the exec closes its pipe, or it gives up. */
static void hear_child(int fd, struct told *last)
{
    struct told t;
    ssize_t n;

    do {
        n = read(fd, &t, sizeof(t));
        if (n == (ssize_t)sizeof(t))
            *last = t;
    } while (n > 0 || (n < 0 && errno == EINTR));
}

int program_spawn(struct shim *s, struct start *st)
{
    struct told t = {.step = STEP_TERMINAL};
    int slave = open_terminal(s, st), pair[2] = {-1, -1};
    pid_t pid = -1;

    s->memory_kills = ending_memory_kills();
    if (slave >= 0 && pipe2(pair, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0) {
        t.step = become(st, slave, pair[1], &t);
        t.error = errno;
        tell_parent(&t);
        _exit(127);
    }
    t.error = errno;
    if (slave >= 0)
        close(slave);
    close(pair[1]);
    if (pid > 0)
        hear_child(pair[0], &t);
    close(pair[0]);
    if (pid > 0 && t.step == STEP_NONE) {
        s->program = pid;
        s->held = t.held;
        s->landlock = t.landlock;
        return 0;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (s->master_fd >= 0)
        close(s->master_fd);
    s->master_fd = -1;
    tell_not_spawned(s, st, &t);
    return -1;
}
