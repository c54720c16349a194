/* What is made of a pod, as the Kubernetes API shows one at each turn. */
#include "controller/podview.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SID "abcdefghijklmnopqrstuvwxyz"
#define META "metadata: {uid: 1b2c, labels: {podterm.dev/session: " SID "}}\n"
#define REPORT(reason)                                                         \
    "'{\"v\":1,\"reason\":\"" reason "\",\"exit_code\":7,\"started_ms\":100,"  \
    "\"ended_ms\":200}'"
#define AGENT(state) "  initContainerStatuses:\n  - name: agent\n" state
#define RUNNER(state)                                                          \
    "  containerStatuses:\n  - name: other\n    state: {running: {}}\n"        \
    "  - name: runner\n" state

static struct podview view(const char *status)
{
    own_mem char *text = mem_printf(META "status:\n%s", status);
    struct podview v;
    struct err e = {0};
    own_json struct json *pod = yaml_parse(text, strlen(text), &e);

    if (!pod || podview_of(pod, &v, &e) < 0)
        fail_msg("%s", e.text);
    assert_string_equal(v.sid, SID);
    assert_string_equal(v.uid, "1b2c");
    return v;
}

static struct launch_end ending(const struct podview *v, enum end_reason wanted)
{
    struct launch_end end;

    podview_end(v, wanted, "We wanted it.", 1000, &end);
    return end;
}

static void its_way_to_a_running_program_is_seen(void **arg)
{
    struct podview v = view("  phase: Pending\n");

    (void)arg;
    assert_false(v.is_scheduled || v.is_listening || v.is_running || v.is_over);
    assert_string_equal(v.waits_for, "");
    v = view("  phase: Pending\n"
             "  conditions: [{type: PodScheduled, status: 'True'}]\n" AGENT(
                 "    state: {waiting: {reason: PodInitializing}}\n"));
    assert_true(v.is_scheduled);
    assert_string_equal(v.waits_for, "");
    /* started, but without an address it cannot be dialled */
    v = view(AGENT("    started: true\n    state: {running: {}}\n"));
    assert_false(v.is_listening);
    v = view("  podIP: 10.1.2.3\n" AGENT(
        "    started: true\n    ready: false\n    state: {running: {}}\n")
                 RUNNER("    state: {running: {}}\n"));
    assert_true(v.is_listening && v.is_pulled);
    assert_false(v.is_running);
    assert_string_equal(v.ip, "10.1.2.3");
    v = view("  podIP: 10.1.2.3\n" AGENT(
        "    started: true\n    ready: true\n    restartCount: 3\n")
                 RUNNER("    state: {running: {}}\n"));
    assert_true(v.is_running);
    assert_int_equal(v.agent_restarts, 3);
}

static void why_it_waits_is_told(void **arg)
{
    struct podview v =
        view("  conditions: [{type: PodScheduled, status: 'False',"
             " reason: Unschedulable, message: 0/3 nodes are available}]\n");

    (void)arg;
    assert_false(v.is_scheduled || v.is_stuck);
    assert_string_equal(v.waits_for, "Unschedulable");
    assert_string_equal(v.waits_why, "0/3 nodes are available");
    v = view(RUNNER("    state: {waiting: {reason: ImagePullBackOff,"
                    " message: Back-off}}\n"));
    assert_string_equal(v.waits_for, "ImagePullBackOff");
    assert_false(v.is_stuck);
    v = view(RUNNER("    state: {waiting: {reason: ErrImageNeverPull}}\n"));
    assert_true(v.is_stuck);
    v = view(AGENT("    restartCount: 5\n"
                   "    state: {waiting: {reason: CrashLoopBackOff}}\n"));
    assert_string_equal(v.waits_for, "CrashLoopBackOff");
    assert_int_equal(v.agent_restarts, 5);
}

