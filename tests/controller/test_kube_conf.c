/*
 * Where the Kubernetes API is and who we are: kubeconfigs as tools write
 * them, a pod's files, and what is refused with its name.
 */
#include "controller/kube_conf.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CLUSTER "server: https://10.0.0.1:6443"
#define USER "token: abc"
#define CONFIG(cluster, user)                                                  \
    "apiVersion: v1\nkind: Config\n"                                           \
    "clusters:\n- name: other\n  cluster: {server: https://no}\n"              \
    "- name: c\n  cluster: {" cluster "}\n"                                    \
    "users:\n- name: u\n  user: {" user "}\n"                                  \
    "contexts:\n- name: x\n  context: {cluster: c, user: u, namespace: ns1}\n" \
    "current-context: x\n"

static char *dir, *path;
static struct kube_conf conf;

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    path = mem_printf("%s/config", dir);
    conf = (struct kube_conf){0};
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    kube_conf_fini(&conf);
    free(path);
    scratch_remove(dir);
    return 0;
}

static void takes(const char *text)
{
    struct err e = {0};

    kube_conf_fini(&conf);
    tree_put(dir, "config", text);
    if (kube_conf_file(path, &conf, &e) < 0)
        fail_msg("%s", e.text);
}

static void refuses(const char *text, const char *why)
{
    struct err e = {0};

    tree_put(dir, "config", text);
    kube_conf_fini(&conf);
    assert_int_equal(kube_conf_file(path, &conf, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, why) || !strstr(e.text, path))
        fail_msg("not \"%s\" but \"%s\"", why, e.text);
    assert_null(conf.server);
}

static char *token_now(struct err *e)
{
    struct buf b;
    char *text = NULL;

    buf_init_secret(&b, KUBE_TOKEN_MAX);
    if (kube_conf_token(&conf, &b, e) == 0)
        text = mem_str(buf_cstr(&b));
    buf_fini_secret(&b);
    return text;
}

static void the_current_context_is_taken(void **arg)
{
    struct err e = {0};
    own_mem char *token = NULL;

    (void)arg;
    takes(CONFIG(CLUSTER, USER));
    assert_string_equal(conf.server, "https://10.0.0.1:6443");
    assert_string_equal(conf.ns, "ns1");
    assert_null(conf.ca);
    token = token_now(&e);
    assert_string_equal(token, "abc");
    takes(CONFIG("server: 'https://[::1]:6443/'", USER));
    assert_string_equal(conf.server, "https://[::1]:6443");
}

static void pem_comes_by_path_or_in_base64(void **arg)
{
    (void)arg;
    tree_put(dir, "pki/ca.pem", "CA");
    tree_put(dir, "cert.pem", "CERT");
    takes(CONFIG(CLUSTER ", certificate-authority: pki/ca.pem",
                 "client-certificate: cert.pem, client-key-data: S0VZ"));
    assert_string_equal(conf.ca, "CA"); /* beside the file that says it */
    assert_string_equal(conf.cert, "CERT");
    assert_string_equal(conf.key, "KEY");
    takes(CONFIG(CLUSTER ", certificate-authority: /nowhere,"
                         " certificate-authority-data: Q0E=",
                 USER));
    assert_string_equal(conf.ca, "CA"); /* data goes first */
}

static void a_token_file_is_read_each_time(void **arg)
{
    struct err e = {0};
    own_mem char *one = NULL, *two = NULL, *three = NULL, *file = NULL;

    (void)arg;
    tree_put(dir, "tok", "first\n");
    takes(CONFIG(CLUSTER, "tokenFile: tok, token: other"));
    one = token_now(&e);
    assert_string_equal(one, "first");
    tree_put(dir, "tok", "second\r\n");
    two = token_now(&e);
    assert_string_equal(two, "second");
    tree_put(dir, "tok", "a b");
    three = token_now(&e);
    assert_null(three);
    assert_non_null(strstr(e.text, "visible ASCII"));
    tree_put(dir, "tok", "\n");
    assert_null(token_now(&e));
    file = mem_printf("%s/tok", dir);
    assert_int_equal(unlink(file), 0);
    assert_null(token_now(&e));
    assert_int_equal(e.kind, ERR_ABSENT);
}

