/*
 * podterm-agent: several processes from one binary.
 *   podterm-agent …           the supervisor: listens, starts main again
 *   podterm-agent … --main    TLS, terminal, session key
 *   podterm-agent --unpack …  one archive, one directory, no key
 *   podterm-agent --proxy …   the program's way to servers, no key
 *   podterm-agent --broker …  the program's way to APIs, with their keys alone
 * and, before them in a pod of a pool with one secret,
 *   podterm-agent --derive-key …  leaves the pod's own key
 * This file only assembles.
 */
#include "agent/attach.h"
#include "agent/broker_main.h"
#include "agent/health.h"
#include "agent/life.h"
#include "agent/pod.h"
#include "agent/proxy_main.h"
#include "agent/report.h"
#include "agent/settings.h"
#include "agent/specfile.h"
#include "agent/supervisor.h"
#include "agent/unpack.h"
#include "agent/activation.h"
#include "agent/bundle.h"
#include "agent/warm.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/seal.h"
#include "base/worker.h"
#include "base/ws.h"
#include "runner-image/shim.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define AGENT_FDS_MAX 256
#define AGENT_METRICS_MAX 16384 /* bytes of /metrics */

struct agent {
    struct loop *loop;
    struct worker *worker;
    struct state state;
    struct agent_spec spec;
    uint8_t key[SESSION_KEY_BYTES];
    struct warm *warm; /* instead of all below, as long as it is that */
    struct life *life;
    struct attach_set *attachments;
    struct ws_context *ws;
    struct ws_server *server;
    struct health *health, *ready;
    struct loop_signal *term;
    char *runner_root, *runner_home;
    char addr[128];
};

