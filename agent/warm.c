#include "agent/warm.h"

#include "agent/activation.h"
#include "agent/life.h"
#include "agent/report.h"
#include "agent/shimlink.h"
#include "agent/warmfile.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/ws.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WARM_CONNS_MAX 64
#define WARM_LOOK_MS 2 /* between looks whether the answer is out */
#define WARM_FD_LOW 16 /* above what a supervisor passes on */
#define WARM_ANSWER_MAX 128

/* Lines that a shim taken over, or the pool's other members, can provoke. */
static struct log_rate shim_rate = {.burst = 20, .interval_ms = 1000};
static struct log_rate refuse_rate = {.burst = 20, .interval_ms = 1000};

struct warm {
    struct warm_conf conf;
    struct warm_spec spec;
    struct warmfile *file;
    struct shimlink *shim;
    struct ws_server *server;
    struct loop_timer *age;  /* until it is too old */
    struct loop_timer *wait; /* for the runner; for the answer; for the end */
    uint8_t key[SESSION_KEY_BYTES];
    bool is_activated, is_leaving;
    int64_t until_ms; /* activated: when the answer is given up */
    uint8_t digest[SHA256_BYTES];
    char sid[ID_SIZE];
};

static void warm_timer(struct warm *w, int64_t ms, int64_t repeat_ms,
                       void (*cb)(void *arg))
{
    loop_timer_stop(w->wait);
    w->wait = loop_timer_start(w->conf.loop, ms, repeat_ms, cb, w);
}

/* --- leaving --- */

static void warm_gone(void *arg)
{
    loop_stop(((struct warm *)arg)->conf.loop);
}

static void warm_send_leave(struct warm *w)
{
    struct err e = {0};

    if (shimlink_is_up(w->shim) &&
        shimlink_leave(w->shim, (int)w->file->leave - 1, &e) < 0)
        log_err(&e, "shim.leave");
}

/* For good, and the shim with this code. No detail: nothing has gone wrong,
 * and there was no session whose end could be reported. */
static void warm_leave(struct warm *w, int code, const char *detail)
{
    struct err e = {0};

    if (w->is_leaving || w->is_activated)
        return;
    w->is_leaving = true;
    if (!w->file->leave)
        w->file->leave = (uint32_t)code + 1;
    wipe(w->key, sizeof(w->key));
    log_info("warm.leave", "code", "i", (int64_t)w->file->leave - 1, "detail",
             "s", detail ? detail : "", NULL);
    if (detail && report_write_lost(w->conf.report_path, REASON_RUNNER_LOST,
                                    detail, &e) < 0)
        log_err(&e, "report.write");
    warm_send_leave(w);
    warm_timer(w, LIFE_LEAVE_MS, 0, warm_gone);
}

static void warm_is_old(void *arg)
{
    warm_leave(arg, 0, NULL);
}

void warm_stop(struct warm *w)
{
    warm_leave(w, LEAVE_STOPPED, NULL);
}

bool warm_is_activated(const struct warm *w)
{
    return w->is_activated;
}

void warm_give_way(char **argv, int64_t last_fd)
{
    struct err e = {0};

    proc_close_from((int)last_fd + 1);
    execv("/proc/self/exe", argv);
    err_sys(&e, "the session's agent");
    log_err(&e, "agent.failed");
    abort(); /* the supervisor tries */
}

/* --- the shim --- */

static void warm_shim_missing(void *arg)
{
    warm_leave(arg, LEAVE_INTERNAL, "the runner is gone");
}

static void warm_shim_hello(void *arg, enum shim_state state,
                            enum shim_end kind, int value)
{
    struct warm *w = arg;

    (void)kind;
    (void)value;
    w->file->cookie_used = 1;
    if (log_rate_ok(&shim_rate, loop_now_ms()))
        log_info("shim.hello", "state", "i", (int64_t)state, "suppressed", "i",
                 shim_rate.suppressed, NULL);
    if (w->is_leaving) {
        warm_send_leave(w);
        return;
    }
    if (w->is_activated)
        return; /* the timer is the answer's */
    loop_timer_stop(w->wait);
    w->wait = NULL;
    if (state != SHIM_WAITING)
        warm_leave(w, LEAVE_PROTOCOL,
                   "a program runs of which the agent has no session");
}

static void warm_shim_started(void *arg, int master_fd,
                              const struct shimlink_run *run)
{
    (void)arg;
    (void)run;
    close(master_fd);
}

static void warm_shim_exited(void *arg, enum shim_end kind, int value)
{
    (void)arg;
    (void)kind;
    (void)value;
}

static void warm_shim_stopping(void *arg)
{
    warm_leave(arg, LEAVE_STOPPED, NULL);
}

static void warm_shim_failed(void *arg, int error, const char *text)
{
    (void)arg;
    (void)error;
    (void)text;
}

