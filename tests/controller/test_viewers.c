/*
 * What PATCH does beyond the record: the session's agent (the fake keeper's)
 * is told the list, again until it has heard, and never an older one later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION "/api/sessions/{id}"
#define TOLD_MS 5000
#define RAPID 20 /* changes as fast as they go */

static struct api api;
static char *alice;
static char sid[27];

static int setup(void **state)
{
    (void)state;
    api_start(&api, NULL);
    alice = api_identity(&api, "alice");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(alice);
    api_finish(&api);
    return 0;
}

static bool pending_in(const struct json *session)
{
    bool v = false;

    if (!json_get(session, "viewers_pending"))
        return false;
    assert_int_equal(json_get_bool(session, "viewers_pending", &v), 0);
    assert_true(v);
    return true;
}

/* What the answer says of the agent. */
static bool patch(const char *list)
{
    own_mem char *body = mem_printf("{\"viewers\":%s}", list);
    struct rest_answer a =
        api_call(&api, "PATCH", SESSION, sid, NULL, alice, body);
    struct err e = {0};
    own_json struct json *j = json_parse(a.body, a.len, &e);

    assert_int_equal(a.status, 200);
    rest_fini(&a);
    return pending_in(j);
}

static void wait_told(void)
{
    int64_t until = loop_now_ms() + TOLD_MS;

    for (;;) {
        own_json struct json *j = api_get(&api, alice, sid);

        if (!pending_in(j))
            return;
        if (loop_now_ms() > until)
            fail_msg("not told within %d ms", TOLD_MS);
        poll(NULL, 0, 5);
    }
}

/* The last list the agent has heard, "" if none, and how many; each must be
 * of a higher version than the one before. */
static int heard(char *last, size_t size)
{
    own_mem char *path =
        mem_printf("%s/sessions/%s/agent/viewers", api.state, sid);
    FILE *f = fopen(path, "re");
    unsigned long long version, before = 0;
    char line[512];
    int count = 0;

    last[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        char *names = line;

        line[strcspn(line, "\n")] = '\0';
        version = strtoull(line, &names, 10);
        assert_true(version > before);
        before = version;
        snprintf(last, size, "%s", names);
        count++;
    }
    if (f)
        fclose(f);
    return count;
}

static void assert_heard(const char *want, int times)
{
    char last[512];

    assert_int_equal(heard(last, sizeof last), times);
    assert_string_equal(last, want);
}

static void begin(const char *mode)
{
    api_create(&api, alice, mode, sid);
    json_free(api_wait(&api, alice, sid, "running"));
}

static void a_changed_list_is_told_and_an_unchanged_one_is_not(void **state)
{
    (void)state;
    begin("");
    assert_heard("", 0);
    assert_false(patch("[]"));
    assert_true(patch("[\"vic\",\"vera\"]"));
    wait_told();
    assert_heard(" vic vera", 1);
    assert_false(patch("[\"vic\",\"vera\"]"));
    assert_true(patch("[]"));
    wait_told();
    assert_heard("", 2);
}

static void an_agent_that_hung_up_is_told_again(void **state)
{
    (void)state;
    begin("forgetful");
    assert_true(patch("[\"vic\"]"));
    wait_told();
    assert_heard(" vic", 1);
}

static void a_list_changed_before_the_agent_listens_is_told_then(void **state)
{
    (void)state;
    api_create(&api, alice, "", sid);
    assert_true(patch("[\"vic\"]"));
    json_free(api_wait(&api, alice, sid, "running"));
    wait_told();
    assert_heard(" vic", 1);
}

static void
rapid_changes_are_told_together_and_the_last_one_stands(void **state)
{
    int64_t begun = loop_now_ms();
    char last[512], want[16];

    (void)state;
    begin("");
    for (int i = 0; i < RAPID; i++) {
        own_mem char *list = mem_printf("[\"v%d\"]", i);

        assert_true(patch(list));
    }
    wait_told();
    snprintf(want, sizeof want, " v%d", RAPID - 1);
    assert_in_range(heard(last, sizeof last), 1,
                    2 + (loop_now_ms() - begun) / 1000);
    assert_string_equal(last, want);
}

static void a_restarted_controller_tells_what_is_pending(void **state)
{
    (void)state;
    begin("forgetful");
    assert_true(patch("[\"vic\"]"));
    rest_stop(&api.server, SIGKILL); /* told not at all, or in vain */
    free(alice);
    api_start(&api, NULL);
    alice = api_identity(&api, "alice");
    wait_told();
    assert_heard(" vic", 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_changed_list_is_told_and_an_unchanged_one_is_not),
        T(an_agent_that_hung_up_is_told_again),
        T(a_list_changed_before_the_agent_listens_is_told_then),
        T(rapid_changes_are_told_together_and_the_last_one_stands),
        T(a_restarted_controller_tells_what_is_pending),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