static void a_token_that_breaks_a_header_is_no_token(void **arg)
{
    struct err e = {0};

    (void)arg;
    takes(CONFIG(CLUSTER, "token: \"abc\\r\\nHost: else\""));
    assert_null(token_now(&e));
    assert_int_equal(e.kind, ERR_INPUT);
}

static void what_we_do_not_do_is_named(void **arg)
{
    (void)arg;
    refuses(CONFIG(CLUSTER, "exec: {command: aws}"), "exec is not taken");
    refuses(CONFIG(CLUSTER, "auth-provider: {name: gcp}"), "auth-provider");
    refuses(CONFIG(CLUSTER, "username: u, password: p"), "username");
    refuses(CONFIG(CLUSTER, "token: t, as: root"), "as is not taken");
    refuses(CONFIG(CLUSTER ", insecure-skip-tls-verify: true", USER),
            "insecure-skip-tls-verify");
    refuses(CONFIG(CLUSTER ", tls-server-name: x", USER), "tls-server-name");
    refuses(CONFIG(CLUSTER ", proxy-url: http://x", USER), "proxy-url");
}

static void what_is_missing_or_wrong_is_named(void **arg)
{
    struct err e = {0};
    own_mem char *nowhere = mem_printf("%s/nowhere", dir);

    (void)arg;
    assert_int_equal(kube_conf_file(nowhere, &conf, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    refuses("current-context: x\n", "no context \"x\"");
    refuses("a: b\n", "no context \"\"");
    refuses("a: [\n", "line ");
    refuses("contexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "current-context: x\n",
            "no cluster \"c\"");
    refuses("contexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: https://h}}]\n"
            "current-context: x\n",
            "no user \"u\"");
    refuses(CONFIG("a: b", USER), "no server");
    refuses(CONFIG("server: 7", USER), "server must be a text");
    refuses(CONFIG("server: http://10.0.0.1:6443", USER), "must be like");
    refuses(CONFIG("server: 'https://10.0.0.1:6443/prefix'", USER),
            "must be like");
    refuses(CONFIG("server: 'https://a:b@10.0.0.1'", USER), "must be like");
    refuses(CONFIG(CLUSTER, "a: b"), "no client certificate");
    refuses(CONFIG(CLUSTER, "client-certificate-data: Q0E="),
            "client-key go together");
    refuses(CONFIG(CLUSTER ", certificate-authority-data: '*'", USER),
            "certificate-authority-data is no base64");
    refuses(CONFIG(CLUSTER ", certificate-authority-data: AA==", USER),
            "is no base64 of a text");
}

static void a_pod_has_variables_and_files(void **arg)
{
    struct err e = {0};
    own_mem char *token = NULL;

    (void)arg;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_conf_pod(dir, &conf, &e), -1);
    assert_int_equal(e.kind, ERR_ABSENT);
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(kube_conf_pod(dir, &conf, &e), -1); /* no files */
    tree_put(dir, "ca.crt", "CA");
    tree_put(dir, "namespace", "here");
    tree_put(dir, "token", "tok");
    if (kube_conf_pod(dir, &conf, &e) < 0)
        fail_msg("%s", e.text);
    assert_string_equal(conf.server, "https://[fd00::1]:443");
    assert_string_equal(conf.ns, "here");
    assert_string_equal(conf.ca, "CA");
    token = token_now(&e);
    assert_string_equal(token, "tok");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_current_context_is_taken),
        T(pem_comes_by_path_or_in_base64),
        T(a_token_file_is_read_each_time),
        T(a_token_that_breaks_a_header_is_no_token),
        T(what_we_do_not_do_is_named),
        T(what_is_missing_or_wrong_is_named),
        T(a_pod_has_variables_and_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
