/*
 * The guards of the end that listens by an external key, each alone: whatever
 * else would stop the attack is taken out here first, by the test.
 */
// link: -Wl,--wrap=RAND_bytes -Wl,--wrap=SSL_SESSION_new
#include "base/tls.h"
#include "tests/lib/tlsends.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DECOY 0x55

static bool is_decoy_known;
static int sessions; /* made so far */

int __real_RAND_bytes(unsigned char *out, int len);
int __wrap_RAND_bytes(unsigned char *out, int len);
SSL_SESSION *__real_SSL_SESSION_new(void);
SSL_SESSION *__wrap_SSL_SESSION_new(void);

int __wrap_RAND_bytes(unsigned char *out, int len)
{
    if (!is_decoy_known)
        return __real_RAND_bytes(out, len);
    memset(out, DECOY, (size_t)len);
    return 1;
}

SSL_SESSION *__wrap_SSL_SESSION_new(void)
{
    sessions++;
    return __real_SSL_SESSION_new();
}

/* --- the listening end --- */

static void without_a_fresh_secret_the_key_is_not_enough(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();

    (void)state;
    /* a recorded connection must stay shut when the key is lost later */
    SSL_CTX_set_options(cc, SSL_OP_ALLOW_NO_DHE_KEX);
    assert_true(SSL_CTX_set1_groups_list(cc, "P-384"));
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.server_ok, -1);
    assert_int_equal(ends.client_ok, -1);
    ends_part();
    /* nor does our client let such a server have its way */
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
    sc = ends_our_server();
    cc = ends_our_client();
    SSL_CTX_set_options(sc, SSL_OP_ALLOW_NO_DHE_KEX);
    assert_true(SSL_CTX_set1_groups_list(sc, "P-384"));
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.client_ok, -1);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static void older_versions_are_refused_as_such(void **state)
{
    static const char *const suites[] = {"ALL:@SECLEVEL=0", "PSK:@SECLEVEL=0",
                                         "aNULL:@SECLEVEL=0"};
    static const int versions[] = {TLS1_1_VERSION, TLS1_2_VERSION};

    (void)state;
    for (int i = 0; i < 6; i++) {
        SSL_CTX *sc = ends_our_server(), *cc = SSL_CTX_new(TLS_client_method());

        SSL_CTX_set_cipher_list(cc, suites[i % 3]);
        SSL_CTX_set_min_proto_version(cc, versions[i / 3]);
        SSL_CTX_set_max_proto_version(cc, versions[i / 3]);
        ends_meet(sc, cc);
        ends_shake();
        assert_int_equal(ends.server_ok, -1);
        assert_int_not_equal(ends.client_ok, 1);
        /* (PSK alone cannot even be asked for without a callback) */
        if (i % 3 != 1)
            assert_int_equal(ends.alert, SSL_AD_PROTOCOL_VERSION);
        ends_part();
        SSL_CTX_free(sc);
        SSL_CTX_free(cc);
    }
}

