/*
 * PATCH while a session runs: who was added attaches, who was removed is cut
 * off and stays out, whatever is killed meanwhile, and nobody else notices.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token.h"
#include "tests/lib/direct.h"
#include "tests/lib/lines.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ADDED_MS 1000 /* PATCH's answer to the first attachment */
#define CUT_MS 1500   /* PATCH's answer to the last byte: a second, and slack */
#define BACK_MS 7000  /* the same where something was killed or stopped */
#define RUNS_MS 10000
#define RACE_ROUNDS 15

static struct stack *stack;
static struct stack_bundle lines; /* counts for ever */
static struct token_signer *signer;

static int setup(void **arg)
{
    own_mem char *file = NULL;
    struct err e = {0};

    (void)arg;
    stack = stack_new(NULL);
    stack_pack(stack, "lines", LINES_LOOP, &lines);
    file = mem_printf("%s/state/keys/signer.pem", stack->dir);
    signer = token_signer_load(file, &e);
    assert_non_null(signer);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    token_signer_free(signer);
    stack_free(stack);
    return 0;
}

/* --- somebody who looks on --- */

struct eye {
    struct stack_link l;
    struct lines lines;
};

static void take(void *arg, const uint8_t *p, size_t len)
{
    lines_take(&((struct eye *)arg)->lines, p, len);
}

static void sees(struct eye *eye, unsigned more)
{
    unsigned until = eye->lines.last + more;

    while (eye->lines.last < until)
        if (!stack_pump(&eye->l, take, eye, true))
            fail_msg("cut off after line %u: \"%s\"", eye->lines.last,
                     eye->l.error);
}

/* Once, with a token of the controller's. */
static bool try_look(struct eye *eye, const struct stack_session *ss,
                     const char *who, const char *role)
{
    own_mem char *token = stack_token(stack, who, ss->sid, role, NULL);

    memset(eye, 0, sizeof(*eye));
    return token && stack_attach(stack, &eye->l, token, 0, 0, 0);
}

static void look(struct eye *eye, const struct stack_session *ss,
                 const char *who, const char *role)
{
    if (!try_look(eye, ss, who, role))
        fail_msg("%s may not look on: \"%s\"", who, eye->l.error);
    sees(eye, 3);
}

/* ERROR denied, and the end. */
static void is_cut(struct eye *eye, int64_t since_ms, int ms)
{
    while (stack_pump(&eye->l, take, eye, true))
        if (loop_now_ms() - since_ms > ms)
            fail_msg("still there after %d ms", ms);
    assert_string_equal(eye->l.error, "denied");
    stack_cut(&eye->l);
}

/* --- a session --- */

struct stage {
    struct stack_session ss;
    struct eye owner;
};

static void begin(struct stage *st, const char *viewers)
{
    own_mem char *more = mem_printf(",\"viewers\":%s", viewers);

    memset(st, 0, sizeof(*st));
    stack_create(stack, "ann", &lines, more, &st->ss);
    json_free(stack_wait(stack, "ann", st->ss.sid, "running", RUNS_MS));
    look(&st->owner, &st->ss, "ann", "owner");
}

static void finish(struct stage *st)
{
    stack_cut(&st->owner.l);
    assert_in_range(stack_delete(stack, "ann", st->ss.sid), 200, 202);
    json_free(stack_wait(stack, "ann", st->ss.sid, "ended", RUNS_MS));
    stack_session_fini(&st->ss);
}

static int64_t set_viewers(const struct stage *st, const char *list)
{
    assert_int_equal(stack_viewers(stack, "ann", st->ss.sid, list, NULL), 200);
    return loop_now_ms();
}

static bool is_pending(const struct stage *st)
{
    own_json struct json *j = stack_get(stack, "ann", st->ss.sid);
    bool v = false;

    return json_get_bool(j, "viewers_pending", &v) == 0 && v;
}

static void wait_told(const struct stage *st, int ms)
{
    int64_t until = loop_now_ms() + ms;

    while (is_pending(st)) {
        if (loop_now_ms() > until)
            fail_msg("the agent was not told within %d ms", ms);
        poll(NULL, 0, 10);
    }
}

