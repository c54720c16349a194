#include "gateway/gateway.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/admit.h"
#include "gateway/dial.h"
#include "gateway/relay.h"
#include "gateway/waiting.h"

#include <stdio.h>
#include <stdlib.h>

struct pair *pair_of_node(struct limits_node *n)
{
    return ((struct greeting *)(void *)((char *)n -
                                        offsetof(struct greeting, unproven)))
        ->pair;
}

/* --- birth --- */

static void victim_drop(struct limits_node *n)
{
    if (n)
        pair_doom(pair_of_node(n), CLOSE_CROWDED);
}

static void pair_name(struct pair *p, const struct sockaddr_storage *client)
{
    const struct sockaddr *sa = (const struct sockaddr *)client;
    char text[ADDR_TEXT_MAX];

    addr_text_ip(sa, text);
    snprintf(p->ip, sizeof(p->ip), "%.*s", (int)sizeof(p->ip) - 1, text);
    addr_count_key(sa, p->greeting->addr_key);
}

void pair_address(struct pair *p, const struct sockaddr_storage *client)
{
    struct limits *l = &p->gw->limits;
    struct greeting *g = p->greeting;

    pair_name(p, client);
    if (g->unproven.is_listed)
        victim_drop(limits_rename(l, &g->unproven, g->addr_key));
    else
        victim_drop(limits_arrive(l, &g->unproven, g->addr_key));
}

struct pair *pair_new(struct gateway *gw, int fd,
                      const struct sockaddr_storage *peer, bool is_metrics)
{
    const struct sockaddr *sa = (const struct sockaddr *)peer;
    struct pair *p = mem_zero(1, sizeof(*p));

    p->gw = gw;
    leg_init(&p->client, SOURCE_CLIENT);
    leg_init(&p->agent, SOURCE_AGENT);
    if (leg_open(&p->client, gw->epoll_fd, fd, gw->now_ms) < 0) {
        free(p);
        return NULL;
    }
    p->greeting = mem_zero(1, sizeof(*p->greeting));
    p->greeting->pair = p;
    p->greeting->peer = *peer;
    p->greeting->is_metrics = is_metrics;
    p->greeting->is_loopback = addr_is_loopback(sa);
    buf_init(&p->greeting->in, UPGRADE_HEAD_MAX);
    p->next = gw->pairs;
    if (gw->pairs)
        gw->pairs->prev = p;
    gw->pairs = p;
    gw->pair_count++;
    count(COUNT_CONNECTIONS, 1);
    /* a trusted proxy's peer is not the client: counted by its own name
     * once the head has told it */
    if (cidr_list_has(&gw->set.trusted, sa)) {
        pair_name(p, peer);
        victim_drop(limits_arrive(&gw->limits, &p->greeting->unproven, NULL));
    } else {
        pair_address(p, peer);
    }
    metric_set(&counters[COUNT_UNPROVEN], gw->limits.unproven);
    if (gw->server_ctx && !is_metrics) {
        p->client.tls = tls_accept(gw->server_ctx, fd);
        p->client.is_shaking = true;
        p->client.is_broken = !p->client.tls;
    }
    p->deadline_ms = gw->now_ms + gw->set.hello_ms;
    pair_arm(p);
    return p;
}

/* --- death --- */

void greeting_free(struct greeting *g)
{
    if (!g)
        return;
    buf_fini_secret(&g->in);
    buf_fini_secret(&g->hello);
    buf_fini(&g->answer);
    wipe(g, sizeof(*g));
    free(g);
}

static void pair_uncount(struct pair *p)
{
    struct gateway *gw = p->gw;

    if (p->greeting)
        limits_leave(&gw->limits, &p->greeting->unproven);
    metric_set(&counters[COUNT_UNPROVEN], gw->limits.unproven);
    if (p->addr) {
        gw->attached--;
        count(COUNT_ATTACHED, -1);
    }
    limits_detach(&gw->limits, p->addr);
    limits_detach(&gw->limits, p->user);
    p->addr = p->user = NULL;
}

static void pair_unlink(struct pair *p)
{
    struct gateway *gw = p->gw;

    if (p->prev)
        p->prev->next = p->next;
    else
        gw->pairs = p->next;
    if (p->next)
        p->next->prev = p->prev;
    gw->pair_count--;
}

void pair_doom(struct pair *p, enum close_why why)
{
    struct gateway *gw = p->gw;

    if (p->doomed_next)
        return;
    p->phase = SESSION_DEAD;
    if (p->why == CLOSE_NONE)
        p->why = why;
    count_close(p->why);
    if (p->opened_ms)
        log_info("attach.close", "sid", "s", p->sid, "why", "s",
                 close_why_name(p->why), "up", "i", (int64_t)p->bytes_up,
                 "down", "i", (int64_t)p->bytes_down, "ms", "i",
                 gw->now_ms - p->opened_ms, NULL);
    count(COUNT_BYTES_UP, (int64_t)p->bytes_up);
    count(COUNT_BYTES_DOWN, (int64_t)p->bytes_down);
    waiting_leave(p);
    pair_uncount(p);
    wheel_clear(&gw->wheel, &p->timer);
    relay_leave_agent(p);
    leg_close(&p->client, true);
    pair_unlink(p);
    /* events of this batch may still point here: freed by pairs_bury */
    p->doomed_next = gw->doomed ? gw->doomed : p;
    gw->doomed = p;
}

