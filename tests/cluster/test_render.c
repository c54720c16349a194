/*
 * What infra/k8s and infra/keda come to when somebody fills an overlay in: in
 * copies, changed as an operator would change them, rendered by kubectl. No
 * cluster.
 */
#include "base/addr.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "tests/lib/child.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOC_MAX (1 << 20)
/* with KEDA's component, before whatever else is there */
#define WITH_KEDA                                                              \
    "sed -i '/components:/d' kustomization.yaml && "                           \
    "echo 'components: [../../../keda]' >>kustomization.yaml && "

static const char *const overlays[] = {"local", "gke"};
#define OVERLAY_COUNT (sizeof overlays / sizeof *overlays)

static char *dir;

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    scratch_remove(dir);
    return 0;
}

/* --- what somebody made of an overlay --- */

/* In a copy of the whole; its path, the caller's. */
static char *changed(const char *overlay, const char *commands)
{
    static int n;
    char *at = mem_printf("%s/%d/k8s/overlays/%s", dir, ++n, overlay);
    own_mem char *line =
        mem_printf("cp -r infra %s/%d && cd %s && %s", dir, n, at, commands);

    assert_int_equal(system(line), 0);
    return at;
}

/* A document with settings in quotes: kubectl sees that 0.0.0.0:8080 is no
 * number, our reader would rather be told. */
static char *quoted(const char *doc)
{
    char *out;
    struct buf b;

    buf_init(&b, DOC_MAX);
    while (*doc) {
        const size_t len = strcspn(doc, "\n");
        const char *value = strstr(doc, ": ");
        const bool is_bare = strncmp(doc, "  PODTERM_", 10) == 0 && value &&
                             value < doc + len && value[2] != '"';
        const size_t name = is_bare ? (size_t)(value + 2 - doc) : len;

        buf_printf(&b, "%.*s", (int)name, doc);
        if (is_bare)
            buf_printf(&b, "\"%.*s\"", (int)(len - name), doc + name);
        buf_printf(&b, "\n");
        doc += len + (doc[len] == '\n');
    }
    out = mem_str(buf_cstr(&b));
    buf_fini(&b);
    return out;
}

/* Its objects. */
static struct json *rendered(const char *overlay, const char *commands)
{
    own_mem char *at = changed(overlay, commands);
    own_mem char *text = MANIFESTS_ASK("kustomize", at);
    struct json *all = json_array();
    char *rest = text, *doc;
    struct err e = {0};

    while ((doc = manifests_next(&rest))) {
        own_mem char *strict = quoted(doc);
        struct json *object = yaml_parse(strict, strlen(strict), &e);

        if (!object)
            fail_msg("%s", e.text);
        json_set(all, NULL, object);
    }
    return all;
}

/* name may end early: a ConfigMap's has a hash behind it. */
static const struct json *object_of(const struct json *all, const char *kind,
                                    const char *name)
{
    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *o = json_at(all, i);
        const char *is = json_get_str(json_get(o, "metadata"), "name");

        if (json_get_is(o, "kind", kind) && is &&
            strncmp(is, name, strlen(name)) == 0)
            return o;
    }
    fail_msg("no %s %s was rendered", kind, name);
    return NULL;
}

/* What a variable comes to in a Deployment's container, as kubelet has it:
 * `env` before `envFrom`, of those the last. */
static const char *setting_of(const struct json *all, const char *deployment,
                              const char *variable)
{
    const struct json *spec = json_get(
        json_get(json_get(object_of(all, "Deployment", deployment), "spec"),
                 "template"),
        "spec");
    const struct json *c = json_at(json_get(spec, "containers"), 0);
    const struct json *own = json_get(
        json_get(json_find(json_get(c, "env"), "name", variable), "valueFrom"),
        "configMapKeyRef");
    const struct json *maps = json_get(c, "envFrom");
    const char *value = NULL;

    if (own)
        return json_get_str(
            json_get(object_of(all, "ConfigMap", json_get_str(own, "name")),
                     "data"),
            json_get_str(own, "key"));
    for (size_t i = 0; i < json_count(maps); i++) {
        const struct json *ref = json_get(json_at(maps, i), "configMapRef");
        const char *here = json_get_str(
            json_get(object_of(all, "ConfigMap", json_get_str(ref, "name")),
                     "data"),
            variable);

        value = here ? here : value;
    }
    return value;
}

