/*
 * The NetworkPolicies of infra/k8s, judged by cyclonus pair by pair against
 * tests/cluster/judge/pairs. No engine that enforces them is at hand here.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAIRS "tests/cluster/judge/pairs"
#define PEERS_MAX 64
#define PORTS_MAX 16
#define ROWS_MAX 1024
#define WORD 64

struct peer {
    char name[WORD], ip[WORD], ns[WORD], label[WORD];
};
struct row {
    const struct peer *from, *to;
    char verdicts[PORTS_MAX]; /* y, l, g or . for each port */
};
static struct peer peers[PEERS_MAX];
static struct row rows[ROWS_MAX];
static char ports[PORTS_MAX][WORD];
static int peer_count, port_count, row_count;
static char *judge;

/* --- the table --- */

static int words_of(char *line, char *out[], int max)
{
    char *save = NULL;
    int n = 0;

    for (char *w = strtok_r(line, " ", &save); w && n < max;
         w = strtok_r(NULL, " ", &save))
        out[n++] = w;
    return n;
}

static const struct peer *peer_of(const char *name)
{
    for (int i = 0; i < peer_count; i++)
        if (strcmp(peers[i].name, name) == 0)
            return &peers[i];
    fail_msg("%s: no peer %s", PAIRS, name);
    return NULL;
}

static void take_peer(char *words[], int n)
{
    struct peer *p = &peers[peer_count++];

    assert_true(peer_count <= PEERS_MAX && (n == 3 || n == 5));
    snprintf(p->name, sizeof p->name, "%s", words[1]);
    snprintf(p->ip, sizeof p->ip, "%s", words[2]);
    snprintf(p->ns, sizeof p->ns, "%s", n == 5 ? words[3] : "");
    snprintf(p->label, sizeof p->label, "%s", n == 5 ? words[4] : "");
}

static void take_row(char *words[], int n)
{
    struct row *r = &rows[row_count++];

    assert_true(row_count <= ROWS_MAX && port_count && n == port_count + 2);
    r->from = peer_of(words[0]);
    r->to = peer_of(words[1]);
    for (int i = 0; i < port_count; i++)
        r->verdicts[i] = words[i + 2][0];
}

static void take_line(char *line)
{
    char *words[PORTS_MAX + 2];
    const int n = words_of(line, words, PORTS_MAX + 2);

    if (n == 0 || words[0][0] == '#')
        return;
    if (strcmp(words[0], "peer") == 0) {
        take_peer(words, n);
    } else if (strcmp(words[0], "ports") == 0) {
        port_count = n - 1;
        for (int i = 0; i < port_count; i++)
            snprintf(ports[i], WORD, "%s", words[i + 1]);
    } else {
        take_row(words, n);
    }
}

static int setup(void **arg)
{
    own_mem char *text = tree_get(PAIRS, &(size_t){0});
    const char *const argv[] = {"tests/cluster/cluster", "judge", NULL};
    struct child c = {.argv = argv};
    char *save = NULL;

    (void)arg;
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        take_line(line);
    child_expect(&c, 0);
    judge = mem_strn(c.out, strcspn(c.out, "\n"));
    child_fini(&c);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    free(judge);
    return 0;
}

/* --- asking the judge --- */

static void put_peer(struct json *traffic, const char *name,
                     const struct peer *p)
{
    struct json *peer = json_set(traffic, name, json_object());
    struct json *inside;
    char key[WORD];
    const char *equals = strchr(p->label, '=');

    json_set_str(peer, "IP", p->ip);
    if (!equals)
        return;
    inside = json_set(peer, "Internal", json_object());
    json_set_str(inside, "Namespace", p->ns);
    json_set_str(json_set(inside, "NamespaceLabels", json_object()),
                 "kubernetes.io/metadata.name", p->ns);
    if (strcmp(p->ns, "monitoring") == 0)
        json_set_str(
            (struct json *)(uintptr_t)json_get(inside, "NamespaceLabels"),
            "podterm.dev/gathers-metrics", "true");
    snprintf(key, sizeof key, "%.*s", (int)(equals - p->label), p->label);
    json_set_str(json_set(inside, "PodLabels", json_object()), key, equals + 1);
}

static char *traffic_text(void)
{
    own_json struct json *all = json_array();

    for (int r = 0; r < row_count; r++) {
        for (int i = 0; i < port_count; i++) {
            struct json *t = json_set(all, NULL, json_object());
            const bool is_udp = strchr(ports[i], 'u') != NULL;

            put_peer(t, "Source", rows[r].from);
            put_peer(t, "Destination", rows[r].to);
            json_set_int(t, "ResolvedPort", atoi(ports[i]));
            json_set_str(t, "Protocol", is_udp ? "UDP" : "TCP");
        }
    }
    return json_text(all);
}

/* Each policy as a file of its own; with one text replaced, once a policy. */
static void put_policies(const char *dir, const char *overlay,
                         const char *policy, const char *what, const char *by)
{
    own_mem char *text = manifests_render(overlay);
    char *at = text, *doc;
    int n = 0, changed = 0;

    while ((doc = manifests_next(&at))) {
        own_mem char *name = mem_printf("policies/%d.yaml", n);
        own_mem char *new = NULL;
        char *found = policy && strstr(doc, policy) ? strstr(doc, what) : NULL;

        if (!manifests_is(doc, "NetworkPolicy"))
            continue;
        if (found) {
            new = mem_printf("%.*s%s%s", (int)(found - doc), doc, by,
                             found + strlen(what));
            changed++;
        }
        tree_put(dir, name, new ? new : doc);
        n++;
    }
    assert_true(n > 8);
    if (policy && changed == 0)
        fail_msg("no policy with %s says: %s", policy, what);
}

