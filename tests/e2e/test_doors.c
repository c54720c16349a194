/*
 * The doors of the API and of local mode: another user's session on every
 * route, tokens of another kind, pages of other origins, other users of the
 * machine.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/onesession.h"

#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define NO_SESSION "aaaaaaaaaaaaaaaaaaaaaaaaaa"

/* One call; the body of the answer, the caller's, when text is not NULL. */
static int call(const char *method, const char *path, const char *head,
                const char *body, char **text)
{
    own_mem char *all = mem_printf(
        "%s%s", head, body ? "Content-Type: application/json\r\n" : "");
    struct rest_answer a = rest_call(stack->port, method, path, all, body);
    int status = a.status;

    if (text)
        *text = mem_str(a.body ? a.body : "");
    rest_fini(&a);
    return status;
}

/* Every route that names a session. */
static const struct {
    const char *method, *below, *body;
} routes[] = {
    {"GET", "", NULL},
    {"PATCH", "", "{\"viewers\":[\"bob\"]}"},
    {"PATCH", "", "not even JSON"},
    {"POST", "/token", "{\"role\":\"owner\"}"},
    {"POST", "/token", "{\"role\":\"viewer\"}"},
    {"POST", "/token", "{}"},
    {"DELETE", "", NULL},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static char *path_of(size_t i, const char *sid)
{
    return mem_printf("/api/sessions/%s%s", sid, routes[i].below);
}

static void another_users_session_is_unknown_on_every_route(void **arg)
{
    own_mem char *bob = stack_identity(stack, "bob");
    own_mem char *list = NULL;

    (void)arg;
    for (size_t i = 0; i < ROUTES; i++) {
        own_mem char *path = path_of(i, ann.sid);
        own_mem char *none = path_of(i, NO_SESSION);
        own_mem char *text = NULL, *unknown = NULL;

        assert_int_equal(
            call(routes[i].method, path, bob, routes[i].body, &text), 404);
        assert_int_equal(
            call(routes[i].method, none, bob, routes[i].body, &unknown), 404);
        /* nothing tells the two apart */
        assert_string_equal(text, unknown);
        assert_null(strstr(text, ann.sid));
    }
    assert_int_equal(call("GET", "/api/sessions", bob, NULL, &list), 200);
    assert_null(strstr(list, ann.sid));
    free(list);
    list = NULL;
    {
        own_mem char *owner = stack_identity(stack, "ann");

        assert_int_equal(call("GET", "/api/sessions", owner, NULL, &list), 200);
        assert_non_null(strstr(list, ann.sid));
    }
    json_free(stack_wait(stack, "ann", ann.sid, "running", 0));
}

static void a_viewer_gets_a_viewers_token_and_nothing_else(void **arg)
{
    own_mem char *vic = stack_identity(stack, "vic");
    own_mem char *token = stack_token(stack, "vic", ann.sid, "viewer", NULL);

    (void)arg;
    assert_non_null(token);
    for (size_t i = 0; i < ROUTES; i++) {
        own_mem char *path = path_of(i, ann.sid);

        if (routes[i].body && strstr(routes[i].body, "viewer\""))
            continue;
        /* as owner: denied, since a viewer knows that there is a session */
        assert_int_equal(
            call(routes[i].method, path, vic, routes[i].body, NULL),
            routes[i].below[0] ? 403 : 404);
    }
    json_free(stack_wait(stack, "ann", ann.sid, "running", 0));
}

static void without_an_identity_no_route_answers(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < ROUTES; i++) {
        own_mem char *path = path_of(i, ann.sid);

        assert_int_equal(call(routes[i].method, path, "", routes[i].body, NULL),
                         401);
    }
    assert_int_equal(call("GET", "/api/sessions", "", NULL, NULL), 401);
    assert_int_equal(call("POST", "/api/sessions", "", "{}", NULL), 401);
}

