#include "client/leg.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void leg_ended(struct leg *l, int code)
{
    loop_timer_stop(l->timer);
    l->timer = NULL;
    l->verbs->closed(l->arg, l, code, l->why);
    free(l);
}

static void leg_later(struct leg *l, void (*cb)(void *arg))
{
    loop_timer_stop(l->timer);
    l->timer = loop_timer_start(l->loop, 0, 0, cb, l);
}

static void leg_over(void *arg)
{
    leg_ended(arg, 0);
}

static void *leg_opened(void *arg, struct ws_conn *c)
{
    struct leg *l = arg;
    char *hello;
    uint8_t msg[FRAME_HELLO_MAX];
    size_t head = frame_head(msg, FRAME_HELLO), len;

    if (l->is_closing) { /* refused: `closed` does not come for it */
        l->conn = NULL;
        leg_later(l, leg_over);
        return NULL;
    }
    l->conn = c;
    l->opened_ms = loop_now_ms();
    hello = l->verbs->hello(l->arg, l);
    len = strlen(hello);
    if (head + len <= sizeof(msg)) {
        memcpy(msg + head, hello, len);
        leg_send(l, msg, head + len);
        wipe(msg, head + len);
    } else {
        snprintf(l->why, sizeof(l->why), "the session token is too long");
        leg_close(l, 1000);
    }
    wipe(hello, len);
    free(hello);
    return l;
}

static void leg_message(void *user, const uint8_t *bytes, size_t len,
                        bool is_text)
{
    struct leg *l = user;
    struct frame f;

    if (l->is_closing)
        return;
    if (is_text || frame_parse(bytes, len, false, &f) < 0) {
        snprintf(l->why, sizeof(l->why), "the server broke the protocol");
        leg_close(l, is_text ? 1003 : 1002);
        return;
    }
    l->verbs->frame(l->arg, l, &f);
}

static void leg_drained(void *user)
{
    struct leg *l = user;

    if (!l->is_closing)
        l->verbs->drained(l->arg, l);
}

static void leg_dial(void *arg);

static void leg_closed(void *user, int code, const char *reason)
{
    struct leg *l = user;

    l->conn = NULL;
    if (reason[0])
        snprintf(l->why, sizeof(l->why), "%s", reason);
    if (!l->opened_ms && !l->is_closing && ++l->at < l->target.addr_count) {
        leg_later(l, leg_dial);
        return;
    }
    leg_ended(l, l->opened_ms ? code : 0);
}

static const struct ws_verbs leg_ws_verbs = {
    .opened = leg_opened,
    .message = leg_message,
    .drained = leg_drained,
    .closed = leg_closed,
};

static void leg_dial(void *arg)
{
    struct leg *l = arg;
    const struct sockaddr_storage *sa = &l->target.addrs[l->at];
    const struct ws_dial_conf conf = {
        .addr = (const struct sockaddr *)sa,
        .addr_len = sizeof(*sa),
        .host = l->target.host,
        .path = l->target.path,
        .subprotocol = FRAME_SUBPROTOCOL,
        .ca_check = l->target.is_tls,
        .ca_path = l->ca_path,
        .verbs = &leg_ws_verbs,
        .arg = l,
        .message_max = FRAME_DOWN_MAX,
        .timeout_ms = LEG_DIAL_MS,
        .ping_ms = LEG_PING_MS,
        .dead_ms = LEG_DEAD_MS,
    };
    struct err e = {0};

    if (l->is_closing) {
        leg_over(l);
        return;
    }
    l->conn = ws_dial(l->ws, &conf, &e);
    if (l->conn)
        return;
    snprintf(l->why, sizeof(l->why), "%.*s", (int)sizeof(l->why) - 1, e.text);
    leg_later(l, leg_over);
}

struct leg *leg_new(struct loop *loop, struct ws_context *ws,
                    const struct target *t, const char *ca_path,
                    const struct leg_verbs *verbs, void *arg)
{
    struct leg *l = mem_zero(1, sizeof(*l));

    l->loop = loop;
    l->ws = ws;
    l->target = *t;
    l->ca_path = ca_path;
    l->verbs = verbs;
    l->arg = arg;
    leg_later(l, leg_dial);
    return l;
}

bool leg_send(struct leg *l, const void *bytes, size_t len)
{
    if (l->is_closing || !l->conn || !l->opened_ms)
        return false;
    if (ws_send(l->conn, bytes, len) == 0)
        return true;
    leg_close(l, 1000);
    return false;
}

void leg_want(struct leg *l)
{
    if (l->conn && l->opened_ms && !l->is_closing)
        ws_want_write(l->conn);
}

void leg_pause(struct leg *l, bool pause)
{
    if (!l->conn || !l->opened_ms || l->is_closing || l->is_paused == pause)
        return;
    l->is_paused = pause;
    if (pause)
        ws_pause(l->conn);
    else
        ws_resume(l->conn);
}

void leg_close(struct leg *l, int code)
{
    if (l->is_closing)
        return;
    if (l->conn && l->is_paused) /* else its close frame is never read */
        ws_resume(l->conn);
    l->is_closing = true;
    if (!l->conn)
        return; /* its timer goes off */
    if (l->opened_ms)
        ws_close(l->conn, code, "");
    else
        ws_abort(l->conn);
}

void leg_free(struct leg *l)
{
    loop_timer_stop(l->timer);
    free(l);
}
