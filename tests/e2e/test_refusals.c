/*
 * Who may not attach is refused, by the gateway and by the agent each on its
 * own: tokens and session keys. Beside it: test_hello.c (HELLO, frames),
 * test_doors.c (users, pages, uids).
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token.h"
#include "gateway/wsframe.h"
#include "tests/lib/direct.h"
#include "tests/lib/forge.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLOSES_MS 15000 /* a handshake that does not go on */
#define AT_ONCE 8

static struct stack *stack;
static struct stack_session ann, other; /* both ann's, running */
static struct direct agent, other_agent;
static struct token_signer *signer, *stranger;
static struct session_claims good; /* what a token for `ann` says */

/* --- the stage --- */

static void read_claims(const char *token)
{
    own_mem char *file = mem_printf("%s/state/jwks.json", stack->dir);
    char text[16384];
    struct token_keys *keys;
    struct err e = {0};
    FILE *f = fopen(file, "re");
    size_t len;

    assert_non_null(f);
    len = fread(text, 1, sizeof(text), f);
    fclose(f);
    keys = token_keys_parse(text, len, &e);
    assert_non_null(keys);
    assert_int_equal(session_token_verify(keys, token, strlen(token),
                                          "podterm-controller", "podterm-dev",
                                          loop_wall_s(), 30, &good, NULL, &e),
                     0);
    token_keys_free(keys);
}

static void create(const char *name, struct stack_session *out,
                   struct direct *d)
{
    struct stack_bundle b;

    own_mem char *script = mem_printf("echo %s; sleep 1000", name);

    stack_pack(stack, name, script, &b); /* each of another digest */
    stack_create(stack, "ann", &b, "", out);
    json_free(stack_wait(stack, "ann", out->sid, "running", 10000));
    direct_find(stack, out->sid, d);
}

static int setup(void **arg)
{
    own_mem char *file = NULL;
    struct err e = {0};

    (void)arg;
    stack = stack_new(NULL);
    create("one", &ann, &agent);
    create("two", &other, &other_agent);
    file = mem_printf("%s/state/keys/signer.pem", stack->dir);
    signer = token_signer_load(file, &e);
    stranger = token_signer_make(NULL, &e);
    assert_non_null(signer);
    assert_non_null(stranger);
    read_claims(ann.token);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    token_signer_free(signer);
    token_signer_free(stranger);
    stack_session_fini(&ann);
    stack_session_fini(&other);
    stack_free(stack);
    return 0;
}

static char *fresh(void)
{
    char *token = stack_token(stack, "ann", ann.sid, "owner", NULL);

    assert_non_null(token);
    return token;
}

static void hello_good(const char *token)
{
    struct wspeer *p = direct_gateway(stack);

    direct_hello(p, token);
    wspeer_reset(direct_ready(p));
}

/* The agent also refuses what the gateway should: who it was is told by the
 * gateway's count. */
static int refused_by_gateway(const char *word)
{
    own_mem char *line =
        mem_printf("\npodterm_gateway_refusals_total{code=\"%s\"} ", word);
    struct rest_answer a =
        rest_call(stack->attach_port, "GET", "/metrics", NULL, NULL);
    const char *at = a.body ? strstr(a.body, line) : NULL;
    int n = at ? atoi(at + strlen(line)) : -1;

    rest_fini(&a);
    assert_true(n >= 0);
    return n;
}

/* --- tokens are good once --- */

static void a_token_is_good_once_at_the_gateway(void **arg)
{
    own_mem char *token = fresh();
    struct wspeer *first = direct_gateway(stack);
    struct wspeer *second = direct_gateway(stack);
    int before = refused_by_gateway("token");

    (void)arg;
    direct_hello(first, token);
    direct_ready(first);
    direct_hello(second, token);
    direct_refused(second, "token", 4401);
    wspeer_reset(first);
    second = direct_gateway(stack); /* nor after the first has gone */
    direct_hello(second, token);
    direct_refused(second, "token", 4401);
    assert_int_equal(refused_by_gateway("token"), before + 2);
}

static void of_many_at_once_one_gets_in(void **arg)
{
    own_mem char *token = fresh();
    struct wspeer *p[AT_ONCE];
    int before = refused_by_gateway("token");
    int in = 0;

    (void)arg;
    for (int i = 0; i < AT_ONCE; i++)
        p[i] = direct_gateway(stack);
    for (int i = 0; i < AT_ONCE; i++)
        direct_hello(p[i], token);
    for (int i = 0; i < AT_ONCE; i++) {
        struct wsmsg m;

        do
            assert_true(wspeer_recv(p[i], &m));
        while (m.opcode != WSFRAME_BINARY);
        in += m.bytes[0] == FRAME_READY;
        if (m.bytes[0] != FRAME_READY)
            assert_int_equal(m.bytes[0], FRAME_ERROR);
        wspeer_reset(p[i]);
    }
    assert_int_equal(in, 1);
    assert_int_equal(refused_by_gateway("token"), before + AT_ONCE - 1);
}