void pairs_bury(struct gateway *gw)
{
    struct pair *p = gw->doomed, *keep = NULL;

    while (p) {
        struct pair *next = p->doomed_next == p ? NULL : p->doomed_next;

        if (p->jobs || p->is_ready) {
            p->doomed_next = keep ? keep : p;
            keep = p;
        } else {
            greeting_free(p->greeting);
            buf_fini(&p->queue);
            free(p);
        }
        p = next;
    }
    gw->doomed = keep;
}

/* --- events --- */

/* Our last words, where the stream of frames lets them in. */
static void pair_tell(struct pair *p, const struct refusal *r)
{
    struct buf out;

    if (p->is_told)
        return;
    p->is_told = true;
    if (!p->greeting && !track_is_between(&p->down))
        return; /* inside a message: the bare end is all that can be said */
    buf_init(&out, SAY_MAX);
    say_refusal(&out, r);
    leg_send(&p->client, out.data, out.len);
    buf_fini(&out);
}

static void pair_closing(struct pair *p, enum close_why why)
{
    p->phase = SESSION_CLOSING;
    if (p->why == CLOSE_NONE)
        p->why = why;
    waiting_leave(p);
    relay_leave_agent(p);
    leg_shut(&p->client);
    p->deadline_ms = p->gw->now_ms + p->gw->set.linger_ms;
    pair_arm(p);
    pair_ready(p);
}

void pair_finish(struct pair *p, enum close_why why)
{
    if (p->phase == SESSION_DEAD || p->phase == SESSION_CLOSING)
        return;
    p->is_told = true;
    pair_closing(p, why);
}

static void ending_start(struct pair *p)
{
    relay_leave_agent(p);
    waiting_join(p);
    p->deadline_ms = p->gw->now_ms + p->gw->set.lost_ms;
    if (p->gw->set.lost_ms == 0)
        p->deadline_ms = p->gw->now_ms + 1;
    pair_arm(p);
    pair_ready(p);
}

static void pair_act(struct pair *p, enum session_action action,
                     const struct refusal *r, enum close_why why)
{
    static const struct refusal unknown = {
        .kind = ERR_SYSTEM, .message = "The gateway cannot go on."};

    switch (action) {
    case SESSION_DO_GREET:
        admit_greet(p);
        break;
    case SESSION_DO_CHECK:
        admit_check(p);
        break;
    case SESSION_DO_WAIT:
        waiting_join(p);
        break;
    case SESSION_DO_DIAL:
        waiting_leave(p);
        p->deadline_ms = p->gw->now_ms + p->gw->set.dial_ms;
        pair_arm(p);
        dial_start(p);
        break;
    case SESSION_DO_RELAY:
        relay_start(p);
        if (p->phase == SESSION_OPEN)
            pair_arm(p);
        break;
    case SESSION_DO_ASK_END:
        ending_start(p);
        break;
    case SESSION_DO_REFUSE:
        if (!r)
            r = &unknown;
        if (r->kind != ERR_NONE)
            count_refusal(r->kind);
        pair_tell(p, r);
        pair_closing(p, why ? why : CLOSE_REFUSED);
        break;
    case SESSION_DO_DROP:
        pair_doom(p, why ? why : CLOSE_BUG);
        break;
    default:
        break;
    }
}

void pair_on(struct pair *p, enum session_event event, enum close_why why)
{
    pair_act(p, session_step(&p->phase, event), NULL, why);
}

void pair_refuse(struct pair *p, enum session_event event,
                 const struct refusal *r)
{
    pair_act(p, session_step(&p->phase, event), r, CLOSE_NONE);
}

void pair_deny(struct pair *p, enum err_kind kind, const char *message)
{
    pair_refuse(p, SESSION_ON_REFUSED,
                &(struct refusal){.kind = kind, .message = message});
}

void pair_ended(struct pair *p, const struct store_session *row)
{
    struct refusal r = {
        .kind = ERR_ENDED,
        .message = "The session has ended.",
        .detail = row->detail,
        .reason = row->reason,
        .has_exit = row->has_exit,
        .exit_code = row->exit_code,
        .exit_signal = row->exit_signal,
        .output_end = row->output_bytes,
    };

    pair_refuse(p, SESSION_ON_ENDED, &r);
}

/* --- turns and timers --- */

