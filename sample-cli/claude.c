#include "sample-cli/claude.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "sample-cli/claude_read.h"
#include "sample-cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLAUDE_LOOK_MS 100 /* stopped? timed out? */
#define CLAUDE_READ_BYTES 65536
#define CLAUDE_DRAIN_READS 64 /* of each pipe, which holds 64 KiB */
/*
 * Where it runs: a directory that is always there, always empty, and nobody's
 * to write in, nor are those above it (a CLAUDE.md in one of them would be
 * read as instructions, and anybody may put one into /tmp). None of ours has
 * to be tidied up, however we end.
 * source: Linux, fs/proc/proc_tty.c: "Preserved: it's userspace visible"
 */
#define CLAUDE_CWD "/proc/tty/ldisc"

struct run {
    const struct claude_conf *conf;
    struct task *task;
    struct claude_read read;
    struct buf err; /* its standard error */
    pid_t pid;
    int pid_fd;          /* owned */
    int in, out, err_fd; /* owned; -1 = closed */
    size_t sent;
};

char *claude_find(const char *path_env)
{
    const char *end;

    for (const char *p = path_env; p && *p; p = *end ? end + 1 : end) {
        own_mem char *path = NULL;
        struct stat st;

        end = strchrnul(p, ':');
        if (*p != '/')
            continue; /* of the tree that is looked over, perhaps */
        path = mem_printf("%.*s/claude", (int)(end - p), p);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            access(path, X_OK) == 0)
            return own_mem_give(&path);
    }
    return NULL;
}

/* --- start and end --- */

static int run_pipe(int *ours, int *theirs, bool is_written, struct err *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_sys(e, "pipe2");
    *ours = fds[is_written];
    *theirs = fds[!is_written];
    fcntl(*ours, F_SETFL, O_NONBLOCK);
    return 0;
}

static int run_spawn(struct run *r, const int fds[3], struct err *e)
{
    const struct claude_conf *conf = r->conf;
    const char *argv[] = {conf->path,
                          "-p",
                          "--output-format",
                          "stream-json",
                          "--verbose", /* stream-json asks for it */
                          "--include-partial-messages",
                          "--tools",
                          "",
                          "--strict-mcp-config",
                          "--disable-slash-commands",
                          "--setting-sources",
                          "user",
                          "--no-session-persistence",
                          "--system-prompt",
                          conf->system,
                          conf->model ? "--model" : NULL,
                          conf->model,
                          NULL};
    const struct proc_spawn spawn = {
        .path = conf->path,
        .argv = (char *const *)(uintptr_t)argv,
        .envp = environ,
        .fds = fds,
        .fd_count = 3,
        .new_session = true,
        .death_signal = SIGKILL,
        .cwd = access(CLAUDE_CWD, X_OK) == 0 ? CLAUDE_CWD : "/",
    };

    r->pid_fd = proc_spawn(&spawn, &r->pid, e);
    return r->pid_fd < 0 ? -1 : 0;
}

static int run_start(struct run *r, struct err *e)
{
    own_fd int in = -1, out = -1, err = -1;

    if (run_pipe(&r->in, &in, true, e) < 0 ||
        run_pipe(&r->out, &out, false, e) < 0 ||
        run_pipe(&r->err_fd, &err, false, e) < 0)
        return -1;
    return run_spawn(r, (const int[3]){in, out, err}, e);
}

static void run_close(int *fd)
{
    own_fd_release(fd);
    *fd = -1;
}

/* The whole session of it. As long as its leader is not reaped, nobody else's
 * can have its number. Returns the leader's status. */
static int run_end(struct run *r)
{
    int status = 0;

    kill(-r->pid, SIGKILL);
    kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        ;
    run_close(&r->pid_fd);
    return status;
}

/* --- bytes --- */

static void run_write(struct run *r)
{
    ssize_t n =
        write(r->in, r->conf->prompt + r->sent, r->conf->prompt_len - r->sent);

    if (n > 0)
        r->sent += (size_t)n;
    else if (errno == EAGAIN || errno == EINTR)
        return;
    /* all of it is there, or nobody wants it: what it says tells which */
    if (n <= 0 || r->sent == r->conf->prompt_len)
        run_close(&r->in);
}

