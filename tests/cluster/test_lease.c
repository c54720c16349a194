/*
 * The Lease on a real Kubernetes API, by three candidates who have no other
 * right than to get, create and update it.
 */
#include "controller/lease.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/yaml.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 60000
#define CANDIDATES 3
#define LEASE_PATH "/apis/coordination.k8s.io/v1/namespaces/%s/leases/podterm"

static struct candidate {
    struct kube *kube;
    struct lease *lease;
    bool is_leader;
} all[CANDIDATES];
static struct candidate *first;
static struct loop *loop;
static struct kube *admin;
static char ns[64];

/* Make a call with a body in YAML; its status. */
static int call(const char *method, const char *body, struct json **out,
                const char *path, ...) __attribute__((format(printf, 4, 5)));
static int call(const char *method, const char *body, struct json **out,
                const char *path, ...)
{
    struct err e = {0};
    own_json struct json *j = body ? yaml_parse(body, strlen(body), &e) : NULL;
    char full[512];
    va_list ap;
    int status;

    va_start(ap, path);
    vsnprintf(full, sizeof full, path, ap);
    va_end(ap);
    status = kube_do(
        admin, &(struct kube_call){.method = method, .path = full, .body = j},
        out, &e);
    if (status < 0 || (body && !j))
        fail_msg("%s %s: %s", method, full, e.text);
    return status;
}

static void read_conf(struct kube_conf *conf)
{
    struct err e = {0};
    const char *path = getenv("KUBECONFIG");

    if (!path || kube_conf_file(path, conf, &e) < 0)
        fail_msg("KUBECONFIG: %s", path ? e.text : "is not set");
}

static void make_account(void)
{
    static const char role[] =
        "{metadata: {name: lease}, rules: [{apiGroups: [coordination.k8s.io], "
        "resources: [leases], verbs: [get, create, update]}]}";
    char binding[256];

    snprintf(binding, sizeof binding,
             "{metadata: {name: lease}, roleRef: {apiGroup: "
             "rbac.authorization.k8s.io, kind: Role, name: lease}, subjects: "
             "[{kind: ServiceAccount, name: c, namespace: %s}]}",
             ns);
    assert_int_equal(call("POST", "metadata: {name: c}", NULL,
                          "/api/v1/namespaces/%s/serviceaccounts", ns),
                     201);
    assert_int_equal(
        call("POST", role, NULL,
             "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/roles", ns),
        201);
    assert_int_equal(
        call("POST", binding, NULL,
             "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings",
             ns),
        201);
}

/* Who has that account's token, and no more. */
static struct kube *new_kube(void)
{
    own_json struct json *token = NULL;
    struct kube_conf conf = {0};

    assert_int_equal(call("POST", "spec: {expirationSeconds: 3600}", &token,
                          "/api/v1/namespaces/%s/serviceaccounts/c/token", ns),
                     201);
    read_conf(&conf);
    free(conf.cert);
    free(conf.key);
    free(conf.token);
    free(conf.token_path);
    conf.cert = conf.key = conf.token_path = NULL;
    conf.token = mem_str(json_get_str(json_get(token, "status"), "token"));
    return kube_new(&conf);
}

static int setup(void **arg)
{
    struct kube_conf conf = {0};
    char id[ID_SIZE], body[128];

    (void)arg;
    read_conf(&conf);
    admin = kube_new(&conf);
    loop = loop_new();
    random_id(id);
    snprintf(ns, sizeof ns, "podterm-test-%s", id);
    snprintf(body, sizeof body, "metadata: {name: %s}", ns);
    assert_int_equal(call("POST", body, NULL, "/api/v1/namespaces"), 201);
    make_account();
    for (int i = 0; i < CANDIDATES; i++)
        all[i].kube = new_kube();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    for (int i = 0; i < CANDIDATES; i++) {
        lease_stop(all[i].lease);
        lease_free(all[i].lease);
        kube_free(all[i].kube);
    }
    call("DELETE", NULL, NULL, "/api/v1/namespaces/%s", ns);
    kube_free(admin);
    loop_free(loop);
    return 0;
}

static void changed(void *arg, bool is_leader)
{
    ((struct candidate *)arg)->is_leader = is_leader;
}

static struct candidate *leader(void)
{
    for (int i = 0; i < CANDIDATES; i++)
        if (all[i].is_leader)
            return &all[i];
    return NULL;
}

static int64_t until_ms;

static void look(void *arg)
{
    int leaders = 0;

    (void)arg;
    for (int i = 0; i < CANDIDATES; i++)
        leaders += all[i].lease && lease_is_leader(all[i].lease);
    assert_true(leaders <= 1);
    if ((leader() && leader() != first) || loop_now_ms() >= until_ms)
        loop_stop(loop);
}

/* Until somebody else than first leads, or so long. */
static void pass(int ms)
{
    struct loop_timer *t = loop_timer_start(loop, 1, 5, look, NULL);

    until_ms = loop_now_ms() + ms;
    loop_run(loop);
    loop_timer_stop(t);
}

static void one_leads_until_it_gives_up(void **arg)
{
    const struct lease_conf conf = {.ns = ns,
                                    .name = "podterm",
                                    .holder = "test",
                                    .duration_ms = 10000,
                                    .renew_ms = 8000,
                                    .retry_ms = 200};
    own_json struct json *record = NULL;
    int64_t transitions;

    (void)arg;
    for (int i = 0; i < CANDIDATES; i++)
        all[i].lease = lease_start(loop, all[i].kube, &conf, changed, &all[i]);
    pass(SOON_MS);
    assert_non_null(first = leader());
    pass(3000); /* renewals */
    assert_ptr_equal(leader(), first);
    assert_int_equal(call("DELETE", NULL, NULL, LEASE_PATH, ns), 200);
    pass(3000); /* it is made anew by who held it */
    assert_ptr_equal(leader(), first);
    lease_stop(first->lease);
    lease_free(first->lease);
    first->lease = NULL;
    first->is_leader = false;
    pass(SOON_MS);
    assert_non_null(leader());
    assert_ptr_not_equal(leader(), first);
    assert_int_equal(call("GET", NULL, &record, LEASE_PATH, ns), 200);
    assert_string_equal(
        json_get_str(json_get(record, "spec"), "holderIdentity"),
        lease_holder(leader()->lease));
    assert_int_equal(json_get_int(json_get(record, "spec"), "leaseTransitions",
                                  &transitions),
                     0);
    assert_int_equal(transitions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_leads_until_it_gives_up),
    };

    signal(SIGPIPE, SIG_IGN);
    seal_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
