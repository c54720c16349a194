#include "controller/activate.h"

#include "base/addr.h"
#include "base/buf.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 4096 /* bytes of the agent's answer that are read */
#define AGAIN_MS 50     /* between two rounds */
/* Rounds in which nobody there knew pool's or session's key: once may be a
 * handshake cut off by a kill. */
#define STRANGE_ROUNDS 2

/* How one attempt went, where it was not answered. */
enum try {
    TRY_ANSWERED,
    TRY_UNREACHED, /* nobody takes the connection */
    TRY_STRANGER,  /* who is there does not know the key */
    TRY_SILENT,    /* it was said, and no answer came */
};

struct caller {
    const struct activate *what;
    struct sockaddr_storage addr;
    struct ssl_ctx_st *ctx;
    char sid[ID_SIZE], psk_id[ID_SIZE];
    struct buf request; /* head and token; secret */
    int64_t until_ms;
    int fd;
    struct tls *tls;
    char answer[ANSWER_MAX + 1];
    size_t answer_len;
    int status;
};

/* --- bytes --- */

/* 0, or -1 once the deadline is there. */
static int await(const struct caller *c, short events)
{
    int64_t left = c->until_ms - loop_now_ms();
    struct pollfd p = {.fd = c->fd, .events = events};

    return left > 0 && poll(&p, 1, (int)left) > 0 ? 0 : -1;
}

/* After TLS_WANT_*: 0 to try again. */
static int await_tls(const struct caller *c, ssize_t io)
{
    if (io == TLS_WANT_READ)
        return await(c, POLLIN);
    return io == TLS_WANT_WRITE ? await(c, POLLOUT) : -1;
}

static int dial(struct caller *c, struct err *e)
{
    static const int on = 1;
    int error = 0;
    socklen_t len = sizeof error;

    c->fd = socket(c->addr.ss_family,
                   SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return err_sys(e, "socket");
    /* the request follows the handshake's last flight, which nothing answers */
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&c->addr, addr_len(&c->addr)) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return err_sys(e, "connect");
    if (await(c, POLLOUT) < 0)
        return err_set(e, ERR_PEER, "connect: no answer");
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    errno = error;
    return error ? err_sys(e, "connect") : 0;
}

static int shake(struct caller *c, const char *id, const uint8_t *key)
{
    int io;

    c->tls = tls_dial_psk(c->ctx, c->fd, id, key);
    while ((io = tls_handshake(c->tls)) != 0)
        if (await_tls(c, io) < 0)
            return io;
    return 0;
}

static int say(struct caller *c)
{
    for (size_t at = 0; at < c->request.len;) {
        ssize_t n =
            tls_write(c->tls, c->request.data + at, c->request.len - at);

        if (n > 0)
            at += (size_t)n;
        else if (await_tls(c, n) < 0)
            return -1;
    }
    return 0;
}

/* --- the answer --- */

/* 1 it is whole, as far as it matters; 0 there may be more; -1 it is none. */
static int judge(struct caller *c)
{
    static const char version[] = "HTTP/1.1 ";
    const size_t at = sizeof version - 1;
    char taken[ID_SIZE + 16];

    c->answer[c->answer_len] = 0;
    if (c->answer_len < at + 4)
        return memcmp(c->answer, version,
                      c->answer_len < at ? c->answer_len : at) == 0
                   ? 0
                   : -1;
    if (memcmp(c->answer, version, at) != 0 ||
        strspn(c->answer + at, "0123456789") != 3 || c->answer[at + 3] != ' ')
        return -1;
    c->status = atoi(c->answer + at);
    if (c->status != 200)
        return 1;
    /* a yes is for our session, or it is none */
    snprintf(taken, sizeof taken, "{\"sid\":\"%s\"}", c->sid);
    return strstr(c->answer, taken) ? 1 : 0;
}

static enum try hear(struct caller *c)
{
    int whole = 0;

    c->answer_len = 0;
    while (whole == 0 && c->answer_len < ANSWER_MAX) {
        ssize_t n = tls_read(c->tls, c->answer + c->answer_len,
                             ANSWER_MAX - c->answer_len);

        if (n > 0) {
            c->answer_len += (size_t)n;
            whole = judge(c);
        } else if (await_tls(c, n) < 0) {
            break;
        }
    }
    return whole > 0 ? TRY_ANSWERED : TRY_SILENT;
}

static enum try speak(struct caller *c, const char *id, const uint8_t *key,
                      struct err *e)
{
    int io;

    if (dial(c, e) < 0)
        return TRY_UNREACHED;
    io = shake(c, id, key);
    if (io < 0) {
        err_set(e, ERR_PEER, "TLS was refused or broke");
        return io == TLS_FAILED ? TRY_STRANGER : TRY_UNREACHED;
    }
    /* an agent may answer before it has read all: 413 */
    say(c);
    return hear(c);
}

static enum try attempt(struct caller *c, const char *id, const uint8_t *key,
                        struct err *e)
{
    enum try how;

    c->fd = -1;
    c->tls = NULL;
    how = speak(c, id, key, e);
    if (c->tls)
        tls_bye(c->tls);
    tls_free(c->tls);
    if (c->fd >= 0)
        close(c->fd);
    return how;
}

