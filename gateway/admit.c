#include "gateway/admit.h"

#include "base/digest.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/plain.h"
#include "gateway/waiting.h"
#include "gateway/wsframe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Largest frame of the client's before it is open, and a ping behind it. */
#define HELLO_IN_MAX                                                           \
    (FRAME_HELLO_MAX + 2 * WSFRAME_HEAD_MAX + WSFRAME_CONTROL_MAX)
#define PONG_PEND_MAX 4096 /* bytes unsent above which pings go unanswered */

/* --- bytes from the client --- */

/* Read once into greeting->in. false: nothing new, or the pair is gone. */
static bool client_read(struct pair *p)
{
    struct greeting *g = p->greeting;
    size_t room = g->in.max - g->in.len;
    ssize_t n = leg_read(&p->client, p->gw->shared, room);

    if (n > 0) {
        p->client.heard_ms = p->gw->now_ms;
        p->client.pinged_ms = 0;
        buf_append(&g->in, p->gw->shared, (size_t)n);
        return true;
    }
    if (n == LEG_ENDED || n == LEG_BROKEN)
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_LEFT);
    return false;
}

/* --- the request's head --- */

/* The client behind a trusted proxy; its connections count from now on. */
static void client_address(struct pair *p, const struct upgrade *u)
{
    struct gateway *gw = p->gw;
    struct sockaddr_storage client;
    char xff[512];
    size_t len = u->forwarded.len;

    if (!u->forwarded.at || gw->set.trusted.count == 0)
        return;
    /* entries count from the right: what a client put before them, however
     * much, does not matter (an entry cut in two is no address) */
    if (len >= sizeof(xff))
        len = sizeof(xff) - 1;
    memcpy(xff, u->forwarded.at + u->forwarded.len - len, len);
    xff[len] = 0;
    addr_client(&p->greeting->peer, xff, &gw->set.trusted,
                (int)gw->set.proxy_hops, &client);
    pair_address(p, &client);
}

static void head_judge(struct pair *p, const struct upgrade *u)
{
    const struct settings *set = &p->gw->set;

    if (set->hosts.count && !p->greeting->is_metrics &&
        !text_list_has(&set->hosts, u->host.at, u->host.len)) {
        plain_answer(p, 421);
        return;
    }
    if (!u->is_websocket || p->greeting->is_metrics) {
        plain_request(p, u);
        return;
    }
    if (!http_text_is(u->path, UPGRADE_PATH))
        plain_answer(p, 404);
    else if (u->has_query || !u->has_subprotocol)
        plain_answer(p, 400); /* nothing of ours ever stands in a URL */
    else if (u->origin.at &&
             !text_list_has(&set->origins, u->origin.at, u->origin.len))
        plain_answer(p, 403);
    else {
        memcpy(p->greeting->key, u->key.at, UPGRADE_KEY_LEN);
        pair_on(p, SESSION_ON_UPGRADED, CLOSE_NONE);
    }
}

bool admit_head(struct pair *p)
{
    struct greeting *g = p->greeting;
    struct upgrade u;
    int status;
    long end;

    if (!client_read(p))
        return false;
    end = http_head_end((const char *)g->in.data, g->in.len, &g->seen);
    if (end == 0) {
        if (g->in.len == g->in.max)
            plain_answer(p, 431);
        return leg_has_news(&p->client);
    }
    if (end < 0 || (size_t)end != g->in.len) {
        plain_answer(p, 400);
        return true;
    }
    status = upgrade_parse((const char *)g->in.data, (size_t)end, &u);
    if (status) {
        plain_answer(p, status);
        return true;
    }
    client_address(p, &u);
    head_judge(p, &u);
    return leg_has_news(&p->client);
}

void admit_greet(struct pair *p)
{
    struct greeting *g = p->greeting;
    char text[UPGRADE_TEXT_MAX];

    leg_send(&p->client, text, upgrade_write_101(g->key, text));
    buf_fini(&g->in);
    buf_init(&g->in, HELLO_IN_MAX);
    buf_init(&g->hello, FRAME_HELLO_MAX);
}

