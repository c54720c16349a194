/*
 * podterm dev: controller, gateway and local launcher on this machine.
 *
 * Life: STARTING (controller, then gateway, each asked until it answers) ->
 * READY -> STOPPING. A Unix socket pair is the life line: every process that
 * must not outlive us holds the other end. It reads the end of file when we
 * are gone, however we went; and once all of them are gone, we read it.
 */
#include "base/http_client.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/uidrange.h"
#include "client/command.h"
#include "client/devchild.h"
#include "client/devconf.h"
#include "client/manual.h"
#include "client/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEV_ASK_MS 10      /* between questions to who starts */
#define DEV_START_MS 30000 /* until both answer */
#define DEV_STOP_MS 12000  /* the controller ends every session in 8 s */
/* these two well below the 5 s in which all goes with us */
#define DEV_GATEWAY_DRAIN_MS 500
#define DEV_GATEWAY_LINGER_MS 2000
#define DEV_KILLED_MS 1000    /* and then nobody is waited for */
#define DEV_LIFE_LEFT_MS 5000 /* for keepers whose controller died */
#define DEV_WORDS_MAX 8192    /* bytes of log looked at for them */
#define DEV_UID_FIRST 210000  /* as the controller's defaults */
#define DEV_UID_COUNT 4096
#define DEV_UID_RANGES 64          /* `podterm dev` of root side by side */
#define DEV_LOG_KEEP_MAX (4 << 20) /* bytes; a larger log starts afresh */

struct dev {
    struct devconf conf;
    struct loop *loop;
    struct devchild controller, gateway;
    int life[2]; /* ours, theirs */
    int lock_fd, uids_fd;
    int64_t uid_first; /* 0 = the controller's own setting */
    struct loop_signal *term, *interrupt, *hangup;
    struct loop_timer *ask, *deadline;
    bool is_ready, is_stopping, has_failed;
    int64_t started_ms;
};

/* --- before anything starts --- */

static int lock_state(struct dev *d, struct err *e)
{
    own_mem char *path = mem_printf("%s/dev.lock", d->conf.state_dir);

    d->lock_fd = ours_open(path, O_RDWR, e);
    if (d->lock_fd < 0)
        return -1;
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_BUSY,
                       "another `podterm dev` uses %s; stop it, or choose "
                       "another directory with --state",
                       d->conf.state_dir);
    return 0;
}

/* As root: the first uids that no other `podterm dev` has, unless they were
 * chosen by hand. */
static int take_uids(struct dev *d, struct err *e)
{
    struct err why = {0};

    if (geteuid() != 0 || getenv("PODTERM_UID_FIRST"))
        return 0;
    for (int i = 0; i < d->conf.more_count; i++)
        if (strncmp(d->conf.more[i], "--uid-", 6) == 0)
            return 0;
    for (int64_t i = 0; i < DEV_UID_RANGES; i++) {
        why = (struct err){0};
        d->uid_first = DEV_UID_FIRST + i * DEV_UID_COUNT;
        d->uids_fd = uidrange_take(UIDRANGE_DIR, "dev-uids.lock", d->uid_first,
                                   DEV_UID_COUNT, &why);
        if (d->uids_fd >= 0)
            return 0;
        if (why.kind != ERR_BUSY)
            break;
    }
    *e = why;
    return -1;
}

static int open_log(struct dev *d, const char *name, struct err *e)
{
    own_mem char *dir = mem_printf("%s/log", d->conf.state_dir);
    own_mem char *path = mem_printf("%s/%s.log", dir, name);
    own_fd int dir_fd = -1;
    struct stat st;
    int fd;

    if (d->conf.log_to_stderr)
        return fcntl(2, F_DUPFD_CLOEXEC, 3);
    dir_fd = ours_dir(dir, 0700, e);
    fd = dir_fd < 0 ? -1 : ours_open(path, O_WRONLY | O_APPEND, e);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_size > DEV_LOG_KEEP_MAX &&
        ftruncate(fd, 0) < 0)
        fprintf(stderr, "podterm: %s cannot be emptied\n", path);
    return fd;
}

