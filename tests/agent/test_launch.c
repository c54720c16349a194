/* START as it reaches a shim: what the program gets, and nothing else. */
#include "agent/launch.h"

#include "agent/manifest.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "runner-image/parts.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

struct bench {
    struct loop *loop;
    struct shimlink *link;
    char *dir;
    int sock; /* the shim's end */
    uint8_t cookie[SHIM_COOKIE_BYTES];
    struct agent_spec spec;
    struct launch launch;
    struct start got;
    int argc, envc;
    struct err e;
};

static void on_hello(void *arg, enum shim_state state, enum shim_end kind,
                     int value)
{
    (void)arg;
    (void)state;
    (void)kind;
    (void)value;
}

static void on_lost(void *arg, const struct err *why)
{
    (void)arg;
    (void)why;
}

static const struct shimlink_verbs verbs = {.hello = on_hello, .lost = on_lost};

static bool is_up(void *arg)
{
    return shimlink_is_up(((struct bench *)arg)->link);
}

static void shim_connect(struct bench *b)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    uint8_t msg[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION, SHIM_WAITING};

    memcpy(msg + sizeof(msg) - SHIM_COOKIE_BYTES, b->cookie, SHIM_COOKIE_BYTES);
    b->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof(to.sun_path), "%.90s/%s", b->dir, SHIM_SOCKET);
    assert_return_code(connect(b->sock, (struct sockaddr *)&to, sizeof(to)),
                       errno);
    assert_int_equal(send(b->sock, msg, sizeof(msg), 0), sizeof(msg));
    assert_true(run_until(b->loop, is_up, b, PATIENCE_MS));
    /* HELLO_OK comes first */
    assert_int_equal(recv(b->sock, msg, 5, MSG_WAITALL), 5);
    assert_int_equal(msg[4], SHIM_HELLO_OK);
}

static char *const argv_of_test[] = {(char *)"/root/bin/x", (char *)"-a",
                                     (char *)"", NULL};

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));
    own_json struct json *j = spec_fixture();
    struct shimlink_conf conf = {
        .cookie = b->cookie, .runner_uid = getuid(), .verbs = &verbs, .arg = b};

    b->loop = loop_new();
    b->dir = scratch_new();
    conf.ipc_dir = b->dir;
    memset(b->cookie, 7, sizeof(b->cookie));
    b->link = shimlink_new(b->loop, &conf, &b->e);
    assert_non_null(b->link);
    assert_int_equal(spec_of(j, &b->spec, &b->e), 0);
    b->launch = (struct launch){.spec = &b->spec,
                                .argv = argv_of_test,
                                .root = "/run/podterm/bundle/root",
                                .home = "/home/user",
                                .cols = 91,
                                .rows = 33};
    shim_connect(b);
    *arg = b;
    return 0;
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    shimlink_free(b->link);
    loop_free(b->loop);
    close(b->sock);
    spec_fini(&b->spec);
    scratch_remove(b->dir);
    free(b);
    return 0;
}

/* --- what came: the shim's own reader says --- */

static int count(char *const *list)
{
    int n = 0;

    while (list[n])
        n++;
    return n;
}

static void take_start(struct bench *b)
{
    static uint8_t msg[SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX];
    struct cursor c;
    uint32_t len;

    run_for(b->loop, 5);
    assert_int_equal(recv(b->sock, msg, 4, MSG_WAITALL), 4);
    c = cursor_of(msg, 4);
    assert_int_equal(buf_take_u32(&c, &len), 0);
    assert_true(len <= SHIM_MESSAGE_MAX);
    assert_int_equal(recv(b->sock, msg, len, MSG_WAITALL), len);
    assert_int_equal(msg[0], SHIM_START);
    memset(&b->got, 0, sizeof(b->got));
    assert_int_equal(start_read(msg + 1, len - 1, &b->got), 0);
    b->argc = count(b->got.argv);
    b->envc = count(b->got.env);
}

