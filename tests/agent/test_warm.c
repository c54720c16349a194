/*
 * A real warm agent: it takes one activation and nothing else, is then the
 * session's agent and no one else's, and leaves when it is not wanted. The
 * attacks of SECURITY rule 5 are carried out.
 */
#include "agent/warm.h"

#include "agent/warmfile.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/inmemory.h"
#include "tests/lib/tree.h"
#include "tests/lib/warmpost.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SCRIPT "echo ready; cat"
#define SOON_MS 10000

static struct agentbox *box;

static int setup(void **arg)
{
    (void)arg;
    box = agentbox_new_warm(SCRIPT, NULL, 3600);
    assert_true(agentbox_status(box, "warm", SOON_MS));
    return 0;
}

static int setup_with_shim(void **arg)
{
    setup(arg);
    agentbox_start_shim(box);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    agentbox_free(box);
    return 0;
}

static void activate(void)
{
    own_mem char *token = warm_token(box, NULL);

    assert_int_equal(warm_post(box, token), 200);
}

static void works(void)
{
    struct agentlink *l = agentlink_new(box, ROLE_OWNER, 0);

    agentlink_expect(l, "ready", SOON_MS);
    agentlink_says(l, "hello\n");
    agentlink_expect(l, "hello", SOON_MS);
    agentlink_free(l);
}

static pid_t kill_main(void)
{
    pid_t main = agentbox_main(box, 0);

    kill(main, SIGKILL);
    return agentbox_main(box, main);
}

static void remove_file(const char *name)
{
    own_mem char *path = mem_printf("%s/%s", box->dir, name);

    assert_int_equal(unlink(path), 0);
}

/* --- one activation --- */

static void activated_it_is_the_sessions_agent(void **arg)
{
    (void)arg;
    activate();
    assert_true(agentbox_status(box, "running", SOON_MS));
    works();
}

static void the_size_is_the_newest(void **arg)
{
    own_mem char *hello = NULL;
    struct agentlink *l;

    (void)arg;
    box = agentbox_new_warm("stty size; cat", NULL, 3600);
    activate();
    l = agentlink_dial(box);
    hello = agentbox_token(box, ROLE_OWNER, NULL, NULL);
    agentlink_hello(l, hello, 0, 101, 37);
    agentlink_until(l, FRAME_READY, SOON_MS);
    agentbox_start_shim(box);
    agentlink_expect(l, "37 101", SOON_MS);
    agentlink_free(l);
}

static void its_end_is_reported_and_seen_by_the_shim(void **arg)
{
    own_json struct json *report = NULL;
    struct agentlink *l;

    (void)arg;
    activate();
    l = agentlink_new(box, ROLE_OWNER, 0);
    agentlink_end(l);
    agentlink_until(l, FRAME_EXIT, SOON_MS);
    agentlink_free(l);
    report = agentbox_ends(box, "deleted", SOON_MS);
    assert_non_null(report);
    assert_int_equal(agentbox_wait_shim(box, SOON_MS), 0);
}

static void it_is_activated_across_a_kill(void **arg)
{
    own_mem char *token = warm_token(box, NULL);

    (void)arg;
    activate();
    assert_true(agentbox_status(box, "running", SOON_MS));
    kill_main();
    works();
    assert_int_equal(warm_post(box, token), -1);
}

static void a_warm_agent_that_is_killed_is_warm_again(void **arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        kill_main();
    agentbox_status(box, "warm", SOON_MS);
    for (int64_t until = loop_now_ms() + SOON_MS; loop_now_ms() < until;
         poll(NULL, 0, 5)) {
        own_mem char *token = warm_token(box, NULL);
        int status = warm_post(box, token);

        if (status == 200)
            break;
        assert_int_equal(status, 503); /* the runner is not back yet */
    }
    works();
}

