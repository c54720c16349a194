#include "gateway/relay.h"

#include "base/frame.h"
#include "base/log.h"
#include "gateway/wsframe.h"

#include <string.h>

/* A peer that reads nothing is asked by its kernel only every two minutes. */
#define ZERO_WINDOW_MS 120000
#define PING_RETRY_MS 1000 /* a ping that fell into a message: try again */

static bool is_to_client(const struct pair *p, const struct leg *dst)
{
    return dst == &p->client;
}

/* --- our own frames --- */

/* What follows the bytes that go to dst. */
static struct track *track_to(struct pair *p, const struct leg *dst)
{
    return is_to_client(p, dst) ? &p->down : &p->up;
}

bool relay_say(struct pair *p, const void *frames, size_t len)
{
    if (p->queue.len == 0 && track_is_between(&p->down)) {
        leg_send(&p->client, frames, len);
        return true;
    }
    if (p->queue.max == 0)
        buf_init(&p->queue, GATEWAY_QUEUE_MAX);
    return buf_append(&p->queue, frames, len) == 0;
}

/* A control frame of ours now, if none of theirs is cut by it. */
static bool control_now(struct pair *p, struct leg *dst, uint8_t opcode,
                        int code)
{
    uint8_t frame[WSFRAME_HEAD_MAX + 2], mask[4];
    uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t len = opcode == WSFRAME_CLOSE ? 2 : 0, n;
    bool masked = !is_to_client(p, dst);

    if (!track_is_between_frames(track_to(p, dst)))
        return false;
    random_bytes(mask, sizeof(mask));
    n = wsframe_write(frame, opcode, len, masked ? mask : NULL);
    memcpy(frame + n, body, len);
    if (masked)
        wsframe_mask(frame + n, len, mask);
    leg_send(dst, frame, n + len);
    return true;
}

void relay_leave_agent(struct pair *p)
{
    if (p->agent.fd >= 0 && !p->greeting && !p->agent.is_ended)
        control_now(p, &p->agent, WSFRAME_CLOSE, 1001);
    leg_close(&p->agent, true);
}

/* --- silence --- */

/* A leg whose bytes are held back, by us or by it, is not silent: then only
 * its kernel's acknowledgements count. */
static bool leg_is_dead(struct pair *p, struct leg *l, const struct leg *other)
{
    const struct settings *s = &p->gw->set;

    if (l->pend_len == 0 && other->pend_len == 0)
        return true;
    if (leg_silence_ms(l) > s->dead_ms + ZERO_WINDOW_MS)
        return true;
    l->pinged_ms = p->gw->now_ms;
    return false;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Proxies stand before clients, not before agents; and a client's pong goes
 * on to its agent, so that leg is never quite silent. */
int64_t relay_ping_ms(const struct pair *p, const struct leg *l)
{
    return l == &p->agent ? p->gw->set.agent_ping_ms : p->gw->set.ping_ms;
}

/* When to look again; 0 = the leg is dead. What is heard moves no timer, so
 * one whose ping is answered meanwhile is looked at before the next is due. */
static int64_t leg_watch(struct pair *p, struct leg *l, const struct leg *other)
{
    const struct settings *s = &p->gw->set;
    int64_t now = p->gw->now_ms, ping_ms = relay_ping_ms(p, l);

    if (l->pinged_ms) {
        if (now >= l->pinged_ms + s->dead_ms && leg_is_dead(p, l, other))
            return 0;
        return sooner(l->pinged_ms + s->dead_ms, now + ping_ms);
    }
    if (now < l->heard_ms + ping_ms)
        return l->heard_ms + ping_ms;
    if (!control_now(p, l, WSFRAME_PING, 0))
        return now + PING_RETRY_MS;
    l->pinged_ms = now;
    return now + sooner(s->dead_ms, ping_ms);
}

int64_t relay_watch(struct pair *p, bool with_agent)
{
    int64_t client = leg_watch(p, &p->client, &p->agent);
    int64_t agent = INT64_MAX;

    if (!client) {
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_DEAD);
        return 0;
    }
    if (with_agent)
        agent = leg_watch(p, &p->agent, &p->client);
    if (!agent) {
        pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
        return 0;
    }
    return sooner(client, agent);
}

/* --- bytes --- */

/* A peer broke its frames: what it sent last went no further. */
static void relay_broken(struct pair *p, const struct leg *src, int code)
{
    static struct log_rate rate = {.burst = 10, .interval_ms = 1000};

    if (log_rate_ok(&rate, p->gw->now_ms))
        log_warn("relay.broken", "sid", "s", p->sid, "by", "s",
                 src == &p->client ? "client" : "agent", "code", "i",
                 (int64_t)code, NULL);
    if (src == &p->client)
        pair_refuse(p, SESSION_ON_REFUSED,
                    &(struct refusal){.close_code = code});
    else
        pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
}