/* All that is there now. */
static int run_read(struct run *r, struct err *e)
{
    uint8_t bytes[CLAUDE_READ_BYTES];
    ssize_t n = read(r->out, bytes, sizeof(bytes));

    if (n > 0)
        return claude_read_feed(&r->read, bytes, (size_t)n, e);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        run_close(&r->out);
    return 0;
}

static void run_read_err(struct run *r)
{
    char bytes[1024];
    ssize_t n = read(r->err_fd, bytes, sizeof(bytes));

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        run_close(&r->err_fd);
    if (n > 0)
        (void)buf_append(&r->err, bytes, (size_t)n); /* full: enough */
}

/* What was written before its end is still to be read, and only that: who
 * else holds the pipe is not waited for, however much it writes. */
static int run_drain(struct run *r, struct err *e)
{
    struct pollfd p = {r->out, POLLIN, 0};

    for (int i = 0; i < CLAUDE_DRAIN_READS && r->out >= 0; i++) {
        if (poll(&p, 1, 0) <= 0)
            break;
        if (run_read(r, e) < 0)
            return -1;
    }
    p.fd = r->err_fd;
    for (int i = 0; i < CLAUDE_DRAIN_READS && r->err_fd >= 0; i++) {
        if (poll(&p, 1, 0) <= 0)
            break;
        run_read_err(r);
    }
    return 0;
}

static int run_loop(struct run *r, struct err *e)
{
    const int64_t end_ms = task_now_ms(r->task) + r->conf->timeout_ms;

    for (;;) {
        struct pollfd fds[4] = {{r->out, POLLIN, 0},
                                {r->err_fd, POLLIN, 0},
                                {r->in, POLLOUT, 0},
                                {r->pid_fd, POLLIN, 0}};

        if (task_is_stopped(r->task))
            return err_set(e, ERR_ENDED, "stopped");
        if (task_now_ms(r->task) >= end_ms)
            return err_set(e, ERR_TIMEOUT, "no answer within %lld s",
                           (long long)r->conf->timeout_ms / 1000);
        if (poll(fds, 4, CLAUDE_LOOK_MS) <= 0)
            continue;
        if (fds[0].revents && run_read(r, e) < 0)
            return -1;
        if (fds[1].revents)
            run_read_err(r);
        if (fds[2].revents)
            run_write(r);
        if (fds[3].revents)
            return run_drain(r, e);
    }
}

/* --- the judgement --- */

/* Why it failed: its own error first, then the last line it complained with,
 * then the bare status. */
static int run_failed(struct run *r, int status, struct err *e)
{
    char *said, *line;

    while (r->err.len && strchr("\r\n ", r->err.data[r->err.len - 1]))
        r->err.len--;
    said = (char *)(uintptr_t)buf_cstr(&r->err);
    line = strrchr(said, '\n');
    if (r->read.has_result && r->read.is_error)
        return err_set(e, ERR_PEER, "%s", r->read.said);
    if (*said)
        return err_set(e, ERR_PEER, "%.200s", line ? line + 1 : said);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_PEER, "it was killed by signal %d",
                       WTERMSIG(status));
    return err_set(e, ERR_PEER, "it ended with exit code %d",
                   WEXITSTATUS(status));
}

static int run_judge(struct run *r, int status, const char **note,
                     struct err *e)
{
    if (status != 0)
        return run_failed(r, status, e);
    if (claude_read_end(&r->read, e) < 0)
        return -1;
    *note = message_note(&r->read.message);
    return 0;
}

int claude_ask(const struct claude_conf *conf, struct task *task,
               struct reply *reply, const char **note, struct err *e)
{
    struct run r = {.conf = conf,
                    .task = task,
                    .pid_fd = -1,
                    .in = -1,
                    .out = -1,
                    .err_fd = -1};
    int out = -1, status;

    buf_init(&r.err, CLAUDE_ERR_MAX);
    claude_read_init(&r.read, reply_add, reply);
    if (run_start(&r, e) == 0) {
        out = run_loop(&r, e);
        /* it has exited: that is its own; else it is killed, and *e says why */
        status = run_end(&r);
        if (out == 0)
            out = run_judge(&r, status, note, e);
    }
    run_close(&r.in);
    run_close(&r.out);
    run_close(&r.err_fd);
    claude_read_fini(&r.read);
    buf_fini(&r.err);
    if (out < 0)
        reply_hush(reply, e);
    return out;
}