/* Started by a descriptor's path, ps would show that one's name. */
static void agent_name(const char *name)
{
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

static int agent_find_key(void *arg, const uint8_t *id, size_t id_len,
                          uint8_t key[32], uint64_t *tag)
{
    struct agent *a = arg;

    if (id_len != strlen(a->spec.psk_id) ||
        !same_bytes(id, a->spec.psk_id, id_len))
        return -1;
    memcpy(key, a->key, SESSION_KEY_BYTES);
    *tag = 1;
    return 0;
}

static void agent_metrics(struct ws_request *r)
{
    static const struct ws_header type = {"content-type",
                                          "text/plain; version=0.0.4"};
    struct metric *rows;
    struct buf text;
    size_t count;

    rows = attach_metrics(&count);
    buf_init(&text, AGENT_METRICS_MAX);
    metrics_text(&text, rows, count, NULL, 0);
    ws_respond(r, 200, &type, 1, text.data, text.len);
    buf_fini(&text);
}

/* All HTTP there is: PROTOCOL.md, "Agent port". */
static void agent_request(void *arg, struct ws_request *r)
{
    struct life *l = attach_life(arg);

    if (strcmp(ws_request_method(r), "GET") == 0 &&
        strcmp(ws_request_path(r), "/metrics") == 0)
        agent_metrics(r);
    else if (warm_is_activation(NULL, r))
        warm_again(r, life_state(l)->head, life_spec(l)->sid);
    else
        ws_respond(r, 404, NULL, 0, "not found\n", 10);
}

static void agent_term(void *arg, int signum)
{
    struct agent *a = arg;

    log_info("agent.stop", "signal", "i", (int64_t)signum, NULL);
    if (a->warm)
        warm_stop(a->warm);
    else
        life_stop(a->life);
}

static int agent_key(struct agent *a, int fd, struct err *e)
{
    if (pread(fd, a->key, sizeof(a->key), 0) != (ssize_t)sizeof(a->key))
        return err_set(e, ERR_INPUT,
                       "--key-fd %d: 32 bytes of session key were expected",
                       fd);
    return 0;
}

/* Where the runner sees things: in its cage, or as they are. */
static void agent_runner_paths(struct agent *a)
{
    if (strcmp(a->spec.isolation, "full") == 0) {
        a->runner_root = mem_str(SHIM_CAGE_BUNDLE "/" BUNDLE_ROOT);
        a->runner_home = mem_str(SHIM_CAGE_HOME);
        return;
    }
    a->runner_root = mem_printf("%s/%s", settings.bundle_dir, BUNDLE_ROOT);
    a->runner_home = mem_printf("%s/home", settings.bundle_dir);
    mkdir(a->runner_home, 0700); /* there after a restart */
}

static int agent_ws(struct agent *a, struct err *e)
{
    if (listen_name((int)settings.listen_fd, a->addr, sizeof(a->addr)) < 0)
        return err_sys(e, "--listen-fd %lld", (long long)settings.listen_fd);
    a->ws = ws_context_new(a->loop, AGENT_FDS_MAX, e);
    return a->ws ? 0 : -1;
}

static int agent_listen(struct agent *a, struct err *e)
{
    struct ws_server_conf conf = {
        .listen_fd = (int)settings.listen_fd,
        .psk_find = agent_find_key,
        .psk_arg = a,
        .ws_path = "/v1/attach",
        .subprotocol = FRAME_SUBPROTOCOL,
        .verbs = &attach_verbs,
        .request = agent_request,
        .wants_body = warm_is_activation,
        .arg = a->attachments,
        /* an activation that comes again */
        .body_max = a->state.head->is_activated ? TOKEN_ACTIVATE_MAX : 0,
        .message_max = FRAME_UP_MAX,
        .rx_buffer_bytes = 4096,
        .conns_max = 64,
        .head_deadline_ms = ATTACH_HELLO_MS,
    };

    a->server = ws_server_new(a->ws, &conf, e);
    return a->server ? 0 : -1;
}

static int agent_bind(const char *flag, const char *where, struct err *e)
{
    int fd = listen_tcp(where, false, e);

    return fd < 0 ? err_wrap(e, "%s", flag) : fd;
}

/* A port that is open is all that is told there: a fixed answer too. */
static void agent_running(void *arg)
{
    struct agent *a = arg;
    struct err e = {0};
    int fd;

    if (!settings.ready_listen)
        return;
    fd = agent_bind("--ready-listen", settings.ready_listen, &e);
    if (fd < 0)
        log_err(&e, "agent.ready");
    else
        a->ready = health_start(a->loop, fd);
}

static int agent_life(struct agent *a, struct err *e)
{
    struct life_conf conf = {
        .loop = a->loop,
        .spec = &a->spec,
        .state = &a->state,
        .ipc_dir = settings.ipc_dir,
        .bundle_dir = settings.bundle_dir,
        .tmp_dir = settings.tmp_dir,
        .cache_dir = settings.cache_dir,
        .cached_path = settings.cached,
        .keep_path = settings.keep,
        .runner_root = a->runner_root,
        .runner_home = a->runner_home,
        .report_path = settings.report,
        .status_path = settings.status,
        .addr = a->addr,
        .runner_uid = (uid_t)settings.runner_uid,
        .broker_fd = (int)settings.broker_fd,
        .broker_keys = settings.broker_keys,
        .worker = a->worker,
        .running = agent_running,
        .running_arg = a,
    };

    a->life = life_new(&conf, e);
    if (!a->life)
        return -1;
    a->attachments = attach_set_new(a->life, a->loop);
    return 0;
}

/* Where there may be a program, that is lost; else it could not start. A
 * state that was there and cannot be read may be of either. */
static bool agent_had_program(const struct agent *a)
{
    const struct state *s = &a->state;

    return s->is_resumed && (!s->head || s->head->phase >= PHASE_STARTING);
}

static void agent_report(const struct agent *a, const char *why)
{
    own_mem char *detail =
        mem_printf("The session's agent could not start: %s", why);
    struct err e = {0};

    if (report_write_lost(settings.report,
                          agent_had_program(a) ? REASON_RUNNER_LOST
                                               : REASON_START_FAILED,
                          detail, &e) < 0)
        log_err(&e, "report.write");
}

static int agent_session(struct agent *a, struct err *e)
{
    if (specfile_load(settings.spec, settings.state_file, &a->state, &a->spec,
                      e) < 0)
        return -1;
    if (a->state.head->is_activated) /* the file's is the pool's, and spent */
        memcpy(a->key, a->state.head->key, sizeof(a->key));
    else if (agent_key(a, (int)settings.key_fd, e) < 0)
        return -1;
    log_session(a->spec.sid);
    agent_runner_paths(a);
    a->worker = worker_new(a->loop, 1, 4);
    if (agent_ws(a, e) < 0 || agent_life(a, e) < 0 || agent_listen(a, e) < 0)
        return -1;
    log_info("agent.start", "addr", "s", a->addr, "restarts", "i",
             (int64_t)a->state.head->restarts, NULL);
    return life_begin(a->life, a->attachments, e);
}

static int agent_warm(struct agent *a, const struct json *spec, struct err *e)
{
    struct warm_conf conf = {
        .loop = a->loop,
        .listen_fd = (int)settings.listen_fd,
        .addr = a->addr,
        .key = a->key,
        .pod_uid = settings.pod_uid,
        .state_path = settings.state_file,
        .ipc_dir = settings.ipc_dir,
        .report_path = settings.report,
        .status_path = settings.status,
        .runner_uid = (uid_t)settings.runner_uid,
    };

    if (agent_key(a, (int)settings.key_fd, e) < 0 || agent_ws(a, e) < 0)
        return -1;
    conf.ws = a->ws;
    a->warm = warm_new(&conf, spec, e);
    wipe(a->key, sizeof(a->key));
    return a->warm ? 0 : -1;
}

static int agent_start(struct agent *a, struct err *e)
{
    own_json struct json *spec = NULL;
    int r;

    if (!state_is_there(settings.state_file)) {
        spec = specfile_parse(settings.spec, e);
        if (!spec)
            return -1;
    }
    a->loop = loop_new();
    r = spec && warm_spec_is(spec) ? agent_warm(a, spec, e)
                                   : agent_session(a, e);
    if (r < 0)
        return -1;
    a->term = loop_signal_start(a->loop, SIGTERM, agent_term, a);
    if (settings.health_fd >= 0)
        a->health = health_start(a->loop, (int)settings.health_fd);
    return 0;
}

static void agent_stop(struct agent *a)
{
    health_stop(a->health);
    health_stop(a->ready);
    loop_signal_stop(a->term);
    ws_server_free(a->server);
    warm_free(a->warm);
    ws_context_free(a->ws);
    life_free(a->life);
    attach_set_free(a->attachments);
    worker_free(a->worker);
    loop_free(a->loop);
    spec_fini(&a->spec);
    state_close(&a->state);
    wipe(a->key, sizeof(a->key));
    free(a->runner_root);
    free(a->runner_home);
}

/* Of those that the supervisor gave us. */
static int64_t agent_last_fd(void)
{
    int64_t last = settings.listen_fd;

    last = settings.health_fd > last ? settings.health_fd : last;
    return settings.broker_fd > last ? settings.broker_fd : last;
}

static int agent_main(char **argv)
{
    struct agent a = {0};
    struct err e = {0};
    int status = EXIT_FAILURE;

    agent_name("podterm-main");
    proc_undumpable();
    mallopt(M_ARENA_MAX, 1); /* the worker shares ours: less lies idle */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like any */
    if (agent_start(&a, &e) == 0) {
        loop_run(a.loop);
        if (a.warm && warm_is_activated(a.warm))
            warm_give_way(argv, agent_last_fd());
        status = EXIT_SUCCESS;
    } else {
        log_err(&e, "agent.failed");
        agent_report(&a, e.text);
    }
    agent_stop(&a);
    return status;
}

/* What a launcher does where there is one. */
static int agent_prepare(struct supervisor_conf *conf, struct err *e)
{
    if (settings.key_file) {
        conf->key_fd = pod_key_fd(settings.key_file, e);
        if (conf->key_fd < 0)
            return -1;
    }
    return settings.shim ? pod_give_shim(settings.shim, settings.ipc_dir, e)
                         : 0;
}

static int agent_supervise(int argc, char **argv)
{
    struct err e = {0};
    struct supervisor_conf conf = {
        .argv = argv,
        .argc = argc,
        .key_fd = (int)settings.key_fd,
        .health_fd = -1,
        .broker_fd = (int)settings.broker_fd,
        .report_path = settings.report,
    };
    int r = -1;

    log_debug("agent.begin", NULL);
    /* libcurl on Debian brings a second TLS library along that nobody calls;
     * the main process need not set it up */
    setenv("GNUTLS_NO_IMPLICIT_INIT", "1", 1);
    proc_undumpable();
    conf.listen_fd = -1;
    if (agent_prepare(&conf, &e) == 0)
        conf.listen_fd = agent_bind("--listen", settings.listen, &e);
    if (conf.listen_fd >= 0 && settings.health_listen)
        conf.health_fd =
            agent_bind("--health-listen", settings.health_listen, &e);
    if (conf.listen_fd >= 0 && (!settings.health_listen || conf.health_fd >= 0))
        r = supervisor_run(&conf, &e);
    if (r >= 0)
        return r;
    log_err(&e, "agent.failed");
    fprintf(stderr, "podterm-agent: %s\n", e.text);
    agent_report(&(struct agent){0}, e.text);
    return EXIT_FAILURE;
}

static int agent_derive(void)
{
    struct err e = {0};

    proc_undumpable();
    if (pod_derive_key(settings.pool_secret_file, settings.pod_uid,
                       settings.out, &e) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "podterm-agent: %s\n", e.text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int r;

    agent_name("podterm-agent");
    if (argc > 1 && strcmp(argv[1], "--unpack") == 0) {
        agent_name("podterm-unpack");
        return unpack_child_main(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], "--proxy") == 0) {
        agent_name("podterm-proxy");
        return proxy_child_main(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], "--broker") == 0) {
        agent_name("podterm-broker");
        return broker_child_main(argc, argv);
    }
    seal_init();
    r = settings_load(argc, argv, &e);
    if (r > 0)
        return EXIT_SUCCESS;
    if (r < 0) {
        fprintf(stderr, "podterm-agent: %s\n", e.text);
        return EXIT_FAILURE;
    }
    if (settings.derive_key)
        return agent_derive();
    return settings.is_main ? agent_main(argv) : agent_supervise(argc, argv);
}