static int verdict(const struct caller *c, struct err *e)
{
    switch (c->status) {
    case 200:
        return 0;
    case 409:
        return err_set(e, ERR_CONFLICT, "the pod is another session's");
    case 413:
        return err_set(e, ERR_TOO_LARGE, "the agent takes no such spec");
    case 400:
    case 401:
    case 403:
    case 404:
        return err_set(e, ERR_DENIED, "the agent refuses it (%d)", c->status);
    default:
        return err_set(e, ERR_PEER, "the agent answers %d", c->status);
    }
}

/* --- rounds --- */

static bool is_final(const struct caller *c, enum try how)
{
    return how == TRY_ANSWERED && c->status < 500;
}

/* By the pool's key, and then, in case an earlier try was taken, by the
 * session's. */
static int rounds(struct caller *c, struct err *e)
{
    const struct activate *w = c->what;
    bool was_silent = false;
    struct err why = {0};
    int strange = 0;
    enum try how;

    for (;;) {
        how = attempt(c, w->pool_psk_id, w->pool_key, &why);
        if (is_final(c, how))
            return verdict(c, e);
        was_silent = was_silent || how == TRY_SILENT;
        if (how == TRY_STRANGER || how == TRY_SILENT) {
            bool is_strange = how == TRY_STRANGER;

            how = attempt(c, c->psk_id, w->key, &why);
            if (w->is_ours && how == TRY_ANSWERED)
                *w->is_ours = true;
            if (is_final(c, how))
                return verdict(c, e);
            strange = is_strange && how == TRY_STRANGER ? strange + 1 : 0;
            if (strange == STRANGE_ROUNDS)
                return err_set(e, ERR_CONFLICT,
                               "the agent knows neither the pool's key nor "
                               "the session's");
        }
        if (c->until_ms - loop_now_ms() <= AGAIN_MS)
            break;
        poll(NULL, 0, AGAIN_MS);
    }
    if (was_silent)
        return err_set(e, ERR_TIMEOUT, "the agent does not answer");
    if (how == TRY_ANSWERED)
        return verdict(c, e);
    return err_set(e, ERR_PEER, "the agent is not reached: %.200s", why.text);
}

/* --- set-up --- */

static int claims(const struct activate *w, struct activate_claims *out,
                  struct err *e)
{
    const int64_t now_s = loop_wall_s();
    const char *sid;

    out->spec = json_parse(w->spec, strlen(w->spec), e);
    if (!out->spec)
        return err_wrap(e, "spec");
    sid = json_get_str(out->spec, "sid");
    snprintf(out->iss, sizeof out->iss, "%s", w->iss);
    snprintf(out->aud, sizeof out->aud, "%s", w->pod_uid);
    snprintf(out->sid, sizeof out->sid, "%s", sid ? sid : "");
    random_id(out->jti);
    memcpy(out->key, w->key, sizeof out->key);
    out->iat = out->nbf = now_s;
    out->exp = now_s + TOKEN_LIFE_S;
    return 0;
}

static void put_request(struct caller *c, const char *token)
{
    buf_printf(&c->request,
               "POST " ACTIVATE_PATH " HTTP/1.1\r\nhost: %s\r\n"
               "content-type: " ACTIVATE_TYPE "\r\ncontent-length: %zu\r\n\r\n",
               c->what->addr, strlen(token));
    buf_append_str(&c->request, token);
}

static int prepare(struct caller *c, struct err *e)
{
    struct activate_claims said = {0};
    own_mem char *token = NULL;
    const char *psk_id;

    if (claims(c->what, &said, e) == 0)
        token = activate_token_sign(c->what->signer, &said, e);
    psk_id = token ? json_get_str(said.spec, "psk_id") : NULL;
    if (token && (!psk_id || !id_is_valid(psk_id)))
        err_set(e, ERR_INPUT, "spec: psk_id is no id");
    if (psk_id && id_is_valid(psk_id)) {
        memcpy(c->psk_id, psk_id, ID_SIZE);
        memcpy(c->sid, said.sid, ID_SIZE);
        put_request(c, token);
    }
    activate_claims_fini(&said);
    if (token)
        wipe(token, strlen(token));
    return c->request.len ? 0 : -1;
}

int activate_send(const struct activate *what, struct err *e)
{
    struct caller c = {
        .what = what,
        .until_ms = loop_now_ms() + what->deadline_ms,
    };
    int r = -1;

    if (addr_parse(what->addr, &c.addr, e) < 0)
        return -1;
    buf_init_secret(&c.request, TOKEN_ACTIVATE_MAX + 1024);
    c.ctx = tls_psk_client_ctx(e);
    if (c.ctx && prepare(&c, e) == 0)
        r = rounds(&c, e);
    tls_ctx_free(c.ctx);
    buf_fini_secret(&c.request);
    return r;
}

void activate_key(const uint8_t *secret, const char *pod_uid,
                  uint8_t out[SESSION_KEY_BYTES])
{
    activate_pool_key(secret, pod_uid, out);
}
