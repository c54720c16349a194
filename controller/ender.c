#include "controller/ender.h"

#include "base/addr.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "controller/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_MESSAGE_MAX 131072 /* bytes of what the agent may send */

struct ender {
    struct app *app;
    char sid[ID_SIZE];
    void (*failed)(void *arg);
    void *arg;
    struct loop_timer *timer;
    struct ws_conn *conn;
    bool is_working, is_stopped, is_ready;
    /* the worker's */
    struct err why;
    struct sockaddr_storage addr;
    char psk_id[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
    char *hello; /* type byte and JSON; holds a token */
    size_t hello_len;
};

static void ender_free(struct ender *n)
{
    loop_timer_stop(n->timer);
    if (n->hello)
        wipe(n->hello, n->hello_len);
    free(n->hello);
    wipe(n->key, sizeof n->key);
    free(n);
}

/* Leave the connection to die alone: its verbs find the ender stopped. */
static void ender_leave(struct ender *n)
{
    n->is_stopped = true;
    loop_timer_stop(n->timer);
    n->timer = NULL;
    if (n->conn)
        ws_abort(n->conn); /* closed frees */
    else if (!n->is_working)
        ender_free(n);
}

static void ender_fail(struct ender *n)
{
    void (*failed)(void *) = n->failed;
    void *arg = n->arg;

    ender_leave(n);
    failed(arg);
}

static void timed_out(void *arg)
{
    struct ender *n = arg;

    log_warn("session.end_unheard", "sid", "s", n->sid, NULL);
    ender_fail(n);
}

/* --- the connection --- */

static void *opened(void *arg, struct ws_conn *c)
{
    struct ender *n = arg;

    n->conn = c;
    if (n->is_stopped || ws_send(c, n->hello, n->hello_len) < 0)
        ws_abort(c);
    return n;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    struct ender *n = user;
    uint8_t end[FRAME_HEAD_MAX];

    if (n->is_stopped || is_text || len == 0)
        return;
    if (bytes[0] == FRAME_READY && !n->is_ready) {
        n->is_ready = true;
        ws_send(n->conn, end, frame_head(end, FRAME_END));
    }
    /* what else it tells (STAGE, EXIT) the launcher will know */
}

static void drained(void *user)
{
    (void)user;
}

static void closed(void *user, int code, const char *reason)
{
    struct ender *n = user;

    n->conn = NULL;
    if (n->is_stopped) {
        ender_free(n);
        return;
    }
    log_debug("ender.closed", "sid", "s", n->sid, "code", "i", (int64_t)code,
              "reason", "s", reason, NULL);
    /* asked and gone: its end follows, or the timer's */
    if (!n->is_ready)
        ender_fail(n);
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

/* --- set-up --- */

static int make_hello(struct ender *n, const struct store_session *row,
                      struct err *e)
{
    const struct app *a = n->app;
    own_json struct json *hello = json_object();
    own_mem char *text = NULL, *token = NULL;
    int64_t expires_s;

    token = keys_token(&a->keys, a->set->issuer, a->set->installation, row->id,
                       row->owner_sub, ROLE_CONTROL, row->bundle_sha256,
                       loop_wall_s(), &expires_s, e);
    if (!token)
        return -1;
    json_set_str(hello, "token", token);
    text = json_text(hello);
    n->hello = mem_printf("%c%s", FRAME_HELLO, text);
    n->hello_len = strlen(n->hello);
    wipe(text, strlen(text));
    wipe(token, strlen(token));
    return 0;
}

static void look_up(void *arg)
{
    struct ender *n = arg;
    struct store_session *row = mem_zero(1, sizeof *row);

    if (store_get(n->app->store, n->sid, row, &n->why) < 0)
        ;
    else if (!row->agent_addr[0])
        err_set(&n->why, ERR_PEER, "no agent yet");
    else if (addr_parse(row->agent_addr, &n->addr, &n->why) == 0) {
        memcpy(n->psk_id, row->psk_id, ID_SIZE);
        if (seal_open(n->app->keys.seal, n->sid, row->psk_sealed,
                      sizeof row->psk_sealed, n->key) < 0)
            err_set(&n->why, ERR_SYSTEM, "the session key does not open");
        else
            make_hello(n, row, &n->why);
    }
    free(row);
}

static void looked_up(void *arg)
{
    struct ender *n = arg;
    char host[ADDR_TEXT_MAX];

    n->is_working = false;
    if (n->is_stopped) {
        ender_free(n);
        return;
    }
    if (n->why.kind) {
        ender_fail(n);
        return;
    }
    addr_text((struct sockaddr *)&n->addr, host);
    n->conn = ws_dial(n->app->ws,
                      &(struct ws_dial_conf){
                          .addr = (struct sockaddr *)&n->addr,
                          .addr_len = addr_len(&n->addr),
                          .host = host,
                          .path = "/v1/attach",
                          .subprotocol = FRAME_SUBPROTOCOL,
                          .psk_id = n->psk_id,
                          .psk_key = n->key,
                          .verbs = &verbs,
                          .arg = n,
                          .message_max = CONTROL_MESSAGE_MAX,
                          .timeout_ms = ENDER_MS,
                      },
                      &n->why);
    if (!n->conn)
        ender_fail(n);
}

struct ender *ender_start(struct app *app, const char *sid,
                          void (*failed)(void *arg), void *arg)
{
    struct ender *n = mem_zero(1, sizeof *n);

    n->app = app;
    snprintf(n->sid, sizeof n->sid, "%s", sid);
    n->failed = failed;
    n->arg = arg;
    n->timer = loop_timer_start(app->loop, ENDER_MS, 0, timed_out, n);
    /* a full pool: the timer ends it */
    n->is_working = worker_add(app->worker, look_up, looked_up, n);
    return n;
}

void ender_stop(struct ender *n)
{
    if (n)
        ender_leave(n);
}
