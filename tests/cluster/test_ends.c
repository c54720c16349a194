/*
 * How a session ends on a real cluster when something goes wrong in its pod or
 * before there is one: each with its own reason, and whoever is attached
 * learns it. What takes minutes is begun first and looked at last.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterquota.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/skipped.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define EVICTED_MS 150000 /* kubelet looks at volumes now and then */
#define AT_ONCE_MS 15000  /* with a pod, or the API's answer */
#define CRASHES_MS 90000  /* kubelet's pauses between three restarts */
#define PULL_MS 240000    /* LAUNCHER_KUBE_PULL_S, and as much again */
#define PENDING_MS 180000
#define LABEL "podterm-tests-later"
#define EVICTED_SAYS "the platform needed its place"
#define NO_IMAGE "localhost/none:1"

/* odd: a controller that is started anew with other flags */
static struct clusterbed *bed, *odd;
static struct stack_bundle ask;
static const char *odd_flags[] = {"--job-template", NULL, NULL, NULL, NULL};
static struct stack_bundle odd_ask;
static char *template_later, *template_never, *template_broken,
    *template_keyless;

/* begun in setup */
static struct clusterbed_process pending, unpulled;
static int64_t pending_from_ms;

/* --- templates --- */

static void make_templates(void)
{
    static const char *const later[][2] = {{"      restartPolicy: Never\n",
                                            "      restartPolicy: Never\n"
                                            "      nodeSelector: {" LABEL
                                            ": \"yes\"}\n"},
                                           {NULL, NULL}};
    static const char *const never[][2] = {
        {"        image: podterm-runner",
         "        imagePullPolicy: Never\n        image: podterm-runner"},
        {NULL, NULL}};
    static const char *const broken[][2] = {
        {"      restartPolicy: Never\n",
         "      restartPolicy: Never\n      tolerations: [{resembles: x}]\n"},
        {NULL, NULL}};
    /* the agent makes its state file, and then has no key: an agent that
     * never can start */
    static const char *const keyless[][2] = {
        {"--key-file=/run/podterm/session/key", "--key-file=/dev/null"},
        {NULL, NULL}};

    template_later = clusterfiles_template(bed, "later", later);
    template_never = clusterfiles_template(bed, "never", never);
    template_broken = clusterfiles_template(bed, "broken", broken);
    template_keyless = clusterfiles_template(bed, "keyless", keyless);
}

/* The odd bed's controller with this template, and agent (NULL: ours). */
static void be_odd(const char *template, const char *agent)
{
    odd_flags[1] = template;
    odd_flags[2] = agent ? "--agent-image" : NULL;
    odd_flags[3] = agent;
    if (!odd) {
        odd = clusterbed_new(NULL, odd_flags);
        return;
    }
    clusterbed_kill(odd, 0, SIGTERM);
    clusterbed_start(odd, 0);
}

/* --- the whole --- */

/* Which node is meant: the first. */
static void label_node(const char *value)
{
    own_json struct json *nodes = NULL;
    own_mem char *body =
        mem_printf("metadata: {labels: {" LABEL ": %s}}", value);
    const struct json *meta;

    assert_int_equal(clusterbed_call(bed, "GET", NULL, &nodes, "/api/v1/nodes"),
                     200);
    meta = json_get(json_at(json_get(nodes, "items"), 0), "metadata");
    assert_int_equal(clusterbed_call(bed, "PATCH", body, NULL,
                                     "/api/v1/nodes/%s",
                                     json_get_str(meta, "name")),
                     200);
}

static void run_client(struct clusterbed *b, struct clusterbed_process *p,
                       const char *who, const struct stack_bundle *bundle,
                       const char *image)
{
    const char *const args[] = {"run",          "--bundle",
                                bundle->url,    "--sha256",
                                bundle->sha256, image ? "--image" : NULL,
                                image,          NULL};

    clusterbed_client(b, p, who, args);
}

static void run_attach(struct clusterbed_process *p, const char *who,
                       const char *sid, const char *more)
{
    clusterbed_client(bed, p, who,
                      (const char *const[]){"attach", sid, more, NULL});
}