static void the_very_same_token_is_answered_again_and_no_other(void **arg)
{
    own_mem char *token = warm_token(box, NULL);
    own_mem char *other = warm_token(box, NULL);

    (void)arg;
    assert_int_equal(warm_post(box, token), 200);
    assert_int_equal(warm_post_session(box, token), 200);
    assert_int_equal(warm_post_session(box, other), 409);
    assert_int_equal(warm_post_session(box, "x"), 409);
    kill_main();
    assert_int_equal(warm_post_session(box, token), 200);
    assert_int_equal(warm_post_session(box, other), 409);
    assert_int_equal(warm_post(box, token), -1);
    works();
}

/* --- who is refused --- */

static void another_pod(struct activate_claims *c)
{
    c->aud[0] = 'f';
}

static void long_ago(struct activate_claims *c)
{
    c->iat = c->nbf = c->iat - 100;
    c->exp = c->iat + TOKEN_LIFE_S;
}

static void too_long(struct activate_claims *c)
{
    c->exp = c->iat + TOKEN_LIFE_S + 1;
}

static void another_session(struct activate_claims *c)
{
    random_id(c->sid);
}

static void no_bundle(struct activate_claims *c)
{
    json_drop(c->spec, "bundle");
}

static void what_is_not_for_it_is_refused_and_it_stays_warm(void **arg)
{
    static const struct {
        void (*change)(struct activate_claims *c);
        int status;
    } cases[] = {{another_pod, 401},
                 {long_ago, 401},
                 {too_long, 401},
                 {another_session, 400},
                 {no_bundle, 400}};
    own_mem char *session = agentbox_token(box, ROLE_OWNER, NULL, NULL);

    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own_mem char *token = warm_token(box, cases[i].change);

        assert_int_equal(warm_post(box, token), cases[i].status);
    }
    assert_int_equal(warm_post(box, session), 401);
    assert_int_equal(warm_post(box, "a.b.c"), 401);
    activate();
    works();
}

static int ask(const char *request)
{
    struct wspeer *p = warm_dial_pool(box);
    int status;

    wspeer_puts(p, request);
    status = warm_status(p);
    wspeer_free(p);
    return status;
}

static void other_requests_are_refused(void **arg)
{
    static const char upgrade[] =
        "GET /v1/attach HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
        "connection: upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "sec-websocket-protocol: podterm.v1\r\n\r\n";

    (void)arg;
    assert_int_equal(ask(upgrade), 404);
    assert_int_equal(ask("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"), 404);
    assert_int_equal(ask("GET " ACTIVATE_PATH " HTTP/1.1\r\nhost: x\r\n\r\n"),
                     404);
    assert_int_equal(ask("POST /v1/other HTTP/1.1\r\nhost: x\r\n"
                         "content-length: 3\r\n\r\na.b"),
                     404);
    assert_int_equal(ask("POST " ACTIVATE_PATH " HTTP/1.1\r\nhost: x\r\n"
                         "content-type: application/json\r\n"
                         "content-length: 5\r\n\r\na.b.c"),
                     400);
    assert_int_equal(ask("POST " ACTIVATE_PATH " HTTP/1.1\r\nhost: x\r\n"
                         "content-type: application/jwt\r\n"
                         "transfer-encoding: chunked\r\n\r\n5\r\na.b.c\r\n0"),
                     411);
}

static void a_body_above_the_limit_is_413_and_one_at_it_is_read(void **arg)
{
    own_mem char *body = mem_zero(TOKEN_ACTIVATE_MAX + 2, 1);
    struct wspeer *p = warm_dial_pool(box);

    (void)arg;
    memset(body, 'a', TOKEN_ACTIVATE_MAX + 1);
    warm_head(p, TOKEN_ACTIVATE_MAX + 1);
    assert_int_equal(warm_status(p), 413);
    wspeer_free(p);
    body[TOKEN_ACTIVATE_MAX] = 0;
    assert_int_equal(warm_post(box, body), 401);
}