/* The verdicts in the order asked, against the table; how many differ, and
 * one of them in first. */
static int compare(const char *said, bool is_gke, char first[256])
{
    static const char answer[] = "IS ALLOWED?";
    int wrong = 0;

    for (int r = 0; r < row_count; r++) {
        for (int i = 0; i < port_count; i++) {
            const char want = rows[r].verdicts[i];
            const bool is_yes = want == 'y' || want == (is_gke ? 'g' : 'l');
            bool is;

            said = strstr(said, answer);
            if (!said)
                fail_msg("the judge said too little");
            said += strlen(answer);
            is = strncmp(said + strspn(said, " |"), "TRUE", 4) == 0;
            if (is == is_yes)
                continue;
            if (wrong++ == 0)
                snprintf(first, 256, "%s -> %s port %s is %s",
                         rows[r].from->name, rows[r].to->name, ports[i],
                         is ? "open" : "closed");
        }
    }
    assert_null(strstr(said, answer));
    return wrong;
}

static int differences(const char *overlay, const char *policy,
                       const char *what, const char *by, char first[256])
{
    char *dir = scratch_new();
    own_mem char *traffic = traffic_text();
    own_mem char *policies = mem_printf("%s/policies", dir);
    own_mem char *path = mem_printf("%s/traffic.json", dir);
    const char *const argv[] = {judge,
                                "analyze",
                                "--mode",
                                "query-traffic",
                                "--policy-path",
                                policies,
                                "--traffic-path",
                                path,
                                NULL};
    struct child c = {.argv = argv};
    int wrong;

    put_policies(dir, overlay, policy, what, by);
    tree_put(dir, "traffic.json", traffic);
    child_expect(&c, 0);
    wrong = compare(c.out, strcmp(overlay, "gke") == 0, first);
    child_fini(&c);
    scratch_remove(dir);
    return wrong;
}

/* --- tests --- */

static void holds(const char *overlay)
{
    char first[256];
    const int wrong = differences(overlay, NULL, NULL, NULL, first);

    if (wrong)
        fail_msg("%s: %d verdicts differ, the first: %s", overlay, wrong,
                 first);
}

static void locally_every_pair_is_as_the_table_says(void **arg)
{
    (void)arg;
    holds("local");
}

static void on_gke_every_pair_is_as_the_table_says(void **arg)
{
    (void)arg;
    holds("gke");
}

static void a_policy_that_was_changed_is_found_out(void **arg)
{
    static const struct {
        const char *overlay, *policy, *what, *by, *first;
    } cases[] = {
        {"local", "name: public-https", "        - 169.254.0.0/16\n", "",
         "agent -> node-dns port 443 is open"},
        {"local", "name: public-https", "port: 443", "port: 80",
         "agent -> front-end port 80 is open"},
        {"local", "name: agent\n", "podterm-gateway\n", "podterm-other\n",
         "gateway -> agent port 7440 is closed"},
        {"local", "name: agent\n", "kubernetes.io/metadata.name: podterm\n",
         "kubernetes.io/metadata.name: default\n",
         "gateway -> agent port 7440 is closed"},
        {"local", "name: redis\n", "app: keda-operator", "app: keda-other",
         "keda -> redis port 6379 is closed"},
        {"local", "name: default-deny\n  namespace: podterm\n",
         "podSelector: {}", "podSelector: {matchLabels: {a: b}}", NULL},
        {"gke", "name: controller-metadata", "podterm-controller\n",
         "podterm-gateway\n", "gateway -> metadata port 80 is open"},
        {"gke", "name: controller-metadata", "port: 988", "port: 987",
         "controller -> metadata-daemon port 988 is closed"},
        {"local", "name: controller\n", "port: 8443", "port: 8444",
         "controller -> keda port 8443 is closed"},
        {"local", "name: dns\n", "- port: 53\n      protocol: UDP",
         "- port: 123\n      protocol: UDP", NULL},
        {"gke", "name: gateway-clients", "35.191.0.0/16", "0.0.0.0/0", NULL},
        {"local", "name: controller\n", "        - fd00:ec2::254/128\n", "",
         "controller -> metadata-aws-v6 port 443 is open"},
        {"local", "name: controller\n", "        - fd20:ce::254/128\n", "",
         "controller -> metadata-gcp-v6 port 443 is open"},
        {"local", "name: controller\n", "fe80::/10", "fe80::/64",
         "controller -> link-v6-last port 443 is open"},
        {"gke", "name: public-https", "        - 2001:db8::/32\n", "",
         "agent -> documentation-v6 port 443 is open"},
        {"gke", "name: public-https", "cidr: 2000::/3\n", "cidr: ::/0\n",
         "agent -> metadata-gcp-v6 port 443 is open"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char first[256] = "";
        const int wrong = differences(cases[i].overlay, cases[i].policy,
                                      cases[i].what, cases[i].by, first);

        if (!wrong || (cases[i].first && strcmp(first, cases[i].first) != 0))
            fail_msg("%s: %s -> %s: %d differ, the first: %s", cases[i].policy,
                     cases[i].what, cases[i].by, wrong, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locally_every_pair_is_as_the_table_says),
        cmocka_unit_test(on_gke_every_pair_is_as_the_table_says),
        cmocka_unit_test(a_policy_that_was_changed_is_found_out),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
