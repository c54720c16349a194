/*
 * Every right that is shipped is needed: the controller runs with each of them
 * taken away, does not come as far as it should, and says which it misses;
 * when it is given back, the same controller goes on. The rights are read out
 * of infra/k8s/base/rbac.yaml: one without a test here is one too many.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterrights.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/tree.h"

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

#define SAID_MAX (1 << 20)
#define POLL_MS 50
#define JOBS "/apis/batch/v1/namespaces/%s/jobs"
#define LEASE "podterm-controller"

static struct clusterbed *bed;
static struct kube *user; /* as who the controller is */
static struct stack_bundle quick, ask;
static char *template_nowhere;
/* the test's */
static const struct clusterright *lost;
static struct stack_session session;
static int told; /* how often its loss was */

/* --- waiting --- */

static void wait_until(bool (*is_so)(void), const char *what)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    while (!is_so()) {
        if (loop_now_ms() > until) {
            size_t len;
            own_mem char *log = tree_get(bed->controllers[0].log, &len);

            fail_msg("%s: it is not so that %s: %s", lost ? lost->resource : "",
                     what, log);
        }
        poll(NULL, 0, POLL_MS);
    }
}

/* --- what there is in the namespace --- */

static int count(const char *api, const char *resource)
{
    own_json struct json *all = NULL;

    assert_int_equal(clusterbed_call(bed, "GET", NULL, &all,
                                     "/%s/namespaces/%s/%s", api, bed->ns,
                                     resource),
                     200);
    return (int)json_count(json_get(all, "items"));
}

static bool has_job(void)
{
    return count("apis/batch/v1", "jobs") > 0;
}

static bool has_no_job(void)
{
    return !has_job();
}

static bool has_secret(void)
{
    return count("api/v1", "secrets") > 0;
}

static bool has_no_secret(void)
{
    return !has_secret();
}

static bool has_no_pod(void)
{
    return count("api/v1", "pods") == 0;
}

static bool has_marked_pod(void)
{
    return clusterbed_count(bed, "pods", session.sid) == 1;
}

static bool has_ready_warm_pod(void)
{
    return clusterbed_warm(bed, true) == 1;
}

static bool has_unscheduled_pod(void)
{
    own_json struct json *pod = clusterbed_pod(bed, session.sid);

    return json_get_is(
        json_find(json_get(json_get(pod, "status"), "conditions"), "type",
                  "PodScheduled"),
        "reason", "Unschedulable");
}

static bool shows_unschedulable(void)
{
    own_json struct json *j = stack_get(&bed->stack, "ann", session.sid);
    own_mem char *text = json_text(j);

    return strstr(text, "Unschedulable") != NULL;
}

/* --- the rights as they are --- */

/* By the API server's own word: a change takes its time to arrive there. */
static bool is_allowed(void)
{
    own_json struct json *body = json_object(), *answer = NULL;
    struct json *what = json_set(json_set(body, "spec", json_object()),
                                 "resourceAttributes", json_object());
    const char *name = clusterrights_name(lost);
    struct kube_call call = {
        .method = "POST",
        .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        .body = body};
    struct err e = {0};
    bool is = false;

    json_set_str(what, "namespace", bed->ns);
    json_set_str(what, "verb", lost->verb);
    json_set_str(what, "group", lost->group);
    json_set_str(what, "resource", lost->resource);
    if (name)
        json_set_str(what, "name", name);
    if (kube_do(user, &call, &answer, &e) != 201)
        fail_msg("%s", e.text);
    json_get_bool(json_get(answer, "status"), "allowed", &is);
    return is;
}

static bool is_forbidden(void)
{
    return !is_allowed();
}

static void give_back(void)
{
    clusterrights_set(bed, NULL);
    wait_until(is_allowed, "the right is back");
}

/* --- the controller --- */

/* How often it said that it misses this right; it may miss no other. */
static int times_told(void)
{
    static const char who[] = ":podterm-controller\\\" cannot ";
    own_mem char *what =
        mem_printf("%s resource \\\"%s\\\"", lost->verb, lost->resource);
    size_t len;
    own_mem char *log = tree_get(bed->controllers[0].log, &len);
    int n = 0;

    for (const char *at = log; (at = strstr(at, who)); n++) {
        at += strlen(who);
        if (strncmp(at, what, strlen(what)) != 0)
            fail_msg("another right is missing: %.100s", at);
    }
    return n;
}

static bool is_told(void)
{
    return times_told() > told;
}

/* It tried, once more, and was refused. */
static void is_refused(void)
{
    told = times_told();
    wait_until(is_told, "its log names the right that is missing");
}

static void start(const char *const *flags)
{
    bed->more = flags;
    clusterbed_start(bed, 0);
}

/* With a template whose pods find no node: most need none. */
static void start_nowhere(void)
{
    static const char *flags[] = {"--job-template", NULL, NULL};

    flags[1] = template_nowhere;
    start(flags);
}

static void create(const struct stack_bundle *b)
{
    stack_create(&bed->stack, "ann", b, "", &session);
}

/* --- a right each --- */

