/*
 * WebSocket over TLS between honest peers, by key and by certificate: our
 * client against our server.
 */
#include "base/ws.h"
#include "tests/lib/certs.h"
#include "tests/lib/tlskit.h"
#include "tests/lib/wsends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- TLS --- */

static void open_psk(const uint8_t *with, const char *id)
{
    struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    conf.psk_find = kit_find;
    bed_serve(&conf);
    d = both_dial_conf();
    d.psk_id = id;
    d.psk_key = with;
    both_dial(&d);
}

static void a_key_opens_and_is_known_by_its_tag(void **state)
{
    struct wsend_count c = {&both.client, 100};

    (void)state;
    open_psk(kit_key, KIT_ID);
    assert_true(run_until(bed.loop, both_are_open, NULL, 3000));
    assert_int_equal(ws_conn_tag(both.server.conn), KIT_TAG);
    both.server.to_write = 100;
    both.server.write_len = 65545;
    ws_want_write(both.server.conn);
    assert_true(run_until(bed.loop, wsend_has, &c, 10000));
    wsend_check_last(&both.client, 65545, 1);
    both.server.echo = true;
    ws_send(both.client.conn, "x", 1);
    c.messages = 101;
    assert_true(run_until(bed.loop, wsend_has, &c, 2000));
}

static void a_paused_tls_end_loses_nothing(void **state)
{
    struct wsend_count c = {&both.server, 50};

    (void)state;
    open_psk(kit_key, KIT_ID);
    assert_true(run_until(bed.loop, both_are_open, NULL, 3000));
    for (int round = 0; round < 3; round++) {
        both.client.to_write = 50;
        both.client.write_len = 32777;
        ws_want_write(both.client.conn);
        for (int i = 0; i < 10; i++) {
            ws_pause(both.server.conn);
            run_for(bed.loop, 3);
            ws_resume(both.server.conn);
            run_for(bed.loop, 1);
        }
        assert_true(run_until(bed.loop, wsend_has, &c, 5000));
        wsend_check_last(&both.server, 32777, 1);
        c.messages += 50;
    }
}

static void wrong_keys_and_ids_never_open(void **state)
{
    char reason[160];

    (void)state;
    open_psk(kit_other_key, KIT_ID);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
    snprintf(reason, sizeof(reason), "%s", both.client.reason);
    both.client.closed = 0;
    ws_server_free(bed.server);
    open_psk(kit_key, "unknown");
    assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
    assert_string_equal(both.client.reason, reason);
    assert_int_equal(both.client.opened, 0);
    assert_int_equal(both.server.opened, 0);
}

static void many_keys_dial_at_once(void **state)
{
    struct wsend ends[12] = {{0}};
    struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;
    struct err e = {0};

    (void)state;
    conf.psk_find = kit_find;
    bed_serve(&conf);
    d = both_dial_conf();
    d.psk_id = KIT_ID;
    for (int i = 0; i < 12; i++) {
        d.psk_key = i % 3 ? kit_key : kit_other_key;
        d.arg = &ends[i];
        assert_non_null(ws_dial(bed.ws, &d, &e));
    }
    run_for(bed.loop, 500);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(ends[i].opened, i % 3 ? 1 : 0);
        assert_int_equal(ends[i].closed, i % 3 ? 0 : 1);
    }
    assert_int_equal(ws_server_conns(bed.server), 8);
    ws_context_free(bed.ws); /* while ends[] is there */
    bed.ws = NULL;
    bed.server = NULL;
}

static void serve_cert(const char *name)
{
    struct ws_server_conf conf = both_conf();
    char pem[64], pkey[64];

    snprintf(pem, sizeof(pem), "%s.pem", name);
    snprintf(pkey, sizeof(pkey), "%s.key", name);
    conf.cert_path = kit_path(pem);
    conf.key_path = kit_path(pkey);
    bed_serve(&conf);
}

/* Dial by certificate; did it open? */
static bool cert_opens(const char *host, const char *ca)
{
    struct ws_dial_conf d = both_dial_conf();
    const int before = both.client.opened;

    both.client.closed = 0;
    d.host = host;
    d.ca_check = true;
    d.ca_path = ca;
    both_dial(&d);
    run_for(bed.loop, 150);
    return both.client.opened > before;
}