static void an_agent_that_dies_again_and_again_is_told(void **arg)
{
    struct podview v = view(AGENT("    started: false\n    restartCount: 0\n"
                                  "    state: {terminated: {exitCode: 2}}\n"));

    (void)arg;
    assert_string_equal(v.waits_for, "");
    v = view(AGENT("    restartCount: 1\n    state: {terminated:"
                   " {exitCode: 2, reason: Error}}\n"));
    assert_string_equal(v.waits_for, "CrashLoopBackOff");
    assert_string_equal(v.waits_why, "the agent ended with code 2, Error");
    assert_false(v.is_stuck);
    v = view(AGENT("    restartCount: 3\n    state: {running: {}}\n"
                   "    lastState: {terminated: {exitCode: 2}}\n"));
    assert_string_equal(v.waits_for, "CrashLoopBackOff");
    /* one that is back has got over it */
    v = view("  podIP: 10.1.2.3\n" AGENT(
        "    started: true\n    restartCount: 1\n    state: {running: {}}\n"
        "    lastState: {terminated: {exitCode: 2}}\n"));
    assert_string_equal(v.waits_for, "");
}

static void a_programs_own_end_is_the_reports(void **arg)
{
    struct podview v = view("  phase: Succeeded\n" AGENT(
        "    state: {terminated: {exitCode: 0, message: " REPORT(
            "exited") "}}\n") RUNNER("    state: {terminated: {exitCode: 0,"
                                     " reason: OOMKilled}}\n"));
    struct launch_end end = ending(&v, REASON_DELETED);

    (void)arg;
    assert_true(v.is_over && v.has_report);
    /* a child was killed for memory, and the program dealt with it */
    assert_false(v.is_out_of_memory);
    assert_int_equal(end.reason, REASON_EXITED);
    assert_int_equal(end.exit_code, 7);
    assert_int_equal(end.ended_ms, 200);
}

static void the_platforms_word_comes_before_a_report(void **arg)
{
    struct podview v = view("  phase: Failed\n" AGENT(
        "    state: {terminated: {exitCode: 0, message: " REPORT(
            "exited") "}}\n") RUNNER("    state: {terminated: {exitCode: 137,"
                                     " reason: OOMKilled}}\n"));
    struct launch_end end = ending(&v, REASON_NONE);

    (void)arg;
    assert_true(v.is_out_of_memory);
    assert_true(v.runner.is_signalled);
    assert_int_equal(v.runner.value, 9);
    assert_int_equal(end.reason, REASON_OUT_OF_MEMORY);
    assert_false(end.has_exit);
    assert_int_equal(end.started_ms, 100); /* what it was told is kept */
    end = ending(&v, REASON_DELETED);
    assert_int_equal(end.reason, REASON_DELETED);
    v = view("  phase: Failed\n  reason: Evicted\n"
             "  message: Usage of EmptyDir volume exceeds the limit\n" RUNNER(
                 "    state: {terminated: {exitCode: 72}}\n"));
    end = ending(&v, REASON_NONE);
    assert_int_equal(end.reason, REASON_EVICTED);
    assert_string_equal(end.detail,
                        "Usage of EmptyDir volume exceeds the limit");
    assert_int_equal(end.ended_ms, 1000);
    v = view(
        "  conditions: [{type: DisruptionTarget, status: 'True'}]\n" RUNNER(
            "    state: {terminated: {exitCode: 72}}\n"));
    assert_int_equal(ending(&v, REASON_NONE).reason, REASON_EVICTED);
    v = view("  conditions: [{type: DisruptionTarget, status: 'True',"
             " message: 'Eviction API: evicting'}]\n" RUNNER(
                 "    state: {terminated: {exitCode: 72}}\n"));
    assert_string_equal(ending(&v, REASON_NONE).detail,
                        "Eviction API: evicting");
}