static void no_job_is_made(void)
{
    start_nowhere();
    create(&quick);
    is_refused();
    assert_true(has_no_job());
    give_back();
    wait_until(has_job, "there is a Job");
}

/* A Job that lost its Secret's creation is found again by its name. */
static void a_job_that_was_made_is_not_found_again(void)
{
    static const char quota[] =
        "{metadata: {name: full}, spec: {hard: {count/secrets: 0}}}";
    static const char one[] = "{metadata: {name: one}}";
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    assert_int_equal(clusterbed_call(bed, "POST", quota, NULL,
                                     "/api/v1/namespaces/%s/resourcequotas",
                                     bed->ns),
                     201);
    while (clusterbed_call(bed, "POST", one, NULL,
                           "/api/v1/namespaces/%s/secrets?dryRun=All",
                           bed->ns) != 403) {
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, POLL_MS);
    }
    start_nowhere();
    create(&quick);
    wait_until(has_job, "there is a Job");
    is_refused();
    assert_int_equal(
        clusterbed_call(bed, "DELETE", NULL, NULL,
                        "/api/v1/namespaces/%s/resourcequotas/full", bed->ns),
        200);
    is_refused(); /* with room, too */
    assert_true(has_no_secret());
    give_back();
    wait_until(has_secret, "there is a Secret");
}

static void no_controller_starts(void)
{
    int status;

    bed->more = NULL;
    clusterbed_launch(bed, 0);
    assert_int_equal(waitpid(bed->controllers[0].pid, &status, 0),
                     bed->controllers[0].pid);
    bed->controllers[0].pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILURE);
    assert_int_equal(times_told(), 1);
    give_back();
    start(NULL);
}

/* A pod that stays is one more sign of life than its Job's watch has. */
static void a_warm_job_that_goes_is_not_replaced(void)
{
    static const char *flags[] = {"--job-template", NULL, "--warm-target", "1",
                                  NULL};
    own_json struct json *all = NULL;
    const char *name;

    flags[1] = template_nowhere;
    start(flags);
    wait_until(has_job, "there is a Job");
    is_refused();
    assert_int_equal(clusterbed_call(bed, "GET", NULL, &all, JOBS, bed->ns),
                     200);
    name = json_get_str(
        json_get(json_at(json_get(all, "items"), 0), "metadata"), "name");
    assert_int_equal(clusterbed_call(bed, "DELETE", NULL, NULL,
                                     JOBS "/%s?propagationPolicy=Orphan",
                                     bed->ns, name),
                     200);
    wait_until(has_no_job, "the Job is gone");
    is_refused();
    assert_true(has_no_job());
    give_back();
    wait_until(has_job, "there is another Job");
}

static void a_deleted_sessions_job_stays(void)
{
    start_nowhere();
    create(&quick);
    wait_until(has_secret, "there is a Secret"); /* else it is not begun */
    assert_int_equal(stack_delete(&bed->stack, "ann", session.sid), 202);
    is_refused();
    assert_true(has_job());
    give_back();
    wait_until(has_no_job, "the Job is gone");
}

static void a_pod_is_not_seen(void)
{
    start_nowhere();
    is_refused(); /* what there was is listed */
    create(&quick);
    wait_until(has_unscheduled_pod, "the pod finds no node");
    is_refused();
    assert_false(shows_unschedulable());
    give_back();
    wait_until(shows_unschedulable, "its owner learns it");
}