static void a_certificate_opens_for_its_name_and_root_alone(void **state)
{
    (void)state;
    serve_cert("srv");
    assert_true(cert_opens("localhost", kit_path("srv-ca.pem")));
    assert_true(cert_opens("localhost:8443", kit_path("srv-ca.pem")));
    assert_true(cert_opens("127.0.0.1:8443", kit_path("srv-ca.pem")));
    assert_true(cert_opens("[::1]:8443", kit_path("srv-ca.pem")));
    assert_false(cert_opens("example.com", kit_path("srv-ca.pem")));
    assert_false(cert_opens("[::2]:8443", kit_path("srv-ca.pem")));
    assert_false(cert_opens("localhost", kit_path("new-ca.pem")));
    assert_false(cert_opens("localhost", NULL));
}

static void a_psk_client_gives_a_certificate_nothing(void **state)
{
    struct ws_dial_conf d;

    (void)state;
    serve_cert("srv");
    d = both_dial_conf();
    d.psk_id = KIT_ID;
    d.psk_key = kit_key;
    both_dial(&d);
    assert_true(run_until(bed.loop, client_is_closed, NULL, 3000));
    assert_int_equal(both.client.opened, 0);
    assert_int_equal(both.server.opened, 0);
}

static void a_planted_share_is_not_trusted(void **state)
{
    char work[160], share[160], back[512];

    (void)state;
    snprintf(work, sizeof(work), "%s/work", kit_dir);
    snprintf(share, sizeof(share), "%s/share", kit_dir);
    assert_int_equal(mkdir(work, 0700) | mkdir(share, 0700), 0);
    certs_plant(kit_dir, "srv", share);
    assert_non_null(getcwd(back, sizeof(back)));
    assert_int_equal(chdir(work), 0); /* ../share is what was planted */
    serve_cert("srv");
    assert_false(cert_opens("localhost", NULL));
    assert_false(cert_opens("localhost", kit_path("new-ca.pem")));
    assert_int_equal(chdir(back), 0);
}

static void a_reload_serves_new_connections_and_keeps_old_ones(void **state)
{
    struct err e = {0};
    struct ws_conn *old;
    char a[160], b[160];

    (void)state;
    /* the server's own copy, to be replaced under it */
    for (int i = 0; i < 2; i++) {
        snprintf(a, sizeof(a), "cp %s %s/live.%s",
                 kit_path(i ? "srv.key" : "srv.pem"), kit_dir,
                 i ? "key" : "pem");
        assert_int_equal(system(a), 0);
    }
    serve_cert("live");
    assert_true(cert_opens("localhost", kit_path("srv-ca.pem")));
    old = both.server.conn;
    snprintf(b, sizeof(b), "cp %s %s/live.pem", kit_path("new.pem"), kit_dir);
    assert_int_equal(system(b), 0);
    assert_int_equal(ws_server_reload(bed.server, &e), -1); /* keys differ */
    assert_true(cert_opens("localhost", kit_path("srv-ca.pem")));
    snprintf(b, sizeof(b), "cp %s %s/live.key", kit_path("new.key"), kit_dir);
    assert_int_equal(system(b), 0);
    assert_int_equal(ws_server_reload(bed.server, &e), 0);
    assert_false(cert_opens("localhost", kit_path("srv-ca.pem")));
    assert_true(cert_opens("localhost", kit_path("new-ca.pem")));
    assert_int_equal(ws_send(old, "still here", 10), 0);
    assert_true(run_until(bed.loop, client_has_message, NULL, 1000));
}

static void a_server_half_described_is_refused(void **state)
{
    struct ws_server_conf conf = both_conf();
    struct err e = {0};

    (void)state;
    conf.cert_path = kit_path("srv.pem");
    assert_null(ws_server_new(bed.ws, &conf, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    conf = both_conf();
    conf.cert_path = kit_path("none.pem");
    conf.key_path = kit_path("srv.key");
    assert_null(ws_server_new(bed.ws, &conf, &e));
    assert_non_null(strstr(e.text, "none.pem"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, both_start, both_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_opens_and_is_known_by_its_tag),
        TEST(a_paused_tls_end_loses_nothing),
        TEST(wrong_keys_and_ids_never_open),
        TEST(many_keys_dial_at_once),
        TEST(a_certificate_opens_for_its_name_and_root_alone),
        TEST(a_psk_client_gives_a_certificate_nothing),
        TEST(a_planted_share_is_not_trusted),
        TEST(a_reload_serves_new_connections_and_keeps_old_ones),
        TEST(a_server_half_described_is_refused),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
