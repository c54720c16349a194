/*
 * Only the exact path is served: another spelling of it, which a proxy before
 * us would not know, is refused before libwebsockets has made it the same;
 * and every refusal of the doorway is one whole problem document.
 */
#include "base/ws_target.h"

#include "base/json.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MS 5000

static struct loop *loop;
static struct ws_context *ws;
static struct ws_server *server;
static int requests;
static char last_path[64], last_origin[64];

static void request(void *arg, struct ws_request *r)
{
    const char *origin = ws_request_header(r, "origin");

    (void)arg;
    requests++;
    snprintf(last_path, sizeof(last_path), "%s", ws_request_path(r));
    snprintf(last_origin, sizeof(last_origin), "%s",
             origin ? origin : "(none)");
    ws_respond(r, 200, NULL, 0, "served", 6);
}

static int start(void **state)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .request = request,
        .body_max = 100,
        .conns_per_address_max = 4,
        .head_deadline_ms = 2000,
    };

    (void)state;
    requests = 0;
    loop = loop_new();
    ws = ws_context_new(loop, 64, &e);
    server = ws_server_new(ws, &conf, &e);
    return server ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    ws_server_free(server);
    ws_context_free(ws);
    loop_free(loop);
    return 0;
}

static struct peer *ask(const char *head)
{
    struct peer *p = peer_dial(loop, ws_server_port(server));

    peer_say(p, head);
    assert_true(peer_wait_closed(p, MS));
    assert_false(p->is_reset);
    return p;
}

/* --- the judgement --- */

