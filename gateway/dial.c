#include "gateway/dial.h"

#include "base/addr.h"
#include "base/digest.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 4096 /* bytes of an agent's 101 and what comes with it */

static void dial_failed(struct pair *p, const char *step, const char *why)
{
    static struct log_rate rate = {.burst = 20, .interval_ms = 1000};

    count(COUNT_DIAL_FAILED, 1);
    if (log_rate_ok(&rate, p->gw->now_ms))
        log_warn("dial.failed", "sid", "s", p->sid, "agent", "s",
                 p->greeting->agent_addr, "step", "s", step, "why", "s", why,
                 NULL);
    pair_on(p, SESSION_ON_AGENT_GONE, CLOSE_NONE);
}

/* Not the agent's fault but ours, or somebody wrote to the store. */
static void dial_refused(struct pair *p, const char *why)
{
    log_error("dial.refused", "sid", "s", p->sid, "agent", "s",
              p->greeting->agent_addr, "why", "s", why, NULL);
    pair_deny(p, ERR_SYSTEM, "The session's runner cannot be reached.");
}

static int dial_socket(struct pair *p, const struct sockaddr_storage *addr)
{
    int fd =
        socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)addr, addr_len(addr)) < 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return leg_open(&p->agent, p->gw->epoll_fd, fd, p->gw->now_ms);
}

void dial_start(struct pair *p)
{
    struct greeting *g = p->greeting;
    uint8_t key[SESSION_KEY_BYTES];
    struct sockaddr_storage addr;
    struct err e;

    g->began_ms = p->gw->now_ms;
    if (addr_parse(g->agent_addr, &addr, &e) < 0 ||
        !cidr_list_has(&p->gw->set.agent_cidrs, (struct sockaddr *)&addr)) {
        dial_refused(p, "the address is not in --agent-cidrs");
        return;
    }
    if (seal_open(p->gw->seal_key, p->sid, g->psk_sealed, sizeof(g->psk_sealed),
                  key) < 0) {
        dial_refused(p, "the session's key does not open: is "
                        "--seal-key-file the controller's?");
        return;
    }
    if (dial_socket(p, &addr) < 0) {
        wipe(key, sizeof(key));
        dial_failed(p, "connect", strerror(errno));
        return;
    }
    p->agent.tls = tls_dial_psk(p->gw->psk_ctx, p->agent.fd, g->psk_id, key);
    p->agent.is_shaking = true;
    wipe(key, sizeof(key));
    buf_init(&g->answer, ANSWER_MAX);
    if (!p->agent.tls)
        dial_failed(p, "tls", "no TLS stream could be made");
}

static void dial_request(struct pair *p)
{
    char text[UPGRADE_TEXT_MAX], key[UPGRADE_KEY_LEN + 1];
    uint8_t nonce[16];

    random_bytes(nonce, sizeof(nonce));
    base64_encode(nonce, sizeof(nonce), key);
    memcpy(p->greeting->key, key, UPGRADE_KEY_LEN);
    leg_send(&p->agent, text, upgrade_write_request(key, text));
}

/* The answer is whole or not; true when more is to be read. */
static bool dial_answer(struct pair *p)
{
    struct greeting *g = p->greeting;
    char accept[UPGRADE_ACCEPT_LEN + 1];
    const char *text = (const char *)g->answer.data, *why;
    size_t seen = 0;
    long end = http_head_end(text, g->answer.len, &seen);
    int status = 0;

    if (end == 0 && g->answer.len < g->answer.max)
        return leg_has_news(&p->agent);
    why = "an answer that is no HTTP head";
    if (end > 0) {
        upgrade_accept(g->key, accept);
        why = upgrade_answer(text, (size_t)end, accept, &status);
    }
    if (why) {
        dial_failed(p, "upgrade", why);
        return false;
    }
    buf_drop(&g->answer, (size_t)end);
    histogram_add(&timings[TIMING_DIAL], (p->gw->now_ms - g->began_ms) * 1000);
    pair_on(p, SESSION_ON_AGENT_UP, CLOSE_NONE);
    return true;
}

static const char *broken_why(const struct leg *l, char *text, size_t size)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || !error)
        return "TLS was refused or broke";
    return strerror_r(error, text, size);
}

bool dial_turn(struct pair *p)
{
    struct leg *l = &p->agent;
    char text[80];
    ssize_t n;

    if (l->is_broken) {
        dial_failed(p, "connect", broken_why(l, text, sizeof(text)));
        return false;
    }
    if (l->is_shaking) {
        if (!l->can_write)
            return false; /* not connected yet */
        if (!leg_shake(l)) {
            if (l->is_broken)
                dial_failed(p, "tls", broken_why(l, text, sizeof(text)));
            return false;
        }
        dial_request(p);
    }
    n = leg_read(l, p->gw->shared,
                 p->greeting->answer.max - p->greeting->answer.len);
    if (n > 0) {
        buf_append(&p->greeting->answer, p->gw->shared, (size_t)n);
        return dial_answer(p);
    }
    if (n == LEG_ENDED || n == LEG_BROKEN)
        dial_failed(p, "upgrade", "the agent hung up");
    return false;
}