/* Pass len bytes of src on to dst, ours put in where a message ends. */
static bool relay_bytes(struct pair *p, struct leg *src, struct leg *dst,
                        const uint8_t *bytes, size_t len)
{
    struct track *t = track_to(p, dst);
    struct track before = *t;
    size_t cut;
    int code;

    if (t->is_closed)
        return true; /* behind its close frame: nobody's business */
    code = track_feed(t, bytes, len, &cut);
    if (code) {
        *t = before; /* dst never saw these bytes */
        relay_broken(p, src, code);
        return false;
    }
    if (is_to_client(p, dst) && p->queue.len && cut != TRACK_NO_CUT) {
        leg_send(dst, bytes, cut);
        leg_send(dst, p->queue.data, p->queue.len);
        buf_fini(&p->queue);
        leg_send(dst, bytes + cut, len - cut);
    } else {
        leg_send(dst, bytes, len);
    }
    return true;
}

static void hello_send(struct pair *p, struct greeting *g)
{
    uint8_t head[WSFRAME_HEAD_MAX], mask[4];
    size_t n;

    random_bytes(mask, sizeof(mask));
    n = wsframe_write(head, WSFRAME_BINARY, g->hello.len, mask);
    wsframe_mask(g->hello.data, g->hello.len, mask);
    leg_send(&p->agent, head, n);
    leg_send(&p->agent, g->hello.data, g->hello.len);
}

void relay_start(struct pair *p)
{
    struct greeting *g = p->greeting;

    p->greeting = NULL;
    p->deadline_ms = 0;
    p->opened_ms = p->gw->now_ms;
    track_init(&p->up, true);
    track_init(&p->down, false);
    hello_send(p, g);
    /* a control frame half read, and what came with the 101 */
    if (g->in.len)
        relay_bytes(p, &p->client, &p->agent, g->in.data, g->in.len);
    if (g->answer.len && p->phase == SESSION_OPEN)
        relay_bytes(p, &p->agent, &p->client, g->answer.data, g->answer.len);
    greeting_free(g);
    log_info("attach.open", "sid", "s", p->sid, "role", "s", role_name(p->role),
             "ip", "s", p->ip, NULL);
}

/* The source is at its end and its bytes are passed on. Said again for a
 * client's at every turn until the agent follows: shutting twice is free. */
static void relay_end(struct pair *p, struct leg *src, struct leg *dst)
{
    if (src == &p->agent) {
        if (dst->is_ended)
            pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_HALF_CLOSED);
        else if (p->down.is_closed)
            pair_finish(p, CLOSE_AGENT_DONE);
        else
            pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
        return;
    }
    leg_shut(dst);
}

/* What one side has closed, the other has half_close_ms to follow. */
static void relay_limit(struct pair *p)
{
    bool is_half = p->client.is_hung_up || p->client.is_ended ||
                   (p->up.is_closed && !p->agent.pend_len) ||
                   (p->down.is_closed && !p->client.pend_len);

    if (!is_half || p->deadline_ms)
        return;
    p->deadline_ms = p->gw->now_ms + p->gw->set.half_close_ms;
    pair_arm(p);
}

/* One read of src. true: more can be done at once. */
static bool relay_pump(struct pair *p, struct leg *src, struct leg *dst,
                       size_t want)
{
    struct gateway *gw = p->gw;
    ssize_t n;

    leg_flush(dst);
    if (dst->pend_len)
        return false; /* dst is blocked: not reading is the backpressure */
    n = leg_read(src, gw->shared, want);
    if (n > 0) {
        src->heard_ms = gw->now_ms;
        src->pinged_ms = 0;
        if (src == &p->client)
            p->bytes_up += (uint64_t)n;
        else
            p->bytes_down += (uint64_t)n;
        if (!relay_bytes(p, src, dst, gw->shared, (size_t)n))
            return false;
        return !dst->pend_len && leg_has_news(src);
    }
    if (n == LEG_ENDED)
        relay_end(p, src, dst);
    else if (n == LEG_BROKEN && src == &p->agent)
        pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
    else if (n == LEG_BROKEN)
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_LEFT);
    return false;
}

bool relay_turn(struct pair *p)
{
    const struct gateway *gw = p->gw;
    size_t want = gw->keys.count + gw->bulk.count > 0 ? GATEWAY_TURN_FAIR
                                                      : GATEWAY_TURN_ALONE;
    uint64_t before = p->bytes_up + p->bytes_down;
    bool more = relay_pump(p, &p->agent, &p->client, want);

    if (p->phase != SESSION_OPEN)
        return true;
    more |= relay_pump(p, &p->client, &p->agent, want);
    if (p->phase != SESSION_OPEN)
        return true;
    p->is_bulk = p->bytes_up + p->bytes_down - before >= GATEWAY_BULK_BYTES;
    if (p->client.is_broken) {
        pair_on(p, SESSION_ON_CLIENT_GONE, CLOSE_CLIENT_LEFT);
        return false;
    }
    if (p->agent.is_broken) {
        pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
        return true;
    }
    relay_limit(p);
    return more;
}
