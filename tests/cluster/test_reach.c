/*
 * The NetworkPolicies of infra/k8s by real connections, on a cluster whose
 * network enforces them; tests/cluster/test_policies judges every pair without
 * one. Each connection is tried before they hold too, so that one that is
 * refused then is refused by them.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/manifests.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define HOLD_MS 30000 /* for a network to learn of a policy */
#define GATEWAY "app.kubernetes.io/name: podterm-gateway"
#define CONTROLLER "app.kubernetes.io/name: podterm-controller"
#define STRANGER "app: stranger"
#define SESSION "podterm.dev/tests: session"

enum place { SESSIONS, FRONT, ELSEWHERE };

struct pair {
    enum place from;
    const char *label;
    bool is_to_api; /* else to a session's pod */
    int port;
    bool is_open;
};

static const struct pair pairs[] = {
    {FRONT, GATEWAY, false, 7440, true},
    {FRONT, CONTROLLER, false, 7440, true},
    {FRONT, STRANGER, false, 7440, false},
    {ELSEWHERE, GATEWAY, false, 7440, false},
    {SESSIONS, SESSION, false, 7440, false},
    {FRONT, GATEWAY, false, 7441, false},
    {SESSIONS, SESSION, true, 443, false},
};
#define PAIR_COUNT (sizeof pairs / sizeof *pairs)

static struct clusterbed *bed;
static char *front, *elsewhere, *agent_ip, *api_ip;

static const char *namespace_of(enum place place)
{
    return place == SESSIONS ? bed->ns : place == FRONT ? front : elsewhere;
}

/* --- a connection --- */

static char *pod_body(const struct pair *p)
{
    return mem_printf(
        "{metadata: {generateName: reach-, labels: {%s}}, spec: {"
        "restartPolicy: Never, automountServiceAccountToken: false, "
        "securityContext: {runAsNonRoot: true, runAsUser: 10002, "
        "seccompProfile: {type: RuntimeDefault}}, "
        "containers: [{name: reach, image: '%s', "
        "imagePullPolicy: IfNotPresent, "
        "command: [timeout, '5', bash, '-c', 'exec 3<>/dev/tcp/%s/%d'], "
        "resources: {requests: {cpu: 5m, memory: 16Mi, "
        "ephemeral-storage: 16Mi}, limits: {cpu: 500m, memory: 64Mi, "
        "ephemeral-storage: 64Mi}}, "
        "securityContext: {allowPrivilegeEscalation: false, "
        "readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}}]}}",
        p->label, getenv("PODTERM_RUNNER_IMAGE"),
        p->is_to_api ? api_ip : agent_ip, p->port);
}

/* Did it end well? The pod is removed. */
static bool pod_went_well(const char *ns, const char *name)
{
    const int64_t until = loop_now_ms() + CLUSTERBED_START_MS;
    bool went_well = false;

    for (;;) {
        own_json struct json *pod = NULL;
        const struct json *status;

        assert_int_equal(clusterbed_call(bed, "GET", NULL, &pod,
                                         "/api/v1/namespaces/%s/pods/%s", ns,
                                         name),
                         200);
        status = json_get(pod, "status");
        went_well = json_get_is(status, "phase", "Succeeded");
        if (went_well || json_get_is(status, "phase", "Failed"))
            break;
        if (loop_now_ms() > until)
            fail_msg("%s/%s does not come to its end", ns, name);
        poll(NULL, 0, 100);
    }
    clusterbed_call(bed, "DELETE", NULL, NULL, "/api/v1/namespaces/%s/pods/%s",
                    ns, name);
    return went_well;
}

static bool connects(const struct pair *p)
{
    const char *ns = namespace_of(p->from);
    own_json struct json *pod = NULL;
    own_mem char *body = pod_body(p);

    assert_int_equal(clusterbed_call(bed, "POST", body, &pod,
                                     "/api/v1/namespaces/%s/pods", ns),
                     201);
    return pod_went_well(ns, json_get_str(json_get(pod, "metadata"), "name"));
}

/* --- the policies, for namespaces of these tests --- */

static char *replaced(const char *text, const char *what, const char *by)
{
    struct buf b;
    char *out;

    buf_init(&b, SAID_MAX);
    for (const char *at; (at = strstr(text, what)); text = at + strlen(what))
        buf_printf(&b, "%.*s%s", (int)(at - text), text, by);
    buf_printf(&b, "%s", text);
    out = mem_str(buf_cstr(&b));
    buf_fini(&b);
    return out;
}

