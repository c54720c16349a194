/*
 * The guards of the end that dials by an external key, each alone: whatever
 * else would stop the attack is taken out here first, by the test.
 */
#include "base/tls.h"
#include "tests/lib/tlsends.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the dialling end --- */

static void a_certificate_is_never_taken_whoever_signed_it(void **state)
{
    SSL_CTX *sc = ends_their_server(), *cc = ends_our_client();

    (void)state;
    assert_true(SSL_CTX_load_verify_file(cc, kit_path("srv-ca.pem")));
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    /* refused by the certificate itself: the gate was not asked here */
    assert_int_equal(ends.client_ok, -1);
    assert_int_not_equal(ends.server_ok, 1);
    assert_int_equal(SSL_get_verify_result(ends.client),
                     X509_V_ERR_APPLICATION_VERIFICATION);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static void the_gate_alone_stops_a_certificate(void **state)
{
    SSL_CTX *sc = ends_their_server(), *cc = ends_our_client();
    struct tls *client;
    int fds[2], rc = TLS_WANT_READ, server_ok = 0;
    char byte;
    SSL *server = SSL_new(sc);

    (void)state;
    SSL_CTX_set_cert_verify_callback(cc, ends_anybody, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                     0);
    SSL_set_fd(server, fds[0]);
    SSL_set_accept_state(server);
    client = tls_dial_psk(cc, fds[1], KIT_ID, kit_key);
    for (int i = 0; i < ENDS_TURNS; i++) {
        if (rc == TLS_WANT_READ || rc == TLS_WANT_WRITE)
            rc = tls_handshake(client);
        ends_turn(server, &server_ok);
    }
    assert_int_equal(server_ok, 1); /* TLS itself had no objection */
    assert_int_equal(rc, TLS_FAILED);
    assert_int_equal(tls_write(client, "secret", 6), TLS_FAILED);
    assert_true(SSL_read(server, &byte, 1) <= 0);
    tls_free(client);
    SSL_free(server);
    close(fds[0]);
    close(fds[1]);
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* A second connection of the same two, with the first one's session. */
static void meet_again(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *kept = SSL_get1_session(ends.client);

    assert_non_null(kept);
    ends_part();
    ends_meet(server, client);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    assert_int_equal(SSL_set_session(ends.client, kept), 1);
    SSL_SESSION_free(kept);
    ends_shake();
}

static void a_resumed_certificate_is_still_a_certificate(void **state)
{
    SSL_CTX *sc = ends_their_server(), *cc = ends_our_client();

    (void)state;
    SSL_CTX_set_cert_verify_callback(cc, ends_anybody, NULL);
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.client_ok, 1);
    assert_false(tls_psk_client_gate(ends.client));
    meet_again(sc, cc);
    assert_int_equal(ends.client_ok, 1);
    assert_int_equal(SSL_version(ends.client), TLS1_3_VERSION);
    assert_int_equal(SSL_session_reused(ends.client), 1);
    assert_false(
        tls_psk_client_gate(ends.client)); /* by the certificate alone */
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static void nobody_at_all_is_not_the_agent(void **state)
{
    SSL_CTX *sc = SSL_CTX_new(TLS_server_method()), *cc = ends_our_client();
    SSL_CTX *const both[] = {sc, cc};

    (void)state;
    for (int i = 0; i < 2; i++) { /* TLS 1.2 knows suites without identity */
        SSL_CTX_set_min_proto_version(both[i], TLS1_2_VERSION);
        SSL_CTX_set_max_proto_version(both[i], TLS1_2_VERSION);
        SSL_CTX_set_cipher_list(both[i], "aNULL:@SECLEVEL=0");
        SSL_CTX_set1_groups_list(both[i], "X25519");
    }
    SSL_CTX_set_session_id_context(sc, (const unsigned char *)"x", 1);
    ends_meet(sc, cc);
    ends_shake();
    assert_int_equal(ends.client_ok, 1);
    assert_false(tls_psk_client_gate(ends.client));
    meet_again(sc, cc);
    assert_int_equal(ends.client_ok, 1);
    assert_int_equal(SSL_session_reused(ends.client), 1);
    assert_null(SSL_get0_peer_certificate(ends.client));
    assert_false(tls_psk_client_gate(ends.client)); /* by the version alone */
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static void an_older_version_is_refused_before_its_certificate(void **state)
{
    SSL_CTX *sc = ends_their_server(), *cc = ends_our_client();

    (void)state;
    SSL_CTX_set_max_proto_version(sc, TLS1_2_VERSION);
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.client_ok, -1);
    assert_int_not_equal(ends.server_ok, 1);
    /* no certificate was come to */
    assert_int_equal(SSL_get_verify_result(ends.client), X509_V_OK);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* --- what it offers --- */

static struct {
    bool is_seen;
    size_t lens[4];
    uint8_t modes[8], groups[8], versions[8], suites[8];
    bool has_ticket, has_early_data;
} hello;

static void keep(SSL *ssl, unsigned type, uint8_t out[8], size_t *len)
{
    const unsigned char *at;

    *len = 0;
    if (!SSL_client_hello_get0_ext(ssl, type, &at, len))
        return;
    assert_true(*len <= 8);
    memcpy(out, at, *len);
}

static int look(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *at;
    size_t len;

    (void)alert;
    (void)arg;
    hello.is_seen = true;
    keep(ssl, TLSEXT_TYPE_psk_kex_modes, hello.modes, &hello.lens[0]);
    keep(ssl, TLSEXT_TYPE_supported_groups, hello.groups, &hello.lens[1]);
    keep(ssl, TLSEXT_TYPE_supported_versions, hello.versions, &hello.lens[2]);
    hello.lens[3] = SSL_client_hello_get0_ciphers(ssl, &at);
    assert_in_range(hello.lens[3], 2, 8);
    memcpy(hello.suites, at, hello.lens[3]);
    hello.has_ticket =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &at, &len);
    hello.has_early_data =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_early_data, &at, &len);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void one_version_suite_group_and_mode_are_offered(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();

    (void)state;
    SSL_CTX_set_client_hello_cb(sc, look, NULL);
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.client_ok, 1);
    assert_true(hello.is_seen);
    assert_int_equal(hello.lens[0], 2); /* psk_dhe_ke: never without (EC)DHE */
    assert_memory_equal(hello.modes, "\1\1", 2);
    assert_int_equal(hello.lens[1], 4); /* X25519 */
    assert_memory_equal(hello.groups, "\0\2\0\x1d", 4);
    assert_int_equal(hello.lens[2], 3); /* TLS 1.3 */
    assert_memory_equal(hello.versions, "\2\3\4", 3);
    assert_memory_equal(hello.suites, "\x13\2", 2); /* AES-256-GCM, SHA-384 */
    if (hello.lens[3] > 2) /* and OpenSSL's mark of old */
        assert_memory_equal(hello.suites + 2, "\0\xff", 2);
    assert_true(hello.lens[3] <= 4);
    assert_false(hello.has_ticket);
    assert_false(hello.has_early_data);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* --- the gate --- */

static void the_gate_opens_for_the_key_alone(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();

    (void)state;
    assert_false(tls_psk_client_gate(NULL));
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    assert_false(tls_psk_client_gate(ends.client)); /* not yet */
    ends_shake();
    assert_int_equal(ends.client_ok, 1);
    assert_true(tls_psk_client_gate(ends.client));
    ends_part();
    SSL_CTX_set_client_hello_cb(sc, look, NULL);
    hello.is_seen = false;
    ends_meet(sc, cc); /* no key was given to it: it does not go on without */
    ends_shake();
    assert_int_equal(ends.client_ok, -1);
    assert_false(hello.is_seen);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* The server's first flight up to and with its ServerHello: the key is
 * accepted there, and shown only behind it. */
static void a_key_that_is_accepted_is_not_yet_shown(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();
    uint8_t flight[4096];
    size_t first;
    ssize_t len;

    (void)state;
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_turn(ends.client, &ends.client_ok);
    ends_turn(ends.server, &ends.server_ok);
    len = recv(ends.fds[1], flight, sizeof(flight), 0);
    assert_true(len > 5);
    first = 5 + (size_t)(flight[3] << 8 | flight[4]);
    assert_true((size_t)len > first);
    assert_int_equal(send(ends.fds[0], flight, first, 0), (ssize_t)first);
    ends_turn(ends.client, &ends.client_ok);
    assert_int_equal(ends.client_ok, 0);
    assert_int_equal(SSL_session_reused(ends.client), 1);
    assert_false(tls_psk_client_gate(ends.client));
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_never_taken_whoever_signed_it),
        cmocka_unit_test(the_gate_alone_stops_a_certificate),
        cmocka_unit_test(a_resumed_certificate_is_still_a_certificate),
        cmocka_unit_test(nobody_at_all_is_not_the_agent),
        cmocka_unit_test(an_older_version_is_refused_before_its_certificate),
        cmocka_unit_test(one_version_suite_group_and_mode_are_offered),
        cmocka_unit_test(the_gate_opens_for_the_key_alone),
        cmocka_unit_test(a_key_that_is_accepted_is_not_yet_shown),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