static void launch(struct bench *b)
{
    if (launch_program(b->link, &b->launch, &b->e) < 0)
        fail_msg("%s", b->e.text);
    take_start(b);
}

/* How often a name stands in the environment; *value: its last value. */
static int env_has(const struct start *s, const char *name, const char **value)
{
    size_t len = strlen(name);
    int n = 0;

    for (int i = 0; s->env[i]; i++)
        if (strncmp(s->env[i], name, len) == 0 && s->env[i][len] == '=') {
            *value = s->env[i] + len + 1;
            n++;
        }
    return n;
}

static void env_is(const struct start *s, const char *name, const char *want)
{
    const char *value = NULL;

    assert_int_equal(env_has(s, name, &value), 1);
    assert_string_equal(value, want);
}

static void spec_env_is(struct bench *b, const char *text)
{
    own_json struct json *j = spec_bend(spec_fixture(), "env", text);

    spec_fini(&b->spec);
    assert_int_equal(spec_of(j, &b->spec, &b->e), 0);
}

static void a_program_gets_its_words_size_and_place(void **arg)
{
    struct bench *b = *arg;

    launch(b);
    assert_int_equal(b->got.size.ws_col, 91);
    assert_int_equal(b->got.size.ws_row, 33);
    assert_string_equal(b->got.cwd, "/home/user");
    assert_int_equal(b->argc, 3);
    assert_string_equal(b->got.argv[0], "/root/bin/x");
    assert_string_equal(b->got.argv[1], "-a");
    assert_string_equal(b->got.argv[2], "");
}

static void the_environment_is_made_from_nothing(void **arg)
{
    struct bench *b = *arg;

    setenv("AGENTS_OWN", "secret", 1);
    launch(b);
    unsetenv("AGENTS_OWN");
    assert_int_equal(b->envc, 6);
    env_is(&b->got, "PATH", "/run/podterm/bundle/root/bin:" MANIFEST_PATH);
    env_is(&b->got, "HOME", "/home/user");
    env_is(&b->got, "TERM", "xterm-256color");
    env_is(&b->got, "COLORTERM", "truecolor");
    env_is(&b->got, "LANG", "C.UTF-8");
    env_is(&b->got, "API_KEY", SPEC_SECRET);
}

static void the_requests_own_word_wins_and_stands_once(void **arg)
{
    struct bench *b = *arg;

    spec_env_is(b, "{\"TERM\":\"dumb\",\"LANG\":\"\",\"PATH\":\"/p\","
                   "\"PATHS\":\"x\",\"HOM\":\"y\",\"EQ\":\"a=b\"}");
    launch(b);
    env_is(&b->got, "TERM", "dumb");
    env_is(&b->got, "LANG", "");
    env_is(&b->got, "PATH", "/p");
    env_is(&b->got, "PATHS", "x");
    env_is(&b->got, "HOM", "y");
    env_is(&b->got, "HOME", "/home/user");
    env_is(&b->got, "EQ", "a=b");
    assert_int_equal(b->envc, 8);
}

