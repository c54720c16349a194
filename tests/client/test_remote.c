/* The REST API as a client calls it: against a server that answers what is
 * written here, and against the real controller. */
#include "client/remote.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/scripted.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SID "abcdefghijklmnopqrstuvwxyz"

static struct scripted http;
static struct remote remote;

static void begin(const char *const *answers, int count)
{
    struct err e = {0};

    scripted_start(&http, answers, count);
    remote = (struct remote){.identity = {.command = "echo me"}};
    assert_int_equal(server_open(&remote.server, http.base, NULL, &e), 0);
}

static void finish(void)
{
    server_fini(&remote.server);
    scripted_stop(&http);
}

static void the_address_is_https_or_loopback(void **arg)
{
    static const char *const bad[] = {
        "http://example.com",      "http://10.0.0.1:8080",
        "ftp://127.0.0.1",         "127.0.0.1:8080",
        "https://u:p@host",        "https://host/?q",
        "file:///tmp/x",           "http://localhost.example.com",
        "http://127.0.0.1.nip.io",
    };
    static const char *const good[] = {"https://example.com",
                                       "http://127.0.0.1:8080/",
                                       "http://[::1]:80", "http://localhost:1"};
    struct server s;

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e = {0};

        assert_int_equal(server_open(&s, bad[i], NULL, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct err e = {0};

        assert_int_equal(server_open(&s, good[i], NULL, &e), 0);
        assert_int_equal(s.is_plain, good[i][4] == ':');
        server_fini(&s);
    }
}

static void a_create_that_is_tried_again_has_the_same_key(void **arg)
{
    static const char *const answers[] = {
        NULL, "503 Busy\r\n\r\n{\"detail\":\"starting\"}",
        "201 Made\r\n\r\n{\"id\":\"" SID "\",\"token\":\"t\"}"};
    own_json struct json *body = json_object(), *made = NULL;
    struct err e = {0};
    char key[128];

    (void)arg;
    begin(answers, 3);
    made = remote_create(&remote, body, &e);
    assert_non_null(made);
    assert_int_equal(scripted_count(&http), 3);
    snprintf(key, sizeof(key), "%s",
             scripted_header(&http, 0, "Idempotency-Key"));
    assert_int_equal(strlen(key), ID_LEN);
    assert_string_equal(scripted_header(&http, 1, "Idempotency-Key"), key);
    assert_string_equal(scripted_header(&http, 2, "Idempotency-Key"), key);
    assert_string_equal(scripted_header(&http, 2, "Authorization"),
                        "Bearer me");
    assert_string_equal(scripted_header(&http, 2, "Content-Type"),
                        "application/json");
    finish();
}

static void two_creates_have_two_keys(void **arg)
{
    static const char *const answers[] = {"201 Made\r\n\r\n{\"id\":\"" SID
                                          "\",\"token\":\"t\"}"};
    own_json struct json *body = json_object(), *a = NULL, *b = NULL;
    struct err e = {0};
    char key[128];

    (void)arg;
    begin(answers, 1);
    a = remote_create(&remote, body, &e);
    b = remote_create(&remote, body, &e);
    assert_true(a && b);
    snprintf(key, sizeof(key), "%s",
             scripted_header(&http, 0, "Idempotency-Key"));
    assert_string_not_equal(scripted_header(&http, 1, "Idempotency-Key"), key);
    finish();
}

static void a_refusal_is_final_and_a_sentence(void **arg)
{
    static const struct {
        const char *answer;
        enum err_kind kind;
        const char *text;
    } table[] = {
        {"401 No\r\n\r\n{\"detail\":\"it is too old\"}", ERR_TOKEN,
         "your identity was refused: it is too old (what the identity "
         "command prints is no longer good: sign in anew)"},
        {"403 No\r\n\r\n{\"detail\":\"host is not allowed\"}", ERR_DENIED,
         "host is not allowed"},
        {"400 Bad\r\n\r\n{\"title\":\"Bad Request\"}", ERR_INPUT,
         "Bad Request"},
        {"422 Odd\r\n\r\n{}", ERR_CONFLICT,
         "the server refused (422) without a reason"},
        {"429 Slow\r\n\r\n{\"detail\":\"10 sessions\"}", ERR_BUSY,
         "10 sessions"},
        {"302 There\r\nLocation: http://127.0.0.1:1/\r\n\r\n{}", ERR_INPUT,
         "the server refused (302) without a reason"},
    };
    own_json struct json *body = json_object();

    (void)arg;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct err e = {0};

        begin(&table[i].answer, 1);
        assert_null(remote_create(&remote, body, &e));
        assert_int_equal(e.kind, table[i].kind);
        assert_string_equal(e.text, table[i].text);
        assert_int_equal(scripted_count(&http), 1);
        finish();
    }
}