static void warm_shim_lost(void *arg, const struct err *why)
{
    struct warm *w = arg;

    if (w->is_leaving) {
        warm_gone(w);
        return;
    }
    if (log_rate_ok(&shim_rate, loop_now_ms()))
        log_err(why, "shim.lost");
    if (!w->is_activated)
        warm_timer(w, WARM_RUNNER_MS, 0, warm_shim_missing);
}

static const struct shimlink_verbs shim_verbs = {
    .hello = warm_shim_hello,
    .started = warm_shim_started,
    .exited = warm_shim_exited,
    .stopping = warm_shim_stopping,
    .failed = warm_shim_failed,
    .lost = warm_shim_lost,
};

/* --- activation --- */

static int warm_find_key(void *arg, const uint8_t *id, size_t id_len,
                         uint8_t key[32], uint64_t *tag)
{
    struct warm *w = arg;

    if (w->is_activated || w->is_leaving || id_len != strlen(w->spec.psk_id) ||
        !same_bytes(id, w->spec.psk_id, id_len))
        return -1;
    memcpy(key, w->key, SESSION_KEY_BYTES);
    *tag = 1;
    return 0;
}

/* The end of the loop is the end of every connection, also of those that
 * have asked for nothing. */
static void warm_answered(void *arg)
{
    struct warm *w = arg;

    if (ws_server_conns(w->server) == 0 || loop_now_ms() >= w->until_ms)
        loop_stop(w->conf.loop);
}

static void warm_activated(struct warm *w, const struct activation *a)
{
    w->is_activated = true;
    w->file->is_used = 1;
    wipe(w->key, sizeof(w->key));
    memcpy(w->digest, a->digest, sizeof(w->digest));
    memcpy(w->sid, a->claims.sid, ID_SIZE);
    log_info("warm.activated", "sid", "s", w->sid, "jti", "s", a->claims.jti,
             NULL);
    /* who comes now waits in the backlog for the session's agent */
    ws_server_stop_accepting(w->server);
    loop_timer_stop(w->age);
    w->age = NULL;
    w->until_ms = loop_now_ms() + WARM_ANSWER_MS;
    warm_timer(w, WARM_LOOK_MS, WARM_LOOK_MS, warm_answered);
}

/* 0, or the kind of *e. */
static int warm_take(struct warm *w, const void *token, size_t len,
                     struct err *e)
{
    struct activation a;

    if (w->is_activated && activation_is(w->digest, token, len))
        return 0; /* it did not hear our answer */
    if (w->is_activated || w->is_leaving)
        return err_set(e, ERR_CONFLICT, "this agent is not to be had any more");
    if (w->file->cookie_used && !shimlink_is_up(w->shim))
        return err_set(e, ERR_SYSTEM, "the runner is away");
    if (activation_read(&w->spec, w->key, w->conf.pod_uid, token, len,
                        loop_wall_s(), &a, e) < 0)
        return -1;
    if (activation_keep(&a, w->file, w->conf.state_path, e) < 0) {
        activation_fini(&a);
        return -1;
    }
    warm_activated(w, &a);
    activation_fini(&a);
    return 0;
}

static void warm_refuse(struct ws_request *r, const struct err *e)
{
    int status = e->kind == ERR_CONFLICT ? 409 : err_http_status(e->kind);

    if (log_rate_ok(&refuse_rate, loop_now_ms()))
        log_err(e, "warm.refused");
    ws_respond(r, status, NULL, 0, "refused\n", 8);
}

static void warm_accepted(struct ws_request *r, const char *sid)
{
    static const struct ws_header type = {"content-type", "application/json"};
    char text[WARM_ANSWER_MAX];
    int len = snprintf(text, sizeof(text), "{\"sid\":\"%s\"}", sid);

    ws_respond(r, 200, &type, 1, text, (size_t)len);
}

bool warm_is_activation(void *arg, const struct ws_request *r)
{
    (void)arg;
    return strcmp(ws_request_method(r), "POST") == 0 &&
           strcmp(ws_request_path(r), ACTIVATE_PATH) == 0;
}

void warm_again(struct ws_request *r, const struct state_head *h,
                const char *sid)
{
    struct err e = {0};
    size_t len;
    const uint8_t *token = ws_request_body(r, &len);

    if (h->is_activated && activation_is(h->activation, token, len)) {
        warm_accepted(r, sid);
        return;
    }
    err_set(&e, ERR_CONFLICT, "this agent has a session");
    warm_refuse(r, &e);
}