static void a_finished_handshake_without_the_key_is_nobody(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = SSL_CTX_new(TLS_client_method());
    uint64_t tag = 9;

    (void)state;
    ends_certify(sc); /* somebody gave it one as well */
    ends_meet(sc, cc);
    ends_shake();
    assert_int_equal(ends.server_ok, 1);
    assert_int_equal(tls_psk_peer(ends.server, &tag), -1);
    assert_int_equal(tag, 9);
    ends_part();
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

static int stranger_key(SSL *ssl, const EVP_MD *md, const unsigned char **id,
                        size_t *id_len, SSL_SESSION **out)
{
    static const unsigned char suite[] = {0x13, 0x02}, name[] = "nobody";
    uint8_t guess[32];

    (void)md;
    memset(guess, *(uint8_t *)SSL_get_app_data(ssl), sizeof(guess));
    *out = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(*out, guess, sizeof(guess));
    SSL_SESSION_set_cipher(*out, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(*out, TLS1_3_VERSION);
    *id = name;
    *id_len = sizeof(name) - 1;
    return 1;
}

/* A handshake as "nobody" with 32 times this byte. */
static void as_nobody(SSL_CTX *sc, uint8_t byte)
{
    SSL_CTX *cc = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_psk_use_session_callback(cc, stranger_key);
    ends_meet(sc, cc);
    SSL_set_app_data(ends.client, &byte);
    ends_shake();
    SSL_CTX_free(cc);
}

static void the_decoy_is_a_secret_and_opens_nothing(void **state)
{
    static const uint8_t guesses[] = {0, 0xff, DECOY};
    SSL_CTX *sc = ends_our_server();
    uint64_t tag = 9;

    (void)state;
    for (size_t i = 0; i < sizeof(guesses); i++) {
        as_nobody(sc, guesses[i]);
        assert_int_equal(ends.server_ok, -1);
        ends_part();
    }
    SSL_CTX_free(sc);
    /* and if it were known, the one who knows it were still nobody */
    is_decoy_known = true;
    sc = ends_our_server();
    is_decoy_known = false;
    as_nobody(sc, DECOY);
    assert_int_equal(ends.server_ok, 1);
    assert_int_equal(tls_psk_peer(ends.server, &tag), -1);
    assert_int_equal(tag, 9);
    ends_part();
    SSL_CTX_free(sc);
}

static void a_ticket_is_no_second_key(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();
    SSL_SESSION *ticket, *spoilt;
    uint64_t tag;

    (void)state;
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    assert_int_equal(ends.client_ok, 1);
    ticket = SSL_get1_session(ends.client);
    assert_false(SSL_SESSION_has_ticket(ticket)); /* none is issued */
    SSL_SESSION_free(ticket);
    ends_part();
    /* were they left on, */
    SSL_CTX_clear_options(sc, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(sc, 2);
    ends_meet(sc, cc);
    assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
    ends_shake();
    ticket = SSL_get1_session(ends.client);
    assert_true(SSL_SESSION_has_ticket(ticket));
    ends_part();
    SSL_CTX_free(cc);
    /* the decoy would refuse one that comes alone, */
    cc = SSL_CTX_new(TLS_client_method());
    ends_meet(sc, cc);
    spoilt = SSL_SESSION_dup(ticket); /* OpenSSL takes none that failed */
    assert_int_equal(SSL_set_session(ends.client, spoilt), 1);
    ends_shake();
    assert_int_equal(ends.server_ok, -1);
    ends_part();
    SSL_SESSION_free(spoilt);
    /* and without that, it would be nobody's */
    SSL_CTX_set_psk_find_session_callback(sc, NULL);
    ends_certify(sc);
    ends_meet(sc, cc);
    assert_int_equal(SSL_set_session(ends.client, ticket), 1);
    ends_shake();
    assert_int_equal(ends.server_ok, 1);
    assert_int_equal(SSL_session_reused(ends.server), 1);
    assert_int_equal(tls_psk_peer(ends.server, &tag), -1);
    ends_part();
    SSL_SESSION_free(ticket);
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

/* One that is kept dies after five minutes (docs/libraries.md). */
static void no_session_is_used_twice(void **state)
{
    SSL_CTX *sc = ends_our_server(), *cc = ends_our_client();

    (void)state;
    for (int i = 0; i < 3; i++) {
        const int before = sessions;

        ends_meet(sc, cc);
        assert_int_equal(tls_psk_client_use(ends.client, KIT_ID, kit_key), 0);
        ends_shake();
        assert_int_equal(ends.server_ok, 1);
        assert_int_equal(sessions - before, 2); /* one at each end */
        ends_part();
    }
    SSL_CTX_free(sc);
    SSL_CTX_free(cc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_fresh_secret_the_key_is_not_enough),
        cmocka_unit_test(older_versions_are_refused_as_such),
        cmocka_unit_test(a_finished_handshake_without_the_key_is_nobody),
        cmocka_unit_test(the_decoy_is_a_secret_and_opens_nothing),
        cmocka_unit_test(a_ticket_is_no_second_key),
        cmocka_unit_test(no_session_is_used_twice),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
