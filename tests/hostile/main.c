#include "tests/hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512
#define ATTEMPT_MS 12000
#define REACH_MS 1500

char scratch[256];

static char **words;
static char *outcome_line; /* shared with the attempt's process */
static int inherited = -1; /* a descriptor that was open when we began */

const char *told(const char *name)
{
    size_t len = strlen(name);

    for (char **w = words; *w; w++)
        if (strncmp(*w, name, len) == 0 && (*w)[len] == '=')
            return *w + len + 1;
    return "";
}

bool is_caged(void)
{
    return *told("CAGED") != 0;
}

/* --- outcomes --- */

static const struct {
    int value;
    const char *name;
} errors[] = {
#define E(name)                                                                \
    {                                                                          \
        name, #name                                                            \
    }
    E(EPERM),        E(ENOENT),       E(ESRCH),           E(EINTR),
    E(EIO),          E(ENXIO),        E(ENOEXEC),         E(EBADF),
    E(ECHILD),       E(EAGAIN),       E(ENOMEM),          E(EACCES),
    E(EFAULT),       E(EBUSY),        E(EEXIST),          E(EXDEV),
    E(ENODEV),       E(ENOTDIR),      E(EISDIR),          E(EINVAL),
    E(EMFILE),       E(ENOTTY),       E(ETXTBSY),         E(ENOSPC),
    E(EROFS),        E(EPIPE),        E(ELOOP),           E(ENOSYS),
    E(ENODATA),      E(EOPNOTSUPP),   E(EPROTONOSUPPORT), E(ESOCKTNOSUPPORT),
    E(EPFNOSUPPORT), E(EAFNOSUPPORT), E(EADDRINUSE),      E(EADDRNOTAVAIL),
    E(ENETDOWN),     E(ENETUNREACH),  E(ECONNABORTED),    E(ECONNRESET),
    E(ENOTCONN),     E(EISCONN),      E(ETIMEDOUT),       E(ECONNREFUSED),
    E(EHOSTUNREACH), E(EINPROGRESS),  E(ENOPROTOOPT),     E(EPROTOTYPE),
    E(EDESTADDRREQ), E(EUSERS),
#undef E
};

static const char *error_name(int value)
{
    static char other[24];

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].value == value)
            return errors[i].name;
    snprintf(other, sizeof(other), "errno-%d", value);
    return other;
}

static void say(const char *verdict, const char *what)
{
    if (!outcome_line[0])
        snprintf(outcome_line, LINE_MAX_BYTES, "%s %s", verdict, what);
}

void refused(const char *reason)
{
    say("refused", reason);
}

void absent(const char *why)
{
    say("n/a", why);
}

void through(const char *format, ...)
{
    char what[256];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    for (char *p = what; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    say("THROUGH", what);
}

void outcome(long r, const char *what)
{
    if (r < 0)
        refused(error_name(errno));
    else
        through("%s", what);
}

void outcome_reached(long r)
{
    if (r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
        refused(error_name(errno));
    else
        through("reached (%s)", r < 0 ? error_name(errno) : "done");
}

/* --- one attempt --- */

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Its end, or 0 when it does not come. */
static pid_t wait_for(pid_t pid, int *status)
{
    const long until = now_ms() + ATTEMPT_MS;
    pid_t got;

    for (long pause_us = 100; (got = waitpid(pid, status, WNOHANG)) == 0;) {
        if (now_ms() > until)
            return 0;
        usleep((useconds_t)pause_us);
        if (pause_us < 20000)
            pause_us += pause_us / 4;
    }
    return got;
}

static void attempt_run(const struct attempt *a)
{
    int status = 0;
    pid_t pid;

    memset(outcome_line, 0, LINE_MAX_BYTES);
    if (a->is_harmful && !is_caged()) {
        printf("%s n/a it would harm a host\n", a->name);
        return;
    }
    pid = fork();
    if (pid == 0) {
        a->run(a);
        _exit(0);
    }
    if (pid > 0 && wait_for(pid, &status) == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        refused("hangs");
    } else if (pid > 0 && WIFSIGNALED(status)) {
        refused(WTERMSIG(status) == SIGSEGV  ? "SIGSEGV"
                : WTERMSIG(status) == SIGSYS ? "SIGSYS"
                                             : "died");
    }
    printf("%s %s\n", a->name, outcome_line[0] ? outcome_line : "said nothing");
}

void attempts_run(const struct attempt *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        attempt_run(&all[i]);
}

int reach(const void *to, socklen_t len)
{
    const struct sockaddr *sa = to;
    int fd =
        socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);

    if (fd < 0)
        return -1;
    if (connect(fd, sa, len) < 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = ETIMEDOUT;
            if (poll(&p, 1, REACH_MS) > 0)
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    close(fd);
    errno = error;
    return error ? -1 : 0;
}

/* --- what we were given --- */

static void inherits(const struct attempt *a)
{
    (void)a;
    if (inherited < 0)
        refused("none");
    else
        through("descriptor %d is open", inherited);
}

/* Names that a secret could have; our own words are none. */
static void environment(const struct attempt *a)
{
    static const char *const names[] = {"TOKEN", "SECRET", "PASSW",     "_KEY",
                                        "PSK",   "REDIS",  "KUBECONFIG"};
    extern char **environ;

    (void)a;
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const char *at = strstr(*e, names[i]);

            if (at && at < strchr(*e, '=')) {
                through("%.40s", *e);
                return;
            }
        }
    refused("none");
}

static const struct attempt given[] = {
    {.name = "inherited_descriptors", .run = inherits},
    {.name = "environment_secrets", .run = environment},
};

static void find_scratch(void)
{
    const char *home = getenv("HOME");

    if (home && access(home, W_OK) == 0) {
        snprintf(scratch, sizeof(scratch), "%.200s/hostile-XXXXXX", home);
        if (mkdtemp(scratch))
            return;
    }
    snprintf(scratch, sizeof(scratch), "/tmp/hostile-XXXXXX");
    if (!mkdtemp(scratch))
        snprintf(scratch, sizeof(scratch), "/nowhere");
}

int main(int argc, char **argv)
{
    (void)argc;
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            inherited = fd;
    words = argv + 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    outcome_line = mmap(NULL, LINE_MAX_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome_line == MAP_FAILED)
        return 1;
    /* a cage has no root in it: this would be the machine itself */
    if (geteuid() == 0 &&
        (is_caged() || unshare(CLONE_NEWNS) < 0 ||
         mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
        fprintf(stderr, "hostile: not as root on a machine's own mounts\n");
        return 2;
    }
    find_scratch();
    printf("BEGIN hostile.c\n");
    ATTEMPTS(given);
    sockets_run();
    connects_run();
    namespaces_run();
    calls_run();
    processes_run();
    files_run();
    key_run();
    rmdir(scratch);
    printf("END hostile.c\n");
    return 0;
}