void pair_ready(struct pair *p)
{
    struct ready *r = p->is_bulk ? &p->gw->bulk : &p->gw->keys;

    if (p->is_ready || p->phase == SESSION_DEAD)
        return;
    p->is_ready = true;
    p->ready_next = NULL;
    if (r->last)
        r->last->ready_next = p;
    else
        r->first = p;
    r->last = p;
    r->count++;
}

struct pair *pair_next_ready(struct ready *r)
{
    struct pair *p = r->first;

    if (!p)
        return NULL;
    r->first = p->ready_next;
    if (!r->first)
        r->last = NULL;
    r->count--;
    p->is_ready = false;
    return p;
}

/* What the client still sends is read and dropped, so that our last words
 * are not lost to a reset. */
static bool pair_discard(struct pair *p)
{
    ssize_t n = leg_read(&p->client, p->gw->shared, GATEWAY_TURN_FAIR);

    if (n == LEG_BROKEN || p->client.is_broken ||
        (p->client.is_ended && (!p->client.pend_len || !p->is_told)))
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_LEFT);
    return p->phase != SESSION_DEAD && leg_is_readable(&p->client);
}

bool pair_turn(struct pair *p)
{
    bool more;

    if (p->phase == SESSION_DEAD)
        return false;
    if (p->phase == SESSION_OPEN)
        return relay_turn(p);
    if (p->client.is_shaking && !p->client.is_broken &&
        !leg_shake(&p->client) && !p->client.is_broken)
        return false;
    leg_flush(&p->client);
    if (p->client.is_broken) {
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_LEFT);
        return false;
    }
    if (p->phase == SESSION_HEAD)
        return admit_head(p);
    if (p->phase == SESSION_ENDING || p->phase == SESSION_CLOSING)
        return pair_discard(p);
    more = admit_listen(p);
    if (p->phase == SESSION_DIALING && p->agent.fd >= 0)
        more |= dial_turn(p);
    return more;
}

/* Pings are for those who have proven themselves. */
static bool is_watched(const struct pair *p)
{
    return p->phase == SESSION_WAITING || p->phase == SESSION_OPEN;
}

static int64_t leg_due(const struct pair *p, const struct leg *l)
{
    int64_t dead_ms = p->gw->set.dead_ms, ping_ms = relay_ping_ms(p, l);

    return l->pinged_ms ? l->pinged_ms + (dead_ms < ping_ms ? dead_ms : ping_ms)
                        : l->heard_ms + ping_ms;
}

void pair_arm(struct pair *p)
{
    int64_t due = p->deadline_ms ? p->deadline_ms : INT64_MAX;

    if (is_watched(p) && leg_due(p, &p->client) < due)
        due = leg_due(p, &p->client);
    if (p->phase == SESSION_OPEN && leg_due(p, &p->agent) < due)
        due = leg_due(p, &p->agent);
    if (due == INT64_MAX)
        wheel_clear(&p->gw->wheel, &p->timer);
    else
        wheel_set(&p->gw->wheel, &p->timer,
                  due > p->gw->now_ms ? due : p->gw->now_ms + 1);
}

static void pair_late(struct pair *p)
{
    switch (p->phase) {
    case SESSION_HELLO:
        pair_refuse(p, SESSION_ON_DEADLINE,
                    &(struct refusal){.kind = ERR_SYSTEM,
                                      .message = "HELLO did not come in "
                                                 "time."});
        break;
    case SESSION_CHECKING:
        pair_refuse(p, SESSION_ON_DEADLINE,
                    &(struct refusal){.kind = ERR_SYSTEM,
                                      .message = "The token could not be "
                                                 "checked in time."});
        break;
    case SESSION_WAITING:
        waiting_deadline(p);
        break;
    case SESSION_ENDING:
        pair_refuse(p, SESSION_ON_DEADLINE,
                    &(struct refusal){.kind = ERR_PEER,
                                      .message = "The session's agent was "
                                                 "lost; attach again.",
                                      .retry_after_ms = 500});
        break;
    case SESSION_OPEN:
        pair_on(p, SESSION_ON_DEADLINE, CLOSE_HALF_CLOSED);
        break;
    default:
        pair_on(p, SESSION_ON_DEADLINE, CLOSE_LATE);
        break;
    }
}

void pair_timer(struct pair *p)
{
    struct gateway *gw = p->gw;

    if (p->deadline_ms && gw->now_ms >= p->deadline_ms) {
        p->deadline_ms = 0;
        pair_late(p);
        return;
    }
    if (is_watched(p)) {
        int64_t due = relay_watch(p, p->phase == SESSION_OPEN);

        if (!is_watched(p))
            return;
        if (p->deadline_ms && p->deadline_ms < due)
            due = p->deadline_ms;
        wheel_set(&gw->wheel, &p->timer, due);
        return;
    }
    pair_arm(p);
}