/* The one thing that is taken; the body is wiped with the request. */
static void warm_request(void *arg, struct ws_request *r)
{
    struct warm *w = arg;
    const char *type = ws_request_header(r, "content-type");
    struct err e = {0};
    const void *token;
    size_t len;

    if (!warm_is_activation(NULL, r)) {
        ws_respond(r, 404, NULL, 0, "not found\n", 10);
        return;
    }
    token = ws_request_body(r, &len);
    if (!type || strcmp(type, ACTIVATE_TYPE) != 0 || len == 0)
        err_set(&e, ERR_INPUT, "activation: no " ACTIVATE_TYPE);
    else if (warm_take(w, token, len, &e) == 0) {
        warm_accepted(r, w->sid);
        return;
    }
    warm_refuse(r, &e);
}

/* --- birth --- */

static int warm_listen(struct warm *w, struct err *e)
{
    struct ws_server_conf conf = {
        .psk_find = warm_find_key,
        .psk_arg = w,
        .request = warm_request,
        .wants_body = warm_is_activation,
        .arg = w,
        .body_max = TOKEN_ACTIVATE_MAX,
        .conns_max = WARM_CONNS_MAX,
        .head_deadline_ms = WARM_REQUEST_MS,
    };

    conf.listen_fd = fcntl(w->conf.listen_fd, F_DUPFD_CLOEXEC, WARM_FD_LOW);
    if (conf.listen_fd < 0)
        return err_sys(e, "--listen-fd %d", w->conf.listen_fd);
    w->server = ws_server_new(w->conf.ws, &conf, e);
    return w->server ? 0 : -1;
}

static int warm_shim(struct warm *w, struct err *e)
{
    struct shimlink_conf conf = {
        .ipc_dir = w->conf.ipc_dir,
        .cookie = w->file->cookie,
        .is_cookie_spent = w->file->cookie_used != 0,
        .runner_uid = w->conf.runner_uid,
        .verbs = &shim_verbs,
        .arg = w,
    };

    w->shim = shimlink_new(w->conf.loop, &conf, e);
    return w->shim ? 0 : -1;
}

/* An agent has been in this pod, and nothing is left of what it knew: its
 * program may be there, and would read the fresh cookie. */
static int warm_is_first(struct warm *w, struct err *e)
{
    own_mem char *socket = mem_printf("%s/" SHIM_SOCKET, w->conf.ipc_dir);
    struct stat st;

    if (lstat(socket, &st) < 0)
        return 0;
    err_set(e, ERR_SYSTEM, "what the agent of this pod knew is gone");
    report_write_lost(w->conf.report_path, REASON_RUNNER_LOST, e->text, e);
    return -1;
}

static int warm_open(struct warm *w, struct err *e)
{
    bool is_fresh;

    if (!w->conf.pod_uid || !activate_uid_is_valid(w->conf.pod_uid))
        return err_set(e, ERR_INPUT, "--pod-uid is needed with a warm spec");
    w->file = warmfile_open(w->conf.state_path, &is_fresh, e);
    if (!w->file || (is_fresh && warm_is_first(w, e) < 0))
        return -1;
    return warm_shim(w, e);
}

/* Wait, or go on leaving. */
static int warm_begin(struct warm *w, struct err *e)
{
    int64_t left =
        w->file->since_mono_ms + w->spec.max_age_s * 1000 - loop_now_ms();

    if (w->file->leave || w->file->is_used) {
        warm_leave(w, LEAVE_INTERNAL,
                   w->file->leave ? NULL
                                  : "the agent's session is no more known");
        return 0;
    }
    w->age =
        loop_timer_start(w->conf.loop, left > 0 ? left : 0, 0, warm_is_old, w);
    if (w->file->cookie_used)
        warm_timer(w, WARM_RUNNER_MS, 0, warm_shim_missing);
    if (warm_listen(w, e) < 0)
        return -1;
    log_info("warm.start", "addr", "s", w->conf.addr, "pool", "s", w->spec.pool,
             NULL);
    return w->conf.status_path ? status_write(w->conf.status_path, "warm",
                                              w->conf.addr, 0, "", 0, e)
                               : 0;
}

struct warm *warm_new(const struct warm_conf *conf, const struct json *spec,
                      struct err *e)
{
    struct warm *w = mem_zero(1, sizeof(*w));

    w->conf = *conf;
    memcpy(w->key, conf->key, sizeof(w->key));
    w->conf.key = NULL;
    if (warm_spec_of(spec, &w->spec, e) == 0 && warm_open(w, e) == 0 &&
        warm_begin(w, e) == 0)
        return w;
    warm_free(w);
    return NULL;
}

void warm_free(struct warm *w)
{
    if (!w)
        return;
    loop_timer_stop(w->age);
    loop_timer_stop(w->wait);
    ws_server_free(w->server);
    shimlink_free(w->shim);
    warmfile_close(w->file);
    warm_spec_fini(&w->spec);
    wipe(w->key, sizeof(w->key));
    free(w);
}