static void only_the_exact_path_passes(void **state)
{
    static const struct {
        const char *line;
        int status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n", 0},
        {"GET /livez HTTP/1.1\r\n", 0},
        {"GET /.well-known/jwks.json HTTP/1.1\r\n", 0},
        {"GET /a.b/..c/d.. HTTP/1.1\r\n", 0},
        {"GET /livez/ HTTP/1.1\r\n", 0}, /* another path, not another way */
        {"GET /x?a=%2F..//%41 HTTP/1.1\n", 0},
        {"DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n", 0},
        {"GET //livez HTTP/1.1\r\n", 404},
        {"GET /a//b HTTP/1.1\r\n", 404},
        {"GET /a// HTTP/1.1\r\n", 404},
        {"GET /./livez HTTP/1.1\r\n", 404},
        {"GET /x/../livez HTTP/1.1\r\n", 404},
        {"GET /livez/. HTTP/1.1\r\n", 404},
        {"GET /livez/.. HTTP/1.1\r\n", 404},
        {"GET /.../livez HTTP/1.1\r\n", 404},
        {"GET /%6civez HTTP/1.1\r\n", 404},
        {"GET /a%2Fb HTTP/1.1\r\n", 404},
        {"GET /%2e%2E/livez HTTP/1.1\r\n", 404},
        {"GET /livez% HTTP/1.1\r\n", 400},
        {"GET /livez%6 HTTP/1.1\r\n", 400},
        {"GET /%zz HTTP/1.1\r\n", 400},
        {"GET /x?a=%g0 HTTP/1.1\r\n", 400},
        {"GET /x%00 HTTP/1.1\r\n", 400},
        {"GET /x?%0d%0aA: HTTP/1.1\r\n", 400},
        {"GET /x%7f HTTP/1.1\r\n", 400},
        {"GET livez HTTP/1.1\r\n", 400},
        {"GET http://h/livez HTTP/1.1\r\n", 400},
        {"OPTIONS * HTTP/1.1\r\n", 400},
        {"GET /livez#x HTTP/1.1\r\n", 400},
        {"GET /livez\r\n", 400},
        {"GET\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\n", 400},
        {"get / HTTP/1.1\r\n", 501},
        {"BREW / HTTP/1.1\r\n", 501},
        {"PRI * HTTP/2.0\r\n", 501},
        {"GET / HTTP/1.1", -1},
        {"", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int got = ws_target_judge(rows[i].line, strlen(rows[i].line));

        if (got != rows[i].status)
            fail_msg("%s: %d, not %d", rows[i].line, got, rows[i].status);
    }
}

static void every_line_of_the_head_ends_in_cr_lf(void **state)
{
    static const struct {
        const char *head;
        int status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nAb: b\r\n\r\nbody\n\nof it", 0},
        {"GET / HTTP/1.1\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\nCd: d\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\r\n\n", 400},
        {"\n", 400},
        {"GET / HTTP/1.1\r\nno header\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb : b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb(: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb\x80: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: \tb\xc3\xa9\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nAb: \rb\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\r\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\x7f\r\n\r\n", 400},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.1\rx\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\n\r\n", 400},
        {"GET /  HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1x\r\n\r\n", 400},
        {"GET / HTTP/1\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAb: b\r\n", -1},
        {"GET / HTTP/1.1\r\nAb: b\r", -1},
        {"", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int got = ws_target_lines(rows[i].head, strlen(rows[i].head));

        if (got != rows[i].status)
            fail_msg("%s: %d, not %d", rows[i].head, got, rows[i].status);
    }
}

/* --- over a socket --- */

/* What hides behind it is a header to libwebsockets alone. */
static void a_bare_lf_reaches_no_handler(void **state)
{
    static const char *const heads[] = {
        "GET /livez HTTP/1.1\nHost: h\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\nAb: b\nAuthorization: c\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\n\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        struct peer *p = ask(heads[i]);

        assert_memory_equal(p->in, "HTTP/1.1 400 ", 13);
        peer_free(p);
    }
    assert_int_equal(requests, 0);
}

/* Behind the beginning of a name that it knows, libwebsockets takes the next
 * line for more of that name. */
static void no_header_hides_behind_half_a_name(void **state)
{
    static const char *const halves[] = {
        "A",        "c",   "X",     "t",       "X-F",
        "Acc",      "G",   "Ge",    "Sec",     "Sec-WebSocket",
        "Conten",   "Put", "Put-X", "Deletes", "Patch-A",
        "Uri-Argsx"};
    static const char *const whole[] = {
        "Ab",  "X-Foo",  "Xyz",    "X-Forwarded-Proto",
        "DNT", "Accept", "Cookie", "TE"};
    char head[256];

    (void)state;
    for (size_t i = 0; i < sizeof(halves) / sizeof(*halves); i++) {
        struct peer *p;

        snprintf(head, sizeof(head),
                 "GET /livez HTTP/1.1\r\nHost: h\r\n%s: b\r\nOrigin: c\r\n"
                 "\r\n",
                 halves[i]);
        p = ask(head);
        if (strncmp(p->in, "HTTP/1.1 400 ", 13) != 0)
            fail_msg("%s: %s", halves[i], p->in);
        peer_free(p);
    }
    assert_int_equal(requests, 0);
    for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
        snprintf(head, sizeof(head),
                 "GET /livez HTTP/1.1\r\nHost: h\r\n%s: b\r\nOrigin: c\r\n"
                 "\r\n",
                 whole[i]);
        peer_free(ask(head));
        assert_int_equal(requests, i + 1);
        assert_string_equal(last_origin, "c");
    }
}

/* Urgent data stands in the way of every look at what is behind it. */
static void urgent_data_opens_no_way_past_the_look(void **state)
{
    struct peer *p = peer_dial(loop, ws_server_port(server));

    (void)state;
    peer_say(p, "GET /%6det");
    run_for(loop, 50);
    assert_int_equal(send(p->fd, "!", 1, MSG_OOB), 1);
    run_for(loop, 50);
    if (!p->is_closed)
        send(p->fd, "rics HTTP/1.1\r\nHost: h\r\n\r\n", 28, MSG_NOSIGNAL);
    assert_true(peer_wait_closed(p, MS));
    assert_int_equal(requests, 0);
    assert_int_equal(p->len, 0);
    peer_free(p);
}

static void other_spellings_reach_no_handler(void **state)
{
    static const char *const paths[] = {"//livez", "/x/../livez", "/./livez",
                                        "/%6civez", "/livez/."};
    char head[128];
    struct peer *p;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
                 paths[i]);
        p = ask(head);
        if (strncmp(p->in, "HTTP/1.1 404 ", 13) != 0)
            fail_msg("%s: %s", paths[i], p->in);
        peer_free(p);
    }
    assert_int_equal(requests, 0);
    p = ask("GET /livez?x=%41 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(p->in, "served"));
    assert_string_equal(last_path, "/livez");
    peer_free(p);
}

/* Byte by byte, so that no look finds the whole line at first. */
static void a_target_that_drips_is_seen_all_the_same(void **state)
{
    static const char odd[] = "GET //livez HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char even[] = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char *const heads[] = {odd, even};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *p = peer_dial(loop, ws_server_port(server));

        for (const char *at = heads[i]; *at && !p->is_closed; at++) {
            peer_send(p, at, 1);
            run_for(loop, 1);
        }
        assert_true(peer_wait_closed(p, MS));
        assert_memory_equal(p->in, i ? "HTTP/1.1 200 " : "HTTP/1.1 404 ", 13);
        peer_free(p);
    }
    assert_int_equal(requests, 1);
}

