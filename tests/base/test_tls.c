/*
 * TLS streams over socket pairs: the key, the certificate, and every way in
 * which one end refuses the other.
 */
#include "base/own.h"
#include "base/tls.h"
#include "tests/lib/tlskit.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

struct pair {
    int fds[2];
    struct tls *server, *client;
};

static SSL_CTX *psk_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_non_null(ctx);
    assert_int_equal(tls_psk_server_setup(ctx, kit_find, NULL), 0);
    return ctx;
}

static void sockets(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                     0);
}

static void pair_close(struct pair *p)
{
    tls_free(p->server);
    tls_free(p->client);
    close(p->fds[0]);
    close(p->fds[1]);
}

/* Both ends in turns; the results of each end as the handshake left them. */
static void shake(struct tls *a, struct tls *b, int *ra, int *rb)
{
    *ra = *rb = TLS_WANT_READ;
    for (int i = 0; i < 20; i++) {
        if (*ra == TLS_WANT_READ || *ra == TLS_WANT_WRITE)
            *ra = tls_handshake(a);
        if (*rb == TLS_WANT_READ || *rb == TLS_WANT_WRITE)
            *rb = tls_handshake(b);
    }
}

/* Results of server and client for a key and an identity. */
static void psk_try(const char *id, const uint8_t *key, int *rs, int *rc)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_psk_client_ctx(&e);
    struct pair p;

    assert_non_null(cc);
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], id, key);
    shake(p.client, p.server, rc, rs);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void the_right_key_opens_a_stream(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_psk_client_ctx(&e);
    struct pair p;
    int rs, rc;
    char got[16];

    (void)state;
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], KIT_ID, kit_key);
    shake(p.client, p.server, &rc, &rs);
    assert_int_equal(rc, 0);
    assert_int_equal(rs, 0);
    assert_int_equal(tls_read(p.server, got, sizeof(got)), TLS_WANT_READ);
    assert_int_equal(tls_write(p.client, "hello", 5), 5);
    assert_int_equal(tls_read(p.server, got, 2), 2);
    assert_int_equal(tls_pending(p.server), 3);
    assert_int_equal(tls_read(p.server, got + 2, 14), 3);
    assert_memory_equal(got, "hello", 5);
    tls_bye(p.client);
    assert_int_equal(tls_read(p.server, got, sizeof(got)), TLS_CLOSED);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void a_write_moves_at_most_one_record(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_psk_client_ctx(&e);
    struct pair p;
    int rs, rc;
    static char big[100000];
    size_t sent = 0, got = 0;

    (void)state;
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], KIT_ID, kit_key);
    shake(p.client, p.server, &rc, &rs);
    assert_int_equal(tls_write(p.client, big, sizeof(big)), 16384);
    sent = 16384;
    for (;;) { /* until the pair is full */
        ssize_t n = tls_write(p.client, big, sizeof(big));

        if (n < 0) {
            assert_int_equal(n, TLS_WANT_WRITE);
            break;
        }
        sent += (size_t)n;
    }
    for (;;) {
        ssize_t n = tls_read(p.server, big, sizeof(big));

        if (n < 0)
            break;
        got += (size_t)n;
        n = tls_write(p.client, big, 1);
        if (n > 0)
            sent += (size_t)n;
    }
    assert_true(got > 100000);
    assert_int_equal(got, sent);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void wrong_key_and_unknown_id_fail_alike(void **state)
{
    char *long_id = malloc(8193);
    int rs[4], rc[4];

    (void)state;
    memset(long_id, 'x', 8192);
    long_id[8192] = 0;
    psk_try(KIT_ID, kit_other_key, &rs[0], &rc[0]);
    psk_try("someone-else", kit_key, &rs[1], &rc[1]);
    psk_try("", kit_key, &rs[2], &rc[2]);
    psk_try(KIT_ID "x", kit_key, &rs[3], &rc[3]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(rs[i], TLS_FAILED);
        assert_int_equal(rc[i], TLS_FAILED);
    }
    free(long_id);
}

/* The alert a raw client gets, as bytes on the wire. */
static int alert_of(const char *id, const uint8_t *key)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_psk_client_ctx(&e);
    struct pair p;
    int rs, rc, alert = -1;
    uint8_t wire[4096];
    ssize_t n;

    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], id, key);
    assert_int_equal(tls_handshake(p.client), TLS_WANT_READ);
    rs = tls_handshake(p.server);
    assert_int_equal(rs, TLS_FAILED);
    n = recv(p.fds[1], wire, sizeof(wire), MSG_PEEK);
    if (n >= 7 && wire[n - 7] == 21)
        alert = wire[n - 1];
    rc = tls_handshake(p.client);
    assert_int_equal(rc, TLS_FAILED);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
    return alert;
}

