/* What an operator gives the key broker, and what a session is told of it. */
#include "controller/settings_internal.h"

#include "base/mem.h"
#include "base/own.h"
#include "controller/brokerkeys.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "sk-not-a-real-key"
#define OTHER "sk-of-openai-not-real"

static char *dir, *one, *two;
static struct settings set;

static void put(const char *name, const char *text, mode_t mode)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);

    tree_put(dir, name, text);
    assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    put("one", KEY "\n", 0600);
    put("two", OTHER, 0600);
    one = mem_printf("anthropic=%s/one", dir);
    two = mem_printf("anthropic=%s/one,openai=%s/two", dir, dir);
    memset(&set, 0, sizeof(set));
    set.broker = two;
    set.broker_upstream = set.broker_allow_cidrs = set.deny_cidrs = "";
    set.egress = "none";
    set.launcher = "local";
    set.broker_requests = 1;
    set.broker_bytes = 2;
    set.broker_per_minute = 3;
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    for (int a = 0; a < BROKER_API_COUNT; a++) {
        free((void *)(uintptr_t)set.apis[a].key_file);
        free((void *)(uintptr_t)set.apis[a].upstream);
    }
    scratch_remove(dir);
    free(one);
    free(two);
    return 0;
}

static void refused(const char *word)
{
    struct err e = {0};

    if (settings_check_broker(&set, &e) == 0)
        fail_msg("taken, without \"%s\"", word);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, word))
        fail_msg("no \"%s\" in: %s", word, e.text);
    assert_null(strstr(e.text, KEY));
}

static void only_where_a_network_is_a_session_s_own(void **arg)
{
    (void)arg;
    set.egress = "open";
    refused("--broker needs --egress none or proxy");
    set.egress = "none";
    set.launcher = "kubernetes";
    refused("not there for Jobs");
}

static void a_file_and_an_api_are_named(void **arg)
{
    static const struct {
        const char *list, *word;
    } rows[] = {
        {"anthropic", "is not API="},
        {"anthropic=", "is not API="},
        {"=x", "is not API="},
        {"other=x", "\"other=x\" is not API="},
    };
    own_mem char *twice = mem_printf("%s,%s", one, one);
    own_mem char *open_to_all = mem_printf("openai=%s/all", dir);
    own_mem char *two_lines = mem_printf("openai=%s/lines", dir);

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        set.broker = rows[i].list;
        refused(rows[i].word);
    }
    set.broker = twice;
    refused("twice");
    put("all", KEY, 0644);
    set.broker = open_to_all;
    refused("chmod 600");
    put("lines", KEY "\n" KEY "\n", 0600);
    free((void *)(uintptr_t)set.apis[BROKER_OPENAI].key_file);
    set.apis[BROKER_OPENAI].key_file = NULL;
    set.broker = two_lines;
    refused("one line");
}

static void an_upstream_is_of_an_api_that_has_a_key(void **arg)
{
    (void)arg;
    set.broker = one;
    set.broker_upstream = "openai=https://gate.example";
    refused("has no key in --broker");
    free((void *)(uintptr_t)set.apis[BROKER_ANTHROPIC].key_file);
    set.apis[BROKER_ANTHROPIC].key_file = NULL;
    set.broker_upstream = "anthropic=http://gate.example";
    refused("must be https");
    set.broker = "";
    set.broker_upstream = "";
    set.broker_allow_cidrs = "10.0.0.0/8";
    refused("belong to --broker");
}

static struct json *told(const char *isolation)
{
    struct json *network = json_object();

    settings_broker_to_spec(&set, isolation, network);
    return network;
}

static void a_session_is_told_of_apis_and_budget_and_of_no_key(void **arg)
{
    own_json struct json *full = NULL, *none = NULL;
    own_mem char *text = NULL;
    struct err e = {0};

    (void)arg;
    set.broker_upstream = "openai=http://127.0.0.1:8080/x";
    assert_int_equal(settings_check_broker(&set, &e), 0);
    full = told("full");
    text = json_text(full);
    assert_string_equal(
        text, "{\"broker\":{\"apis\":[{\"name\":\"anthropic\"},{\"name\":"
              "\"openai\",\"upstream\":\"http://127.0.0.1:8080/x\"}],"
              "\"requests\":1,\"bytes\":2,\"per_minute\":3,"
              "\"allow_cidrs\":\"\",\"deny_cidrs\":\"\"}}");
    assert_true(settings_has_broker(&set, "full"));
    assert_false(settings_has_broker(&set, "none"));
    none = told("none");
    assert_int_equal(json_count(none), 0);
}

static void keys_are_given_away_sealed(void **arg)
{
    char text[256] = "";
    struct err e = {0};
    int fd;

    (void)arg;
    assert_int_equal(settings_check_broker(&set, &e), 0);
    fd = brokerkeys_fd(&set, &e);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fcntl(fd, F_GET_SEALS),
                     F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text,
                        "{\"anthropic\":\"" KEY "\",\"openai\":\"" OTHER "\"}");
    close(fd);
    put("two", "short", 0600); /* changed for the worse since the start */
    assert_int_equal(brokerkeys_fd(&set, &e), -1);
    assert_non_null(strstr(e.text, "the key for openai"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(only_where_a_network_is_a_session_s_own),
        T(a_file_and_an_api_are_named),
        T(an_upstream_is_of_an_api_that_has_a_key),
        T(a_session_is_told_of_apis_and_budget_and_of_no_key),
        T(keys_are_given_away_sealed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