/* --- frames before the relay --- */

static void frame_control(struct pair *p, const struct wsframe *f,
                          const uint8_t *payload)
{
    uint8_t head[WSFRAME_HEAD_MAX];
    struct buf out;
    size_t n;

    if (f->opcode == WSFRAME_PING && p->client.pend_len < PONG_PEND_MAX) {
        n = wsframe_write(head, WSFRAME_PONG, (size_t)f->len, NULL);
        leg_send(&p->client, head, n);
        leg_send(&p->client, payload, (size_t)f->len);
    } else if (f->opcode == WSFRAME_CLOSE) {
        buf_init(&out, WSFRAME_HEAD_MAX + 2);
        say_close_back(&out, payload, (size_t)f->len);
        leg_send(&p->client, out.data, out.len);
        buf_fini(&out);
        pair_finish(p, CLOSE_CLIENT_LEFT);
    }
}

/* A data frame: HELLO, or part of it. */
static void frame_data(struct pair *p, const struct wsframe *f,
                       const uint8_t *payload)
{
    struct greeting *g = p->greeting;
    struct frame hello;

    buf_append(&g->hello, payload, (size_t)f->len);
    g->is_fragmented = !f->is_final;
    if (g->is_fragmented)
        return;
    if (frame_parse(g->hello.data, g->hello.len, true, &hello) < 0 ||
        hello.type != FRAME_HELLO)
        pair_deny(p, ERR_INPUT, "The first message must be HELLO.");
    else
        pair_on(p, SESSION_ON_GREETED, CLOSE_NONE);
}

/* May this frame come now? Else the pair is refused. */
static bool frame_is_welcome(struct pair *p, const struct wsframe *f)
{
    struct refusal large = {.close_code = WSFRAME_TOO_LARGE};

    if (wsframe_is_control(f->opcode))
        return true;
    if (p->phase != SESSION_HELLO) {
        pair_deny(p, ERR_INPUT, "Only HELLO may be sent before READY.");
        return false;
    }
    if (f->len > FRAME_HELLO_MAX - p->greeting->hello.len) {
        pair_refuse(p, SESSION_ON_REFUSED, &large);
        return false;
    }
    return true;
}

/* Take one frame from the front. false: not whole, or we are done. */
static bool frame_take(struct pair *p)
{
    struct greeting *g = p->greeting;
    struct wsframe f;
    uint8_t *payload;
    int code = wsframe_read(g->in.data, g->in.len, true, g->is_fragmented, &f);

    if (code == WSFRAME_MORE)
        return false;
    if (code) {
        pair_refuse(p, SESSION_ON_REFUSED,
                    &(struct refusal){.close_code = code});
        return false;
    }
    if (!frame_is_welcome(p, &f) || g->in.len - f.head_len < f.len)
        return false;
    payload = g->in.data + f.head_len;
    wsframe_mask(payload, (size_t)f.len, f.mask);
    if (wsframe_is_control(f.opcode))
        frame_control(p, &f, payload);
    else
        frame_data(p, &f, payload);
    buf_drop(&g->in, f.head_len + (size_t)f.len);
    return p->phase < SESSION_OPEN;
}

bool admit_listen(struct pair *p)
{
    if (!client_read(p))
        return false;
    while (frame_take(p))
        continue;
    if (p->phase < SESSION_OPEN && p->greeting->in.len == 0)
        buf_fini_secret(&p->greeting->in); /* a token was unmasked in it */
    return leg_has_news(&p->client);
}

/* --- the token, on a worker thread --- */

struct check {
    struct pair *pair;
    const struct settings *set;
    struct keyset *keyset;
    struct store *store;
    const uint8_t *hello; /* the pair's: it stays while we run */
    size_t hello_len;
    int64_t now_ms;
    struct session_claims claims;
    struct store_session row;
    struct refusal refusal; /* kind ERR_NONE: admitted, or ended */
    struct err e;
};

static int refuse(struct check *c, enum err_kind kind, const char *message)
{
    c->refusal = (struct refusal){.kind = kind, .message = message};
    return -1;
}