static pid_t agent_main(const struct stage *st)
{
    pid_t pid = stackproc_find(stack, st->ss.sid, PART_MAIN);

    assert_true(pid > 1);
    return pid;
}

static void kill_controller(void)
{
    pid_t pid;

    assert_int_equal(stack_pids(stack, "podterm-controller", NULL, &pid, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

/* --- past controller and gateway --- */

/* A viewer's token, good in all but what the session's list may say. */
static char *forge(const struct stage *st, const char *who)
{
    struct session_claims c = {.role = ROLE_VIEWER, .iat = loop_wall_s()};
    struct err e = {0};
    char *token;

    c.nbf = c.iat;
    c.exp = c.iat + TOKEN_LIFE_S;
    snprintf(c.iss, sizeof(c.iss), "podterm-controller");
    snprintf(c.aud, sizeof(c.aud), "podterm-dev");
    snprintf(c.sub, sizeof(c.sub), "%s", who);
    snprintf(c.sid, sizeof(c.sid), "%s", st->ss.sid);
    snprintf(c.bnd, sizeof(c.bnd), "%s", lines.sha256);
    random_id(c.jti);
    token = session_token_sign(signer, &c, &e);
    assert_non_null(token);
    return token;
}

static void agent_judges(const struct stage *st, const char *token, bool is_in)
{
    struct direct d;
    struct wspeer *p;

    direct_find(stack, st->ss.sid, &d);
    p = direct_attach(&d);
    direct_hello(p, token);
    if (is_in)
        wspeer_reset(direct_ready(p));
    else
        direct_refused(p, "denied", 4403);
}

/* The agent itself lets who in, or not. */
static void agent_knows(const struct stage *st, const char *who, bool is_in)
{
    own_mem char *token = forge(st, who);

    agent_judges(st, token, is_in);
}

/* --- the claims --- */

static void an_added_viewer_attaches_within_a_second(void **arg)
{
    struct stage st;
    struct eye vic;
    int64_t since;

    (void)arg;
    begin(&st, "[]");
    agent_knows(&st, "vic", false);
    since = set_viewers(&st, "[\"vic\"]");
    while (!try_look(&vic, &st.ss, "vic", "viewer"))
        assert_in_range(loop_now_ms() - since, 0, ADDED_MS);
    sees(&vic, 3);
    wait_told(&st, CUT_MS);
    sees(&st.owner, 20);
    stack_cut(&vic.l);
    finish(&st);
}

static void a_removed_viewer_is_cut_off_and_nobody_else_notices(void **arg)
{
    own_mem char *unspent = NULL;
    struct stage st;
    struct eye vic, vera;
    int64_t since;

    (void)arg;
    begin(&st, "[\"vic\",\"vera\"]");
    look(&vic, &st.ss, "vic", "viewer");
    look(&vera, &st.ss, "vera", "viewer");
    unspent = stack_token(stack, "vic", st.ss.sid, "viewer", NULL);
    since = set_viewers(&st, "[\"vera\"]");
    is_cut(&vic, since, CUT_MS);
    agent_judges(&st, unspent, false);
    assert_false(try_look(&vic, &st.ss, "vic", "viewer"));
    sees(&vera, 20);
    sees(&st.owner, 20);
    wait_told(&st, CUT_MS);
    stack_cut(&vera.l);
    finish(&st);
}

static void a_removed_viewer_stays_out_when_the_agent_is_killed(void **arg)
{
    own_mem char *unspent = NULL;
    struct stage st;
    struct eye vic;
    int64_t since;

    (void)arg;
    begin(&st, "[\"vic\",\"vera\"]");
    look(&vic, &st.ss, "vic", "viewer");
    unspent = forge(&st, "vic");
    since = set_viewers(&st, "[\"vera\"]");
    is_cut(&vic, since, CUT_MS);
    wait_told(&st, CUT_MS);
    assert_int_equal(kill(agent_main(&st), SIGKILL), 0);
    agent_judges(&st, unspent, false);
    agent_knows(&st, "vera", true);
    finish(&st);
}

/* An agent that cannot hear: PATCH says so, and it is told when it can. */
static void an_agent_that_was_stopped_or_killed_is_told_later(void **arg)
{
    own_json struct json *answer = NULL;
    bool pending = false;
    struct stage st;
    struct eye vic;
    pid_t pid;

    (void)arg;
    begin(&st, "[\"vic\"]");
    look(&vic, &st.ss, "vic", "viewer");
    stack_cut(&vic.l);
    pid = agent_main(&st);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(
        stack_viewers(stack, "ann", st.ss.sid, "[\"vera\"]", &answer), 200);
    assert_int_equal(json_get_bool(answer, "viewers_pending", &pending), 0);
    assert_true(pending);
    assert_true(is_pending(&st));
    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_told(&st, BACK_MS);
    agent_knows(&st, "vic", false);
    agent_knows(&st, "vera", true);
    finish(&st);
}

static void a_killed_controller_tells_it_when_it_is_back(void **arg)
{
    struct stage st;
    struct eye vic;
    int64_t since;
    pid_t pid;

    (void)arg;
    begin(&st, "[\"vic\"]");
    look(&vic, &st.ss, "vic", "viewer");
    pid = agent_main(&st);
    assert_int_equal(kill(pid, SIGSTOP), 0); /* so that it is not told yet */
    since = set_viewers(&st, "[]");
    kill_controller();
    assert_int_equal(kill(pid, SIGCONT), 0);
    is_cut(&vic, since, BACK_MS);
    stack_wait_api(stack, BACK_MS);
    wait_told(&st, BACK_MS);
    agent_knows(&st, "vic", false);
    sees(&st.owner, 20);
    finish(&st);
}

static void a_list_changed_while_the_session_starts_holds(void **arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        own_mem char *early = NULL;
        struct stage st = {0};

        stack_create(stack, "ann", &lines, ",\"viewers\":[\"vic\"]", &st.ss);
        early = stack_token(stack, "vic", st.ss.sid, "viewer", NULL);
        assert_non_null(early);
        poll(NULL, 0, i * i * 4); /* 0 to 36 ms: a start takes that */
        set_viewers(&st, "[\"vera\"]");
        json_free(stack_wait(stack, "ann", st.ss.sid, "running", RUNS_MS));
        wait_told(&st, CUT_MS);
        agent_judges(&st, early, false);
        agent_knows(&st, "vera", true);
        finish(&st);
    }
}

/* Two at once, many times: what the record says in the end the agent does. */
static void of_racing_patches_the_last_one_stands_at_the_agent_too(void **arg)
{
    static const char *const lists[] = {"[\"vic\"]", "[\"vera\",\"walt\"]"};
    own_json struct json *j = NULL;
    own_mem char *list = NULL;
    struct stage st;
    bool is_first;
    pid_t rivals[2];
    int status;

    (void)arg;
    begin(&st, "[]");
    for (int i = 0; i < 2; i++) {
        rivals[i] = fork();
        if (rivals[i] > 0)
            continue;
        for (int k = 0; k < RACE_ROUNDS; k++)
            if (stack_viewers(stack, "ann", st.ss.sid, lists[i], NULL) != 200)
                _exit(1);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waitpid(rivals[i], &status, 0), rivals[i]);
        assert_int_equal(status, 0);
    }
    wait_told(&st, BACK_MS);
    j = stack_get(stack, "ann", st.ss.sid);
    list = json_text(json_get(j, "viewers"));
    is_first = strcmp(list, lists[0]) == 0;
    assert_true(is_first || strcmp(list, lists[1]) == 0);
    agent_knows(&st, "vic", is_first);
    agent_knows(&st, "vera", !is_first);
    agent_knows(&st, "walt", !is_first);
    sees(&st.owner, 20);
    finish(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_added_viewer_attaches_within_a_second),
        cmocka_unit_test(a_removed_viewer_is_cut_off_and_nobody_else_notices),
        cmocka_unit_test(a_removed_viewer_stays_out_when_the_agent_is_killed),
        cmocka_unit_test(an_agent_that_was_stopped_or_killed_is_told_later),
        cmocka_unit_test(a_killed_controller_tells_it_when_it_is_back),
        cmocka_unit_test(a_list_changed_while_the_session_starts_holds),
        cmocka_unit_test(
            of_racing_patches_the_last_one_stands_at_the_agent_too),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