static void what_is_not_our_server_is_told_so(void **arg)
{
    static const char *const answers[] = {"200 OK\r\n\r\n<html>hello</html>"};
    struct err e = {0};

    (void)arg;
    begin(answers, 1);
    assert_null(remote_get(&remote, SID, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "not in JSON"));
    finish();
}

static void an_ended_session_comes_with_its_refusal(void **arg)
{
    static const char *const answers[] = {
        "409 Ended\r\n\r\n{\"detail\":\"over\",\"session\":{\"state\":"
        "\"ended\",\"reason\":\"exited\",\"exit_code\":4}}"};
    struct json *ended = NULL;
    struct err e = {0};

    (void)arg;
    begin(answers, 1);
    assert_null(remote_token(&remote, SID, ROLE_VIEWER, &ended, &e));
    assert_int_equal(e.kind, ERR_ENDED);
    assert_string_equal(json_get_str(ended, "reason"), "exited");
    json_free(ended);
    assert_non_null(strstr(http.requests[0], "{\"role\":\"viewer\"}"));
    finish();
}

static void a_prefix_finds_its_session_over_pages(void **arg)
{
    static const char *const answers[] = {
        "200 OK\r\n\r\n{\"sessions\":[{\"id\":\"aaaabbbbccccddddeeeeffff22\"}]"
        ",\"next_cursor\":\"a b\"}",
        "200 OK\r\n\r\n{\"sessions\":[{\"id\":\"" SID "\"}]}"};
    struct err e = {0};
    char sid[ID_SIZE];

    (void)arg;
    begin(answers, 2);
    assert_int_equal(remote_find(&remote, "abcd", sid, &e), 0);
    assert_string_equal(sid, SID);
    assert_non_null(strstr(http.requests[1], "&cursor=a%20b "));
    finish();
}

