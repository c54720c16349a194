#include "client/devchild.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void devchild_init(struct devchild *c, struct loop *loop)
{
    *c = (struct devchild){
        .loop = loop,
        .log_fd = -1,
        .life_fd = -1,
        .pid_fd = -1,
        .back_ms = DEVCHILD_BACK_MIN_MS,
    };
}

void devchild_arg(struct devchild *c, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    assert(c->argc < DEVCHILD_ARGS_MAX);
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    c->argv[c->argc++] = text;
}

static void start_again(void *arg)
{
    struct devchild *c = arg;
    struct err e = {0};

    loop_timer_stop(c->again);
    c->again = NULL;
    if (devchild_start(c, &e) < 0) {
        fprintf(stderr, "podterm: %s: %s\n", c->name, e.text);
        c->again =
            loop_timer_start(c->loop, DEVCHILD_BACK_MAX_MS, 0, start_again, c);
    }
}

static void start_later(struct devchild *c)
{
    if (loop_now_ms() - c->started_ms >= DEVCHILD_GOOD_MS)
        c->back_ms = DEVCHILD_BACK_MIN_MS;
    c->again = loop_timer_start(c->loop, c->back_ms, 0, start_again, c);
    c->back_ms *= 2;
    if (c->back_ms > DEVCHILD_BACK_MAX_MS)
        c->back_ms = DEVCHILD_BACK_MAX_MS;
}

static void on_exit_seen(void *arg, int events)
{
    struct devchild *c = arg;
    int status = 0;

    (void)events;
    if (proc_reap(c->pid_fd, &status) == 0)
        return;
    loop_fd_stop(c->watch);
    c->watch = NULL;
    own_fd_release(&c->pid_fd);
    c->pid_fd = -1;
    c->pid = 0;
    if (c->restart && !c->is_stopping)
        start_later(c);
    c->exited(c->arg, c, status);
}

int devchild_start(struct devchild *c, struct err *e)
{
    int fds[] = {-1, -1, c->log_fd >= 0 ? c->log_fd : 2, c->life_fd};
    struct proc_spawn how = {
        .path = c->path,
        .argv = c->argv,
        .envp = environ,
        .fds = fds,
        .fd_count = c->life_fd >= 0 ? 4 : 3,
        .new_session = true,
        .death_signal = SIGTERM,
    };

    c->log_from = c->log_fd >= 0 ? lseek(c->log_fd, 0, SEEK_END) : 0;
    c->pid_fd = proc_spawn(&how, &c->pid, e);
    if (c->pid_fd < 0)
        return -1;
    c->started_ms = loop_now_ms();
    c->watch = loop_fd_start(c->loop, c->pid_fd, LOOP_READ, on_exit_seen, c);
    return 0;
}

bool devchild_stop(struct devchild *c)
{
    c->is_stopping = true;
    loop_timer_stop(c->again);
    c->again = NULL;
    return c->pid > 0 && proc_signal(c->pid_fd, SIGTERM) == 0;
}

void devchild_kill(struct devchild *c)
{
    c->is_stopping = true;
    if (c->pid > 0)
        proc_signal(c->pid_fd, SIGKILL);
}

void devchild_fini(struct devchild *c)
{
    int status;

    loop_timer_stop(c->again);
    loop_fd_stop(c->watch);
    if (c->pid > 0) {
        proc_signal(c->pid_fd, SIGKILL);
        waitpid(c->pid, &status, 0);
    }
    own_fd_release(&c->pid_fd);
    own_fd_release(&c->log_fd);
    for (int i = 0; i < c->argc; i++)
        free(c->argv[i]);
    *c = (struct devchild){.pid_fd = -1, .log_fd = -1, .life_fd = -1};
}
