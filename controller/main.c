/* podterm-controller: assembles the parts and runs the loop. */
#include "base/log.h"
#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/seal.h"
#include "base/tls_files.h"
#include "controller/app.h"
#include "controller/launcher_kube.h"
#include "controller/launcher_local.h"
#include "controller/lease.h"
#include "controller/live.h"
#include "controller/page.h"
#include "controller/reaper.h"
#include "controller/server.h"
#include "controller/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define QUEUE_MAX 4096 /* jobs that wait for a worker */
#define STOP_MS 8000   /* for sessions to end when all must */

struct controller {
    struct app app;
    struct server *server;
    struct sweep *sweep; /* NULL = we are alone */
    struct loop_signal *term, *interrupt, *hangup;
    struct loop_fd *life;
    struct loop_timer *stop_timer, *cert_timer;
    struct tls_files tls_files;
};

/* --- stopping --- */

static void stopped(void *arg)
{
    struct controller *c = arg;

    loop_stop(c->app.loop);
}

static void stop_late(void *arg)
{
    log_warn("controller.stop_late", NULL);
    stopped(arg);
}

/* With a life pipe (podterm dev) nothing outlives us; otherwise sessions do,
 * and the next process takes them up. */
static void stop(struct controller *c)
{
    if (c->app.is_stopping)
        return;
    c->app.is_stopping = true;
    log_info("controller.stop", NULL);
    loop_fd_stop(c->life);
    c->life = NULL;
    if (c->app.set->life_fd < 0) {
        loop_stop(c->app.loop);
        return;
    }
    c->stop_timer = loop_timer_start(c->app.loop, STOP_MS, 0, stop_late, c);
    live_stop(c->app.live, stopped, c);
}

/* The pair that was loaded before serves until the next one loads. */
static void check_cert(void *arg)
{
    struct controller *c = arg;
    struct err e = {0};

    if (!tls_files_look(&c->tls_files))
        return;
    if (server_reload(c->server, &e) == 0)
        log_info("certificate.loaded", NULL);
    else if (tls_files_failed(&c->tls_files))
        log_err(&e, "certificate.refused");
}

static void on_signal(void *arg, int signum)
{
    struct controller *c = arg;

    if (signum == SIGHUP) {
        tls_files_ask(&c->tls_files);
        check_cert(c);
    } else {
        stop(c);
    }
}

static void on_life(void *arg, int events)
{
    char ignored[64];
    struct controller *c = arg;

    (void)events;
    if (read((int)c->app.set->life_fd, ignored, sizeof ignored) == 0)
        stop(c);
}

/* --- starting --- */

static int open_state(const struct settings *set, struct err *e)
{
    own_fd int fd = ours_dir(set->state_dir, 0711, e);

    if (fd < 0)
        return err_wrap(e, "state directory (--state-dir)");
    if (access(set->state_dir, W_OK | X_OK) < 0)
        return err_sys(e, "state directory %s (--state-dir)", set->state_dir);
    return 0;
}

static int open_identity(struct app *a, struct err *e)
{
    const struct settings *set = a->set;
    struct identity_conf conf = {
        .issuer = set->oidc_issuer,
        .audience = set->oidc_audience,
        .jwks_url = set->oidc_jwks_url,
        .ca_path = set->oidc_ca,
        .waiters_max =
            (int)(set->workers > IDENTITY_WAITERS_MAX ? IDENTITY_WAITERS_MAX
                                                      : set->workers - 1),
    };

    if (set->dev_issuer) {
        a->devissuer = devissuer_new(set->installation, e);
        conf.issuer = SETTINGS_DEV_ISSUER;
        conf.audience = set->installation;
        conf.keys = a->devissuer ? devissuer_keys(a->devissuer, e) : NULL;
        if (!conf.keys)
            return -1;
    }
    a->identity = identity_new(&conf);
    return 0;
}

static void set_guard(struct app *a)
{
    a->guard = (struct guard){
        .is_dev = a->set->dev_issuer,
        .is_tls = a->set->tls_cert != NULL,
        .listen = a->set->listen,
        .hosts = a->set->hosts,
        .origins = a->set->cors_origins,
    };
}

/* Descriptors: as many as the hard limit lets us have. */
static int fd_max(void)
{
    struct rlimit r = {0};

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &r);
    return (int)r.rlim_cur;
}

static int start_app(struct app *a, struct err *e)
{
    int life_fd = (int)a->set->life_fd;

    if (life_fd >= 0 && fcntl(life_fd, F_SETFD, FD_CLOEXEC) < 0)
        return err_sys(e, "--life-fd %d", life_fd);
    if (open_state(a->set, e) < 0 ||
        (a->set->keys_dir
             ? keys_take(&a->keys, a->set->keys_dir, a->set->state_dir, e)
             : keys_load(&a->keys, a->set->state_dir, e)) < 0)
        return -1;
    a->page = page_open(a->set, e);
    if (!a->page && *a->set->web_dir)
        return -1;
    a->store = store_open(
        &(struct store_conf){.where = a->set->store,
                             .user = a->set->redis_user,
                             .password_file = a->set->redis_password_file,
                             .ca = a->set->redis_ca},
        e);
    if (!a->store)
        return err_wrap(e, "--store");
    if (open_identity(a, e) < 0)
        return -1;
    a->loop = loop_new();
    a->ws = ws_context_new(a->loop, fd_max(), e);
    if (!a->ws)
        return -1;
    a->worker = worker_new(a->loop, (int)a->set->workers, QUEUE_MAX);
    a->live = live_new(a);
    a->launcher =
        a->set->is_kube
            ? launcher_kube_new(a->loop, a->set, &a->keys, e)
            : launcher_local_new(a->loop, a->worker, a->set, life_fd, e);
    if (!a->launcher)
        return -1;
    a->launcher->sink = live_sink(a->live);
    set_guard(a);
    return a->launcher->probe(a->launcher, e);
}