static void sandbox_and_network_are_the_specs(void **arg)
{
    static const struct {
        const char *isolation, *egress;
        int want_isolation, want_egress;
    } rows[] = {
        {"full", "none", SHIM_ISOLATION_FULL, SHIM_EGRESS_NONE},
        {"none", "open", SHIM_ISOLATION_NONE, SHIM_EGRESS_OPEN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench *b;

        if (i > 0) {
            teardown(arg);
            setup(arg);
        }
        b = *arg;
        snprintf(b->spec.isolation, sizeof(b->spec.isolation), "%s",
                 rows[i].isolation);
        snprintf(b->spec.egress, sizeof(b->spec.egress), "%s", rows[i].egress);
        b->spec.limits = (struct spec_limits){1, 2, 3, INT64_C(1) << 46, 5};
        launch(b);
        assert_int_equal(b->got.isolation, rows[i].want_isolation);
        assert_int_equal(b->got.egress, rows[i].want_egress);
        assert_int_equal(b->got.limits.nproc, 1);
        assert_int_equal(b->got.limits.nofile, 2);
        assert_int_equal(b->got.limits.data_bytes, 3);
        assert_int_equal(b->got.limits.fsize_bytes, INT64_C(1) << 46);
        assert_int_equal(b->got.limits.cpu_s, 5);
    }
}

/* And what the session asks for has the last word. */
static void a_proxy_is_told_to_the_program(void **arg)
{
    struct bench *b = *arg;

    b->spec.proxy_rules = mem_str("{}");
    launch(b);
    assert_int_equal(b->got.egress, SHIM_EGRESS_PROXY);
    assert_int_equal(b->got.listen_count, 1);
    assert_int_equal(b->got.listen[0], SHIM_PROXY_PORT);
    env_is(&b->got, "HTTPS_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "https_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "HTTP_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "http_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "ALL_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "all_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "NO_PROXY", "localhost,127.0.0.1,::1");
    env_is(&b->got, "no_proxy", "localhost,127.0.0.1,::1");
}

static void what_a_broker_has_is_told_to_the_program(void **arg)
{
    struct bench *b = *arg;

    b->spec.broker_rules = mem_str("{}");
    b->spec.has_api[BROKER_ANTHROPIC] = true;
    launch(b);
    assert_int_equal(b->got.egress, SHIM_EGRESS_NONE);
    assert_int_equal(b->got.listen_count, 1);
    assert_int_equal(b->got.listen[0], SHIM_BROKER_PORT);
    env_is(&b->got, "ANTHROPIC_BASE_URL", "http://127.0.0.1:3129/anthropic");
    env_is(&b->got, "ANTHROPIC_AUTH_TOKEN", "the-key-is-with-the-broker");
    assert_int_equal(b->envc, 8);
}

/* In a network that is the agent's, too, the agent listens. */
static void in_a_shared_network_it_may_be_connected_to(void **arg)
{
    struct bench *b = *arg;

    b->spec.is_network_shared = true;
    b->spec.broker_rules = mem_str("{}");
    b->spec.has_api[BROKER_OPENAI] = true;
    launch(b);
    assert_int_equal(b->got.listen_count, 0);
    assert_int_equal(b->got.port_count, 1);
    assert_int_equal(b->got.ports[0], SHIM_BROKER_PORT);
    env_is(&b->got, "OPENAI_BASE_URL", "http://127.0.0.1:3129/openai/v1");
    env_is(&b->got, "OPENAI_API_KEY", "the-key-is-with-the-broker");
}

static bool has(char *const *list, const char *path)
{
    for (; *list; list++)
        if (strcmp(*list, path) == 0)
            return true;
    return false;
}

/* What holds in a network of its own, strictly. */
static void the_cage_is_the_specs(void **arg)
{
    struct bench *b = *arg;
    const struct start *s = &b->got;

    launch(b);
    assert_int_equal(s->want,
                     SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_SCOPES);
    assert_int_equal(s->must, SHIM_LAYER_CALLS | SHIM_LAYER_FILES);
    assert_int_equal(s->filter_count, 2);
    assert_int_equal(s->filters[0].when, SHIM_ALWAYS);
    assert_int_equal(s->filters[1].when, SHIM_ALWAYS);
    assert_int_equal(s->port_count, 0);
    assert_int_equal(s->listen_count, 0);
    assert_true(has(s->readable, "/usr"));
    assert_true(has(s->readable, "/opt"));
    assert_true(has(s->readable, "/run/podterm/bundle/root"));
    assert_false(has(s->readable, "/"));
    assert_false(has(s->readable, "/run"));
    assert_true(has(s->writable, "/home/user"));
    assert_true(has(s->writable, "/tmp"));
    assert_false(has(s->writable, "/usr"));
}

/* Where nothing is its own, what is somebody else's is not in view. */
static void without_namespaces_less_is_in_view(void **arg)
{
    struct bench *b = *arg;
    const struct start *s = &b->got;

    snprintf(b->spec.isolation, sizeof(b->spec.isolation), "none");
    snprintf(b->spec.cage, sizeof(b->spec.cage), "best");
    launch(b);
    assert_int_equal(s->must, 0);
    assert_true(has(s->readable, "/usr"));
    assert_false(has(s->readable, "/home"));
    assert_false(has(s->readable, "/var"));
    assert_true(has(s->writable, "/home/user"));
}

static void an_open_cage_is_none(void **arg)
{
    struct bench *b = *arg;

    snprintf(b->spec.cage, sizeof(b->spec.cage), "open");
    launch(b);
    assert_int_equal(b->got.want | b->got.must, 0);
    assert_int_equal(b->got.filter_count, 0);
}

/* In the agent's network the kernel must keep it to the proxy, or from all. */
static void a_shared_network_is_shut(void **arg)
{
    struct bench *b = *arg;
    const struct start *s = &b->got;

    b->spec.is_network_shared = true;
    snprintf(b->spec.cage, sizeof(b->spec.cage), "best");
    launch(b);
    assert_int_equal(s->must, SHIM_LAYER_CALLS);
    assert_int_equal(s->want & SHIM_LAYER_PORTS, 0);
    assert_int_equal(s->filter_count, 3);
    assert_int_equal(s->filters[2].when, SHIM_ALWAYS);
    assert_int_equal(s->listen_count, 0);
}

static void a_proxy_of_a_shared_network_is_all_there_is(void **arg)
{
    struct bench *b = *arg;
    const struct start *s = &b->got;

    b->spec.is_network_shared = true;
    b->spec.proxy_rules = mem_str("{}");
    launch(b);
    assert_int_equal(s->must,
                     SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_PORTS);
    assert_int_equal(s->port_count, 1);
    assert_int_equal(s->ports[0], SHIM_PROXY_PORT);
    assert_int_equal(s->filter_count, 3);
    assert_int_equal(s->filters[2].when, SHIM_UNLESS_PORTS);
    assert_int_equal(s->listen_count, 0); /* the agent does */
}

static void what_does_not_fit_or_has_no_shim_is_refused(void **arg)
{
    struct bench *b = *arg;
    own_mem char *large = mem_zero(SHIM_MESSAGE_MAX, 1);
    char *words[] = {large, NULL};

    memset(large, 'a', SHIM_MESSAGE_MAX - 1);
    b->launch.argv = words;
    assert_int_equal(launch_program(b->link, &b->launch, &b->e), -1);
    assert_int_equal(b->e.kind, ERR_TOO_LARGE);
    b->launch.argv = argv_of_test;
    launch(b);
    assert_int_equal(launch_program(b->link, &b->launch, &b->e), -1);
    assert_int_equal(b->e.kind, ERR_CONFLICT);
    close(b->sock);
    b->sock = -1;
    run_for(b->loop, 50);
    assert_int_equal(launch_program(b->link, &b->launch, &b->e), -1);
    assert_int_equal(b->e.kind, ERR_PEER);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_program_gets_its_words_size_and_place),
        T(the_environment_is_made_from_nothing),
        T(the_requests_own_word_wins_and_stands_once),
        T(sandbox_and_network_are_the_specs),
        T(the_cage_is_the_specs),
        T(without_namespaces_less_is_in_view),
        T(an_open_cage_is_none),
        T(a_shared_network_is_shut),
        T(a_proxy_of_a_shared_network_is_all_there_is),
        T(a_proxy_is_told_to_the_program),
        T(what_a_broker_has_is_told_to_the_program),
        T(in_a_shared_network_it_may_be_connected_to),
        T(what_does_not_fit_or_has_no_shim_is_refused),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
