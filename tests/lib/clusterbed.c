#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterfiles.h"

#include "base/file.h"
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/token.h"
#include "base/yaml.h"
#include "controller/jobspec.h"
#include "controller/podview.h"
#include "tests/lib/clusteruser.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ARGS_MAX 60
#define LOG_MAX (1 << 20)

extern char **environ;

static const char *given(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value)
        fail_msg("%s is not set", name);
    return value;
}

/* --- processes --- */

void clusterbed_spawn(struct clusterbed *b, struct clusterbed_process *p,
                      const char *name, const char *path, char *const *argv)
{
    int log, fds[3], fd;
    struct err e = {0};
    struct proc_spawn how = {.path = path,
                             .argv = argv,
                             .envp = environ,
                             .cwd = b->here,
                             .fds = fds,
                             .fd_count = 3,
                             .death_signal = SIGKILL};

    if (!p->log)
        p->log = mem_printf("%s/%s.log", b->stack.dir, name);
    log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fds[0] = -1;
    fds[1] = fds[2] = log;
    fd = proc_spawn(&how, &p->pid, &e);
    close(log);
    if (fd < 0)
        fail_msg("%s: %s", name, e.text);
    close(fd);
}

void clusterbed_stop(struct clusterbed_process *p, int signum)
{
    if (p->pid <= 0)
        return;
    kill(p->pid, signum);
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

void clusterbed_serves(int port, const char *path, const char *head,
                       const char *who)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    for (;;) {
        struct rest_answer a = rest_call(port, "GET", path, head, NULL);
        int status = a.status;

        rest_fini(&a);
        if (status == 200)
            return;
        if (loop_now_ms() > until)
            fail_msg("%s does not serve (%d)", who, status);
        poll(NULL, 0, 20);
    }
}

void clusterbed_launch(struct clusterbed *b, int i)
{
    struct clusterbed_process *p = &b->controllers[i];
    own_mem char *exe = program_path("podterm-controller");
    own_mem char *listen = mem_printf("127.0.0.1:%d", p->port);
    own_mem char *state = mem_printf("%s/state", b->stack.dir);
    own_mem char *attach =
        mem_printf("ws://127.0.0.1:%d/v1/attach", b->stack.attach_port);
    own_mem char *jwks =
        mem_printf("http://127.0.0.1:%d/identity.json", b->web.port);
    own_mem char *domains =
        mem_printf("%s:%d", given("PODTERM_PUBLIC"), b->web.port);
    own_mem char *holder = mem_printf("controller-%d", i);
    own_mem char *name = mem_printf("controller-%d", i);
    const char *argv[ARGS_MAX] = {"podterm-controller",
                                  "--listen",
                                  listen,
                                  "--state-dir",
                                  state,
                                  "--attach-url",
                                  attach,
                                  "--launcher",
                                  "kubernetes",
                                  "--kubeconfig",
                                  b->user,
                                  "--namespace",
                                  b->ns,
                                  "--job-template",
                                  b->template,
                                  "--agent-image",
                                  given("PODTERM_AGENT_IMAGE"),
                                  "--runner-image",
                                  given("PODTERM_RUNNER_IMAGE"),
                                  "--runner-images",
                                  "localhost/*",
                                  "--oidc-issuer",
                                  CLUSTERBED_ISSUER,
                                  "--oidc-audience",
                                  CLUSTERBED_AUDIENCE,
                                  "--oidc-jwks-url",
                                  jwks,
                                  "--bundle-domains",
                                  domains,
                                  "--bundle-http",
                                  "--lease-holder",
                                  holder,
                                  "--linger-detached-s",
                                  "4",
                                  "--quota",
                                  "200",
                                  "--conns-per-address",
                                  "0"};
    size_t n = 0;

    while (argv[n])
        n++;
    if (b->store) {
        argv[n++] = "--store";
        argv[n++] = b->store;
    }
    for (const char *const *more = b->more; more && *more; more++)
        argv[n++] = *more;
    clusterbed_spawn(b, p, name, exe, (char *const *)argv);
}

void clusterbed_start(struct clusterbed *b, int i)
{
    const int port = b->controllers[i].port;
    own_mem char *identity = stack_identity(&b->stack, "anybody");
    own_mem char *name = mem_printf("controller-%d", i);

    clusterbed_launch(b, i);
    clusterbed_serves(port, "/livez", NULL, name);
    /* it knows whom to believe */
    clusterbed_serves(port, "/api/sessions", identity, name);
}

