#include "tests/lib/shippedbed.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/manifests.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OVERLAY "k8s/overlays/test/"
#define VOLUME "podterm-shipped"

static const char kustomization[] =
    "apiVersion: kustomize.config.k8s.io/v1beta1\n"
    "kind: Kustomization\n"
    "resources: [../local, volume.yaml]\n"
    "components: [../../components/agent-seccomp]\n"
    "images:\n"
    "- {name: redis, newName: localhost/podterm-redis, newTag: test}\n"
    "configMapGenerator:\n"
    "- name: podterm-controller-settings\n"
    "  namespace: podterm\n"
    "  behavior: merge\n"
    "  envs: [controller.env]\n"
    "- name: podterm-identity-ca\n"
    "  namespace: podterm\n"
    "  files: [srv-ca.pem]\n"
    "patches:\n"
    "- target: {kind: Deployment, name: podterm-controller}\n"
    "  patch: |\n"
    "    - op: add\n"
    "      path: /spec/template/spec/volumes/-\n"
    "      value: {name: ca, configMap: {name: podterm-identity-ca}}\n"
    "    - op: add\n"
    "      path: /spec/template/spec/containers/0/volumeMounts/-\n"
    "      value: {name: ca, mountPath: /etc/podterm/identity}\n";

static const char settings[] =
    "PODTERM_ATTACH_URL=ws://127.0.0.1:%d/v1/attach\n"
    "PODTERM_OIDC_ISSUER=" CLUSTERBED_ISSUER "\n"
    "PODTERM_OIDC_AUDIENCE=" CLUSTERBED_AUDIENCE "\n"
    "PODTERM_OIDC_JWKS_URL=https://%s:%d/identity.json\n"
    "PODTERM_OIDC_CA=/etc/podterm/identity/srv-ca.pem\n"
    "PODTERM_BUNDLE_HTTP=true\n"
    "PODTERM_BUNDLE_DOMAINS=%s:%d\n"
    "PODTERM_LINGER_DETACHED_S=4\n";

/* (a hostPath would not become Redis' user's: fsGroup) */
static const char volume[] =
    "apiVersion: v1\n"
    "kind: PersistentVolume\n"
    "metadata: {name: " VOLUME "}\n"
    "spec:\n"
    "  capacity: {storage: 4Gi}\n"
    "  accessModes: [ReadWriteOnce]\n"
    "  persistentVolumeReclaimPolicy: Retain\n"
    "  local: {path: %s}\n"
    "  nodeAffinity:\n"
    "    required:\n"
    "      nodeSelectorTerms:\n"
    "      - matchExpressions:\n"
    "        - {key: kubernetes.io/hostname, operator: In, values: [node1]}\n";

static const char *given(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value)
        fail_msg("%s is not set", name);
    return value;
}

/* --- kubectl --- */

int shippedbed_names(char **out, int cap, const char *const *words)
{
    const char *all[32] = {"-n", SHIPPEDBED_NS};
    own_mem char *said = NULL;
    char *at, *rest = NULL;
    int n = 0;

    for (int i = 0; words[i]; i++)
        all[i + 2] = words[i];
    said = manifests_ask(all);
    for (at = strtok_r(said, " \n", &rest); at && n < cap;
         at = strtok_r(NULL, " \n", &rest))
        out[n++] = mem_str(at);
    return n;
}

#define NAMES(out, cap, ...)                                                   \
    shippedbed_names(out, cap, (const char *const[]){__VA_ARGS__, NULL})

int shippedbed_pods(const char *app, char **out, int cap)
{
    own_mem char *label = mem_printf("app.kubernetes.io/name=%s", app);

    return NAMES(out, cap, "get", "pods", "-l", label, "-o",
                 "go-template={{range .items}}{{if not "
                 ".metadata.deletionTimestamp}}{{.metadata.name}} "
                 "{{end}}{{end}}");
}

char *shippedbed_leader(void)
{
    char *holder = NULL;

    if (NAMES(&holder, 1, "get", "lease", "podterm-controller", "-o",
              "jsonpath={.spec.holderIdentity}") == 1)
        /* (its name, and which of its processes) */
        *strchrnul(holder, '_') = '\0';
    return holder;
}