static void the_wire_does_not_tell_ids_from_keys(void **state)
{
    char long_id[8193];
    const int wrong_key = alert_of(KIT_ID, kit_other_key);

    (void)state;
    memset(long_id, 'x', 8192);
    long_id[8192] = 0;
    assert_true(wrong_key > 0);
    assert_int_equal(alert_of("unknown", kit_key), wrong_key);
    assert_int_equal(alert_of(long_id, kit_key), wrong_key);
}

static void the_server_learns_which_key_it_was(void **state)
{
    SSL_CTX *sc = psk_server();
    struct err e = {0};
    SSL_CTX *cc = tls_psk_client_ctx(&e);
    SSL *ssl = SSL_new(sc);
    struct tls *client;
    int fds[2], rc = TLS_WANT_READ;
    uint64_t tag = 0;

    (void)state;
    sockets(fds);
    SSL_set_fd(ssl, fds[0]);
    SSL_set_accept_state(ssl);
    client = tls_dial_psk(cc, fds[1], KIT_ID, kit_key);
    assert_int_equal(tls_psk_peer(ssl, &tag), -1); /* not yet */
    for (int i = 0; i < 10; i++) {
        if (rc != 0)
            rc = tls_handshake(client);
        SSL_do_handshake(ssl);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(tls_psk_peer(ssl, &tag), 0);
    assert_int_equal(tag, KIT_TAG);
    assert_int_equal(tls_psk_peer(NULL, &tag), -1);
    SSL_free(ssl);
    tls_free(client);
    close(fds[0]);
    close(fds[1]);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void a_psk_client_refuses_any_certificate(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e);
    SSL_CTX *cc = tls_psk_client_ctx(&e);
    struct pair p;
    int rs, rc;

    (void)state;
    assert_non_null(sc);
    /* even one whose root the context has been taught */
    assert_true(SSL_CTX_load_verify_file(cc, kit_path("srv-ca.pem")));
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], KIT_ID, kit_key);
    shake(p.client, p.server, &rc, &rs);
    assert_int_equal(rc, TLS_FAILED);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void a_psk_server_refuses_a_client_without_a_key(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_client_ctx(NULL, &e);
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    assert_non_null(cc);
    for (int i = 0; i < 2; i++) {
        struct pair p;
        int rs, rc;

        SSL_CTX_set_min_proto_version(cc, TLS1_2_VERSION);
        SSL_CTX_set_max_proto_version(cc, versions[i]);
        sockets(p.fds);
        p.server = tls_accept(sc, p.fds[0]);
        p.client = tls_dial(cc, p.fds[1], "localhost");
        shake(p.client, p.server, &rc, &rs);
        assert_int_equal(rs, TLS_FAILED);
        assert_int_equal(rc, TLS_FAILED);
        pair_close(&p);
    }
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void plain_http_to_a_psk_server_gets_no_http(void **state)
{
    SSL_CTX *sc = psk_server();
    struct tls *server;
    int fds[2];
    char got[256];
    ssize_t n;

    (void)state;
    sockets(fds);
    server = tls_accept(sc, fds[0]);
    assert_true(write(fds[1], "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    assert_int_equal(tls_handshake(server), TLS_FAILED);
    n = recv(fds[1], got, sizeof(got) - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = 0;
    assert_null(strstr(got, "HTTP"));
    assert_int_equal(tls_read(server, got, 1), TLS_FAILED);
    tls_free(server);
    close(fds[0]);
    close(fds[1]);
    tls_ctx_free(sc);
}

static int cert_try(const char *ca, const char *host)
{
    struct err e = {0};
    SSL_CTX *sc = tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e);
    SSL_CTX *cc = tls_client_ctx(ca, &e);
    struct pair p;
    int rs, rc;

    assert_non_null(sc);
    assert_non_null(cc);
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial(cc, p.fds[1], host);
    shake(p.client, p.server, &rc, &rs);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
    return rc;
}

static void a_certificate_is_checked_for_root_and_name(void **state)
{
    (void)state;
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "localhost"), 0);
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "127.0.0.1"), 0);
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "::1"), 0);
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "a.wild.test"), 0);
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "example.com"),
                     TLS_FAILED);
    assert_int_equal(cert_try(kit_path("srv-ca.pem"), "127.0.0.2"), TLS_FAILED);
    assert_int_equal(cert_try(kit_path("new-ca.pem"), "localhost"), TLS_FAILED);
    assert_int_equal(cert_try(NULL, "localhost"), TLS_FAILED);
}

