/* START as it reaches a shim: what the program gets, and nothing else. */
#include "agent/launch.h"

#include "agent/manifest.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
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
#define STRINGS_MAX 64

/* A START taken apart. */
struct start {
    uint16_t cols, rows;
    uint8_t sandbox, isolation, network, egress;
    uint64_t limits[5];
    char cwd[256];
    int argc, envc;
    char argv[STRINGS_MAX][256], env[STRINGS_MAX][256];
};

struct bench {
    struct loop *loop;
    struct shimlink *link;
    char *dir;
    int sock; /* the shim's end */
    uint8_t cookie[SHIM_COOKIE_BYTES];
    struct agent_spec spec;
    struct launch launch;
    struct start got;
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

/* --- what came --- */

static void take_string(struct cursor *c, char out[256])
{
    const uint8_t *bytes;
    uint32_t len;

    assert_int_equal(buf_take_u32(c, &len), 0);
    assert_true(len < 256);
    assert_int_equal(buf_take_bytes(c, len, &bytes), 0);
    memcpy(out, bytes, len);
    out[len] = 0;
}

static int take_strings(struct cursor *c, char out[STRINGS_MAX][256])
{
    uint16_t n;

    assert_int_equal(buf_take_u16(c, &n), 0);
    assert_true(n <= STRINGS_MAX);
    for (int i = 0; i < n; i++)
        take_string(c, out[i]);
    return n;
}

static void take_start(struct bench *b)
{
    static uint8_t msg[SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX];
    struct start *s = &b->got;
    struct cursor c;
    uint32_t len;
    uint8_t type;

    run_for(b->loop, 5);
    assert_int_equal(recv(b->sock, msg, 4, MSG_WAITALL), 4);
    c = cursor_of(msg, 4);
    assert_int_equal(buf_take_u32(&c, &len), 0);
    assert_true(len <= SHIM_MESSAGE_MAX);
    assert_int_equal(recv(b->sock, msg, len, MSG_WAITALL), len);
    c = cursor_of(msg, len);
    assert_int_equal(buf_take_u8(&c, &type), 0);
    assert_int_equal(type, SHIM_START);
    assert_int_equal(buf_take_u16(&c, &s->cols), 0);
    assert_int_equal(buf_take_u16(&c, &s->rows), 0);
    assert_int_equal(buf_take_u8(&c, &s->sandbox), 0);
    assert_int_equal(buf_take_u8(&c, &s->isolation), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(buf_take_u64(&c, &s->limits[i]), 0);
    assert_int_equal(buf_take_u8(&c, &s->network), 0);
    assert_int_equal(buf_take_u8(&c, &s->egress), 0);
    take_string(&c, s->cwd);
    s->argc = take_strings(&c, s->argv);
    s->envc = take_strings(&c, s->env);
    assert_int_equal(cursor_left(&c), 0);
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

    for (int i = 0; i < s->envc; i++)
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
    assert_int_equal(b->got.cols, 91);
    assert_int_equal(b->got.rows, 33);
    assert_string_equal(b->got.cwd, "/home/user");
    assert_int_equal(b->got.argc, 3);
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
    assert_int_equal(b->got.envc, 6);
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
    assert_int_equal(b->got.envc, 8);
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
        assert_int_equal(b->got.sandbox, SHIM_SANDBOX_VERSION);
        assert_int_equal(b->got.network, SHIM_NETWORK_VERSION);
        assert_int_equal(b->got.isolation, rows[i].want_isolation);
        assert_int_equal(b->got.egress, rows[i].want_egress);
        assert_int_equal(b->got.limits[0], 1);
        assert_int_equal(b->got.limits[1], 2);
        assert_int_equal(b->got.limits[2], 3);
        assert_int_equal(b->got.limits[3], INT64_C(1) << 46);
        assert_int_equal(b->got.limits[4], 5);
    }
}

/* And what the session asks for has the last word. */
static void a_proxy_is_told_to_the_program(void **arg)
{
    struct bench *b = *arg;

    b->spec.proxy_rules = mem_str("{}");
    launch(b);
    assert_int_equal(b->got.egress, SHIM_EGRESS_PROXY);
    env_is(&b->got, "HTTPS_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "https_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "HTTP_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "http_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "ALL_PROXY", "http://127.0.0.1:3128");
    env_is(&b->got, "all_proxy", "http://127.0.0.1:3128");
    env_is(&b->got, "NO_PROXY", "localhost,127.0.0.1,::1");
    env_is(&b->got, "no_proxy", "localhost,127.0.0.1,::1");
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
        T(a_proxy_is_told_to_the_program),
        T(what_does_not_fit_or_has_no_shim_is_refused),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