static void a_token_spent_at_the_gateway_is_refused_by_the_agent(void **arg)
{
    own_mem char *token = fresh();
    struct wspeer *p = direct_gateway(stack);

    (void)arg;
    direct_hello(p, token);
    wspeer_reset(direct_ready(p));
    p = direct_attach(&agent);
    direct_hello(p, token);
    direct_refused(p, "token", 4401);
    /* the agent's way is open to a token that was not spent */
    free(token);
    token = fresh();
    p = direct_attach(&agent);
    direct_hello(p, token);
    wspeer_reset(direct_ready(p));
}

static void a_gateway_that_forgot_does_not_help_even_after_a_kill(void **arg)
{
    own_mem char *token = fresh();
    struct wspeer *p = direct_attach(&agent);
    pid_t pid;

    (void)arg;
    direct_hello(p, token);
    wspeer_reset(direct_ready(p));
    p = direct_gateway(stack); /* it never saw this token */
    direct_hello(p, token);
    direct_refused(p, "token", 4401);

    free(token);
    token = fresh();
    p = direct_attach(&agent);
    direct_hello(p, token);
    direct_ready(p);
    pid = stackproc_find(stack, ann.sid, PART_MAIN);
    assert_true(pid > 0);
    kill(pid, SIGKILL);
    assert_true(wspeer_ends(p, WSPEER_MS));
    wspeer_free(p);
    for (int i = 0; i < 500; i++) { /* it comes back, at the same address */
        p = wspeer_try_dial(agent.addr);
        if (p)
            break;
        poll(NULL, 0, 10);
    }
    assert_non_null(p);
    wspeer_free(p);
    p = direct_attach(&agent);
    direct_hello(p, token);
    direct_refused(p, "token", 4401);
}

/* --- tokens that were never good --- */

static void at_both(const char *what, const char *token, const char *gateway,
                    int gateway_code, const char *judge, int judge_code)
{
    struct wspeer *p = direct_gateway(stack);
    int before = refused_by_gateway(gateway);

    print_message("a token %s\n", what);
    direct_hello(p, token);
    direct_refused(p, gateway, gateway_code);
    assert_int_equal(refused_by_gateway(gateway), before + 1);
    p = direct_attach(&agent);
    direct_hello(p, token);
    direct_refused(p, judge, judge_code);
}

/* In the order of the rows below. */
static void spoil(struct session_claims *c, int how)
{
    switch (how) {
    case 0:
        c->iat = c->nbf = loop_wall_s() - 100;
        c->exp = c->iat + TOKEN_LIFE_S;
        break;
    case 1:
        c->nbf += 40;
        break;
    case 2:
        c->exp = c->iat + 2 * TOKEN_LIFE_S + 1;
        break;
    case 3:
        snprintf(c->aud, sizeof(c->aud), "podterm-other");
        break;
    case 4:
        snprintf(c->iss, sizeof(c->iss), "podterm-other");
        break;
    case 5:
        memcpy(c->sid, other.sid, sizeof(c->sid));
        break;
    case 6:
        random_id(c->sid);
        break;
    case 7:
        memset(c->bnd, '0', 64);
        break;
    case 8:
        snprintf(c->sub, sizeof(c->sub), "bob");
        break;
    default:
        snprintf(c->sub, sizeof(c->sub), "bob");
        c->role = ROLE_VIEWER;
        break;
    }
}

static void claims_that_do_not_fit_are_refused(void **arg)
{
    enum { TOKEN = 4401, DENIED = 4403 };
    static const struct {
        const char *what;
        int gateway, judge;
    } rows[] = {
        {"expired", TOKEN, TOKEN},
        {"not yet valid", TOKEN, TOKEN},
        {"of too long a life", TOKEN, TOKEN},
        {"for another installation", TOKEN, TOKEN},
        {"of another issuer", TOKEN, TOKEN},
        {"of another session", DENIED, TOKEN},
        {"of no session", DENIED, TOKEN},
        {"of another bundle", DENIED, TOKEN},
        {"of another user as owner", DENIED, DENIED},
        {"of a viewer nobody named", DENIED, DENIED},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct session_claims c = good;
        struct err e = {0};
        own_mem char *token = NULL;

        c.iat = c.nbf = loop_wall_s();
        c.exp = c.iat + TOKEN_LIFE_S;
        random_id(c.jti);
        spoil(&c, (int)i);
        token = session_token_sign(signer, &c, &e);
        assert_non_null(token);
        at_both(rows[i].what, token,
                rows[i].gateway == TOKEN ? "token" : "denied", rows[i].gateway,
                rows[i].judge == TOKEN ? "token" : "denied", rows[i].judge);
    }
}

/* What the good claims look like as a payload, with a fresh id. */
static char *payload(void)
{
    long long now = (long long)loop_wall_s();
    char jti[ID_SIZE];

    random_id(jti);
    return mem_printf("{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\","
                      "\"sid\":\"%s\",\"role\":\"owner\",\"jti\":\"%s\","
                      "\"bnd\":\"%s\",\"iat\":%lld,\"nbf\":%lld,"
                      "\"exp\":%lld}",
                      good.iss, good.aud, good.sub, good.sid, jti, good.bnd,
                      now, now, now + TOKEN_LIFE_S);
}