static void is_set(const struct json *all, const char *deployment,
                   const char *variable, const char *want)
{
    const char *is = setting_of(all, deployment, variable);

    if (!is || strcmp(is, want) != 0)
        fail_msg("%s of %s is %s, not %s", variable, deployment,
                 is ? is : "nowhere", want);
}

/* --- one place for each setting --- */

static void an_overlays_target_holds_with_kedas_component_too(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *all = rendered(
            overlays[i], WITH_KEDA "sed -i 's/^PODTERM_WARM_TARGET=.*/"
                                   "PODTERM_WARM_TARGET=9/' controller.env");

        is_set(all, "podterm-controller", "PODTERM_WARM_TARGET", "9");
        is_set(all, "podterm-controller", "PODTERM_WARM_BY", "keda");
    }
}

static const struct json *labels_of(const struct json *object)
{
    return json_get(json_get(object, "metadata"), "labels");
}

/* What signs and what believes, from one file: whatever else is written. */
static void controller_and_gateway_have_one_installation(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *all =
            rendered(overlays[i], WITH_KEDA
                     "sed -i 's/=.*/=blue/' installation.env && "
                     "echo PODTERM_AUDIENCE=red >>gateway.env && "
                     "echo PODTERM_ISSUER=red >>gateway.env && "
                     "echo PODTERM_INSTALLATION=red >>controller.env && "
                     "echo PODTERM_ISSUER=red >>controller.env");
        const struct json *pool = object_of(all, "ScaledJob", "podterm-warm");
        const struct json *pod = json_get(
            json_get(json_get(pool, "spec"), "jobTargetRef"), "template");

        is_set(all, "podterm-controller", "PODTERM_INSTALLATION", "blue");
        is_set(all, "podterm-controller", "PODTERM_ISSUER", "blue");
        is_set(all, "podterm-gateway", "PODTERM_AUDIENCE", "blue");
        is_set(all, "podterm-gateway", "PODTERM_ISSUER", "blue");
        assert_true(
            json_get_is(labels_of(pool), "podterm.dev/installation", "blue"));
        assert_true(
            json_get_is(labels_of(pod), "podterm.dev/installation", "blue"));
    }
}

/* Whatever a cluster's pods are given: [::] is IPv4's addresses too. */
static void all_listen_on_both_families(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_mem char *at = changed(overlays[i], WITH_KEDA "true");
        own_mem char *text = MANIFESTS_ASK("kustomize", at);
        int listeners = 0;

        if (strstr(text, "0.0.0.0:"))
            fail_msg("%s listens on IPv4 alone", overlays[i]);
        for (const char *l = text; (l = strstr(l, "[::]:")); l++)
            listeners++;
        /* controller, gateway; session's Job, ScaledJob */
        assert_int_equal(listeners, 2 + 2 + 3 + 3);
    }
}

static bool is_dialled(const struct cidr_list *networks, const char *ip)
{
    own_mem char *text =
        mem_printf(strchr(ip, ':') ? "[%s]:7440" : "%s:7440", ip);
    struct sockaddr_storage sa;
    struct err e = {0};

    assert_int_equal(addr_parse(text, &sa, &e), 0);
    return cidr_list_has(networks, (const struct sockaddr *)&sa);
}

/* kind's and minikube's, k3s', kind's with IPv6; then their services, and who
 * else is near a cluster of one's own. */