static void a_warm_pod_is_not_marked(void)
{
    static const char *const flags[] = {"--warm-target", "1", NULL};
    struct stack_link l = {0};
    struct buf said;

    buf_init(&said, SAID_MAX);
    start(flags);
    wait_until(has_ready_warm_pod, "a warm pod is ready");
    create(&ask);
    clusterbed_attach(bed, &l, &session, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    is_refused();
    assert_false(has_marked_pod());
    give_back();
    wait_until(has_marked_pod, "the pod says whose it is");
    stack_cut(&l);
    buf_fini(&said);
}

static void a_job_has_no_secret(void)
{
    start_nowhere();
    create(&quick);
    is_refused();
    assert_true(has_job());
    assert_true(has_no_secret());
    give_back();
    wait_until(has_secret, "there is a Secret");
}

static void the_secret_outlives_its_session(void)
{
    struct stack_link l = {0};
    struct buf said;

    buf_init(&said, SAID_MAX);
    start(NULL);
    create(&quick);
    clusterbed_attach(bed, &l, &session, 0);
    clusterbed_expect(bed, &l, &said, NULL);
    stack_cut(&l);
    is_refused();
    assert_true(has_secret());
    give_back();
    wait_until(has_no_secret, "the Secret is gone");
    assert_true(has_job()); /* it was not the Job that took it along */
    buf_fini(&said);
}

/* Whoever does not lead tells so once, and answers as who does. */
static void nobody_leads(void)
{
    start_nowhere();
    wait_until(is_told, "its log names the right that is missing");
    create(&quick);
    clusterbed_kill(bed, 0, SIGTERM);
    told = times_told();
    start_nowhere();
    wait_until(is_told, "it is named again");
    assert_true(has_no_job());
    give_back();
    wait_until(has_job, "there is a Job");
}

static void nobody_makes_the_lease(void)
{
    assert_int_equal(clusterbed_call(bed, "DELETE", NULL, NULL,
                                     "/apis/coordination.k8s.io/v1/namespaces/"
                                     "%s/leases/" LEASE,
                                     bed->ns),
                     200);
    nobody_leads();
}

static const struct clusterright rights[] = {
    {"create", "jobs", "batch", no_job_is_made},
    {"get", "jobs", "batch", a_job_that_was_made_is_not_found_again},
    {"list", "jobs", "batch", no_controller_starts},
    {"watch", "jobs", "batch", a_warm_job_that_goes_is_not_replaced},
    {"delete", "jobs", "batch", a_deleted_sessions_job_stays},
    {"list", "pods", "", no_job_is_made}, /* nothing is taken up before */
    {"watch", "pods", "", a_pod_is_not_seen},
    {"patch", "pods", "", a_warm_pod_is_not_marked},
    {"create", "secrets", "", a_job_has_no_secret},
    {"delete", "secrets", "", the_secret_outlives_its_session},
    {"create", "leases", "coordination.k8s.io", nobody_makes_the_lease},
    {"get", "leases", "coordination.k8s.io", nobody_leads},
    {"update", "leases", "coordination.k8s.io", nobody_leads},
};
#define RIGHTS (sizeof rights / sizeof *rights)

/* --- before and after each --- */

static int lose(void **arg)
{
    lost = *arg;
    told = 0;
    clusterrights_set(bed, lost);
    wait_until(is_forbidden, "the right is gone");
    return 0;
}

static void empty(const char *api, const char *resource, bool (*is_empty)(void))
{
    assert_int_equal(clusterbed_call(bed, "DELETE", NULL, NULL,
                                     "/%s/namespaces/%s/%s"
                                     "?propagationPolicy=Background"
                                     "&gracePeriodSeconds=0",
                                     api, bed->ns, resource),
                     200);
    wait_until(is_empty, "nothing is left");
}

/* No session, no object and no line is left for the next one to meet. */
static int leave(void **arg)
{
    (void)arg;
    give_back();
    if (session.sid[0]) {
        stack_delete(&bed->stack, "ann", session.sid);
        json_free(stack_wait(&bed->stack, "ann", session.sid, "ended",
                             CLUSTERBED_GONE_MS));
        stack_session_fini(&session);
    }
    memset(&session, 0, sizeof session);
    clusterbed_kill(bed, 0, SIGTERM);
    assert_int_equal(truncate(bed->controllers[0].log, 0), 0);
    empty("apis/batch/v1", "jobs", has_no_job);
    empty("api/v1", "secrets", has_no_secret);
    empty("api/v1", "pods", has_no_pod);
    lost = NULL;
    return 0;
}

static void is_needed(void **arg)
{
    (void)arg;
    lost->test();
}

static void has_a_test(const char *verb, const char *resource,
                       const char *group)
{
    for (size_t i = 0; i < RIGHTS; i++)
        if (strcmp(rights[i].group, group) == 0 &&
            strcmp(rights[i].resource, resource) == 0 &&
            strcmp(rights[i].verb, verb) == 0)
            return;
    fail_msg("nothing is known to need %s of %s", verb, resource);
}

static void every_right_that_is_shipped_is_tested(void **arg)
{
    (void)arg;
    assert_int_equal(clusterrights_each(has_a_test), RIGHTS);
}

/* --- all of it --- */

static int setup(void **arg)
{
    static const char *const nowhere[][2] = {
        {"      restartPolicy: Never\n",
         "      restartPolicy: Never\n"
         "      nodeSelector: {podterm-tests-nowhere: \"yes\"}\n"},
        {NULL, NULL}};
    struct kube_conf conf = {0};
    struct err e = {0};

    (void)arg;
    clusterrights_load();
    bed = clusterbed_new(NULL, NULL);
    if (kube_conf_file(bed->user, &conf, &e) < 0)
        fail_msg("%s", e.text);
    user = kube_new(&conf);
    template_nowhere = clusterfiles_template(bed, "nowhere", nowhere);
    clusterbed_pack(bed, "quick", "exit 7", &quick);
    clusterbed_pack(bed, "ask", "printf 'name? '; read x", &ask);
    clusterbed_kill(bed, 0, SIGTERM);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kube_free(user);
    clusterbed_free(bed);
    clusterrights_free();
    free(template_nowhere);
    return 0;
}

int main(void)
{
    struct CMUnitTest tests[RIGHTS + 1];
    char names[RIGHTS][64];

    for (size_t i = 0; i < RIGHTS; i++) {
        snprintf(names[i], sizeof names[i], "without_%s_of_%s", rights[i].verb,
                 rights[i].resource);
        tests[i] = (struct CMUnitTest){names[i], is_needed, lose, leave,
                                       (void *)(uintptr_t)&rights[i]};
    }
    tests[RIGHTS] = (struct CMUnitTest)cmocka_unit_test(
        every_right_that_is_shipped_is_tested);
    return CLUSTERRUN(tests, setup, teardown);
}