/* (of whole lines' ends: a name may begin with another) */
static char *for_us(const char *policy)
{
    own_mem char *sessions = mem_printf(": %s\n", bed->ns);
    own_mem char *ours = mem_printf(": %s\n", front);
    own_mem char *one = replaced(policy, ": podterm-sessions\n", sessions);

    return replaced(one, ": podterm\n", ours);
}

static void apply_policies(void)
{
    own_mem char *text = manifests_render("local");
    own_mem char *path = mem_printf("%s/policies.yaml", bed->stack.dir);
    char *at = text, *doc;
    struct buf all;

    buf_init(&all, SAID_MAX);
    while ((doc = manifests_next(&at))) {
        own_mem char *policy = for_us(doc);

        if (manifests_is(doc, "NetworkPolicy"))
            buf_printf(&all, "---\n%s\n", policy);
    }
    tree_put(bed->stack.dir, "policies.yaml", buf_cstr(&all));
    buf_fini(&all);
    free(MANIFESTS_ASK("apply", "-f", path));
}

/* --- the whole --- */

static char *make_namespace(const char *more)
{
    char *name = mem_printf("%s-%s", bed->ns, more);
    own_mem char *body = mem_printf("{metadata: {name: %s}}", name);

    assert_int_equal(
        clusterbed_call(bed, "POST", body, NULL, "/api/v1/namespaces"), 201);
    return name;
}

static void remove_namespace(char *name)
{
    if (name)
        clusterbed_call(bed, "DELETE", NULL, NULL, "/api/v1/namespaces/%s",
                        name);
    free(name);
}

static int setup(void **arg)
{
    own_json struct json *api = NULL;

    (void)arg;
    if (getenv("PODTERM_CLUSTER"))
        return 0;
    bed = clusterbed_new(NULL, NULL);
    front = make_namespace("front");
    elsewhere = make_namespace("elsewhere");
    assert_int_equal(
        clusterbed_call(bed, "GET", NULL, &api,
                        "/api/v1/namespaces/default/services/kubernetes"),
        200);
    api_ip = mem_str(json_get_str(json_get(api, "spec"), "clusterIP"));
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (!bed)
        return 0;
    remove_namespace(front);
    remove_namespace(elsewhere);
    clusterbed_free(bed);
    free(agent_ip);
    free(api_ip);
    return 0;
}

/* One that runs, so that its agent listens. */
static void begin_session(struct stack_session *ss)
{
    own_json struct json *pod = NULL;
    struct stack_link l = {0};
    struct stack_bundle b;
    struct buf said;

    buf_init(&said, SAID_MAX);
    clusterbed_pack(bed, "stay", "echo up; exec sleep 600", &b);
    stack_create(&bed->stack, "ann", &b, "", ss);
    clusterbed_attach(bed, &l, ss, 0);
    clusterbed_expect(bed, &l, &said, "up");
    stack_cut(&l);
    buf_fini(&said);
    pod = clusterbed_pod(bed, ss->sid);
    agent_ip = mem_str(json_get_str(json_get(pod, "status"), "podIP"));
}

/* Until one that is not let through is refused; false = it never is. */
static bool is_enforced(void)
{
    const struct pair *stranger = &pairs[2];
    const int64_t until = loop_now_ms() + HOLD_MS;

    while (connects(stranger))
        if (loop_now_ms() > until)
            return false;
    return true;
}

static void the_network_lets_through_what_the_policies_say(void **arg)
{
    struct stack_session ss;
    bool is_held;

    (void)arg;
    if (!bed)
        skipped("the network of the tests' own cluster enforces none");
    begin_session(&ss);
    for (size_t i = 0; i < PAIR_COUNT; i++)
        if (!connects(&pairs[i]))
            fail_msg("pair %zu is closed before there is any policy", i);
    apply_policies();
    is_held = is_enforced();
    for (size_t i = 0; is_held && i < PAIR_COUNT; i++)
        if (connects(&pairs[i]) != pairs[i].is_open)
            fail_msg("%s in %s to port %d is %s", pairs[i].label,
                     namespace_of(pairs[i].from), pairs[i].port,
                     pairs[i].is_open ? "closed" : "open");
    stack_delete(&bed->stack, "ann", ss.sid);
    clusterbed_wait_none(bed, "pods", ss.sid);
    stack_session_fini(&ss);
    if (is_held)
        return;
    skipped("this cluster's network enforces no NetworkPolicies");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_network_lets_through_what_the_policies_say),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