static void bad_files_are_named(void **state)
{
    struct err e = {0};

    (void)state;
    assert_null(tls_server_ctx(kit_path("none.pem"), kit_path("srv.key"), &e));
    assert_non_null(strstr(e.text, "none.pem"));
    assert_null(tls_server_ctx(kit_path("srv.pem"), kit_path("none.key"), &e));
    assert_non_null(strstr(e.text, "none.key"));
    assert_null(tls_server_ctx(kit_path("srv.pem"), kit_path("new.key"), &e));
    assert_non_null(strstr(e.text, "new.key"));
    assert_null(tls_client_ctx(kit_path("none.pem"), &e));
    assert_non_null(strstr(e.text, "none.pem"));
}

static void a_key_open_to_others_is_refused(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(chmod(kit_path("srv.key"), 0644), 0);
    assert_null(tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e));
    assert_non_null(strstr(e.text, "chmod"));
    assert_int_equal(chmod(kit_path("srv.key"), 0600), 0);
}

static void a_renewed_certificate_serves_the_next_connection(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e);
    SSL_CTX *old_roots = tls_client_ctx(kit_path("srv-ca.pem"), &e);
    SSL_CTX *new_roots = tls_client_ctx(kit_path("new-ca.pem"), &e);
    struct pair before, after;
    int rs, rc;
    char got[4];

    (void)state;
    sockets(before.fds);
    before.server = tls_accept(sc, before.fds[0]);
    before.client = tls_dial(old_roots, before.fds[1], "localhost");
    shake(before.client, before.server, &rc, &rs);
    assert_int_equal(rc, 0);

    /* a bad pair changes nothing */
    assert_int_equal(
        tls_server_setup(sc, kit_path("srv.pem"), kit_path("new.key"), &e), -1);
    assert_int_equal(
        tls_server_setup(sc, kit_path("new.pem"), kit_path("new.key"), &e), 0);
    sockets(after.fds);
    after.server = tls_accept(sc, after.fds[0]);
    after.client = tls_dial(new_roots, after.fds[1], "localhost");
    shake(after.client, after.server, &rc, &rs);
    assert_int_equal(rc, 0);
    assert_int_equal(tls_write(before.client, "old", 3), 3);
    assert_int_equal(tls_read(before.server, got, 4), 3);
    pair_close(&before);
    pair_close(&after);
    tls_ctx_free(sc);
    tls_ctx_free(old_roots);
    tls_ctx_free(new_roots);
}

static void a_hang_up_reads_as_closed(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = psk_server(), *cc = tls_psk_client_ctx(&e);
    struct pair p;
    int rs, rc;
    char got[4];

    (void)state;
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial_psk(cc, p.fds[1], KIT_ID, kit_key);
    shake(p.client, p.server, &rc, &rs);
    shutdown(p.fds[1], SHUT_WR);
    assert_int_equal(tls_read(p.server, got, 4), TLS_CLOSED);
    assert_int_equal(tls_read(p.server, got, 4), TLS_FAILED);
    tls_bye(p.server); /* harmless */
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

static void h2_alone_is_not_spoken(void **state)
{
    struct err e = {0};
    SSL_CTX *sc = tls_server_ctx(kit_path("srv.pem"), kit_path("srv.key"), &e);
    SSL_CTX *cc = tls_client_ctx(kit_path("srv-ca.pem"), &e);
    struct pair p;
    int rs, rc;

    (void)state;
    assert_int_equal(
        SSL_CTX_set_alpn_protos(cc, (const unsigned char *)"\x02h2", 3), 0);
    sockets(p.fds);
    p.server = tls_accept(sc, p.fds[0]);
    p.client = tls_dial(cc, p.fds[1], "localhost");
    shake(p.client, p.server, &rc, &rs);
    assert_int_equal(rs, TLS_FAILED);
    pair_close(&p);
    tls_ctx_free(sc);
    tls_ctx_free(cc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_key_opens_a_stream),
        cmocka_unit_test(a_write_moves_at_most_one_record),
        cmocka_unit_test(wrong_key_and_unknown_id_fail_alike),
        cmocka_unit_test(the_wire_does_not_tell_ids_from_keys),
        cmocka_unit_test(the_server_learns_which_key_it_was),
        cmocka_unit_test(a_psk_client_refuses_any_certificate),
        cmocka_unit_test(a_psk_server_refuses_a_client_without_a_key),
        cmocka_unit_test(plain_http_to_a_psk_server_gets_no_http),
        cmocka_unit_test(a_certificate_is_checked_for_root_and_name),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(a_key_open_to_others_is_refused),
        cmocka_unit_test(a_renewed_certificate_serves_the_next_connection),
        cmocka_unit_test(a_hang_up_reads_as_closed),
        cmocka_unit_test(h2_alone_is_not_spoken),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
