#include "agent/supervisor.h"

#include "agent/report.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

struct supervisor {
    const struct supervisor_conf *conf;
    char **child_argv;
    pid_t child;
    int child_fd; /* pidfd */
    bool is_stopping;
    int64_t starts_ms[SUPERVISOR_RESTARTS_MAX]; /* a ring of start times */
    unsigned starts;
};

static char **supervisor_argv(const struct supervisor_conf *conf)
{
    static const char *const more[] = {"--main",      "--key-fd", "3",
                                       "--listen-fd", "4",        NULL};
    size_t n = (size_t)conf->argc, i = 0;
    char **out = mem_zero(n + 10, sizeof(*out));

    memcpy(out, conf->argv, n * sizeof(*out));
    for (; more[i]; i++)
        out[n + i] = (char *)more[i];
    if (conf->health_fd >= 0) {
        out[n + i++] = "--health-fd";
        out[n + i++] = "5";
    }
    if (conf->broker_fd >= 0) {
        out[n + i++] = "--broker-fd";
        out[n + i++] = "6";
    }
    return out;
}

static int supervisor_start(struct supervisor *s, struct err *e)
{
    int fds[] = {-1,
                 -1,
                 2,
                 s->conf->key_fd,
                 s->conf->listen_fd,
                 s->conf->health_fd,
                 s->conf->broker_fd};
    struct proc_spawn how = {
        .path = "/proc/self/exe",
        .argv = s->child_argv,
        .envp = environ,
        .fds = fds,
        .fd_count = sizeof(fds) / sizeof(*fds),
        /* the main process must not outlive its supervisor: nobody would
         * write its report or end its runner */
        .death_signal = SIGKILL,
    };

    s->starts_ms[s->starts++ % SUPERVISOR_RESTARTS_MAX] = loop_now_ms();
    s->child_fd = proc_spawn(&how, &s->child, e);
    return s->child_fd < 0 ? -1 : 0;
}

/* Has it been started so often of late that it will not stand? */
static bool supervisor_is_hopeless(const struct supervisor *s)
{
    int64_t first;

    if (s->starts < SUPERVISOR_RESTARTS_MAX)
        return false;
    first = s->starts_ms[s->starts % SUPERVISOR_RESTARTS_MAX];
    return loop_now_ms() - first < SUPERVISOR_WINDOW_MS;
}

/* 0: go on; else the process' exit status + 1. */
static int supervisor_child_ended(struct supervisor *s, int status)
{
    struct err e = {0};

    if (WIFEXITED(status))
        return WEXITSTATUS(status) + 1;
    log_warn("agent.died", "signal", "i", (int64_t)WTERMSIG(status), NULL);
    own_fd_release(&s->child_fd);
    s->child_fd = -1;
    if (s->is_stopping)
        err_set(&e, ERR_SYSTEM, "the agent was killed while it stopped");
    else if (supervisor_is_hopeless(s))
        err_set(&e, ERR_SYSTEM, "the agent was killed %d times in %d s",
                SUPERVISOR_RESTARTS_MAX, SUPERVISOR_WINDOW_MS / 1000);
    else if (supervisor_start(s, &e) == 0)
        return 0;
    log_err(&e, "agent.lost");
    if (report_write_lost(s->conf->report_path, REASON_RUNNER_LOST, e.text,
                          &e) < 0)
        log_err(&e, "agent.report");
    return EXIT_FAILURE + 1;
}

/* As PID 1 other processes' orphans come here too: all are reaped. */
static int supervisor_reap(struct supervisor *s)
{
    int status, r;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == s->child && (r = supervisor_child_ended(s, status)) != 0)
            return r;
    return 0;
}

int supervisor_run(const struct supervisor_conf *conf, struct err *e)
{
    struct supervisor s = {.conf = conf, .child_fd = -1};
    sigset_t set;
    int r = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);

    s.child_argv = supervisor_argv(conf);
    if (supervisor_start(&s, e) < 0) {
        free(s.child_argv);
        return -1;
    }
    while (r == 0) {
        int signum = sigwaitinfo(&set, NULL);

        if (signum == SIGCHLD) {
            r = supervisor_reap(&s);
        } else if (signum > 0) {
            s.is_stopping = true;
            proc_signal(s.child_fd, SIGTERM);
        }
    }
    own_fd_release(&s.child_fd);
    free(s.child_argv);
    return r - 1;
}
