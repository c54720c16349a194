/*
 * Local mode is not a door: DNS rebinding, foreign pages, other users of the
 * machine, and settings that would open it. CORS beside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/programs.h"
#include "base/own.h"
#include "base/mem.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct api api;

static int setup(void **state)
{
    static const char *const extra[] = {"--cors-origins", "https://app.example",
                                        NULL};

    (void)state;
    api_start(&api, extra);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    api_finish(&api);
    return 0;
}

static int status_with(const char *path, const char *headers)
{
    struct rest_answer r =
        rest_call(api.server.port, "GET", path, headers, NULL);
    int status = r.status;

    rest_fini(&r);
    return status;
}

static void rebound_names_are_misdirected(void **state)
{
    static const char *const paths[] = {
        "/dev/token?sub=a", "/api/sessions",          "/livez",
        "/metrics",         "/.well-known/jwks.json", "/"};
    char *wrong_port =
        mem_printf("Host: 127.0.0.1:%d\r\n", api.server.port + 1);
    char *evil = mem_printf("Host: evil.example:%d\r\n", api.server.port);
    char *name = mem_printf("Host: localhost:%d\r\n", api.server.port);

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(status_with(paths[i], evil), 421);
        assert_int_equal(status_with(paths[i], wrong_port), 421);
        assert_int_equal(status_with(paths[i], "Host: 127.0.0.1\r\n"), 421);
        assert_int_not_equal(status_with(paths[i], name), 421);
    }
    free(wrong_port);
    free(evil);
    free(name);
}

static void foreign_pages_are_refused(void **state)
{
    static const char *const foreign[] = {"Origin: http://evil.example\r\n",
                                          "Origin: null\r\n",
                                          "Origin: http://127.0.0.1:1\r\n"};
    char *own = mem_printf("Origin: http://127.0.0.1:%d\r\n", api.server.port);

    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        assert_int_equal(status_with("/dev/token?sub=a", foreign[i]), 403);
        assert_int_equal(status_with("/livez", foreign[i]), 403);
    }
    assert_int_equal(status_with("/dev/token?sub=a", own), 200);
    free(own);
}

static void cors_is_for_listed_origins_without_credentials(void **state)
{
    struct rest_answer r =
        rest_call(api.server.port, "OPTIONS", "/api/sessions",
                  "Origin: https://app.example\r\n"
                  "Access-Control-Request-Method: POST\r\n",
                  NULL);

    (void)state;
    assert_int_equal(r.status, 204);
    assert_string_equal(rest_header(&r, "access-control-allow-origin"),
                        "https://app.example");
    assert_string_equal(rest_header(&r, "access-control-allow-credentials"),
                        "");
    assert_non_null(strstr(rest_header(&r, "access-control-allow-headers"),
                           "authorization"));
    rest_fini(&r);
    r = rest_call(api.server.port, "GET", "/livez",
                  "Origin: https://app.example\r\n", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(rest_header(&r, "access-control-allow-origin"),
                        "https://app.example");
    assert_string_equal(rest_header(&r, "vary"), "origin");
    rest_fini(&r);
}

static void names_have_their_form(void **state)
{
    static const char *const bad[] = {
        "/dev/token", "/dev/token?sub=", "/dev/token?sub=a%20b",
        "/dev/token?sub=a%0ab", "/dev/token?subject=a"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (status_with(bad[i], NULL) != 400)
            fail_msg("%s", bad[i]);
}

static void another_user_of_the_machine_gets_no_identity(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    pid = fork();
    if (pid == 0) {
        if (setresuid(65534, 65534, 65534) < 0)
            _exit(1);
        _exit(status_with("/dev/token?sub=a", NULL) == 403 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(status_with("/dev/token?sub=a", NULL), 200);
}

static void an_identity_dies_with_the_process_that_made_it(void **state)
{
    char *old = api_identity(&api, "alice");

    (void)state;
    assert_int_equal(api_status(&api, "GET", "/api/sessions", NULL, old, NULL),
                     200);
    rest_stop(&api.server, SIGTERM);
    api_start(&api, NULL);
    assert_int_equal(api_status(&api, "GET", "/api/sessions", NULL, old, NULL),
                     401);
    free(old);
}

/* Flags that must not start, and the word the message must have. */
static void settings_that_open_a_door_do_not_start(void **state)
{
    static const struct {
        const char *args[12];
        const char *word;
    } bad[] = {
        {{"--dev-issuer", "--listen", "0.0.0.0:0"}, "loopback"},
        {{"--dev-issuer", "--listen", "[::]:0"}, "loopback"},
        {{"--dev-issuer", "--oidc-issuer", "https://i.example"}, "exclude"},
        {{"--listen", "127.0.0.1:0"}, "--oidc-issuer"},
        {{"--oidc-issuer", "podterm-controller", "--oidc-audience", "a",
          "--oidc-jwks-url", "https://i.example/keys"},
         "--issuer"},
        {{"--dev-issuer", "--issuer", "urn:podterm:dev"}, "--issuer"},
        {{"--dev-issuer", "--attach-url", "ws://gateway.example/v1/attach"},
         "wss"},
        {{"--dev-issuer", "--attach-url", "http://localhost/"}, "--attach-url"},
        {{"--dev-issuer", "--tls-cert", "/x"}, "--tls-key"},
        {{"--dev-issuer", "--egress", "all"}, "--egress"},
        {{"--dev-issuer", "--isolation", "some"}, "--isolation"},
        {{"--dev-issuer", "--bundle-domains", "*"}, "--bundle-domains"},
        {{"--dev-issuer", "--deny-cidrs", "10.0.0.1/8"}, "--deny-cidrs"},
        {{"--dev-issuer", "--ring-bytes", "65537"}, "--ring-bytes"},
        {{"--dev-issuer", "--signing-keys", "nonsense"}, "--signing-keys"},
        {{"--dev-issuer", "--lifetime-s", "0"}, "lifetime-s"},
        {{"--dev-issuer", "--no-such-flag"}, "no-such-flag"},
    };
    struct rest_server s;
    char text[65536];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *args[24] = {"--state-dir", "/nonexistent/podterm"};
        size_t n = 2;

        /* one that is right unless the case has its own */
        args[n++] = "--attach-url";
        args[n++] = "wss://g.example/v1/attach";
        for (size_t k = 0; bad[i].args[k]; k++)
            args[n++] = bad[i].args[k];
        if (rest_start(&s, args, text, sizeof text))
            fail_msg("case %zu started", i);
        if (!strstr(text, bad[i].word))
            fail_msg("case %zu: %s", i, text);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* As an ordinary user a program has our uid: on this machine's network it
 * could ask /dev/token in our name. */
static void an_open_network_needs_uids_of_its_own(void **state)
{
    own_mem char *controller = program_path("podterm-controller");
    own_mem char *cmd = mem_printf(
        "%s %s --dev-issuer --listen 127.0.0.1:0 --state-dir /tmp/podterm-none "
        "--attach-url ws://127.0.0.1:1/v1/attach --egress open 2>&1",
        geteuid() == 0 ? "setpriv --reuid 65534 --regid 65534 --clear-groups"
                       : "",
        controller);
    char text[4096];
    size_t n;
    FILE *f;

    (void)state;
    if (geteuid() == 0 && system("setpriv --reuid 65534 --clear-groups "
                                 "test -x build/bin/podterm-controller") != 0)
        skip(); /* a checkout that others may not enter */
    f = popen(cmd, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    assert_int_not_equal(pclose(f), 0);
    assert_non_null(strstr(text, "/dev/token in your name"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(rebound_names_are_misdirected),
        T(foreign_pages_are_refused),
        T(cors_is_for_listed_origins_without_credentials),
        T(names_have_their_form),
        T(another_user_of_the_machine_gets_no_identity),
        T(an_identity_dies_with_the_process_that_made_it),
        cmocka_unit_test(settings_that_open_a_door_do_not_start),
        cmocka_unit_test(an_open_network_needs_uids_of_its_own),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