static void watch(struct controller *c)
{
    struct app *a = &c->app;

    signal(SIGPIPE, SIG_IGN);
    c->term = loop_signal_start(a->loop, SIGTERM, on_signal, c);
    c->interrupt = loop_signal_start(a->loop, SIGINT, on_signal, c);
    if (a->set->tls_cert) {
        c->hangup = loop_signal_start(a->loop, SIGHUP, on_signal, c);
        c->cert_timer = loop_timer_start(a->loop, TLS_FILES_LOOK_MS,
                                         TLS_FILES_LOOK_MS, check_cert, c);
    }
    if (a->set->life_fd >= 0)
        c->life =
            loop_fd_start(a->loop, (int)a->set->life_fd, LOOP_READ, on_life, c);
}

/* Also asked by the launcher's threads. */
static bool leads(void *arg)
{
    const struct controller *c = arg;

    return !c->app.lease || lease_is_leader(c->app.lease);
}

static void lead(void *arg, bool is_leader)
{
    struct controller *c = arg;

    reaper_lead(c->app.reaper, is_leader);
}

static void join(struct controller *c)
{
    struct app *a = &c->app;
    const char *own = kube_ns(launcher_kube(a->launcher)); /* a pod's */
    char host[LEASE_HOLDER_MAX] = "controller";

    gethostname(host, sizeof host - 1);
    c->app.lease = lease_start(
        a->loop, launcher_kube(a->launcher),
        &(struct lease_conf){
            .ns = a->set->lease_namespace ? a->set->lease_namespace
                  : own                   ? own
                                          : a->set->namespace,
            .name = a->set->lease,
            .holder = a->set->lease_holder ? a->set->lease_holder : host,
        },
        lead, c);
}

static int start(struct controller *c, struct err *e)
{
    const bool is_alone = !c->app.set->is_kube || !c->app.set->lease[0];

    if (start_app(&c->app, e) < 0)
        return -1;
    c->app.launcher->sink.leads = leads;
    c->app.launcher->sink.leads_arg = c;
    c->app.reaper = reaper_start(&c->app, is_alone, e);
    if (!c->app.reaper)
        return -1;
    c->sweep = sweep_start(&c->app, SWEEP_MS);
    if (!is_alone)
        join(c);
    tls_files_init(&c->tls_files, c->app.set->tls_cert, c->app.set->tls_key);
    c->server = server_start(&c->app, e);
    if (!c->server)
        return -1;
    watch(c);
    log_info("controller.ready", "listen", "s", server_name(c->server),
             "isolation", "s", c->app.launcher->isolation, NULL);
    return 0;
}

/* In the order of who uses whom; fine on a half-started one. */
static void finish(struct controller *c)
{
    struct app *a = &c->app;

    loop_fd_stop(c->life);
    loop_timer_stop(c->stop_timer);
    loop_timer_stop(c->cert_timer);
    if (c->term)
        loop_signal_stop(c->term);
    if (c->interrupt)
        loop_signal_stop(c->interrupt);
    if (c->hangup)
        loop_signal_stop(c->hangup);
    if (a->worker)
        worker_free(a->worker); /* running jobs end and are told */
    server_stop(c->server);
    live_free(a->live);
    lease_stop(c->app.lease);
    sweep_stop(c->sweep);
    reaper_stop(a->reaper);
    if (a->launcher)
        a->launcher->free(a->launcher);
    lease_free(c->app.lease);
    if (a->ws)
        ws_context_free(a->ws);
    page_close(a->page);
    identity_free(a->identity);
    devissuer_free(a->devissuer);
    if (a->store)
        store_free(a->store);
    if (a->loop)
        loop_free(a->loop);
    keys_fini(&a->keys);
}

int main(int argc, char **argv)
{
    struct controller c = {0};
    struct err e = {0};
    int status = EXIT_FAILURE;

    log_init("controller", "info");
    c.app.set = settings_load(argc, argv, &e);
    if (!c.app.set && e.kind == ERR_NONE)
        return EXIT_SUCCESS;
    if (!c.app.set || log_init("controller", c.app.set->log_level) < 0) {
        if (c.app.set)
            err_set(&e, ERR_INPUT,
                    "--log-level: \"%.20s\" is none of debug, info, warn, "
                    "error",
                    c.app.set->log_level);
        log_err(&e, "controller.not_started");
        return EXIT_FAILURE;
    }
    proc_undumpable();
    umask(077);
    seal_init();
    if (start(&c, &e) == 0) {
        loop_run(c.app.loop);
        status = EXIT_SUCCESS;
    } else {
        log_err(&e, "controller.not_started");
    }
    finish(&c);
    return status;
}
