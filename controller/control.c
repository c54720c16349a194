#include "controller/control.h"

#include "base/addr.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/layer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "controller/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_MESSAGE_MAX 131072 /* bytes of what the agent may send */

struct control {
    struct app *app;
    char sid[ID_SIZE];
    enum control_word word;
    void (*over)(void *arg, int64_t told);
    void *arg;
    struct loop_timer *timer;
    struct ws_conn *conn;
    bool is_working, is_stopped, is_ready;
    /* the worker's */
    struct err why;
    bool has_nothing; /* to say */
    struct sockaddr_storage addr;
    char psk_id[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
    char *hello; /* type byte and JSON; holds a token */
    size_t hello_len;
    uint8_t message[FRAME_VIEWERS_BYTES_MAX]; /* what is to be said */
    size_t message_len;
    uint32_t changes; /* of the list that is to be told */
};

_Static_assert(STORE_VIEWERS_MAX == FRAME_VIEWERS_MAX &&
                   TOKEN_STR_MAX == FRAME_SUBJECT_SIZE,
               "the record's list is the message's");

static void control_free(struct control *n)
{
    loop_timer_stop(n->timer);
    if (n->hello)
        wipe(n->hello, n->hello_len);
    free(n->hello);
    wipe(n->key, sizeof n->key);
    free(n);
}

/* Leave the connection to die alone: its verbs find the control stopped. */
static void control_leave(struct control *n)
{
    n->is_stopped = true;
    loop_timer_stop(n->timer);
    n->timer = NULL;
    if (n->conn)
        ws_abort(n->conn); /* closed frees */
    else if (!n->is_working)
        control_free(n);
}

static void control_over(struct control *n, int64_t told)
{
    void (*over)(void *, int64_t) = n->over;
    void *arg = n->arg;

    control_leave(n);
    over(arg, told);
}

static void timed_out(void *arg)
{
    struct control *n = arg;

    if (n->word == CONTROL_END)
        log_warn("session.end_unheard", "sid", "s", n->sid, NULL);
    control_over(n, -1);
}

/* --- the connection --- */

static void *opened(void *arg, struct ws_conn *c)
{
    struct control *n = arg;

    n->conn = c;
    if (n->is_stopped || ws_send(c, n->hello, n->hello_len) < 0)
        ws_abort(c);
    return n;
}

/* An agent that has not started its program does not know yet. */
static int64_t read_cage(const uint8_t *bytes, size_t len)
{
    struct err e = {0};
    own_json struct json *ready = json_parse((const char *)bytes, len, &e);
    int layers = layer_of_json(json_get(json_get(ready, "cage"), "holds"));

    return layers < 0 ? -1 : LAYER_KNOWN | layers;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    struct control *n = user;

    if (n->is_stopped || is_text || len == 0)
        return;
    if (bytes[0] == FRAME_READY && n->word == CONTROL_CAGE) {
        control_over(n, read_cage(bytes + 1, len - 1));
        return;
    }
    if (bytes[0] == FRAME_READY && !n->is_ready) {
        n->is_ready = true;
        ws_send(n->conn, n->message, n->message_len);
    }
    /* what else it tells (STAGE, EXIT) the launcher will know */
}

static void drained(void *user)
{
    (void)user;
}

static void closed(void *user, int code, const char *reason)
{
    struct control *n = user;

    n->conn = NULL;
    if (n->is_stopped) {
        control_free(n);
        return;
    }
    log_debug("control.closed", "sid", "s", n->sid, "code", "i", (int64_t)code,
              "reason", "s", reason, NULL);
    if (n->word == CONTROL_VIEWERS)
        control_over(n, n->is_ready && code == 1000 ? (int64_t)n->changes : -1);
    else if (!n->is_ready)
        control_over(n, -1);
    /* asked and gone: its end follows, or the timer's */
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

/* --- set-up --- */

static int make_hello(struct control *n, const struct store_session *row,
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

/* The version is the record's own: it grows with each change of it, so that
 * a list read earlier never takes the place of one read later. */
static void make_viewers(struct control *n, const struct store_session *row)
{
    struct frame_viewers v = {.version = (uint64_t)row->rev};

    while (v.count < FRAME_VIEWERS_MAX && row->viewers[v.count][0])
        v.count++;
    memcpy(v.subjects, row->viewers, sizeof v.subjects);
    n->message_len = frame_viewers(n->message, &v);
    n->changes = row->viewers_untold;
}

/* Before there is an agent, or once there is nothing new, it need not hear
 * of viewers. */
static bool has_to_say(const struct control *n, const struct store_session *row)
{
    return n->word != CONTROL_VIEWERS ||
           (row->viewers_untold && row->agent_addr[0] &&
            row->state != STATE_ENDED);
}

static void look_up(void *arg)
{
    struct control *n = arg;
    struct store_session *row = mem_zero(1, sizeof *row);

    if (store_get(n->app->store, n->sid, row, &n->why) < 0)
        ;
    else if (!has_to_say(n, row))
        n->has_nothing = true;
    else if (!row->agent_addr[0])
        err_set(&n->why, ERR_PEER, "no agent yet");
    else if (addr_parse(row->agent_addr, &n->addr, &n->why) == 0) {
        memcpy(n->psk_id, row->psk_id, ID_SIZE);
        if (seal_open(n->app->keys.seal, n->sid, row->psk_sealed,
                      sizeof row->psk_sealed, n->key) < 0)
            err_set(&n->why, ERR_SYSTEM, "the session key does not open");
        else
            make_hello(n, row, &n->why);
        if (n->word == CONTROL_END)
            n->message_len = frame_head(n->message, FRAME_END);
        else if (n->word == CONTROL_VIEWERS)
            make_viewers(n, row);
    }
    free(row);
}

static void looked_up(void *arg)
{
    struct control *n = arg;
    char host[ADDR_TEXT_MAX];

    n->is_working = false;
    if (n->is_stopped) {
        control_free(n);
        return;
    }
    if (n->why.kind || n->has_nothing) {
        control_over(n, n->has_nothing ? 0 : -1);
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
                          .timeout_ms = CONTROL_MS,
                      },
                      &n->why);
    if (!n->conn)
        control_over(n, -1);
}

struct control *control_start(struct app *app, const char *sid,
                              enum control_word word,
                              void (*over)(void *arg, int64_t told), void *arg)
{
    struct control *n = mem_zero(1, sizeof *n);

    n->app = app;
    snprintf(n->sid, sizeof n->sid, "%s", sid);
    n->word = word;
    n->over = over;
    n->arg = arg;
    n->timer = loop_timer_start(app->loop, CONTROL_MS, 0, timed_out, n);
    /* a full pool: the timer ends it */
    n->is_working = worker_add(app->worker, look_up, looked_up, n);
    return n;
}

void control_stop(struct control *n)
{
    if (n)
        control_leave(n);
}