static void locally_pods_are_dialled_and_nobody_else(void **arg)
{
    static const char *const pods[] = {"10.244.0.5", "10.244.255.254",
                                       "10.42.0.9", "fd00:10:244::5"};
    static const char *const others[] = {
        "10.96.0.1",     "10.43.0.1",     "10.0.0.5",        "10.245.0.1",
        "192.168.49.2",  "172.18.0.2",    "169.254.169.254", "127.0.0.1",
        "fd00:10:96::1", "fd00:10:245::", "fd00:ec2::254",   "::1"};
    own_json struct json *all = rendered("local", "true");
    const char *text =
        setting_of(all, "podterm-gateway", "PODTERM_AGENT_CIDRS");
    struct cidr_list networks;
    struct err e = {0};

    (void)arg;
    assert_non_null(text);
    if (cidr_list_parse(text, &networks, &e) < 0)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < sizeof pods / sizeof *pods; i++)
        if (!is_dialled(&networks, pods[i]))
            fail_msg("%s is not dialled", pods[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_dialled(&networks, others[i]))
            fail_msg("%s is dialled", others[i]);
    cidr_list_fini(&networks);
}

/* --- the web terminal's page --- */

/* Which of them a path is led to, as Gateway API has it: exact before prefix,
 * of prefixes the longest; "" and whole elements are one. */
static const char *backend_of(const struct json *route, const char *path)
{
    const struct json *rules = json_get(json_get(route, "spec"), "rules");
    const char *backend = "nobody";
    size_t best = 0;

    for (size_t i = 0; i < json_count(rules); i++) {
        const struct json *rule = json_at(rules, i);
        const struct json *match =
            json_get(json_at(json_get(rule, "matches"), 0), "path");
        const char *value = json_get_str(match, "value");
        const bool is_exact = json_get_is(match, "type", "Exact");
        size_t len = strlen(value);
        const size_t rank = is_exact ? SIZE_MAX : len;

        assert_int_equal(json_count(json_get(rule, "matches")), 1);
        len -= len > 0 && value[len - 1] == '/';
        if (is_exact ? strcmp(path, value) != 0
                     : strncmp(path, value, len) != 0 ||
                           (path[len] != '/' && path[len] != '\0'))
            continue;
        if (rank > best) {
            best = rank;
            backend =
                json_get_str(json_at(json_get(rule, "backendRefs"), 0), "name");
        }
    }
    return backend;
}

static void the_edge_leads_the_page_to_the_controller(void **arg)
{
    static const char *const paths[] = {"/",
                                        "/index.html",
                                        "/assets/page-0A1B2C3D.js",
                                        "/web/config.json",
                                        "/api/sessions",
                                        "/v1/attach/x"};
    own_json struct json *all = rendered("gke", "true");
    const struct json *route = object_of(all, "HTTPRoute", "podterm");

    (void)arg;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_string_equal(backend_of(route, paths[i]), "podterm-controller");
    assert_string_equal(backend_of(route, "/v1/attach"), "podterm-gateway");
}

/* Its address is the edge's one; what the controller lets it connect to by its
 * policy, the gateway must let in by its list. */
static void the_page_may_attach_where_it_is_served_and_nowhere_else(void **arg)
{
    own_json struct json *gke =
        rendered("gke", "sed -i 's/podterm.example.com/a.b/' *.env *.yaml");
    own_json struct json *local = rendered("local", "true");
    const struct json *names = json_get(
        json_get(object_of(gke, "HTTPRoute", "podterm"), "spec"), "hostnames");

    (void)arg;
    assert_string_equal(json_str(json_at(names, 0)), "a.b");
    is_set(gke, "podterm-gateway", "PODTERM_ORIGINS", "https://a.b");
    is_set(gke, "podterm-controller", "PODTERM_ATTACH_URL",
           "wss://a.b/v1/attach");
    /* by the README's port-forward */
    is_set(local, "podterm-gateway", "PODTERM_ORIGINS",
           "http://127.0.0.1:8080,http://localhost:8080");
    is_set(local, "podterm-controller", "PODTERM_ATTACH_URL",
           "ws://127.0.0.1:8081/v1/attach");
}

/* The image says where it lies. */
static void the_page_is_served_unless_an_overlay_takes_it_away(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *as_is = rendered(overlays[i], "true");
        own_json struct json *without =
            rendered(overlays[i], "echo PODTERM_WEB_DIR= >>controller.env");

        assert_null(setting_of(as_is, "podterm-controller", "PODTERM_WEB_DIR"));
        is_set(without, "podterm-controller", "PODTERM_WEB_DIR", "");
    }
}