/* What the kernel says to a cage, told before anybody relies on it. As root,
 * or when it must be, the controller does not start without one. */
static void warn_isolation(const struct dev *d)
{
    own_mem char *path = mem_printf("%s/podterm-keeper", d->conf.bin_dir);
    char *argv[] = {"podterm-keeper", "--probe", NULL};
    struct proc_spawn how = {
        .path = path, .argv = argv, .envp = environ, .fd_count = 3};
    char reason[300] = "";
    int out[2], status = 0;
    pid_t pid;
    own_fd int pid_fd = -1;
    struct err e = {0};
    ssize_t n;

    if (geteuid() == 0 || strcmp(d->conf.isolation, "strict") == 0)
        return;
    if (pipe2(out, O_CLOEXEC) < 0)
        return;
    how.fds = (int[]){-1, -1, out[1]};
    pid_fd = proc_spawn(&how, &pid, &e);
    close(out[1]);
    n = pid_fd < 0 ? 0 : read(out[0], reason, sizeof reason - 1);
    close(out[0]);
    if (pid_fd >= 0)
        waitpid(pid, &status, 0);
    reason[n > 0 ? n : 0] = '\0';
    reason[strcspn(reason, "\n")] = '\0';
    if (status)
        fprintf(stderr,
                "podterm: programs are NOT isolated from this machine "
                "and its files: %s%s\n",
                reason,
                *d->conf.broker ? "; they get no key broker (--broker)" : "");
}

/* --- the end --- */

static void finish(void *arg)
{
    struct dev *d = arg;

    loop_stop(d->loop);
}

static void stop_late(void *arg)
{
    struct dev *d = arg;

    fprintf(stderr, "podterm: the services did not leave in time\n");
    devchild_kill(&d->controller);
    devchild_kill(&d->gateway);
    loop_timer_again(d->deadline, DEV_KILLED_MS, 0);
}

static void stop_gateway(struct dev *d)
{
    if (!devchild_stop(&d->gateway))
        finish(d);
}

/* The controller first: it ends the sessions, and the gateway tells the
 * clients why. */
static void stop(struct dev *d)
{
    if (d->is_stopping)
        return;
    d->is_stopping = true;
    loop_timer_stop(d->ask);
    d->ask = NULL;
    loop_timer_stop(d->deadline);
    d->deadline =
        loop_timer_start(d->loop, DEV_STOP_MS, DEV_STOP_MS, stop_late, d);
    d->gateway.restart = false;
    if (!devchild_stop(&d->controller))
        stop_gateway(d);
}

static void fail(struct dev *d, const char *why)
{
    fprintf(stderr, "podterm: %s\n", why);
    d->has_failed = true;
    stop(d);
}

static void on_signal(void *arg, int signum)
{
    (void)signum;
    stop(arg);
}

/* The sentence in a line of log: its error, else its event. False: there is
 * none. */
static bool line_words(const char *line, char *out, size_t size)
{
    struct err ignored = {0};
    own_json struct json *j = json_parse(line, strlen(line), &ignored);
    const char *text = json_get_str(j, "error");

    if (!text)
        text = json_get_str(j, "text");
    if (text)
        say_text(text, out, size);
    return text != NULL;
}

/* What the child last complained of since it was started; "" = nothing. */
static void last_words(const struct devchild *c, const char *path, char *out,
                       size_t size)
{
    char text[DEV_WORDS_MAX], *line, *end;
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    off_t all = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = c->log_from;
    ssize_t n;

    out[0] = '\0';
    if (all - from > (off_t)sizeof text - 1)
        from = all - (off_t)sizeof text + 1;
    n = fd < 0 || all <= from ? 0 : pread(fd, text, sizeof text - 1, from);
    text[n > 0 ? n : 0] = '\0';
    while (!out[0] && *text) {
        end = text + strlen(text);
        if (end[-1] == '\n')
            *--end = '\0';
        line = strrchr(text, '\n');
        if (!line_words(line ? line + 1 : text, out, size) && text[0] != '{' &&
            !line)
            say_text(text, out, size); /* of the loader or a sanitizer */
        *(line ? line + 1 : text) = '\0';
    }
}