static char *head_of(const char *alg, const char *typ)
{
    return mem_printf("{\"alg\":\"%s\",\"typ\":\"%s\",\"kid\":\"%s\"}", alg,
                      typ, token_signer_kid(signer));
}

/* A token wrong in this way; beyond the last: a good one, made alike. */
static char *forged(int how, const char **what)
{
    own_mem char *body = payload();
    own_mem char *head = head_of("RS256", TOKEN_TYP_SESSION);
    own_mem char *foreign = forge_head(stranger, TOKEN_TYP_SESSION);
    own_mem char *hs256 = head_of("HS256", TOKEN_TYP_SESSION);
    own_mem char *none = head_of("none", TOKEN_TYP_SESSION);
    own_mem char *jwt = head_of("RS256", TOKEN_TYP_IDENTITY);
    char *token;

    switch (how) {
    case 0:
        *what = "of HS256 under the public key";
        return forge_hs256(signer, hs256, body);
    case 1:
        *what = "with a stranger's signature under our key's name";
        return forge_token(stranger, head, body);
    case 2:
        *what = "with a stranger's under its own";
        return forge_token(stranger, foreign, body);
    case 3:
        *what = "with the typ of another kind";
        return forge_token(signer, jwt, body);
    case 4:
    case 5:
        *what = how == 4 ? "of algorithm none" : "without a signature";
        token = forge_token(signer, how == 4 ? none : head, body);
        strrchr(token, '.')[1] = 0;
        return token;
    default:
        *what = NULL;
        return forge_token(signer, head, body);
    }
}

static void tokens_forged_in_form_are_refused(void **arg)
{
    const char *what = "";

    (void)arg;
    for (int how = 0; what; how++) {
        own_mem char *token = forged(how, &what);

        if (what) {
            at_both(what, token, "token", 4401, "token", 4401);
        } else { /* nothing else was wrong with them */
            hello_good(token);
        }
    }
}

/* --- the session key --- */

static void the_agent_wants_its_own_session_key(void **arg)
{
    struct direct d = agent;
    own_mem char *metrics = NULL;

    (void)arg;
    d.key[0] ^= 1;
    assert_null(direct_dial(&d));
    d = other_agent; /* a good pair, of another session */
    memcpy(d.addr, agent.addr, sizeof(d.addr));
    assert_null(direct_dial(&d));
    d = agent; /* the name of one, the key of another */
    memcpy(d.key, other_agent.key, sizeof(d.key));
    assert_null(direct_dial(&d));
    d = agent;
    memcpy(d.psk_id, other_agent.psk_id, sizeof(d.psk_id));
    assert_null(direct_dial(&d));
    d = agent;
    memset(d.key, 0, sizeof(d.key));
    assert_null(direct_dial(&d));
    metrics = direct_get(&agent, "/metrics");
    assert_non_null(strstr(metrics, "HTTP/1.1 200"));
}

/* Send it to the agent's port, and return all that comes back, its length in
 * *len; the end must come. */
static uint8_t *answer_to(const void *bytes, size_t n, size_t *len)
{
    struct wspeer *p = wspeer_dial(agent.addr, NULL);
    uint8_t *out;

    p->may_die = true;
    wspeer_write(p, bytes, n);
    while (wspeer_more(p, CLOSES_MS) > 0)
        ;
    *len = p->in_len;
    out = mem_zero(p->in_len + 1, 1);
    if (p->in_len)
        memcpy(out, p->in, p->in_len);
    wspeer_free(p);
    return out;
}

/* TLS record types (RFC 8446, 5.1) */
#define RECORD_ALERT 0x15

static void without_the_key_no_http_is_answered(void **arg)
{
    static const char *const said[] = {
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/attach HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: podterm.v1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x00\x05hello",
    };
    struct err e = {0};
    struct ssl_ctx_st *ctx = tls_client_ctx(NULL, &e);
    struct wspeer *p;

    (void)arg;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        size_t n = i == 3 ? 10 : strlen(said[i]), len;
        own_mem uint8_t *got = answer_to(said[i], n, &len);

        if (len > 0 && (got[0] != RECORD_ALERT || len > 16))
            fail_msg("%zu bytes beginning with %02x", len, got[0]);
        assert_null(memmem(got, len, "HTTP", 4));
    }
    /* TLS, but with certificates */
    assert_non_null(ctx);
    p = wspeer_dial(agent.addr, NULL);
    p->tls = tls_dial(ctx, p->fd, "localhost");
    assert_non_null(p->tls);
    assert_false(wspeer_shake(p));
    wspeer_free(p);
    tls_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_once_at_the_gateway),
        cmocka_unit_test(of_many_at_once_one_gets_in),
        cmocka_unit_test(a_token_spent_at_the_gateway_is_refused_by_the_agent),
        cmocka_unit_test(claims_that_do_not_fit_are_refused),
        cmocka_unit_test(tokens_forged_in_form_are_refused),
        cmocka_unit_test(the_agent_wants_its_own_session_key),
        cmocka_unit_test(without_the_key_no_http_is_answered),
        cmocka_unit_test(a_gateway_that_forgot_does_not_help_even_after_a_kill),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