/* --- what has to be filled in --- */

/* The exit code of infra/k8s/check; what it said in *said, the caller's. */
static int check(const char *overlay, const char *commands, char **said)
{
    own_mem char *at = changed(overlay, commands);
    const char *cluster = getenv("PODTERM_CLUSTER");
    own_mem char *path = mem_printf("PATH=%s%s%s", cluster ? cluster : "",
                                    cluster ? "/bin:" : "", getenv("PATH"));
    struct child c = {.argv =
                          (const char *const[]){"infra/k8s/check", at, NULL},
                      .env = (const char *const[]){path, NULL}};
    int code;

    child_run(&c);
    code = c.code;
    *said = mem_strn(c.out, c.len);
    child_fini(&c);
    return code;
}

static void what_was_not_filled_in_is_named(void **arg)
{
    static const char *const words[] = {
        "@PROJECT.iam", "podterm.example.com/", "AUDIENCE: PROJECT",
        "/PROJECT\n",   "CIDRS: POD_RANGE",     "REGION-docker",
        "runner:TAG",   "certmap: CERTMAP",     "value: ADDRESS",
        "//PROMETHEUS:"};
    own_mem char *gke = NULL, *local = NULL, *filled = NULL, *twice = NULL;

    (void)arg;
    assert_int_equal(check("gke", "true", &gke), 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(gke, words[i]))
            fail_msg("%s is not among: %s", words[i], gke);
    assert_int_equal(check("local", "true", &local), 1);
    assert_non_null(strstr(local, "https://issuer.example/jwks.json"));
    if (check("gke",
              "sed -i -E 's/PROJECT|REGION|TAG|CERTMAP|ADDRESS|PROMETHEUS/a/g; "
              "s|POD_RANGE|10.4.0.0/14|; s/podterm.example.com/a.b/' *.env "
              "*.yaml",
              &filled) != 0)
        fail_msg("%s", filled);
    assert_int_equal(check("local",
                           "sed -i 's/issuer.example/a.b/' controller.env && "
                           "echo PODTERM_ISSUER=other >>gateway.env",
                           &twice),
                     1);
    assert_non_null(strstr(twice, "PODTERM_ISSUER: other"));
}

/* --- what must not be lost --- */

static void a_prometheus_that_is_away_lets_no_gateway_go(void **arg)
{
    own_json struct json *all = rendered("gke", "true");
    const struct json *spec =
        json_get(object_of(all, "ScaledObject", "podterm-gateway"), "spec");
    const struct json *trigger = json_at(json_get(spec, "triggers"), 0);

    (void)arg;
    assert_true(json_get_is(json_get(spec, "fallback"), "behavior",
                            "currentReplicasIfHigher"));
    /* one that has lost its targets answers with nothing, which is no 0 */
    assert_true(json_get_is(json_get(trigger, "metadata"), "ignoreNullValues",
                            "false"));
}

/* By it all is removed. */
static void every_object_bears_the_installations_label(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *all = rendered(overlays[i], WITH_KEDA "true");

        for (size_t o = 0; o < json_count(all); o++) {
            const struct json *object = json_at(all, o);

            if (!json_get_is(labels_of(object), "app.kubernetes.io/part-of",
                             "podterm"))
                fail_msg("not %s %s of %s", json_get_str(object, "kind"),
                         json_get_str(json_get(object, "metadata"), "name"),
                         overlays[i]);
        }
    }
}

/* While Redis is away no pod is ready, and an eviction that waits for one that
 * is would never come. */
static void a_node_is_drained_of_pods_that_are_not_ready(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *all = rendered(overlays[i], "true");
        int budgets = 0;

        for (size_t o = 0; o < json_count(all); o++) {
            const struct json *object = json_at(all, o);

            if (!json_get_is(object, "kind", "PodDisruptionBudget"))
                continue;
            budgets++;
            assert_true(json_get_is(json_get(object, "spec"),
                                    "unhealthyPodEvictionPolicy",
                                    "AlwaysAllow"));
        }
        assert_int_equal(budgets, 2);
    }
}

