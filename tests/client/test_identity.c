/* Who the user is: a fresh token each time, from a command or the development
 * issuer. */
#include "client/identity.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/scripted.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct server the_server = {.base = (char *)"https://pod.example",
                                   .is_loopback = false};

/* The token this command gives; NULL with the error in *e. */
static char *told(const char *command, struct err *e)
{
    const struct identity id = {.command = command, .as = "me"};

    return identity_new(&id, &the_server, true, e);
}

static void a_command_prints_the_token(void **arg)
{
    struct err e = {0};
    char *token = told("printf 'abc.def_-=\\r\\n\\n'", &e);

    (void)arg;
    assert_non_null(token);
    assert_string_equal(token, "abc.def_-=");
    identity_free(token);
}

static void a_command_is_run_for_each_token(void **arg)
{
    char path[] = "/tmp/podterm-identity-XXXXXX";
    int fd = mkstemp(path);
    own_mem char *command = mem_printf("echo x >>%s; wc -l <%s", path, path);
    struct err e = {0};

    (void)arg;
    close(fd);
    for (int i = 1; i <= 3; i++) {
        own_mem char *token = told(command, &e);

        assert_non_null(token);
        assert_int_equal(atoi(token), i);
    }
    unlink(path);
}

static void a_command_keeps_the_callers_place(void **arg)
{
    own_mem char *cwd = getcwd(NULL, 0);
    struct err e = {0};
    own_mem char *token = told("pwd", &e);

    (void)arg;
    assert_string_equal(token, cwd);
}

static void what_is_no_token_is_refused(void **arg)
{
    static const char *const bad[] = {
        "true", /* nothing */
        "echo two words",
        "printf 'a\\nb\\n'", /* a header would end in it */
        "printf 'a\\033[0m'",
        "printf 'gr\\303\\274n'",
        "head -c 20000 /dev/zero | tr '\\0' a",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e = {0};

        assert_null(told(bad[i], &e));
        assert_int_equal(e.kind, ERR_INPUT);
    }
}

static void a_command_that_fails_gives_no_token(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_null(told("echo token; exit 3", &e));
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "code 3"));
    assert_null(told("kill -9 $$", &e));
    assert_non_null(strstr(e.text, "signal 9"));
}

static void *cancel_soon(void *arg)
{
    usleep(100000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void a_cancellation_ends_the_command(void **arg)
{
    char path[] = "/tmp/podterm-identity-XXXXXX";
    int fd = mkstemp(path);
    own_mem char *command = mem_printf("echo $$ >%s; exec sleep 50", path);
    struct identity id = {.command = command};
    struct server s = the_server;
    const int64_t began = loop_now_ms();
    atomic_bool cancelled = false;
    struct err e = {0};
    pthread_t thread;
    FILE *f;
    int pid = 0;

    (void)arg;
    s.is_cancelled = &cancelled;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancelled), 0);
    assert_null(identity_new(&id, &s, true, &e));
    pthread_join(thread, NULL);
    assert_int_equal(e.kind, ERR_TIMEOUT);
    assert_true(loop_now_ms() - began < 5000);
    f = fdopen(fd, "r");
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    assert_true(pid > 1 && kill(pid, 0) < 0);
    unlink(path);
}

static void without_a_command_another_machine_is_no_issuer(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_null(told(NULL, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "--identity-command"));
    assert_non_null(strstr(e.text, "PODTERM_IDENTITY_COMMAND"));
}

static void the_development_issuer_is_asked_by_name(void **arg)
{
    static const char *const answers[] = {
        "200 OK\r\n\r\n{\"id_token\":\"dev.token\"}"};
    const struct identity id = {.as = "a b/\xc3\xbc&"};
    struct scripted http;
    struct server s;
    struct err e = {0};
    char *token;

    (void)arg;
    scripted_start(&http, answers, 1);
    assert_int_equal(server_open(&s, http.base, NULL, &e), 0);
    token = identity_new(&id, &s, false, &e);
    assert_string_equal(token, "dev.token");
    identity_free(token);
    assert_non_null(strstr(http.requests[0],
                           "GET /dev/token?sub=a%20b%2F%C3%BC%26 HTTP/1.1"));
    server_fini(&s);
    scripted_stop(&http);
}

static void a_server_without_the_issuer_says_what_to_do(void **arg)
{
    static const char *const answers[] = {
        "404 Not Found\r\n\r\n{\"code\":\"not_found\"}",
        "403 Forbidden\r\n\r\n{\"detail\":\"another user\"}",
        "200 OK\r\n\r\n{\"id_token\":\"a b\"}"};
    const struct identity id = {.as = "me"};
    struct scripted http;
    struct server s;
    struct err e = {0};

    (void)arg;
    scripted_start(&http, answers, 3);
    assert_int_equal(server_open(&s, http.base, NULL, &e), 0);
    assert_null(identity_new(&id, &s, false, &e));
    assert_non_null(strstr(e.text, "--identity-command"));
    assert_non_null(strstr(e.text, "PODTERM_IDENTITY_COMMAND"));
    assert_null(identity_new(&id, &s, false, &e));
    assert_int_equal(e.kind, ERR_DENIED);
    assert_non_null(strstr(e.text, "another user"));
    assert_null(identity_new(&id, &s, false, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    server_fini(&s);
    scripted_stop(&http);
}

static void the_login_name_is_a_subject(void **arg)
{
    own_mem char *name = identity_login();

    (void)arg;
    assert_true(name[0]);
    for (char *c = name; *c; c++)
        assert_true(*c >= '!' && *c <= '~');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_prints_the_token),
        cmocka_unit_test(a_command_is_run_for_each_token),
        cmocka_unit_test(a_command_keeps_the_callers_place),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(a_command_that_fails_gives_no_token),
        cmocka_unit_test(a_cancellation_ends_the_command),
        cmocka_unit_test(without_a_command_another_machine_is_no_issuer),
        cmocka_unit_test(the_development_issuer_is_asked_by_name),
        cmocka_unit_test(a_server_without_the_issuer_says_what_to_do),
        cmocka_unit_test(the_login_name_is_a_subject),
    };

    http_client_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
