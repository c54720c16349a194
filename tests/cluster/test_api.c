/*
 * Our calls and our watch against a real Kubernetes API. The cluster is that
 * of KUBECONFIG; all is made in a namespace of the test's own.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/vocab.h"
#include "base/yaml.h"
#include "controller/kube.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 30000

static struct kube *kube;
static char ns[64];

/* Make a call with a body in YAML; its status. */
static int call(const char *method, const char *body, struct json **out,
                const char *path, ...) __attribute__((format(printf, 4, 5)));
static int call(const char *method, const char *body, struct json **out,
                const char *path, ...)
{
    struct err e = {0};
    own_json struct json *j = NULL;
    char full[512];
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
    status = kube_do(
        kube, &(struct kube_call){.method = method, .path = full, .body = j},
        out, &e);
    if (status < 0)
        fail_msg("%s %s: %s", method, full, e.text);
    return status;
}

static int setup(void **arg)
{
    struct kube_conf conf = {0};
    struct err e = {0};
    char id[ID_SIZE], body[128];
    const char *path = getenv("KUBECONFIG");

    (void)arg;
    if (!path || kube_conf_file(path, &conf, &e) < 0)
        fail_msg("KUBECONFIG: %s", path ? e.text : "is not set");
    kube = kube_new(&conf);
    random_id(id);
    snprintf(ns, sizeof ns, "podterm-test-%s", id);
    snprintf(body, sizeof body, "metadata: {name: %s}", ns);
    assert_int_equal(call("POST", body, NULL, "/api/v1/namespaces"), 201);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (kube)
        call("DELETE", NULL, NULL, "/api/v1/namespaces/%s", ns);
    kube_free(kube);
    return 0;
}

static void what_the_api_refuses_is_told_in_its_words(void **arg)
{
    struct err e = {0};
    own_json struct json *job = json_object();
    own_mem char *path = mem_printf(
        "/apis/batch/v1/namespaces/%s/jobs?fieldValidation=Strict", ns);

    (void)arg;
    json_set_str(json_set(job, "metadata", json_object()), "name", "j");
    json_set_str(json_set(job, "spec", json_object()), "nonsense", "x");
    assert_int_equal(kube_do(kube,
                             &(struct kube_call){
                                 .method = "POST", .path = path, .body = job},
                             NULL, &e),
                     400);
    assert_non_null(strstr(e.text, "unknown field \"spec.nonsense\""));
    assert_int_equal(
        call("GET", NULL, NULL, "/apis/batch/v1/namespaces/%s/jobs/j", ns),
        404);
}

/* --- a watch --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int listed, changed, gone;
static char last[64];

static void event(void *arg, enum kube_event what, const struct json *object)
{
    const char *name = json_get_str(json_get(object, "metadata"), "name");

    (void)arg;
    pthread_mutex_lock(&lock);
    listed += what == KUBE_ALL_LISTED;
    changed += what == KUBE_CHANGED;
    gone += what == KUBE_GONE;
    if (name)
        snprintf(last, sizeof last, "%s", name);
    pthread_mutex_unlock(&lock);
}

static void expect_count(const int *counter, int least)
{
    int64_t until = loop_now_ms() + SOON_MS;
    bool is_so = false;

    while (!is_so && loop_now_ms() < until) {
        pthread_mutex_lock(&lock);
        is_so = *counter >= least;
        pthread_mutex_unlock(&lock);
        poll(NULL, 0, 10);
    }
    assert_true(is_so);
}

static void a_watch_sees_what_comes_and_goes(void **arg)
{
    own_mem char *path = mem_printf("/api/v1/namespaces/%s/configmaps"
                                    "?labelSelector=podterm.test%%3Dyes",
                                    ns);
    struct kube_watch *w = kube_watch_start(kube, path, event, NULL);

    (void)arg;
    expect_count(&listed, 1);
    for (int i = 1; i <= 3; i++) {
        char body[128];

        snprintf(body, sizeof body,
                 "metadata: {name: c%d, labels: {podterm.test: \"yes\"}}", i);
        assert_int_equal(
            call("POST", body, NULL, "/api/v1/namespaces/%s/configmaps", ns),
            201);
        expect_count(&changed, i);
    }
    assert_string_equal(last, "c3");
    assert_int_equal(call("POST", "metadata: {name: other}", NULL,
                          "/api/v1/namespaces/%s/configmaps", ns),
                     201);
    assert_int_equal(
        call("DELETE", NULL, NULL, "/api/v1/namespaces/%s/configmaps/c2", ns),
        200);
    expect_count(&gone, 1);
    assert_string_equal(last, "c2");
    assert_int_equal(changed, 3); /* not the one without the label */
    kube_watch_stop(w);
}

static void more_than_a_page_is_listed(void **arg)
{
    own_mem char *path = mem_printf("/api/v1/namespaces/%s/configmaps", ns);
    struct kube_watch *w;
    int before;

    (void)arg;
    for (int i = 0; i < 2 * KUBE_PAGE + 1; i++) {
        char body[64];

        snprintf(body, sizeof body, "metadata: {name: page%d}", i);
        assert_int_equal(call("POST", body, NULL, "%s", path), 201);
    }
    before = listed;
    w = kube_watch_start(kube, path, event, NULL);
    expect_count(&listed, before + 1);
    kube_watch_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_api_refuses_is_told_in_its_words),
        cmocka_unit_test(a_watch_sees_what_comes_and_goes),
        cmocka_unit_test(more_than_a_page_is_listed),
    };

    seal_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