static void the_kinds_of_tokens_do_not_mix(void **arg)
{
    own_mem char *identity = stack_identity(stack, "ann");
    own_mem char *session = stack_token(stack, "ann", ann.sid, "owner", NULL);
    own_mem char *bearer = mem_printf("Authorization: Bearer %s\r\n", session);
    own_mem char *one = mem_printf("/api/sessions/%s", ann.sid);
    struct wspeer *p;
    char *id;

    (void)arg;
    assert_int_equal(call("GET", one, identity, NULL, NULL), 200);
    for (size_t i = 0; i < ROUTES; i++) {
        own_mem char *path = path_of(i, ann.sid);

        assert_int_equal(
            call(routes[i].method, path, bearer, routes[i].body, NULL), 401);
    }
    assert_int_equal(call("GET", "/api/sessions", bearer, NULL, NULL), 401);
    assert_int_equal(call("POST", "/api/sessions", bearer, "{}", NULL), 401);

    id = strstr(identity, "Bearer ") + 7;
    id[strcspn(id, "\r\n")] = 0;
    p = direct_gateway(stack);
    direct_hello(p, id);
    direct_refused(p, "token", 4401);
    p = direct_attach(&agent);
    direct_hello(p, id);
    direct_refused(p, "token", 4401);
    p = direct_gateway(stack); /* all that did not spend it */
    direct_hello(p, session);
    wspeer_reset(direct_ready(p));
}

/* --- pages --- */

/* Status of an upgrade at the gateway by that Host, with extra headers. */
static int upgrade_status(const char *host, const char *extra)
{
    own_mem char *addr = mem_printf("127.0.0.1:%d", stack->attach_port);
    struct wspeer *p = wspeer_dial(addr, NULL);
    own_mem char *head = NULL;
    int status = 0;

    wspeer_ask(p, host, extra);
    head = wspeer_head(p);
    assert_non_null(head);
    assert_int_equal(sscanf(head, "HTTP/1.1 %d", &status), 1);
    wspeer_reset(p);
    return status;
}

static void a_page_that_rebinds_its_name_gets_nothing(void **arg)
{
    static const char *const paths[] = {"/dev/token?sub=ann", "/api/sessions",
                                        "/.well-known/jwks.json", "/livez"};
    own_mem char *evil = mem_printf("Host: evil.example:%d\r\n", stack->port);
    own_mem char *page = mem_printf("evil.example:%d", stack->attach_port);
    own_mem char *port = mem_printf("Host: 127.0.0.1:%d\r\n", stack->port + 1);
    own_mem char *own = mem_printf("127.0.0.1:%d", stack->attach_port);
    own_mem char *name = mem_printf("localhost:%d", stack->attach_port);

    (void)arg;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        own_mem char *text = NULL;

        assert_int_equal(call("GET", paths[i], evil, NULL, &text), 421);
        assert_null(strstr(text, "id_token"));
        assert_int_equal(call("GET", paths[i], port, NULL, NULL), 421);
    }
    assert_int_equal(upgrade_status(page, ""), 421);
    assert_int_equal(upgrade_status("evil.example", ""), 421);
    assert_int_equal(upgrade_status(own, ""), 101);
    assert_int_equal(upgrade_status(name, ""), 101);
}

static void a_page_of_another_origin_gets_nothing(void **arg)
{
    static const char *const foreign[] = {
        "Origin: http://evil.example\r\n", "Origin: null\r\n",
        "Origin: http://127.0.0.1:1\r\n", "Origin: https://127.0.0.1\r\n"};
    own_mem char *ours =
        mem_printf("Origin: http://127.0.0.1:%d\r\n", stack->port);
    own_mem char *host = mem_printf("127.0.0.1:%d", stack->attach_port);

    (void)arg;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        own_mem char *text = NULL;

        assert_int_equal(
            call("GET", "/dev/token?sub=ann", foreign[i], NULL, &text), 403);
        assert_null(strstr(text, "id_token"));
        assert_int_equal(upgrade_status(host, foreign[i]), 403);
    }
    assert_int_equal(call("GET", "/dev/token?sub=ann", ours, NULL, NULL), 200);
    assert_int_equal(upgrade_status(host, ours), 101);
}

/* --- users of the machine --- */

