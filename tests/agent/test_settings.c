/* The agent's settings: what is needed, what is refused. */
#include "agent/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 32

static struct err e;

static int setup(void **arg)
{
    (void)arg;
    settings = (struct agent_settings){.listen_fd = -1, .health_fd = -1};
    e = (struct err){0};
    return 0;
}

/* What the keeper gives, less one flag, and more behind it. */
static int load(const char *less, const char *const *more)
{
    static const char *const usual[][2] = {
        {"--spec", "s"},       {"--state-file", "f"}, {"--ipc-dir", "i"},
        {"--bundle-dir", "b"}, {"--tmp-dir", "t"},    {"--report", "r"}};
    char *argv[ARGS_MAX] = {(char *)"podterm-agent"};
    int argc = 1;

    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (less && strcmp(usual[i][0], less) == 0)
            continue;
        argv[argc++] = (char *)usual[i][0];
        argv[argc++] = (char *)usual[i][1];
    }
    for (; more && *more; more++)
        argv[argc++] = (char *)*more;
    return settings_load(argc, argv, &e);
}

#define LOAD(...) load(NULL, (const char *const[]){__VA_ARGS__, NULL})

static void refused(int r, const char *names)
{
    assert_int_equal(r, -1);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, names))
        fail_msg("\"%s\" does not name %s", e.text, names);
}

static void what_is_not_said_has_its_default(void **arg)
{
    (void)arg;
    assert_int_equal(load(NULL, NULL), 0);
    assert_string_equal(settings.spec, "s");
    assert_string_equal(settings.listen, "127.0.0.1:0");
    assert_string_equal(settings.log_level, "info");
    assert_int_equal(settings.key_fd, 3);
    assert_int_equal(settings.runner_uid, 0);
    assert_null(settings.cache_dir);
    assert_null(settings.cached);
    assert_null(settings.keep);
    assert_null(settings.status);
    assert_null(settings.health_listen);
    assert_false(settings.is_main);
    /* not 0: that is somebody's descriptor */
    assert_int_equal(settings.listen_fd, -1);
    assert_int_equal(settings.health_fd, -1);
}

static void what_is_needed_is_named(void **arg)
{
    static const char *const needed[] = {"--spec",    "--state-file",
                                         "--ipc-dir", "--bundle-dir",
                                         "--tmp-dir", "--report"};

    (void)arg;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        setup(NULL);
        refused(load(needed[i], NULL), needed[i]);
    }
}

static void the_main_process_needs_its_listener(void **arg)
{
    (void)arg;
    refused(LOAD("--main"), "--listen-fd");
    assert_int_equal(LOAD("--main", "--listen-fd", "4"), 0);
    assert_true(settings.is_main);
    assert_int_equal(settings.listen_fd, 4);
}

static void deriving_a_key_needs_its_own_alone(void **arg)
{
    char *argv[] = {(char *)"podterm-agent",
                    (char *)"--derive-key",
                    (char *)"--pool-secret-file",
                    (char *)"p",
                    (char *)"--pod-uid",
                    (char *)"u",
                    (char *)"--out",
                    (char *)"o"};

    (void)arg;
    for (int i = 2; i < 8; i += 2) {
        setup(NULL);
        refused(settings_load(i, argv, &e), argv[i]);
    }
    setup(NULL);
    assert_int_equal(settings_load(8, argv, &e), 0);
    assert_true(settings.derive_key);
    assert_string_equal(settings.out, "o");
}

/* As the supervisor appends its own to what it was given. */
static void the_last_word_counts(void **arg)
{
    (void)arg;
    assert_int_equal(LOAD("--key-fd", "9", "--main", "--key-fd", "3",
                          "--listen-fd", "4", "--health-fd", "5"),
                     0);
    assert_int_equal(settings.key_fd, 3);
    assert_int_equal(settings.health_fd, 5);
}

static void a_bad_value_stops_the_start(void **arg)
{
    (void)arg;
    refused(LOAD("--key-fd", "-1"), "--key-fd");
    refused(LOAD("--key-fd", "1024"), "--key-fd");
    refused(LOAD("--runner-uid", "4294967295"), "--runner-uid");
    refused(LOAD("--log-level", "loud"), "--log-level");
    refused(LOAD("--report", ""), "--report");
    refused(LOAD("--nonsense"), "--nonsense");
    refused(LOAD("operand"), "operand");
    assert_int_equal(LOAD("--runner-uid", "4294967294"), 0);
    assert_int_equal(settings.runner_uid, 4294967294);
}

static void the_environment_speaks_below_the_flags(void **arg)
{
    (void)arg;
    setenv("PODTERM_CACHE_DIR", "/c", 1);
    setenv("PODTERM_REPORT", "/other", 1);
    assert_int_equal(load(NULL, NULL), 0);
    assert_string_equal(settings.cache_dir, "/c");
    assert_string_equal(settings.report, "r");
    unsetenv("PODTERM_CACHE_DIR");
    unsetenv("PODTERM_REPORT");
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_not_said_has_its_default),
        T(what_is_needed_is_named),
        T(the_main_process_needs_its_listener),
        T(deriving_a_key_needs_its_own_alone),
        T(the_last_word_counts),
        T(a_bad_value_stops_the_start),
        T(the_environment_speaks_below_the_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
