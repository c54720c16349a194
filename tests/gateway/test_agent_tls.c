/*
 * Who answers where the gateway dials an agent, but has not the session's
 * key: a certificate (of an authority this machine trusts), an older TLS, no
 * TLS at all. None of them may get a byte of the request or the token.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/gwbench.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bench *b;
static char *ca;

static int setup(void **state)
{
    (void)state;
    b = bench_new();
    certs_make(b->dir, "srv", "DNS:agent.invalid,IP:127.0.0.1");
    ca = mem_printf("%s/srv-ca.pem", b->dir);
    setenv("SSL_CERT_FILE", ca, 1);
    bench_start(b, (const char *const[]){"--agent-lost-ms=100", NULL});
    return 0;
}

static int teardown(void **state)
{
    struct bench *mine = b;

    (void)state;
    b = NULL;
    unsetenv("SSL_CERT_FILE");
    free(ca);
    return bench_free(mine) ? 0 : -1;
}

/* A client attaches; what the gateway dials is the caller's. */
static struct wspeer *dialled(struct wspeer **client)
{
    struct wspeer *a;
    char sid[ID_SIZE];

    bench_session(b, STATE_RUNNING, sid);
    *client = bench_attach(b, sid);
    a = bench_accept_tcp(b, WSPEER_MS);
    assert_non_null(a);
    return a;
}

static void lost(struct wspeer *client, struct wspeer *agent)
{
    free(wspeer_refused(client, "agent_lost", 4502));
    assert_true(wspeer_ends(agent, WSPEER_MS));
    wspeer_free(client);
    wspeer_free(agent);
}

static void a_certificate_gets_nothing(void **state)
{
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};

    (void)state;
    for (int i = 0; i < 2; i++) {
        own_mem char *cert = mem_printf("%s/srv.pem", b->dir);
        own_mem char *key = mem_printf("%s/srv.key", b->dir);
        struct err e = {0};
        SSL_CTX *ctx = tls_server_ctx(cert, key, &e);
        struct wspeer *client, *agent = dialled(&client);

        assert_non_null(ctx);
        SSL_CTX_set_max_proto_version(ctx, versions[i]);
        agent->tls = tls_accept(ctx, agent->fd);
        assert_false(wspeer_shake(agent)); /* refused before it is done */
        assert_true(wspeer_more(agent, WSPEER_MS) < 0);
        lost(client, agent);
        SSL_CTX_free(ctx);
    }
}

static int other_key(void *arg, const uint8_t *id, size_t len, uint8_t key[32],
                     uint64_t *tag)
{
    (void)arg;
    (void)id;
    (void)len;
    memset(key, 1, 32);
    *tag = 1;
    return 0;
}

/* The PSK's identity is known to who listens on the wire: its key is not. */
static void another_key_with_a_certificate_beside_gets_nothing(void **state)
{
    own_mem char *cert = mem_printf("%s/srv.pem", b->dir);
    own_mem char *key = mem_printf("%s/srv.key", b->dir);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct wspeer *client, *agent = dialled(&client);

    (void)state;
    assert_int_equal(tls_psk_server_setup(ctx, other_key, NULL), 0);
    SSL_CTX_use_certificate_chain_file(ctx, cert);
    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
    agent->tls = tls_accept(ctx, agent->fd);
    assert_false(wspeer_shake(agent));
    lost(client, agent);
    SSL_CTX_free(ctx);
}

static void no_tls_gets_nothing(void **state)
{
    static const char *const words[] = {
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "\x15\x03\x03\x00\x02\x01\x00", /* a warning alert, and then nothing */
        "SSH-2.0-x\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        struct wspeer *client, *agent = dialled(&client);

        agent->may_die = true;
        wspeer_write(agent, words[i], i == 1 ? 7 : strlen(words[i]));
        while (wspeer_more(agent, WSPEER_MS) > 0)
            ;
        /* TLS records, and no HTTP in them */
        assert_true(agent->in_len > 0);
        assert_int_equal(agent->in[0], 22);
        assert_null(memmem(agent->in, agent->in_len, "HTTP", 4));
        assert_null(memmem(agent->in, agent->in_len, "token", 5));
        lost(client, agent);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_certificate_gets_nothing),
        T(another_key_with_a_certificate_beside_gets_nothing),
        T(no_tls_gets_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