/* What somebody of that uid is answered at /dev/token. */
static int token_status_as(uid_t uid)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        int got;

        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
            setresuid(uid, uid, uid) < 0)
            _exit(1);
        got = call("GET", "/dev/token?sub=ann", "", NULL, NULL);
        _exit(got == 200 ? 20 : got == 403 ? 43 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void another_user_of_the_machine_gets_no_identity(void **arg)
{
    (void)arg;
    if (geteuid() != 0)
        skip();
    assert_int_equal(token_status_as(NOBODY), 43);
    assert_int_equal(token_status_as(0), 20);
}

/* --- other protocols --- */

#define UP_TO(upgrade)                                                         \
    "GET /v1/attach HTTP/1.1\r\nHost: localhost\r\nUpgrade: " upgrade          \
    "\r\nConnection: Upgrade, HTTP2-Settings\r\n"                              \
    "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"                                     \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                          \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: podterm.v1\r\n\r\n"

enum { CONTROLLER_DOOR, GATEWAY_DOOR, AGENT_DOOR /* behind its key */ };

static struct wspeer *door(int which)
{
    own_mem char *addr =
        mem_printf("127.0.0.1:%d", which ? stack->attach_port : stack->port);

    return which == AGENT_DOOR ? direct_dial(&agent) : wspeer_try_dial(addr);
}

/* What comes until the end, in p->in. */
static void hear_all(struct wspeer *p, int which, const char *after)
{
    int n;

    while ((n = wspeer_more(p, WSPEER_MS)) > 0)
        ;
    if (n == 0)
        fail_msg("door %d stays open after %s", which, after);
}

static void no_door_changes_to_another_protocol(void **arg)
{
    static const char *const asks[] = {
        UP_TO("h2c"), UP_TO("h2c, websocket"), UP_TO("TLS/1.2"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n"};

    (void)arg;
    for (int which = 0; which < 3; which++)
        for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
            struct wspeer *p = door(which);

            assert_non_null(p);
            p->may_die = true;
            wspeer_puts(p, asks[i]);
            hear_all(p, which, asks[i]);
            /* libwebsockets would go on with h2c: nobody of ours is asked, so
             * there is no 404 either */
            if (i == 0 && which != GATEWAY_DOOR)
                assert_int_equal(p->in_len, 0);
            /* hung up on, or an HTTP/1 answer that is a refusal */
            if (p->in_len && (p->in_len < 10 || p->in[9] < '4' ||
                              memcmp(p->in, "HTTP/1.", 7) != 0))
                fail_msg("door %d, %s\nwas answered: %.*s", which, asks[i],
                         (int)p->in_len, (char *)p->in);
            wspeer_free(p);
        }
}

/* --- extensions --- */

/* A door that has answered 101 to who offers to compress. */
static struct wspeer *offer_to_compress(int which)
{
    own_mem char *host = mem_printf("127.0.0.1:%d", stack->attach_port);
    struct wspeer *p = door(which);
    own_mem char *head = NULL;

    assert_non_null(p);
    wspeer_ask(p, host,
               "Sec-WebSocket-Extensions: permessage-deflate; "
               "client_max_window_bits, x-webkit-deflate-frame\r\n");
    head = wspeer_head(p);
    assert_non_null(head);
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0 ||
        strcasestr(head, "Sec-WebSocket-Extensions"))
        fail_msg("door %d answers: %s", which, head);
    return p;
}

/* A compressed message after all. */
static void compress(struct wspeer *p)
{
    static const uint8_t hello[] = {0xc2, 0x87, 0,    0,    0,    0, 0xf2,
                                    0x48, 0xcd, 0xc9, 0xc9, 0x07, 0};

    p->may_die = true;
    wspeer_write(p, hello, sizeof hello);
}

static void no_door_takes_an_extension(void **arg)
{
    own_mem char *token = stack_token(stack, "ann", ann.sid, "owner", NULL);
    struct wspeer *p;

    (void)arg;
    for (int which = GATEWAY_DOOR; which <= AGENT_DOOR; which++) {
        p = offer_to_compress(which);
        compress(p);
        direct_refused(p, NULL, 1002);
    }
    /* nor when all is open */
    p = offer_to_compress(GATEWAY_DOOR);
    direct_hello(p, token);
    compress(direct_ready(p));
    direct_refused(p, NULL, 1002);
    json_free(stack_wait(stack, "ann", ann.sid, "running", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_users_session_is_unknown_on_every_route),
        cmocka_unit_test(a_viewer_gets_a_viewers_token_and_nothing_else),
        cmocka_unit_test(without_an_identity_no_route_answers),
        cmocka_unit_test(the_kinds_of_tokens_do_not_mix),
        cmocka_unit_test(a_page_that_rebinds_its_name_gets_nothing),
        cmocka_unit_test(a_page_of_another_origin_gets_nothing),
        cmocka_unit_test(another_user_of_the_machine_gets_no_identity),
        cmocka_unit_test(no_door_changes_to_another_protocol),
        cmocka_unit_test(no_door_takes_an_extension),
    };

    return cmocka_run_group_tests(tests, onesession_setup, onesession_teardown);
}