static void a_body_that_does_not_come_ends_the_connection(void **arg)
{
    struct wspeer *p = warm_dial_pool(box);
    int64_t since = loop_now_ms();

    (void)arg;
    warm_head(p, 1000);
    wspeer_puts(p, "a");
    assert_true(wspeer_ends(p, 2 * WARM_REQUEST_MS));
    assert_true(loop_now_ms() - since >= WARM_REQUEST_MS / 2);
    wspeer_free(p);
    activate();
}

static void the_sessions_key_opens_nothing_before(void **arg)
{
    own_mem char *token = warm_token(box, NULL);

    (void)arg;
    assert_null(agentlink_try(box, box->key, box->psk_id));
    assert_int_equal(warm_post_session(box, token), -1);
}

/* --- only once, for one --- */

static void of_two_at_once_one_wins(void **arg)
{
    struct wspeer *p[2];
    char *token[2];
    int status[2];

    (void)arg;
    for (int i = 0; i < 2; i++) {
        token[i] = warm_token(box, NULL);
        p[i] = warm_dial_pool(box);
        warm_head(p[i], strlen(token[i]));
        wspeer_write(p[i], token[i], strlen(token[i]) - 1);
    }
    for (int i = 0; i < 2; i++)
        wspeer_puts(p[i], token[i] + strlen(token[i]) - 1);
    for (int i = 0; i < 2; i++) {
        status[i] = warm_status(p[i]);
        wspeer_free(p[i]);
        free(token[i]);
    }
    if (status[0] != 200) { /* whoever was read first */
        int other = status[0];

        status[0] = status[1];
        status[1] = other;
    }
    assert_int_equal(status[0], 200);
    assert_int_equal(status[1], 409);
    works();
}

static void the_pools_key_opens_nothing_after(void **arg)
{
    struct wspeer *idle = warm_dial_pool(box);

    (void)arg;
    activate();
    assert_true(wspeer_ends(idle, SOON_MS));
    wspeer_free(idle);
    assert_null(warm_dial(box, box->pool_id, box->pool_key));
    assert_null(warm_dial(box, box->psk_id, box->pool_key));
    assert_null(warm_dial(box, box->pool_id, box->key));
    assert_null(agentlink_try(box, box->pool_key, box->pool_id));
    works();
}

static void the_pools_key_is_in_no_memory_after(void **arg)
{
    if (geteuid() != 0 || !AGENTBOX_MEASURES)
        skip();
    (void)arg;
    assert_true(inmemory_count(agentbox_main(box, 0), box->pool_key, 32) > 0);
    activate();
    works();
    assert_int_equal(inmemory_count(agentbox_main(box, 0), box->pool_key, 32),
                     0);
    assert_true(inmemory_count(agentbox_main(box, 0), box->key, 32) > 0);
}

static void the_environment_is_nowhere_once_the_program_has_it(void **arg)
{
    static const char secret[] = "s3cret-of-the-activation";
    own_mem char *path = NULL, *state = NULL;
    size_t len;

    (void)arg;
    box = agentbox_new_warm(
        SCRIPT, "{\"env\":{\"S\":\"s3cret-of-the-activation\"}}", 3600);
    agentbox_start_shim(box);
    activate();
    works();
    path = mem_printf("%s/agent/agent.state", box->dir);
    state = tree_get(path, &len);
    assert_null(memmem(state, len, secret, strlen(secret)));
    assert_non_null(memmem(state, len, box->key, 32));
    if (geteuid() == 0 && AGENTBOX_MEASURES)
        assert_int_equal(
            inmemory_count(agentbox_main(box, 0), secret, strlen(secret)), 0);
}

/* --- an agent that forgot --- */