void shippedbed_delete(const char *pod)
{
    free(MANIFESTS_ASK("-n", SHIPPEDBED_NS, "delete", "pod", pod,
                       "--wait=false"));
}

void shippedbed_wait_gone(const char *pod)
{
    int64_t until = loop_now_ms() + SHIPPEDBED_MOVE_MS;
    char *name = NULL;

    while (NAMES(&name, 1, "get", "pod", pod, "--ignore-not-found", "-o",
                 "name") > 0) {
        free(name);
        if (loop_now_ms() > until)
            fail_msg("%s does not go", pod);
        poll(NULL, 0, 500);
    }
}

/* As many ready pods as spec.replicas says. */
static void wait_rollout(const char *what)
{
    int64_t until = loop_now_ms() + SHIPPEDBED_MOVE_MS;

    for (;;) {
        struct child c = {0};
        bool is_there;

        manifests_kubectl(&c, (const char *const[]){"-n", SHIPPEDBED_NS,
                                                    "rollout", "status", what,
                                                    "--timeout=20s", NULL});
        is_there = c.code == 0;
        if (!is_there && loop_now_ms() > until) {
            own_mem char *pods =
                MANIFESTS_ASK("-n", SHIPPEDBED_NS, "get", "pods,events");

            fail_msg("%s: %s%s\n%s", what, c.out, c.err, pods);
        }
        child_fini(&c);
        if (is_there)
            return;
    }
}

void shippedbed_wait_ready(void)
{
    wait_rollout("statefulset/podterm-redis");
    /* (the autoscaler looks each 15 s) */
    free(MANIFESTS_ASK("-n", SHIPPEDBED_NS, "wait", "--timeout=50s",
                       "--for=jsonpath={.spec.replicas}=2",
                       "deployment/podterm-gateway"));
    wait_rollout("deployment/podterm-gateway");
    wait_rollout("deployment/podterm-controller");
}

/* --- what the overlay says --- */

static void write_overlay(struct shippedbed *b, const char *dir)
{
    const struct clusterbed *around = b->around;
    own_mem char *copy = mem_printf("cp -r infra/k8s %s", dir);
    own_mem char *at = mem_printf("%s/" OVERLAY, dir);
    own_mem char *env =
        mem_printf(settings, around->stack.attach_port, given("PODTERM_PUBLIC"),
                   b->keys_port, given("PODTERM_PUBLIC"), around->web.port);
    own_mem char *disk = mem_printf(volume, b->data);
    own_mem char *san = mem_printf("IP:%s", given("PODTERM_PUBLIC"));

    assert_int_equal(system(copy), 0);
    tree_put(dir, OVERLAY "kustomization.yaml", kustomization);
    tree_put(dir, OVERLAY "controller.env", env);
    tree_put(dir, OVERLAY "volume.yaml", disk);
    certs_make(at, "srv", san);
}

/* Who knows identities, over TLS: nothing else is believed by a pod. */
static void start_keys(struct shippedbed *b, const char *dir)
{
    own_mem char *script = mem_printf(
        "cd %s/bundles && exec openssl s_server -quiet -WWW -accept %d "
        "-cert ../" OVERLAY "srv.pem -key ../" OVERLAY "srv.key",
        dir, b->keys_port);
    char *const argv[] = {"sh", "-c", script, NULL};

    clusterbed_spawn(b->around, &b->keys, "keys", "/bin/sh", argv);
}

static void give_keys(void)
{
    own_mem char *path =
        mem_printf("PATH=%s/bin:%s", given("PODTERM_CLUSTER"), getenv("PATH"));
    struct child c = {
        .argv = (const char *const[]){"infra/k8s/make-keys", NULL},
        .env = (const char *const[]){path, NULL},
    };

    child_expect(&c, 0);
    child_fini(&c);
}

/* A Service, by a port of this machine: clients speak without TLS to none
 * but their own. */