static void a_prefix_of_two_sessions_or_none_is_refused(void **arg)
{
    static const char *const answers[] = {
        "200 OK\r\n\r\n{\"sessions\":[{\"id\":\"" SID "\"},"
        "{\"id\":\"abcdefghijklmnopqrstuvwxy2\"}]}"};
    struct err e = {0};
    char sid[ID_SIZE] = "";

    (void)arg;
    begin(answers, 1);
    assert_int_equal(remote_find(&remote, "abcde", sid, &e), -1);
    assert_non_null(strstr(e.text, "more than one"));
    assert_int_equal(remote_find(&remote, "zzzz", sid, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_int_equal(remote_find(&remote, "abc", sid, &e), -1); /* too short */
    assert_int_equal(remote_find(&remote, "ab/../c", sid, &e), -1); /* no id */
    assert_int_equal(remote_find(&remote, "ABCD", sid, &e), -1);
    assert_string_equal(sid, "");
    finish();
}

static void a_whole_id_needs_no_look_up(void **arg)
{
    static const char *const answers[] = {NULL};
    struct err e = {0};
    char sid[ID_SIZE];

    (void)arg;
    begin(answers, 1);
    assert_int_equal(remote_find(&remote, SID, sid, &e), 0);
    assert_string_equal(sid, SID);
    assert_int_equal(scripted_count(&http), 0);
    finish();
}

/* --- the real controller --- */

/* What is typed again leads to the same server as the same user. */
static void options_that_lead_here_are_told_where_they_matter(void **arg)
{
    static const struct {
        const char *server, *as, *command, *env_server, *env_as, *flags;
    } rows[] = {
        {REMOTE_SERVER, "me", NULL, NULL, "me", ""},
        {REMOTE_SERVER "/", "me", "", NULL, "me", ""},
        {"https://a.example", "me", NULL, "https://a.example/", "me", ""},
        {"https://a.example", "me", NULL, NULL, "me",
         " --server https://a.example"},
        {REMOTE_SERVER, "me", NULL, "https://a.example", "me",
         " --server " REMOTE_SERVER},
        {REMOTE_SERVER, "you", NULL, NULL, "me", " --as you"},
        {REMOTE_SERVER, "you", "cat token", NULL, "me", ""},
    };
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct remote r = {
            .identity = {.command = rows[i].command, .as = rows[i].as}};
        own_mem char *flags = NULL;

        unsetenv("PODTERM_SERVER");
        if (rows[i].env_server)
            setenv("PODTERM_SERVER", rows[i].env_server, 1);
        setenv("PODTERM_AS", rows[i].env_as, 1);
        assert_int_equal(server_open(&r.server, rows[i].server, NULL, &e), 0);
        flags = remote_flags(&r);
        assert_string_equal(flags, rows[i].flags);
        server_fini(&r.server);
    }
    unsetenv("PODTERM_SERVER");
    unsetenv("PODTERM_AS");
}

static void as(struct remote *r, const struct api *a, const char *who)
{
    own_mem char *base = mem_printf("http://127.0.0.1:%d", a->server.port);
    struct err e = {0};

    *r = (struct remote){.identity = {.as = who}};
    assert_int_equal(server_open(&r->server, base, NULL, &e), 0);
}

static void the_real_controller_is_understood(void **arg)
{
    own_mem char *text = api_body("run", "");
    own_json struct json *body = NULL, *made = NULL, *token = NULL,
                         *page = NULL, *gone = NULL, *ended = NULL;
    struct remote alice, bob;
    struct api a = {0};
    struct err e = {0};
    char sid[ID_SIZE], found[ID_SIZE], prefix[8];
    own_mem char *who = NULL;

    (void)arg;
    api_start(&a, NULL);
    who = api_identity(&a, "alice");
    as(&alice, &a, "alice");
    as(&bob, &a, "bob");
    body = json_parse(text, strlen(text), &e);
    made = remote_create(&alice, body, &e);
    assert_non_null(made);
    snprintf(sid, sizeof(sid), "%s", json_get_str(made, "id"));
    token = remote_token(&alice, sid, ROLE_OWNER, &ended, &e);
    assert_non_null(json_get_str(token, "token"));
    assert_string_not_equal(json_get_str(token, "token"),
                            json_get_str(made, "token"));
    page = remote_list(&alice, false, NULL, &e);
    assert_int_equal(json_count(json_get(page, "sessions")), 1);
    snprintf(prefix, sizeof(prefix), "%.5s", sid);
    assert_int_equal(remote_find(&alice, prefix, found, &e), 0);
    assert_string_equal(found, sid);

    /* another's session is not there */
    assert_int_equal(remote_find(&bob, prefix, found, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    assert_null(remote_get(&bob, sid, &e));
    assert_int_equal(e.kind, ERR_ABSENT);

    gone = remote_delete(&alice, sid, &e);
    assert_non_null(gone);
    json_free(api_wait(&a, who, sid, "ended"));
    assert_null(remote_token(&alice, sid, ROLE_OWNER, &ended, &e));
    assert_int_equal(e.kind, ERR_ENDED);
    assert_string_equal(json_get_str(ended, "state"), "ended");
    assert_int_equal(remote_find(&alice, prefix, found, &e), 0);
    server_fini(&alice.server);
    server_fini(&bob.server);
    api_finish(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_lead_here_are_told_where_they_matter),
        cmocka_unit_test(the_address_is_https_or_loopback),
        cmocka_unit_test(a_create_that_is_tried_again_has_the_same_key),
        cmocka_unit_test(two_creates_have_two_keys),
        cmocka_unit_test(a_refusal_is_final_and_a_sentence),
        cmocka_unit_test(what_is_not_our_server_is_told_so),
        cmocka_unit_test(an_ended_session_comes_with_its_refusal),
        cmocka_unit_test(a_prefix_finds_its_session_over_pages),
        cmocka_unit_test(a_prefix_of_two_sessions_or_none_is_refused),
        cmocka_unit_test(a_whole_id_needs_no_look_up),
        cmocka_unit_test(the_real_controller_is_understood),
    };

    fake_keeper_maybe(argc, argv); /* the controller starts us as one */
    http_client_init();
    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