static void ends_as_lost(const char *detail, int code)
{
    own_json struct json *report = agentbox_ends(box, "runner_lost", SOON_MS);
    int status = agentbox_wait_shim(box, SOON_MS);

    assert_non_null(strstr(json_get_str(report, "detail"), detail));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void without_its_session_it_ends_the_pod(void **arg)
{
    (void)arg;
    activate();
    works();
    remove_file("agent/agent.state");
    kill(agentbox_main(box, 0), SIGKILL);
    ends_as_lost("no more known", 75);
}

/* As if it had been killed before it could note that the file is there. */
static void a_program_without_a_session_ends_the_pod(void **arg)
{
    bool is_fresh;
    struct warmfile *w;
    struct err e = {0};
    own_mem char *state = mem_printf("%s/agent/agent.state", box->dir);

    (void)arg;
    activate();
    works();
    w = warmfile_open(state, &is_fresh, &e);
    assert_true(w && !is_fresh && w->is_used);
    w->is_used = 0;
    warmfile_close(w);
    remove_file("agent/agent.state");
    kill(agentbox_main(box, 0), SIGKILL);
    ends_as_lost("no session", 74);
}

/* The program would read a fresh cookie, and be the next session's runner. */
static void with_nothing_left_it_does_not_begin_anew(void **arg)
{
    own_mem char *cookie = mem_printf("%s/ipc/cookie", box->dir);
    own_json struct json *report = NULL;

    (void)arg;
    activate();
    works();
    remove_file("agent/agent.state");
    remove_file("agent/agent.state" WARMFILE_SUFFIX);
    kill(agentbox_main(box, 0), SIGKILL);
    report = agentbox_ends(box, "runner_lost", SOON_MS);
    assert_int_equal(access(cookie, F_OK), -1);
}

/* --- leaving --- */

static void too_old_it_leaves_without_a_report(void **arg)
{
    (void)arg;
    box = agentbox_new_warm(SCRIPT, NULL, 1);
    agentbox_start_shim(box);
    assert_int_equal(agentbox_wait(box, SOON_MS), 0);
    assert_int_equal(agentbox_wait_shim(box, SOON_MS), 0);
    assert_null(agentbox_report(box));
}

static void its_age_goes_on_over_a_kill(void **arg)
{
    int64_t since = loop_now_ms();

    (void)arg;
    box = agentbox_new_warm(SCRIPT, NULL, 2);
    agentbox_start_shim(box);
    poll(NULL, 0, 1500);
    kill_main();
    assert_int_equal(agentbox_wait(box, SOON_MS), 0);
    assert_true(loop_now_ms() - since < 5000);
    assert_null(agentbox_report(box));
}

static void stopped_by_the_platform_it_leaves_without_a_report(void **arg)
{
    int status;

    (void)arg;
    kill(box->agent, SIGTERM);
    assert_int_equal(agentbox_wait(box, SOON_MS), 0);
    assert_null(agentbox_report(box));
    status = agentbox_wait_shim(box, SOON_MS);
    assert_int_equal(WEXITSTATUS(status), 72);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup_with_shim, teardown)
#define ALONE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define OWN(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(activated_it_is_the_sessions_agent),
        OWN(the_size_is_the_newest),
        T(its_end_is_reported_and_seen_by_the_shim),
        T(it_is_activated_across_a_kill),
        T(a_warm_agent_that_is_killed_is_warm_again),
        T(the_very_same_token_is_answered_again_and_no_other),
        T(what_is_not_for_it_is_refused_and_it_stays_warm),
        ALONE(other_requests_are_refused),
        ALONE(a_body_above_the_limit_is_413_and_one_at_it_is_read),
        ALONE(a_body_that_does_not_come_ends_the_connection),
        ALONE(the_sessions_key_opens_nothing_before),
        T(of_two_at_once_one_wins),
        T(the_pools_key_opens_nothing_after),
        T(the_pools_key_is_in_no_memory_after),
        OWN(the_environment_is_nowhere_once_the_program_has_it),
        T(without_its_session_it_ends_the_pod),
        T(a_program_without_a_session_ends_the_pod),
        T(with_nothing_left_it_does_not_begin_anew),
        OWN(too_old_it_leaves_without_a_report),
        OWN(its_age_goes_on_over_a_kill),
        T(stopped_by_the_platform_it_leaves_without_a_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