static int setup(void **arg)
{
    struct stack_bundle hello;

    (void)arg;
    bed = clusterbed_new(NULL, NULL);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; while read x; do"
                    " echo hello $x $(date +%Y); done",
                    &ask);
    run_client(bed, &unpulled, "una", &ask, NO_IMAGE);
    make_templates();
    be_odd(template_later, NULL);
    clusterbed_pack(odd, "ask", "read x", &odd_ask);
    clusterbed_pack(odd, "hello", "echo hello at last; exit 7", &hello);
    run_client(odd, &pending, "pia", &hello, NULL);
    pending_from_ms = loop_now_ms();
    return 0;
}

static int code_of(struct clusterbed_process *p)
{
    int status;

    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void client_fini(struct clusterbed_process *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    free(p->log);
}

static int teardown(void **arg)
{
    (void)arg;
    if (bed)
        label_node("null");
    client_fini(&pending);
    client_fini(&unpulled);
    clusterbed_free(odd);
    clusterbed_free(bed);
    free(template_later);
    free(template_never);
    free(template_broken);
    free(template_keyless);
    return 0;
}

/* --- a session that is looked at --- */

static void begin(struct clustertalk *t, const struct stack_bundle *b,
                  const char *more, const char *says)
{
    clustertalk_begin(t, bed, "ann", b, more, says);
}

/* The record's end: its reason, and what its detail holds. */
static void ended(struct clusterbed *b, const struct stack_session *ss, int ms,
                  const char *reason, const char *detail)
{
    own_json struct json *j =
        stack_wait(&b->stack, ss->who, ss->sid, "ended", ms);
    own_mem char *text = json_text(j);
    const char *why = json_get_str(j, "detail");

    print_message("%s: %s\n", json_get_str(j, "reason"), why ? why : "");
    if (!json_get_is(j, "reason", reason) ||
        (detail && (!why || !strstr(why, detail))))
        fail_msg("not %s (%s): %s", reason, detail ? detail : "", text);
}

/* --- ends of a running session --- */

/* The agent cannot know why the platform stops it; the record, which
 * `podterm` asks then, does. */
static void told_lost(struct clustertalk *s)
{
    clustertalk_expect(s, NULL);
    assert_string_equal(s->link.reason, "runner_lost");
}

static void an_evicted_pod_is_told_as_that(void **arg)
{
    own_json struct json *pod = NULL;
    own_mem char *body = NULL;
    const char *name;
    struct clusterbed_process viewer = {0};
    struct clustertalk s;

    (void)arg;
    begin(&s, &ask, ",\"viewers\":[\"vic\"]", "name?");
    run_attach(&viewer, "vic", s.ss.sid, "--view");
    clusterbed_said(&viewer, "name?", AT_ONCE_MS);
    pod = clusterbed_pod(bed, s.ss.sid);
    name = json_get_str(json_get(pod, "metadata"), "name");
    body = mem_printf("{apiVersion: policy/v1, kind: Eviction, "
                      "metadata: {name: %s, namespace: %s}}",
                      name, bed->ns);
    assert_int_equal(clusterbed_call(bed, "POST", body, NULL,
                                     "/api/v1/namespaces/%s/pods/%s/eviction",
                                     bed->ns, name),
                     201);
    told_lost(&s);
    ended(bed, &s.ss, CLUSTERBED_GONE_MS, "evicted", "viction");
    clusterbed_said(&viewer, EVICTED_SAYS, AT_ONCE_MS);
    assert_int_equal(code_of(&viewer), 125);
    client_fini(&viewer);
    clusterbed_wait_none(bed, "pods", s.ss.sid);
    clusterbed_wait_none(bed, "secrets", s.ss.sid);
    clustertalk_fini(&s);
}

static void
full_scratch_ends_the_session_as_evicted_and_all_learn_it(void **arg)
{
    struct clusterbed_process owner = {0}, viewer = {0};
    struct stack_bundle fill;
    struct stack_session ss;

    (void)arg;
    clusterbed_pack(bed, "fill",
                    "sleep 5; dd if=/dev/zero of=/tmp/x bs=1M"
                    " count=300 2>/dev/null; echo full; sleep 600",
                    &fill);
    stack_create(&bed->stack, "ann", &fill, ",\"viewers\":[\"bob\"]", &ss);
    run_attach(&owner, "ann", ss.sid, NULL);
    run_attach(&viewer, "bob", ss.sid, "--view");
    clusterbed_said(&owner, "full", CLUSTERBED_START_MS);
    clusterbed_said(&viewer, "full", AT_ONCE_MS);
    ended(bed, &ss, EVICTED_MS, "evicted", "EmptyDir volume \"tmp\"");
    clusterbed_said(&owner, EVICTED_SAYS, AT_ONCE_MS);
    clusterbed_said(&viewer, EVICTED_SAYS, AT_ONCE_MS);
    assert_int_equal(code_of(&owner), 125);
    assert_int_equal(code_of(&viewer), 125);
    client_fini(&owner);
    client_fini(&viewer);
    stack_session_fini(&ss);
}

#define EAT                                                                    \
    "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"           \
    "#include <sys/wait.h>\n#include <unistd.h>\n"                             \
    "static void eat(void)\n{\n"                                               \
    "    for (;;) {\n        char *p = malloc(1 << 20);\n"                     \
    "        if (p)\n            memset(p, 1, 1 << 20);\n    }\n}\n"

static void a_program_that_takes_all_memory_ends_out_of_memory(void **arg)
{
    struct stack_bundle hog;
    struct clustertalk s;

    (void)arg;
    clusterfiles_compile(
        bed, "hog",
        EAT "int main(void)\n{\n    puts(\"up\");\n    fflush(stdout);\n"
            "    getchar();\n    eat();\n}\n",
        &hog);
    begin(&s, &hog, "", "up");
    clustertalk_type(&s, "\n");
    clustertalk_expect(&s, NULL);
    assert_string_equal(s.link.reason, "out_of_memory");
    ended(bed, &s.ss, CLUSTERBED_GONE_MS, "out_of_memory", "memory");
    clustertalk_fini(&s);
}

static void a_child_killed_for_memory_is_not_the_programs_end(void **arg)
{
    struct stack_bundle hog;
    struct clustertalk s;

    (void)arg;
    if (!getenv("PODTERM_CLUSTER"))
        skipped("other kubelets may have the kernel kill all at once");
    clusterfiles_compile(
        bed, "hog-child",
        EAT "int main(void)\n{\n    int status;\n    puts(\"up\");\n"
            "    fflush(stdout);\n    if (fork() == 0)\n        eat();\n"
            "    wait(&status);\n    printf(\"killed by %d\\n\",\n"
            "           WIFSIGNALED(status) ? WTERMSIG(status) : 0);\n"
            "    fflush(stdout);\n    getchar();\n    return 7;\n}\n",
        &hog);
    begin(&s, &hog, "", "killed by 9");
    clustertalk_type(&s, "\n");
    clustertalk_expect(&s, NULL);
    assert_string_equal(s.link.reason, "exited");
    assert_int_equal(s.link.exit_code, 7);
    stack_cut(&s.link);
    ended(bed, &s.ss, CLUSTERBED_GONE_MS, "exited", NULL);
    clustertalk_fini(&s);
}

/* As where the kernel kills a container for memory as one (cgroup v2): nobody
 * is left to tell the agent, and only the platform knows. */
static void a_runner_killed_as_one_for_memory_is_told_as_that(void **arg)
{
    struct clusterbed_process client = {0};
    struct stack_bundle hog;
    struct stack_session ss;
    pid_t shim;

    (void)arg;
    if (!getenv("PODTERM_CLUSTER"))
        skipped("its processes are of other machines");
    clusterfiles_compile(
        bed, "hog-one",
        EAT "int main(void)\n{\n    int status;\n    if (fork() == 0)\n"
            "        eat();\n    wait(&status);\n"
            "    puts(\"now all\");\n    fflush(stdout);\n"
            "    for (;;)\n        pause();\n}\n",
        &hog);
    stack_create(&bed->stack, "ann", &hog, "", &ss);
    run_attach(&client, "ann", ss.sid, NULL);
    clusterbed_said(&client, "now all", CLUSTERBED_START_MS);
    shim = clusterbed_process(bed, ss.sid, "/run/podterm/ipc/shim", NULL);
    assert_true(shim > 0);
    assert_int_equal(kill(shim, SIGKILL), 0); /* PID 1: nobody outlives it */
    assert_int_equal(code_of(&client), 125);
    clusterbed_said(&client, "it used too much memory", 0);
    ended(bed, &ss, CLUSTERBED_GONE_MS, "out_of_memory", "memory");
    client_fini(&client);
    stack_session_fini(&ss);
}

/* The agent of it stays while its pod does not end: kubelet's time. */
static void wait_no_process(const char *uid)
{
    int64_t until = loop_now_ms() + CLUSTERBED_GONE_MS;

    while (clusterbed_process_of(uid, "", NULL) > 0) {
        if (loop_now_ms() > until)
            fail_msg("a process of pod %s is left", uid);
        poll(NULL, 0, 100);
    }
}

/* Its root counts how many there are, and ends: so do all. */
static void a_fork_bomb_that_ends_leaves_no_process(void **arg)
{
    own_json struct json *pod = NULL;
    struct stack_bundle bomb;
    struct clustertalk s;
    const char *uid;

    (void)arg;
    clusterfiles_compile(
        bed, "bomb-ends",
        "#include <stdio.h>\n#include <unistd.h>\n"
        "int main(void)\n{\n    pid_t root = getpid();\n"
        "    dprintf(1, \"up\\n\");\n    getchar();\n"
        "    for (;;) {\n        if (fork() >= 0)\n            continue;\n"
        "        if (getpid() != root)\n            pause();\n"
        "        dprintf(1, \"no more\\n\");\n        getchar();\n"
        "        return 9;\n    }\n}\n",
        &bomb);
    begin(&s, &bomb, "", "up");
    pod = clusterbed_pod(bed, s.ss.sid);
    uid = json_get_str(json_get(pod, "metadata"), "uid");
    clustertalk_type(&s, "\n");
    clustertalk_expect(&s, "no more");
    if (getenv("PODTERM_CLUSTER"))
        assert_true(clusterbed_process_of(uid, "bin/prog", NULL) > 0);
    clustertalk_type(&s, "\n");
    clustertalk_expect(&s, NULL);
    assert_string_equal(s.link.reason, "exited");
    assert_int_equal(s.link.exit_code, 9);
    ended(bed, &s.ss, CLUSTERBED_GONE_MS, "exited", NULL);
    wait_no_process(uid);
    clustertalk_fini(&s);
}

static void a_fork_bomb_is_bounded_and_troubles_nobody_else(void **arg)
{
    struct stack_bundle bomb;
    struct clustertalk s, other;

    (void)arg;
    clusterfiles_compile(bed, "bomb",
                         "#include <stdio.h>\n#include <unistd.h>\n"
                         "int main(void)\n{\n    pid_t root = getpid();\n"
                         "    int told = 0;\n    for (;;) {\n"
                         "        if (fork() >= 0)\n            continue;\n"
                         "        if (getpid() == root && !told++)\n"
                         "            dprintf(1, \"no more\\n\");\n"
                         "        usleep(200000);\n    }\n}\n",
                         &bomb);
    begin(&other, &ask, "", "name?");
    begin(&s, &bomb, "", "no more");
    /* (the answer needs a process of its own) */
    clustertalk_type(&other, "ann\n");
    clustertalk_expect(&other, "hello ann 2");
    assert_int_equal(stack_delete(&bed->stack, "ann", s.ss.sid), 202);
    clustertalk_expect(&s, NULL);
    assert_string_equal(s.link.reason, "deleted");
    ended(bed, &s.ss, CLUSTERBED_GONE_MS, "deleted", NULL);
    clusterbed_wait_none(bed, "pods", s.ss.sid);
    clustertalk_type(&other, "bob\n");
    clustertalk_expect(&other, "hello bob 2");
    assert_int_equal(stack_delete(&bed->stack, "ann", other.ss.sid), 202);
    clustertalk_fini(&s);
    clustertalk_fini(&other);
}

/* --- ends before there is a program --- */

/* A session of the odd bed as it is now. */
static void fails_to_start(const char *more, int ms, const char *detail)
{
    int64_t begun_ms = loop_now_ms();
    struct stack_session ss;

    stack_create(&odd->stack, "ann", &odd_ask, more, &ss);
    ended(odd, &ss, ms, "start_failed", detail);
    print_message("after %lld ms\n", (long long)(loop_now_ms() - begun_ms));
    clusterbed_wait_nothing(odd, ss.sid);
    stack_session_fini(&ss);
}

static void an_image_the_node_has_not_and_may_not_pull_is_named(void **arg)
{
    (void)arg;
    be_odd(template_never, NULL);
    fails_to_start(",\"image\":\"" NO_IMAGE "\"", AT_ONCE_MS,
                   "ErrImageNeverPull");
}

static void a_job_the_api_refuses_ends_at_once_in_words(void **arg)
{
    (void)arg;
    be_odd(template_broken, NULL);
    fails_to_start("", AT_ONCE_MS, "The cluster refuses the session's Job");
}

static void an_agent_that_always_crashes_is_named(void **arg)
{
    (void)arg;
    be_odd(odd->template, getenv("PODTERM_RUNNER_IMAGE"));
    fails_to_start("", CRASHES_MS, "CrashLoopBackOff");
}

static void an_agent_that_cannot_start_says_why_at_once(void **arg)
{
    (void)arg;
    be_odd(template_keyless, NULL);
    fails_to_start("", AT_ONCE_MS,
                   "agent could not start: --key-fd 3: 32 bytes");
}

/* A quota of none of these, and a session that waits meanwhile, saying so. */
static void waits_for(const char *quota_of, const char *says)
{
    struct clusterbed_process client = {0};
    struct stack_bundle quick;

    clusterbed_pack(bed, "quick", "exit 7", &quick);
    clusterquota_none_of(bed, quota_of);
    run_client(bed, &client, "quinn", &quick, NULL);
    clusterbed_said(&client, "waiting", AT_ONCE_MS);
    clusterbed_said(&client, says, AT_ONCE_MS);
    clusterquota_lift(bed);
    assert_int_equal(code_of(&client), 7);
    client_fini(&client);
}

static void a_session_waits_while_the_quota_is_used_up(void **arg)
{
    (void)arg;
    waits_for("count/jobs.batch", "exceeded quota");
}

/* The Job is made; what the cluster says of its pod we may not read. */
static void a_session_waits_while_no_pod_may_be_made(void **arg)
{
    (void)arg;
    waits_for("pods", "NoPod: its Job has no pod yet");
}

/* --- what was begun first --- */

static void an_image_that_cannot_be_pulled_is_told_and_then_the_end(void **arg)
{
    (void)arg;
    clusterbed_said(&unpulled, "ErrImagePull", AT_ONCE_MS);
    clusterbed_said(&unpulled, "cannot be started", PULL_MS);
    clusterbed_said(&unpulled, NO_IMAGE, 0);
    assert_int_equal(code_of(&unpulled), 125);
}

static void a_pod_pending_for_minutes_is_attached_by_itself(void **arg)
{
    int64_t left_ms = pending_from_ms + PENDING_MS - loop_now_ms();

    (void)arg;
    clusterbed_said(&pending, "Unschedulable", AT_ONCE_MS);
    if (left_ms > 0)
        poll(NULL, 0, (int)left_ms);
    assert_int_equal(waitpid(pending.pid, NULL, WNOHANG), 0);
    label_node("'yes'");
    clusterbed_said(&pending, "hello at last", CLUSTERBED_START_MS);
    assert_int_equal(code_of(&pending), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_evicted_pod_is_told_as_that),
        cmocka_unit_test(
            full_scratch_ends_the_session_as_evicted_and_all_learn_it),
        cmocka_unit_test(a_program_that_takes_all_memory_ends_out_of_memory),
        cmocka_unit_test(a_child_killed_for_memory_is_not_the_programs_end),
        cmocka_unit_test(a_runner_killed_as_one_for_memory_is_told_as_that),
        cmocka_unit_test(a_fork_bomb_that_ends_leaves_no_process),
        cmocka_unit_test(a_fork_bomb_is_bounded_and_troubles_nobody_else),
        cmocka_unit_test(an_image_the_node_has_not_and_may_not_pull_is_named),
        cmocka_unit_test(a_job_the_api_refuses_ends_at_once_in_words),
        cmocka_unit_test(an_agent_that_always_crashes_is_named),
        cmocka_unit_test(an_agent_that_cannot_start_says_why_at_once),
        cmocka_unit_test(a_session_waits_while_the_quota_is_used_up),
        cmocka_unit_test(a_session_waits_while_no_pod_may_be_made),
        cmocka_unit_test(
            an_image_that_cannot_be_pulled_is_told_and_then_the_end),
        cmocka_unit_test(a_pod_pending_for_minutes_is_attached_by_itself),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