void clusterbed_kill(struct clusterbed *b, int i, int signum)
{
    clusterbed_stop(&b->controllers[i], signum);
}

static void start_gateway(struct clusterbed *b)
{
    own_mem char *exe = program_path("podterm-gateway");
    own_mem char *listen = mem_printf("127.0.0.1:%d", b->stack.attach_port);
    own_mem char *store = b->store
                              ? mem_str(b->store)
                              : mem_printf("%s/state/podterm.db", b->stack.dir);
    own_mem char *seal = mem_printf("%s/state/keys/seal", b->stack.dir);
    own_mem char *jwks = mem_printf("%s/state/jwks.json", b->stack.dir);
    const char *argv[] = {"podterm-gateway",
                          "--listen",
                          listen,
                          "--store",
                          store,
                          "--seal-key-file",
                          seal,
                          "--jwks-file",
                          jwks,
                          "--issuer",
                          "podterm-controller",
                          "--audience",
                          "podterm",
                          "--agent-cidrs",
                          "10.0.0.0/8",
                          NULL};

    clusterbed_spawn(b, &b->gateway, "gateway", exe, (char *const *)argv);
    clusterbed_serves(b->stack.attach_port, "/livez", NULL, "the gateway");
}

/* What stands for the internet, and for who knows identities. */
static void start_web(struct clusterbed *b)
{
    own_mem char *port = mem_printf("%d", b->web.port);
    own_mem char *dir = mem_printf("%s/bundles", b->stack.dir);
    char *const argv[] = {"python3",     "-m", "http.server", port,
                          "--directory", dir,  NULL};

    clusterbed_spawn(b, &b->web, "web", "/usr/bin/python3", argv);
    clusterbed_serves(b->web.port, "/identity.json", NULL, "the web server");
}

void clusterbed_client(struct clusterbed *b, struct clusterbed_process *p,
                       const char *who, const char *const *args)
{
    own_mem char *exe = program_path("podterm");
    own_mem char *server = mem_printf("http://127.0.0.1:%d", b->stack.port);
    own_mem char *token = clusterbed_identity(&b->stack, who);
    own_mem char *identity = mem_printf("echo %s", token);
    const char *argv[ARGS_MAX] = {
        "podterm", args[0], "--server", server, "--identity-command", identity};
    size_t n = 6;

    for (const char *const *more = args + 1; *more; more++)
        argv[n++] = *more;
    clusterbed_spawn(b, p, who, exe, (char *const *)argv);
}

void clusterbed_said(const struct clusterbed_process *p, const char *text,
                     int ms)
{
    int64_t until = loop_now_ms() + ms;

    for (;;) {
        struct err e = {0};
        struct buf log;
        bool is_there;

        buf_init(&log, LOG_MAX);
        is_there = file_read(p->log, &log, &e) == 0 &&
                   strstr(buf_cstr(&log), text) != NULL;
        if (!is_there && loop_now_ms() > until)
            fail_msg("no \"%s\" in: %s", text, buf_cstr(&log));
        buf_fini(&log);
        if (is_there)
            return;
        poll(NULL, 0, 100);
    }
}

/* --- identities --- */