static void open_door(struct shippedbed *b, struct clusterbed_process *p,
                      const char *service, int port, int service_port)
{
    char *ip = NULL;
    own_mem char *from =
        mem_printf("TCP-LISTEN:%d,bind=127.0.0.1,fork,reuseaddr,nodelay", port);
    own_mem char *to = NULL;

    assert_int_equal(NAMES(&ip, 1, "get", "service", service, "-o",
                           "jsonpath={.spec.clusterIP}"),
                     1);
    to = mem_printf("TCP:%s:%d,nodelay", ip, service_port);
    free(ip);
    clusterbed_spawn(b->around, p, service, "/usr/bin/socat",
                     (char *const[]){"socat", from, to, NULL});
}

static void install(struct shippedbed *b)
{
    struct stack *stack = &b->around->stack;
    own_mem char *overlay = mem_printf("%s/" OVERLAY, stack->dir);
    own_mem char *identity = stack_identity(stack, "anybody");

    free(MANIFESTS_ASK("apply", "--server-side", "-f",
                       "infra/k8s/base/namespaces.yaml"));
    give_keys();
    write_overlay(b, stack->dir);
    start_keys(b, stack->dir);
    free(MANIFESTS_ASK("apply", "--server-side", "-k", overlay));
    shippedbed_wait_ready();
    open_door(b, &b->api_door, "podterm-controller", stack->port, 8080);
    open_door(b, &b->attach_door, "podterm-gateway", stack->attach_port, 8081);
    clusterbed_serves(stack->port, "/api/sessions", identity,
                      "the controllers' Service");
    clusterbed_serves(stack->attach_port, "/livez", NULL,
                      "the gateways' Service");
}

struct shippedbed *shippedbed_new(void)
{
    struct shippedbed *b = mem_zero(1, sizeof *b);

    b->lock_fd = manifests_lock();
    b->data = mem_printf("%s/redis-data", given("PODTERM_CLUSTER"));
    b->around = clusterbed_around(SHIPPEDBED_SESSIONS);
    b->keys_port = port_free();
    mkdir(b->data, 0700);
    install(b);
    return b;
}

void shippedbed_free(struct shippedbed *b)
{
    own_mem char *remove = NULL;

    if (!b)
        return;
    clusterbed_stop(&b->api_door, SIGTERM);
    clusterbed_stop(&b->attach_door, SIGTERM);
    clusterbed_stop(&b->keys, SIGTERM);
    free(MANIFESTS_ASK("delete", "namespace", SHIPPEDBED_NS,
                       SHIPPEDBED_SESSIONS, "--wait=false"));
    free(MANIFESTS_ASK("-n", SHIPPEDBED_NS, "delete", "pods", "--all",
                       "--grace-period=1"));
    free(MANIFESTS_ASK("wait", "--for=delete", "--timeout=55s",
                       "namespace/" SHIPPEDBED_NS,
                       "namespace/" SHIPPEDBED_SESSIONS));
    free(MANIFESTS_ASK("delete", "persistentvolume", VOLUME));
    remove = mem_printf("rm -rf --one-file-system %s", b->data);
    assert_int_equal(system(remove), 0);
    free(b->api_door.log);
    free(b->attach_door.log);
    free(b->keys.log);
    clusterbed_free(b->around);
    close(b->lock_fd);
    free(b->data);
    free(b);
}

/* --- a user --- */

void shippedbed_run(struct shippedbed *b, struct seat *s, const char *who,
                    const struct stack_bundle *bundle)
{
    const struct stack *stack = &b->around->stack;
    own_mem char *exe = program_path("podterm");
    own_mem char *server = mem_printf("http://127.0.0.1:%d", stack->port);
    own_mem char *token = clusterbed_identity(stack, who);
    own_mem char *identity = mem_printf("echo %s", token);
    const char *const argv[] = {
        exe,      "run",      "--server",  server,     "--identity-command",
        identity, "--bundle", bundle->url, "--sha256", bundle->sha256,
        NULL};

    seat_start(s, argv, NULL, 80, 24, -1);
}