/* Else every change of it ends all sessions under way. */
static void a_change_of_kedas_pool_is_gradual(void **arg)
{
    own_json struct json *all = rendered("gke", WITH_KEDA "true");
    const struct json *spec =
        json_get(object_of(all, "ScaledJob", "podterm-warm"), "spec");

    (void)arg;
    assert_true(json_get_is(json_get(spec, "rollout"), "strategy", "gradual"));
}

/* --- what the README has one paste --- */

/* The lines of its block behind that text, out of a list's indentation; the
 * caller's. */
static char *block_behind(const char *text)
{
    own_mem char *readme = tree_get("infra/k8s/README.md", &(size_t){0});
    char *at = strstr(readme, text), *out, *save = NULL, *end;
    struct buf b;

    at = at ? strstr(at, "\n  ```\n") : NULL;
    end = at ? strstr(at + 1, "\n  ```\n") : NULL;
    if (!end)
        fail_msg("no block behind %s", text);
    end[1] = '\0';
    buf_init(&b, DOC_MAX);
    for (char *line = strtok_r(at + strlen("\n  ```\n"), "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        assert_int_equal(strncmp(line, "  ", 2), 0);
        buf_printf(&b, "%s\n", line + 2);
    }
    out = mem_str(buf_cstr(&b));
    buf_fini(&b);
    return out;
}

static int dns_policies_with(const struct json *all, const char *cidr)
{
    int n = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *o = json_at(all, i);
        const struct json *to =
            json_get(json_at(json_get(json_get(o, "spec"), "egress"), 0), "to");

        if (!json_get_is(o, "kind", "NetworkPolicy") ||
            !json_get_is(json_get(o, "metadata"), "name", "dns"))
            continue;
        for (size_t t = 0; t < json_count(to); t++)
            n += json_get_is(json_get(json_at(to, t), "ipBlock"), "cidr", cidr);
    }
    return n;
}

static void a_dns_cache_on_the_node_is_let_in_as_the_readme_says(void **arg)
{
    own_mem char *block = block_behind("- NodeLocal DNSCache"), *said = NULL;
    own_mem char *paste = mem_printf("sed -i '/^patches:/r '%s/paste "
                                     "kustomization.yaml",
                                     dir);
    own_mem char *filled = mem_printf(
        "%s && sed -i s/KUBE_DNS_IP/10.96.0.10/ kustomization.yaml", paste);

    (void)arg;
    tree_put(dir, "paste", block);
    assert_int_equal(check("local", paste, &said), 1);
    assert_non_null(strstr(said, "KUBE_DNS_IP/32"));
    for (size_t i = 0; i < OVERLAY_COUNT; i++) {
        own_json struct json *all = rendered(overlays[i], filled);

        /* sessions', and podterm's own */
        assert_int_equal(dns_policies_with(all, "10.96.0.10/32"), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overlays_target_holds_with_kedas_component_too),
        cmocka_unit_test(controller_and_gateway_have_one_installation),
        cmocka_unit_test(all_listen_on_both_families),
        cmocka_unit_test(locally_pods_are_dialled_and_nobody_else),
        cmocka_unit_test(the_edge_leads_the_page_to_the_controller),
        cmocka_unit_test(
            the_page_may_attach_where_it_is_served_and_nowhere_else),
        cmocka_unit_test(the_page_is_served_unless_an_overlay_takes_it_away),
        cmocka_unit_test(what_was_not_filled_in_is_named),
        cmocka_unit_test(a_prometheus_that_is_away_lets_no_gateway_go),
        cmocka_unit_test(every_object_bears_the_installations_label),
        cmocka_unit_test(a_node_is_drained_of_pods_that_are_not_ready),
        cmocka_unit_test(a_dns_cache_on_the_node_is_let_in_as_the_readme_says),
        cmocka_unit_test(a_change_of_kedas_pool_is_gradual),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