static void publish_identity(struct clusterbed *b)
{
    own_mem char *path = mem_printf("%s/bundles/identity.json", b->stack.dir);
    own_json struct json *set = json_object();
    own_mem char *text = NULL;
    struct err e = {0};
    FILE *f;

    b->signer = token_signer_make(NULL, &e);
    assert_non_null(b->signer);
    json_set(json_set(set, "keys", json_array()), NULL,
             token_signer_jwk(b->signer));
    text = json_text(set);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

char *clusterbed_identity(const struct stack *s, const char *who)
{
    own_json struct json *claims = json_object();
    /* (its first member) */
    const struct clusterbed *b = (const struct clusterbed *)s;
    struct err e = {0};
    char *token;

    json_set_str(claims, "iss", CLUSTERBED_ISSUER);
    json_set_str(claims, "aud", CLUSTERBED_AUDIENCE);
    json_set_str(claims, "sub", who);
    json_set_int(claims, "iat", loop_wall_s());
    json_set_int(claims, "exp", loop_wall_s() + 3600);
    token = token_sign(b->signer, TOKEN_TYP_IDENTITY, claims, &e);
    if (!token)
        fail_msg("identity: %s", e.text);
    return token;
}

/* --- the API --- */

int clusterbed_call(struct clusterbed *b, const char *method, const char *body,
                    struct json **out, const char *path, ...)
{
    own_json struct json *j = NULL;
    struct kube_call call;
    struct err e = {0};
    char full[1024];
    va_list ap;
    int status;

    va_start(ap, path);
    vsnprintf(full, sizeof full, path, ap);
    va_end(ap);
    if (body) {
        j = yaml_parse(body, strlen(body), &e);
        if (!j)
            fail_msg("%s", e.text);
    }
    call = (struct kube_call){.method = method, .path = full, .body = j};
    if (strcmp(method, "PATCH") == 0)
        call.content_type = "application/merge-patch+json";
    status = kube_do(b->kube, &call, out, &e);
    if (status < 0)
        fail_msg("%s %s: %s", method, full, e.text);
    return status;
}

static const char *group_of(const char *what)
{
    return strcmp(what, "jobs") == 0 ? "apis/batch/v1" : "api/v1";
}

static struct json *list(struct clusterbed *b, const char *what,
                         const char *sid)
{
    struct json *out = NULL;

    assert_int_equal(clusterbed_call(b, "GET", NULL, &out,
                                     "/%s/namespaces/%s/%s?labelSelector=%s"
                                     "%s%s",
                                     group_of(what), b->ns, what, PODVIEW_LABEL,
                                     sid ? "%3D" : "", sid ? sid : ""),
                     200);
    return out;
}

int clusterbed_count(struct clusterbed *b, const char *what, const char *sid)
{
    own_json struct json *all = list(b, what, sid);

    return (int)json_count(json_get(all, "items"));
}

void clusterbed_wait_none(struct clusterbed *b, const char *what,
                          const char *sid)
{
    int64_t until = loop_now_ms() + CLUSTERBED_GONE_MS;
    int left;

    while ((left = clusterbed_count(b, what, sid)) > 0) {
        if (loop_now_ms() > until)
            fail_msg("%d %s of %s are left", left, what,
                     sid ? sid : "any session");
        poll(NULL, 0, 200);
    }
}

void clusterbed_wait_nothing(struct clusterbed *b, const char *sid)
{
    clusterbed_wait_none(b, "jobs", sid);
    clusterbed_wait_none(b, "pods", sid);
    clusterbed_wait_none(b, "secrets", sid);
}

void clusterbed_wait_gone(struct clusterbed *b, const char *what,
                          const char *name)
{
    int64_t until = loop_now_ms() + CLUSTERBED_GONE_MS;

    while (clusterbed_call(b, "GET", NULL, NULL, "/%s/namespaces/%s/%s/%s",
                           group_of(what), b->ns, what, name) != 404) {
        if (loop_now_ms() > until)
            fail_msg("%s %s is left", what, name);
        poll(NULL, 0, 200);
    }
}

struct json *clusterbed_pod(struct clusterbed *b, const char *sid)
{
    own_json struct json *all = list(b, "pods", sid);
    const struct json *items = json_get(all, "items");

    return json_count(items) ? json_dup(json_at(items, 0)) : NULL;
}

static void connect_api(struct clusterbed *b)
{
    struct kube_conf conf = {0};
    struct err e = {0};

    if (kube_conf_file(given("KUBECONFIG"), &conf, &e) < 0)
        fail_msg("KUBECONFIG: %s", e.text);
    b->kube = kube_new(&conf);
}

static void make_namespace(struct clusterbed *b)
{
    char id[ID_SIZE], body[256];
    struct kube_conf admin = {0};
    struct err e = {0};

    if (kube_conf_file(given("KUBECONFIG"), &admin, &e) < 0)
        fail_msg("KUBECONFIG: %s", e.text);
    random_id(id);
    snprintf(b->ns, sizeof b->ns, "podterm-test-%s", id);
    snprintf(body, sizeof body,
             "metadata: {name: %s, labels: "
             "{pod-security.kubernetes.io/enforce: restricted}}",
             b->ns);
    assert_int_equal(
        clusterbed_call(b, "POST", body, NULL, "/api/v1/namespaces"), 201);
    b->is_ns_ours = true;
    b->user = clusteruser_make(b->kube, &admin, b->ns, b->stack.dir);
    kube_conf_fini(&admin);
}

/* --- all of it --- */

/* The one being made: a failure leaves it to the group's teardown, which has
 * nothing else to free. */
static struct clusterbed *unfinished;

static struct clusterbed *surroundings(void)
{
    struct clusterbed *b = mem_zero(1, sizeof *b);
    own_mem char *bundles = NULL, *state = NULL;

    unfinished = b;
    seal_init();
    wspeer_patience_ms = CLUSTERBED_START_MS;
    assert_non_null(getcwd(b->here, sizeof b->here));
    b->stack.dir = scratch_new();
    b->stack.identity = clusterbed_identity;
    bundles = mem_printf("%s/bundles", b->stack.dir);
    state = mem_printf("%s/state", b->stack.dir);
    assert_int_equal(mkdir(bundles, 0755), 0);
    assert_int_equal(mkdir(state, 0711), 0);
    for (int i = 0; i < CLUSTERBED_CONTROLLERS; i++)
        b->controllers[i].port = port_free();
    b->stack.port = b->controllers[0].port;
    b->stack.attach_port = port_free();
    b->web.port = port_free();
    connect_api(b);
    publish_identity(b);
    start_web(b);
    return b;
}

struct clusterbed *clusterbed_around(const char *ns)
{
    struct clusterbed *b = surroundings();

    snprintf(b->ns, sizeof b->ns, "%s", ns);
    unfinished = NULL;
    return b;
}

struct clusterbed *clusterbed_new(const char *store, const char *const *more)
{
    struct clusterbed *b = surroundings();

    b->more = more;
    b->store = store;
    make_namespace(b);
    b->template = clusterfiles_template(b, "session-job", NULL);
    clusterbed_start(b, 0);
    b->stack.log_path = mem_str(b->controllers[0].log);
    start_gateway(b);
    unfinished = NULL;
    return b;
}

void clusterbed_free(struct clusterbed *b)
{
    if (!b)
        b = unfinished;
    unfinished = NULL;
    if (!b)
        return;
    for (int i = 0; i < CLUSTERBED_CONTROLLERS; i++) {
        clusterbed_stop(&b->controllers[i], SIGTERM);
        free(b->controllers[i].log);
    }
    clusterbed_stop(&b->gateway, SIGTERM);
    clusterbed_stop(&b->web, SIGTERM);
    if (b->is_ns_ours)
        clusterbed_call(b, "DELETE", NULL, NULL, "/api/v1/namespaces/%s",
                        b->ns);
    kube_free(b->kube);
    token_signer_free(b->signer);
    free(b->user);
    free(b->template);
    free(b->gateway.log);
    free(b->web.log);
    free(b->stack.log_path);
    scratch_remove(b->stack.dir);
    free(b);
}

/* --- bundles --- */

static void to_public(struct clusterbed *b, const char *name,
                      struct stack_bundle *out)
{
    snprintf(out->url, sizeof out->url, "http://%s:%d/%s.tar.gz",
             given("PODTERM_PUBLIC"), b->web.port, name);
}

void clusterbed_pack(struct clusterbed *b, const char *name, const char *script,
                     struct stack_bundle *out)
{
    stack_pack(&b->stack, name, script, out);
    to_public(b, name, out);
}

void clusterbed_pack_file(struct clusterbed *b, const char *name,
                          const char *path, struct stack_bundle *out)
{
    stack_pack_file(&b->stack, name, path, out);
    to_public(b, name, out);
}

void clusterbed_take(struct clusterbed *b, const char *name, const char *path,
                     struct stack_bundle *out)
{
    stack_take(&b->stack, name, path, out);
    to_public(b, name, out);
}

/* --- attachments --- */

void clusterbed_attach(struct clusterbed *b, struct stack_link *l,
                       const struct stack_session *ss, int64_t from)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    for (;;) {
        int status = 0;
        own_mem char *token =
            stack_token(&b->stack, ss->who, ss->sid, "owner", &status);

        if (token && stack_attach(&b->stack, l, token, from, 80, 24))
            return;
        if (loop_now_ms() > until || strcmp(l->error, "session_ended") == 0)
            fail_msg("%s cannot be attached (%d): %s %s", ss->sid, status,
                     l->error, l->said);
        poll(NULL, 0, 100);
    }
}

static void keep(void *arg, const uint8_t *bytes, size_t len)
{
    assert_int_equal(buf_append(arg, bytes, len), 0);
}

void clusterbed_expect(struct clusterbed *b, struct stack_link *l,
                       struct buf *said, const char *text)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;

    (void)b;
    while (text ? !strstr(buf_cstr(said), text) : !l->is_ended)
        if (!stack_pump(l, keep, said, true))
            fail_msg("the connection ended (%s %s) before %s: %s", l->error,
                     l->reason, text ? text : "EXIT", buf_cstr(said));
        else if (loop_now_ms() > until)
            fail_msg("no %s within %d ms: %s", text ? text : "EXIT",
                     CLUSTERBED_START_MS, buf_cstr(said));
}