/* 0 also when the member is absent; -1: not a whole number in its range. */
static int int_in(const struct json *body, const char *name, int64_t min,
                  int64_t max)
{
    int64_t v;

    if (!json_get(body, name))
        return 0;
    return json_get_int(body, name, &v) == 0 && v >= min && v <= max ? 0 : -1;
}

/* The members of HELLO; *token points into body. */
static int check_hello(struct check *c, const struct json *body,
                       const char **token)
{
    static const char *const names[] = {"token", "cols", "rows", "output_from",
                                        NULL};

    *token = json_get_str(body, "token");
    if (!json_is_object(body) || json_only(body, names, &c->e) < 0 || !*token)
        return refuse(c, ERR_INPUT, "HELLO is not as the protocol says.");
    if (int_in(body, "cols", FRAME_CELLS_MIN, FRAME_CELLS_MAX) < 0 ||
        int_in(body, "rows", FRAME_CELLS_MIN, FRAME_CELLS_MAX) < 0 ||
        int_in(body, "output_from", 0, INT64_MAX) < 0)
        return refuse(c, ERR_INPUT,
                      "HELLO's cols, rows or output_from is out of range.");
    return 0;
}

static int check_token(struct check *c, const char *token)
{
    const struct settings *s = c->set;
    enum keyset_news news = KEYSET_SAME;
    size_t len = strlen(token);
    bool unknown;

    if (keyset_verify(c->keyset, token, len, s->issuer, s->audience, time(NULL),
                      s->skew_s, &c->claims, &unknown, &c->e) == 0)
        return 0;
    if (unknown)
        news = keyset_refresh_unknown(c->keyset, c->now_ms);
    if (news == KEYSET_FRESH &&
        keyset_verify(c->keyset, token, len, s->issuer, s->audience, time(NULL),
                      s->skew_s, &c->claims, &unknown, &c->e) == 0)
        return 0;
    if (c->e.kind == ERR_SYSTEM)
        return refuse(c, ERR_SYSTEM, "The gateway has no keys yet.");
    if (news == KEYSET_BUSY)
        return refuse(c, ERR_SYSTEM, "The gateway is reading new keys.");
    return refuse(c, ERR_TOKEN, "The session token is not valid (any more).");
}

static bool may_attach(const struct session_claims *claims,
                       const struct store_session *row)
{
    if (strcmp(claims->bnd, row->bundle_sha256) != 0)
        return false;
    /* the controller dials agents itself: control is nobody's at this door */
    if (claims->role != ROLE_OWNER && claims->role != ROLE_VIEWER)
        return false;
    if (strcmp(claims->sub, row->owner_sub) == 0)
        return true;
    if (claims->role != ROLE_VIEWER)
        return false;
    for (int i = 0; i < STORE_VIEWERS_MAX && row->viewers[i][0]; i++)
        if (strcmp(claims->sub, row->viewers[i]) == 0)
            return true;
    return false;
}

static int check_row(struct check *c)
{
    if (store_get(c->store, c->claims.sid, &c->row, &c->e) < 0) {
        if (c->e.kind == ERR_ABSENT)
            return refuse(c, ERR_DENIED, "There is no such session.");
        count(COUNT_STORE_ERRORS, 1);
        return refuse(c, ERR_SYSTEM, "Sessions cannot be looked up now.");
    }
    if (!may_attach(&c->claims, &c->row)) {
        err_set(&c->e, ERR_DENIED, "claims do not fit the session's row");
        return refuse(c, ERR_DENIED, "This session is not yours.");
    }
    /* being deleted: nobody new */
    if (c->row.state != STATE_ENDED && c->row.end_wanted) {
        c->row.state = STATE_ENDED;
        c->row.reason = REASON_DELETED;
    }
    return 0;
}