/* What lies unread wakes nobody again: no turn of the loop is spent on it. */
static void half_a_line_costs_nothing(void **state)
{
    struct peer *p = peer_dial(loop, ws_server_port(server));
    struct timespec before, after;

    (void)state;
    peer_say(p, "GET /li");
    run_for(loop, 20);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    run_for(loop, 500);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    assert_in_range((after.tv_sec - before.tv_sec) * 1000 +
                        (after.tv_nsec - before.tv_nsec) / 1000000,
                    0, 100);
    assert_true(peer_wait_closed(p, MS)); /* the head's deadline stands */
    assert_int_equal(p->len, 0);
    peer_free(p);
    assert_int_equal(ws_server_conns(server), 0);
}

/* libwebsockets would make one slash of them. */
static void a_line_too_long_to_look_at_is_dropped(void **state)
{
    static char head[2 * WS_HEAD_MAX];
    struct peer *p;

    (void)state;
    memset(head, '/', sizeof(head));
    memcpy(head, "GET ", 4);
    snprintf(head + WS_HEAD_MAX + 100, 64, "livez HTTP/1.1\r\nHost: h\r\n\r\n");
    p = peer_dial(loop, ws_server_port(server));
    peer_say(p, head);
    assert_true(peer_wait_closed(p, MS));
    assert_int_equal(p->len, 0);
    assert_int_equal(requests, 0);
    peer_free(p);
}

static void who_leaves_in_the_middle_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct peer *p = peer_dial(loop, ws_server_port(server));

        if (i & 1)
            peer_say(p, "GET /l");
        run_for(loop, 5);
        peer_free(p);
        run_for(loop, 5);
    }
    run_for(loop, 50);
    assert_int_equal(ws_server_conns(server), 0);
}

/* --- what is said --- */

static const char *member(const struct json *j, const char *name)
{
    const char *text = json_get_str(j, name);

    if (!text || !*text)
        fail_msg("the problem has no %s", name);
    return text;
}

static void is_a_problem(const struct peer *p, int status, const char *code)
{
    const char *body = strstr(p->in, "\r\n\r\n");
    struct err e = {0};
    own_json struct json *j = NULL;
    char line[32], type[64];
    int64_t told = 0;

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    snprintf(type, sizeof(type), "urn:podterm:problem:%s", code);
    if (!body || strncmp(p->in, line, strlen(line)) != 0)
        fail_msg("not %d: %s", status, p->in);
    assert_non_null(strstr(p->in, "content-type: application/problem+json"));
    assert_non_null(strstr(p->in, "x-content-type-options: nosniff"));
    assert_non_null(strstr(p->in, "cache-control: no-store"));
    j = json_parse(body + 4, strlen(body + 4), &e);
    assert_non_null(j);
    assert_string_equal(member(j, "code"), code);
    assert_string_equal(member(j, "type"), type);
    member(j, "title");
    member(j, "detail");
    assert_int_equal(json_get_int(j, "status", &told), 0);
    assert_int_equal(told, status);
}

static void every_refusal_is_a_whole_problem_document(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *code;
    } rows[] = {
        {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400, "bad_request"},
        {"GET //x HTTP/1.1\r\nHost: h\r\n\r\n", 404, "not_found"},
        {"POST / HTTP/1.1\r\nHost: h\r\n\r\n", 411, "length_required"},
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
         411, "length_required"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", 413,
         "too_large"},
        {"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 501, "method"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct peer *p = ask(rows[i].head);

        is_a_problem(p, rows[i].status, rows[i].code);
        peer_free(p);
    }
    assert_int_equal(requests, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_exact_path_passes),
        cmocka_unit_test(every_line_of_the_head_ends_in_cr_lf),
        T(a_bare_lf_reaches_no_handler),
        T(no_header_hides_behind_half_a_name),
        T(urgent_data_opens_no_way_past_the_look),
        T(other_spellings_reach_no_handler),
        T(a_target_that_drips_is_seen_all_the_same),
        T(half_a_line_costs_nothing),
        T(a_line_too_long_to_look_at_is_dropped),
        T(who_leaves_in_the_middle_is_forgotten),
        T(every_refusal_is_a_whole_problem_document),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
