/*
 * The kernel's share of a program's cage, closed by the real shim around a
 * real program: on this kernel, and on one without Landlock. A filter does
 * not come off: the order of tests counts.
 */
#include "agent/sandbox.h"

#include "agent/shimlink_start.h"
#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/nocall.h"
#include "tests/lib/shimrig.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <errno.h>
#include <linux/landlock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static struct agent_spec spec;

static int landlock(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
                       LANDLOCK_CREATE_RULESET_VERSION);

    return abi > 0 ? (int)abi : 0;
}

/* The layers of this list that this kernel can hold. */
static uint8_t possible(unsigned wanted)
{
    const int abi = landlock();
    unsigned held = wanted;

    if (abi < 1)
        held &= ~(unsigned)SHIM_LAYER_FILES;
    if (abi < 4)
        held &= ~(unsigned)SHIM_LAYER_PORTS;
    if (abi < 6)
        held &= ~(unsigned)SHIM_LAYER_SCOPES;
    return (uint8_t)held;
}

static void spec_is(const char *cage, bool is_shared, const char *rules)
{
    own_json struct json *j = spec_fixture();
    struct err e = {0};

    spec_fini(&spec);
    assert_int_equal(spec_of(j, &spec, &e), 0);
    snprintf(spec.cage, sizeof(spec.cage), "%s", cage);
    spec.is_network_shared = is_shared;
    spec.proxy_rules = rules ? mem_str(rules) : NULL;
}

/* START of a script in that cage; spoil breaks the first filter. */
static void start(struct rig *r, const char *script, bool spoil)
{
    const char *argv[] = {"/bin/bash", "-c", script, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", NULL};
    struct shimlink_start what = {
        .cols = 80, .rows = 24, .cwd = r->dir, .argv = argv, .env = env};
    struct sandbox s;
    struct err e = {0};
    struct buf b;

    assert_int_equal(sandbox_init(&s, &spec, "/usr", r->dir, &e), 0);
    what.cage = &s.cage;
    if (spoil)
        s.calls.code[0].code = 0xffff; /* no instruction */
    buf_init(&b, SHIM_MESSAGE_MAX);
    assert_int_equal(shimlink_start_put(&b, &what), 0);
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    sandbox_fini(&s);
}

/* What the program showed to its end; what holds is the body's. */
static char *run(void **state, const char *script, uint8_t want)
{
    struct rig *r = rig_ready(state, false);
    char *shown;

    start(r, script, false);
    rig_expect(r, SHIM_STARTED);
    assert_int_equal(r->body_len, SHIM_STARTED_BYTES);
    assert_int_equal(r->body[4], possible(want));
    assert_int_equal(r->body[5], landlock());
    rig_expect_exit(r, SHIM_END_CODE, 0);
    shown = rig_terminal(r, NULL);
    return shown;
}

static void refused(void **state, const char *why, bool spoil)
{
    struct rig *r = rig_ready(state, false);
    char text[SHIM_TEXT_MAX + 1] = "";

    start(r, "echo THROUGH", spoil);
    rig_expect(r, SHIM_FAILED);
    memcpy(text, r->body + SHIM_FAILED_BYTES, r->body_len - SHIM_FAILED_BYTES);
    if (!strstr(text, why))
        fail_msg("not \"%s\": %s", why, text);
}

static void says(const char *text, const char *want)
{
    if (!strstr(text, want))
        fail_msg("not \"%s\": %s", want, text);
}

/* --- */

static void in_a_network_of_its_own(void **state)
{
    own_mem char *shown = NULL;

    spec_is("strict", false, NULL);
    if (landlock() == 0) {
        refused(state, "this kernel has no Landlock", false);
        return;
    }
    shown = run(state,
                "cat /var/../sys/kernel/uevent_seqnum; echo x >/usr/x; "
                "echo mine >mine && cat mine; "
                "grep -c . /proc/self/status >/dev/null && echo proc; "
                "grep '^Seccomp:' /proc/self/status; true",
                SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_SCOPES);
    says(shown, "/uevent_seqnum: Permission denied");
    says(shown, "/usr/x: Permission denied");
    says(shown, "mine\r\n");
    says(shown, "proc\r\n");
    says(shown, "Seccomp:\t2");
}

/* Held to the proxy's port where Landlock judges ports; else without any. */
static void in_the_agents_network(void **state)
{
    own_mem char *shown = NULL;

    spec_is("best", true, "{}");
    shown = run(state,
                "(exec 3<>/dev/tcp/127.0.0.1/22) && echo THROUGH; "
                "(exec 3<>/dev/tcp/127.0.0.1/3128) && echo LISTENS; true",
                SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_PORTS |
                    SHIM_LAYER_SCOPES);
    if (landlock() >= 4) {
        says(shown, "22: Permission denied");
        assert_null(strstr(shown, "3128: Permission denied"));
    } else {
        says(shown, "22: Address family not supported");
        says(shown, "3128: Address family not supported");
    }
    assert_null(strstr(shown, "THROUGH"));
}

static void in_it_with_nothing_to_reach(void **state)
{
    own_mem char *shown = NULL;

    spec_is("best", true, NULL);
    shown = run(state, "(exec 3<>/dev/tcp/127.0.0.1/22) && echo THROUGH; true",
                SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_SCOPES);
    says(shown, "22: Address family not supported");
}

static void a_filter_that_is_not_taken(void **state)
{
    spec_is("best", true, NULL);
    refused(state, "this kernel takes no seccomp filter", true);
}

static void what_is_missing_is_told(void **state)
{
    char text[SANDBOX_TEXT_MAX];

    (void)state;
    spec_is("best", true, "{}");
    sandbox_missing(&spec, SHIM_LAYERS_ALL, 7, text);
    assert_string_equal(text, "");
    sandbox_missing(&spec, SHIM_LAYERS_ALL & ~SHIM_LAYER_SCOPES, 5, text);
    assert_string_equal(text, "");
    sandbox_missing(&spec, SHIM_LAYER_CALLS | SHIM_LAYER_FILES, 3, text);
    says(text, "has no network");
    says(text, "too old");
    sandbox_missing(&spec, SHIM_LAYER_CALLS, 0, text);
    says(text, "has no network");
    says(text, "missing");
    sandbox_missing(&spec, 0, 0, text);
    says(text, "not filtered");
    spec_is("best", false, NULL);
    sandbox_missing(&spec, SHIM_LAYER_CALLS, 0, text);
    says(text, "files are not held");
    spec_is("open", false, NULL);
    sandbox_missing(&spec, 0, 0, text);
    assert_string_equal(text, "");
}

static void then_all_of_it_without_landlock(void **state)
{
    (void)state;
    nocall(SYS_landlock_create_ruleset, ENOSYS);
    assert_int_equal(landlock(), 0);
}

/* Named for what they are then. */
static void without_landlock_strictly(void **state)
{
    in_a_network_of_its_own(state);
}

static void without_landlock_there_is_no_network(void **state)
{
    in_the_agents_network(state);
}

static int group_setup(void **state)
{
    return token_setup(state);
}

static int group_teardown(void **state)
{
    spec_fini(&spec);
    return token_teardown(state);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(in_a_network_of_its_own),
        T(in_the_agents_network),
        T(in_it_with_nothing_to_reach),
        T(a_filter_that_is_not_taken),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(then_all_of_it_without_landlock),
        T(without_landlock_strictly),
        T(without_landlock_there_is_no_network),
        T(in_it_with_nothing_to_reach),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