static void what_left_no_report_is_lost_unless_we_wanted_it(void **arg)
{
    struct podview v = view("  phase: Failed\n" RUNNER(
        "    state: {terminated: {exitCode: 71}}\n"));

    (void)arg;
    assert_int_equal(ending(&v, REASON_NONE).reason, REASON_RUNNER_LOST);
    assert_int_equal(ending(&v, REASON_DELETED).reason, REASON_DELETED);
    v = view("  phase: Failed\n");
    assert_int_equal(ending(&v, REASON_NONE).reason, REASON_RUNNER_LOST);
    v = view(AGENT("    state: {terminated: {exitCode: 1,"
                   " message: panic}}\n"));
    assert_false(v.has_report);
    /* of an agent that is back, the last one's word counts */
    v = view(AGENT("    state: {running: {}}\n    lastState: {terminated:"
                   " {message: " REPORT("bundle_refused") "}}\n"));
    assert_true(v.has_report);
}

static void what_is_no_pod_of_ours_is_refused(void **arg)
{
    static const char *const bad[] = {
        "status: {}",
        "metadata: {uid: x}",
        "metadata: {labels: {podterm.dev/session: " SID "}}",
        "metadata: {uid: '', labels: {podterm.dev/session: " SID "}}",
        "metadata: {uid: x, labels: {podterm.dev/session: ../../etc}}",
        "metadata: {uid: x, labels: {podterm.dev/session: 7}}",
        "metadata: {uid: 7, labels: {podterm.dev/session: " SID "}}",
        "metadata: {uid: x123456789012345678901234567890123456789012345678901"
        "234567890123, labels: {podterm.dev/session: " SID "}}",
    };
    struct podview v;
    struct err e = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        own_json struct json *pod = yaml_parse(bad[i], strlen(bad[i]), &e);

        if (!pod)
            fail_msg("%s: %s", bad[i], e.text);
        assert_int_equal(podview_of(pod, &v, &e), -1);
        assert_int_equal(e.kind, ERR_INPUT);
    }
    assert_int_equal(podview_of(NULL, &v, &e), -1);
}

/* By its owner: labels are written by whoever may. */
static void whose_pod_it_is_its_owner_says(void **arg)
{
    static const struct {
        const char *owner, *job, *uid;
    } cases[] = {
        {"{kind: Job, name: j, uid: u, controller: true}", "j", "u"},
        {"{kind: Job, name: j, uid: u, controller: false}", "", ""},
        {"{kind: Job, name: j, uid: u}", "", ""},
        {"{kind: ReplicaSet, name: j, uid: u, controller: true}", "", ""},
        {"Job", "", ""},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        own_mem char *text = mem_printf(
            "metadata:\n  name: p\n  uid: x\n  labels: {" PODVIEW_POOL ": a, "
            "batch.kubernetes.io/job-name: b, "
            "batch.kubernetes.io/controller-uid: c}\n"
            "  ownerReferences:\n  - %s\n",
            cases[i].owner);
        struct podview v;
        struct err e = {0};
        own_json struct json *pod = yaml_parse(text, strlen(text), &e);

        assert_int_equal(podview_of(pod, &v, &e), 0);
        assert_string_equal(v.job, cases[i].job);
        assert_string_equal(v.job_uid, cases[i].uid);
    }
}

static void members_of_another_type_are_absent(void **arg)
{
    struct podview v = view("  phase: 7\n  podIP: [x]\n  conditions: {a: b}\n"
                            "  initContainerStatuses: agent\n"
                            "  containerStatuses:\n  - runner\n"
                            "  - name: runner\n    state: terminated\n");

    (void)arg;
    assert_false(v.is_over || v.is_listening || v.runner.is_known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_way_to_a_running_program_is_seen),
        cmocka_unit_test(why_it_waits_is_told),
        cmocka_unit_test(an_agent_that_dies_again_and_again_is_told),
        cmocka_unit_test(a_programs_own_end_is_the_reports),
        cmocka_unit_test(the_platforms_word_comes_before_a_report),
        cmocka_unit_test(what_left_no_report_is_lost_unless_we_wanted_it),
        cmocka_unit_test(what_is_no_pod_of_ours_is_refused),
        cmocka_unit_test(whose_pod_it_is_its_owner_says),
        cmocka_unit_test(members_of_another_type_are_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