static void not_started(struct dev *d, const struct devchild *c, int status)
{
    own_mem char *path =
        mem_printf("%s/log/%s.log", d->conf.state_dir, c->name);
    char words[1024] = "", why[2048];

    if (!d->conf.log_to_stderr)
        last_words(c, path, words, sizeof words);
    if (words[0])
        snprintf(why, sizeof why, "the %s did not start: %s", c->name, words);
    else
        snprintf(why, sizeof why, "the %s did not start (%s %d)%s%s", c->name,
                 WIFSIGNALED(status) ? "signal" : "exit code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                 d->conf.log_to_stderr ? "" : "; its log: ",
                 d->conf.log_to_stderr ? "" : path);
    fail(d, why);
}

static void exited(void *arg, struct devchild *c, int status)
{
    struct dev *d = arg;

    if (d->is_stopping) {
        if (c == &d->controller)
            stop_gateway(d);
        else if (d->controller.pid == 0)
            finish(d);
        return;
    }
    if (!d->is_ready) {
        not_started(d, c, status);
        return;
    }
    fprintf(stderr, "podterm: the %s has ended (%s %d) and is started again\n",
            c->name, WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* --- the start --- */

/* What both services read under one name, or what would take from dev what it
 * decides itself, must not come to them from our environment. */
static void forget_settings(void)
{
    static const char *const names[] = {
        "PODTERM_METRICS_LISTEN", "PODTERM_TLS_CERT",
        "PODTERM_TLS_KEY",        "PODTERM_STORE",
        "PODTERM_STATE_DIR",      "PODTERM_ATTACH_URL",
        "PODTERM_OIDC_ISSUER",    "PODTERM_OIDC_AUDIENCE",
        "PODTERM_OIDC_JWKS_URL",  "PODTERM_JWKS_URL",
        "PODTERM_HOSTS",          "PODTERM_LISTEN",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void arm_store(struct devchild *c, const struct devconf *f)
{
    if (f->store)
        devchild_arg(c, "--store=%s", f->store);
    else
        devchild_arg(c, "--store=%s/podterm.db", f->state_dir);
}

static void arm_controller(struct dev *d)
{
    struct devchild *c = &d->controller;
    const struct devconf *f = &d->conf;

    devchild_arg(c, "podterm-controller");
    devchild_arg(c, "--listen=%s", f->api);
    devchild_arg(c, "--state-dir=%s", f->state_dir);
    arm_store(c, f);
    devchild_arg(c, "--attach-url=ws://%s/v1/attach", f->attach);
    devchild_arg(c, "--installation=%s", f->installation);
    devchild_arg(c, "--issuer=podterm-controller");
    devchild_arg(c, "--dev-issuer");
    devchild_arg(c, "--bundle-http");
    devchild_arg(c, "--bundle-domains=%s", f->bundle_domains);
    devchild_arg(c, "--bundle-file-root=%s", f->root_dir);
    devchild_arg(c, "--web-dir=%s", f->web_dir);
    devchild_arg(c, "--isolation=%s", f->isolation);
    devchild_arg(c, "--egress=%s", f->egress);
    devchild_arg(c, "--program-domains=%s", f->program_domains);
    devchild_arg(c, "--broker=%s", f->broker);
    devchild_arg(c, "--broker-upstream=%s", f->broker_upstream);
    devchild_arg(c, "--life-fd=3");
    /* everybody here is one person at one address */
    if (!getenv("PODTERM_CONNS_PER_ADDRESS"))
        devchild_arg(c, "--conns-per-address=1000000");
    if (d->uid_first)
        devchild_arg(c, "--uid-first=%lld", (long long)d->uid_first);
    for (int i = 0; i < f->more_count && c->argc < DEVCHILD_ARGS_MAX; i++)
        devchild_arg(c, "%s", f->more[i]);
    c->life_fd = d->life[1];
}

static void arm_gateway(struct dev *d)
{
    struct devchild *c = &d->gateway;
    const struct devconf *f = &d->conf;
    const char *port = strrchr(f->attach, ':'), *api = strrchr(f->api, ':');

    devchild_arg(c, "podterm-gateway");
    devchild_arg(c, "--listen=%s", f->attach);
    arm_store(c, f);
    devchild_arg(c, "--seal-key-file=%s/keys/seal", f->state_dir);
    devchild_arg(c, "--jwks-file=%s/jwks.json", f->state_dir);
    devchild_arg(c, "--issuer=podterm-controller");
    devchild_arg(c, "--audience=%s", f->installation);
    devchild_arg(c, "--agent-cidrs=127.0.0.0/8,::1/128");
    devchild_arg(c, "--hosts=127.0.0.1%s,localhost%s,[::1]%s", port, port,
                 port);
    devchild_arg(c, "--origins=http://%s,http://localhost%s", f->api, api);
    devchild_arg(c, "--drain-ms=%d", DEV_GATEWAY_DRAIN_MS);
    devchild_arg(c, "--linger-ms=%d", DEV_GATEWAY_LINGER_MS);
    /* everybody here is one person at one address */
    if (!getenv("PODTERM_ATTACHED_PER_ADDRESS"))
        devchild_arg(c, "--attached-per-address=1000000");
    if (!getenv("PODTERM_ATTACHED_PER_USER"))
        devchild_arg(c, "--attached-per-user=1000000");
    if (!getenv("PODTERM_UNPROVEN_PER_ADDRESS"))
        devchild_arg(c, "--unproven-per-address=1000000");
}

/* Does it answer 200 there? */
static bool answers(const char *addr, const char *path)
{
    char url[ADDR_TEXT_MAX + 32];
    struct http_request r = {.url = url,
                             .allow_http = true,
                             .connect_ms = 1000,
                             .total_ms = 1000,
                             .body_max = 4096};
    struct http_answer a = {0};
    struct err e = {0};
    bool is_good;

    snprintf(url, sizeof url, "http://%s%s", addr, path);
    if (http_do(&r, &a, &e) < 0)
        return false;
    is_good = a.status == 200;
    http_answer_fini(&a);
    return is_good;
}

static void announce(struct dev *d)
{
    d->is_ready = true;
    d->controller.restart = d->gateway.restart = true;
    loop_timer_stop(d->ask);
    d->ask = NULL;
    loop_timer_stop(d->deadline);
    d->deadline = NULL;
    printf("podterm is ready at http://%s\n", d->conf.api);
    if (d->conf.web_dir[0])
        printf("web terminal: http://%s/\n", d->conf.api);
    fflush(stdout);
}

static void ask(void *arg)
{
    struct dev *d = arg;
    struct err e = {0};

    if (d->gateway.pid == 0) {
        if (answers(d->conf.api, "/readyz") &&
            devchild_start(&d->gateway, &e) < 0)
            fail(d, e.text);
        return;
    }
    if (answers(d->conf.attach, "/livez"))
        announce(d);
}

static void start_late(void *arg)
{
    fail(arg, "the services did not answer in time");
}

static int start(struct dev *d, struct err *e)
{
    own_mem char *controller =
        mem_printf("%s/podterm-controller", d->conf.bin_dir);
    own_mem char *gateway = mem_printf("%s/podterm-gateway", d->conf.bin_dir);

    d->controller.path = own_mem_give(&controller);
    d->gateway.path = own_mem_give(&gateway);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, d->life) < 0)
        return err_sys(e, "socketpair");
    d->controller.log_fd = open_log(d, "controller", e);
    d->gateway.log_fd = open_log(d, "gateway", e);
    if (d->controller.log_fd < 0 || d->gateway.log_fd < 0)
        return -1;
    forget_settings();
    arm_controller(d);
    arm_gateway(d);
    d->term = loop_signal_start(d->loop, SIGTERM, on_signal, d);
    d->interrupt = loop_signal_start(d->loop, SIGINT, on_signal, d);
    d->hangup = loop_signal_start(d->loop, SIGHUP, on_signal, d);
    if (devchild_start(&d->controller, e) < 0)
        return -1;
    d->ask = loop_timer_start(d->loop, DEV_ASK_MS, DEV_ASK_MS, ask, d);
    d->deadline = loop_timer_start(d->loop, DEV_START_MS, 0, start_late, d);
    return 0;
}

/* Keepers whose controller was killed end by the life line alone: wait until
 * the last of them has let it go. */
static int wait_for_keepers(struct dev *d)
{
    struct pollfd p = {.fd = d->life[0]};

    if (d->life[0] < 0)
        return 0;
    close(d->life[1]);
    d->life[1] = -1;
    shutdown(d->life[0], SHUT_WR);
    poll(&p, 1, DEV_LIFE_LEFT_MS);
    if (p.revents & POLLHUP)
        return 0;
    fprintf(stderr, "podterm: some session's processes did not leave\n");
    return -1;
}

static void dev_free(struct dev *d)
{
    loop_signal_stop(d->term);
    loop_signal_stop(d->interrupt);
    loop_signal_stop(d->hangup);
    loop_timer_stop(d->ask);
    loop_timer_stop(d->deadline);
    free((void *)(uintptr_t)d->controller.path);
    free((void *)(uintptr_t)d->gateway.path);
    devchild_fini(&d->controller);
    devchild_fini(&d->gateway);
    loop_free(d->loop);
    own_fd_release(&d->life[0]);
    own_fd_release(&d->life[1]);
    own_fd_release(&d->lock_fd);
    own_fd_release(&d->uids_fd);
}

static int dev_run(const struct command *c, int argc, char **argv)
{
    struct dev d = {.life = {-1, -1}, .lock_fd = -1, .uids_fd = -1};
    struct err e = {0};
    int rc, status = EXIT_PODTERM;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            manual_help(c, stdout);
            return EXIT_SUCCESS;
        }
    rc = devconf_load(&d.conf, argc, argv, &e);
    if (rc > 0)
        return EXIT_SUCCESS;
    signal(SIGPIPE, SIG_IGN);
    d.loop = loop_new();
    devchild_init(&d.controller, d.loop);
    devchild_init(&d.gateway, d.loop);
    d.controller.name = "controller";
    d.gateway.name = "gateway";
    d.controller.exited = d.gateway.exited = exited;
    d.controller.arg = d.gateway.arg = &d;
    if (rc == 0 && lock_state(&d, &e) == 0 && take_uids(&d, &e) == 0) {
        warn_isolation(&d);
        if (d.conf.root_trouble.kind)
            fprintf(stderr, "podterm: bundles cannot come from files: %s\n",
                    d.conf.root_trouble.text);
        if (start(&d, &e) == 0) {
            loop_run(d.loop);
            status = d.has_failed ? EXIT_PODTERM : EXIT_SUCCESS;
        }
    }
    if (e.kind)
        fprintf(stderr, "podterm: %s\n", e.text);
    devchild_kill(&d.gateway);
    if (wait_for_keepers(&d) < 0)
        status = EXIT_PODTERM;
    dev_free(&d);
    return status;
}

const struct command command_dev = {
    .name = "dev",
    .summary = "run all of podterm on this machine",
    .usages = (const char *const[]){"[options] [-- option of "
                                    "podterm-controller...]",
                                    NULL},
    .about =
        (const char *const[]){
            "Starts controller, gateway and the local launcher on loopback, "
            "prints \"podterm is ready at http://HOST:PORT\" once a session "
            "can be made, and leaves nothing running when it gets SIGINT, "
            "SIGTERM or SIGHUP. It gives an identity to every user of this "
            "machine that is its own or root, so it listens on loopback "
            "alone.",
            NULL},
    .rows = devconf_rows,
    .row_count = DEVCONF_ROWS,
    .run = dev_run,
};