static int check_spend(struct check *c)
{
    if (store_spend(c->store, c->claims.jti, c->claims.exp + c->set->skew_s,
                    time(NULL), &c->e) == 0)
        return 0;
    if (c->e.kind == ERR_TOKEN)
        return refuse(c, ERR_TOKEN, "The session token was used before.");
    count(COUNT_STORE_ERRORS, 1);
    return refuse(c, ERR_SYSTEM,
                  c->e.is_full ? "The server's disk is full: free some space "
                                 "there."
                               : "The session token cannot be spent now.");
}

static void check_run(void *arg)
{
    struct check *c = arg;
    own_json struct json *body = NULL;
    const char *token;

    body = json_parse(c->hello + 1, c->hello_len - 1, &c->e);
    if (!body)
        refuse(c, ERR_INPUT, "HELLO is not JSON.");
    else if (check_hello(c, body, &token) == 0 && check_token(c, token) == 0 &&
             check_row(c) == 0 && c->row.state != STATE_ENDED)
        check_spend(c);
}

static void user_key(const char *sub, uint8_t out[LIMITS_KEY_BYTES])
{
    uint8_t sum[SHA256_BYTES];

    sha256(sub, strlen(sub), sum);
    memcpy(out, sum, LIMITS_KEY_BYTES);
}

/* The caps on attachments, and the pair becomes a proven one. */
static bool pair_prove(struct pair *p, const struct session_claims *claims)
{
    struct gateway *gw = p->gw;
    uint8_t key[LIMITS_KEY_BYTES];

    memcpy(p->sid, claims->sid, sizeof(p->sid));
    p->role = claims->role;
    user_key(claims->sub, key);
    if (gw->attached >= gw->set.attached_max)
        return false;
    p->addr = limits_attach_addr(&gw->limits, p->greeting->addr_key);
    if (!p->addr)
        return false;
    gw->attached++;
    count(COUNT_ATTACHED, 1);
    p->user = limits_attach_user(&gw->limits, key);
    if (!p->user)
        return false;
    limits_leave(&gw->limits, &p->greeting->unproven);
    metric_set(&counters[COUNT_UNPROVEN], gw->limits.unproven);
    return true;
}

static void check_done(void *arg)
{
    struct check *c = arg;
    struct pair *p = c->pair;
    static struct log_rate rate = {.burst = 20, .interval_ms = 1000};

    p->jobs--;
    histogram_add(&timings[TIMING_CHECK], (p->gw->now_ms - c->now_ms) * 1000);
    if (p->phase != SESSION_CHECKING) {
        /* the client left, or its time was over */
    } else if (c->refusal.kind != ERR_NONE) {
        if (log_rate_ok(&rate, p->gw->now_ms))
            log_info("attach.refused", "word", "s", say_word(c->refusal.kind),
                     "why", "s", c->e.text, "ip", "s", p->ip, "sid", "s",
                     c->claims.sid, NULL);
        pair_refuse(p, SESSION_ON_REFUSED, &c->refusal);
    } else if (c->row.state == STATE_ENDED) {
        memcpy(p->sid, c->claims.sid, sizeof(p->sid));
        pair_ended(p, &c->row);
    } else if (!pair_prove(p, &c->claims)) {
        pair_refuse(p, SESSION_ON_REFUSED,
                    &(struct refusal){.kind = ERR_BUSY,
                                      .message = "Too many terminals are "
                                                 "attached.",
                                      .retry_after_ms = 5000});
    } else {
        waiting_admitted(p, &c->claims, &c->row);
    }
    wipe(c, sizeof(*c));
    free(c);
}

void admit_check(struct pair *p)
{
    struct check *c = mem_zero(1, sizeof(*c));

    c->pair = p;
    c->set = &p->gw->set;
    c->keyset = p->gw->keyset;
    c->store = p->gw->store;
    c->hello = p->greeting->hello.data;
    c->hello_len = p->greeting->hello.len;
    c->now_ms = p->gw->now_ms;
    p->jobs++;
    if (jobs_add(p->gw->jobs, check_run, check_done, c))
        return;
    p->jobs--;
    free(c);
    pair_refuse(p, SESSION_ON_REFUSED,
                &(struct refusal){.kind = ERR_BUSY,
                                  .message = "The gateway is busy.",
                                  .retry_after_ms = 1000});
}
