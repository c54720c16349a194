/*
 * The warm pool on a real cluster: kept at its target, given out once, and a
 * session in a warm pod is a session like any other.
 */
#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/activate.h"
#include "controller/jobspec.h"
#include "controller/keys.h"
#include "controller/podview.h"
#include "tests/lib/clusterpool.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGET 2
#define POLL_MS 500
#define SETTLED_MS 5000 /* in which it must not move */
#define ATTACK_MS 5000
#define MARKED_MS 15000 /* a session's name is written on its pod */

static struct clusterbed *bed;
static struct clusterpool_watch *watch; /* since there is a pool */
static struct stack_bundle ask;

static int setup(void **arg)
{
    static const char *const more[] = {"--warm-target", "2", NULL};

    (void)arg;
    bed = clusterbed_new(NULL, NULL);
    watch = clusterpool_begin(bed, POLL_MS, TARGET);
    bed->more = more;
    clusterbed_kill(bed, 0, SIGTERM);
    clusterbed_start(bed, 0);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &ask);
    return 0;
}

static void end_watch(void)
{
    struct clusterpool_watch *w = watch;

    watch = NULL;
    clusterpool_end(w);
}

static int teardown(void **arg)
{
    (void)arg;
    clusterpool_drop(watch);
    clusterbed_free(bed);
    return 0;
}

static void the_pool_is_filled_from_nothing_and_kept_at_its_target(void **arg)
{
    (void)arg;
    clusterpool_until(bed, POLL_MS, TARGET, SETTLED_MS);
}

static void a_session_takes_a_warm_pod_and_another_takes_its_place(void **arg)
{
    int64_t begun_ms;
    struct clustertalk t;
    own_json struct json *j = NULL;

    (void)arg;
    clusterbed_wait_warm(bed, TARGET);
    begun_ms = loop_now_ms();
    clustertalk_begin(&t, bed, "ann", &ask, "", "name?");
    print_message("POST to first byte: %lld ms\n",
                  (long long)(loop_now_ms() - begun_ms));
    assert_int_equal(clusterbed_count(bed, "jobs", t.ss.sid), 0);
    clustertalk_type(&t, "ann\n");
    clustertalk_expect(&t, NULL);
    assert_non_null(strstr(buf_cstr(&t.said), "hello ann"));
    assert_int_equal(t.link.exit_code, 7);
    stack_cut(&t.link);
    j = stack_wait(&bed->stack, "ann", t.ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    clusterbed_wait_warm(bed, TARGET);
    clustertalk_fini(&t);
}

/* --- who has read the Secret of a warm runner --- */

struct thief {
    char job[64], uid[64], addr[80];
    uint8_t key[SESSION_KEY_BYTES];
};

/* A pod of the pool: the session's, or (NULL) one that is nobody's. */
static void pod_of(const char *sid, struct podview *v)
{
    own_mem char *whose = sid ? mem_printf("%s%%3D%s", PODVIEW_LABEL, sid)
                              : mem_str("!" PODVIEW_LABEL);
    own_json struct json *pods = NULL;
    int64_t until = loop_now_ms() + MARKED_MS;
    struct err e = {0};

    for (;;) {
        assert_int_equal(
            clusterbed_call(bed, "GET", NULL, &pods,
                            "/api/v1/namespaces/%s/pods?labelSelector=%s,%s",
                            bed->ns, PODVIEW_POOL, whose),
            200);
        if (json_count(json_get(pods, "items")) > 0)
            break;
        if (loop_now_ms() > until)
            fail_msg("no pod of %s", sid ? sid : "the pool");
        json_free(pods);
        pods = NULL;
        poll(NULL, 0, POLL_MS);
    }
    assert_int_equal(podview_of(json_at(json_get(pods, "items"), 0), v, &e), 0);
}

static void look_at(const char *sid, struct thief *t)
{
    own_json struct json *secret = NULL;
    struct podview v;
    const char *text;

    pod_of(sid, &v);
    snprintf(t->job, sizeof t->job, "%s", v.job);
    snprintf(t->uid, sizeof t->uid, "%s", v.uid);
    snprintf(t->addr, sizeof t->addr, "%s:7440", v.ip);
    assert_int_equal(clusterbed_call(bed, "GET", NULL, &secret,
                                     "/api/v1/namespaces/%s/secrets/%s",
                                     bed->ns, v.job),
                     200);
    text = json_get_str(json_get(secret, "data"), "key");
    assert_non_null(text);
    assert_int_equal(base64_decode(text, strlen(text), t->key, sizeof t->key),
                     SESSION_KEY_BYTES);
}

/* With that key, and all that a controller has: is it to be had for this
 * session? */
static enum err_kind activate(const struct thief *t, const struct keys *keys,
                              const char *uid, const char *spec)
{
    static const uint8_t other[SESSION_KEY_BYTES] = {7};
    struct err e = {0};
    const struct activate what = {
        .addr = t->addr,
        .pod_uid = uid,
        .pool_psk_id = jobspec_warm_id(t->job),
        .pool_key = t->key,
        .signer = keys->signer,
        .iss = "podterm-controller",
        .spec = spec,
        .key = other,
        .deadline_ms = ATTACK_MS,
    };

    return activate_send(&what, &e) == 0 ? ERR_NONE : e.kind;
}

static void the_secret_of_a_runner_given_out_opens_nothing(void **arg)
{
    own_mem char *state = mem_printf("%s/state", bed->stack.dir);
    own_mem char *spec = NULL;
    struct clustertalk s;
    struct keys keys = {0};
    struct thief t;
    struct err e = {0};
    char id[ID_SIZE];

    (void)arg;
    random_id(id);
    spec = mem_printf("{\"v\":1,\"sid\":\"%s\",\"psk_id\":\"%s\"}", id, id);
    if (keys_load(&keys, state, &e) < 0)
        fail_msg("%s", e.text);
    clusterbed_wait_warm(bed, TARGET);
    /* while it is warm its key is heard, and what is said judged */
    look_at(NULL, &t);
    assert_int_equal(activate(&t, &keys, "another-pod", spec), ERR_DENIED);

    clustertalk_begin(&s, bed, "ann", &ask, "", "name?");
    look_at(s.ss.sid, &t);
    assert_int_equal(activate(&t, &keys, t.uid, spec), ERR_CONFLICT);
    clustertalk_type(&s, "ann\n");
    clustertalk_expect(&s, NULL);
    assert_int_equal(s.link.exit_code, 7);
    stack_cut(&s.link);
    json_free(stack_wait(&bed->stack, "ann", s.ss.sid, "ended", 20000));
    keys_fini(&keys);
    clustertalk_fini(&s);
}

static void is_there(const struct podview *v)
{
    assert_int_equal(clusterbed_call(bed, "GET", NULL, NULL,
                                     "/apis/batch/v1/namespaces/%s/jobs/%s",
                                     bed->ns, v->job),
                     200);
    assert_int_equal(clusterbed_call(bed, "GET", NULL, NULL,
                                     "/api/v1/namespaces/%s/secrets/%s",
                                     bed->ns, v->job),
                     200);
}

static void a_deleted_session_leaves_nothing_of_its_warm_runner(void **arg)
{
    own_json struct json *j = NULL;
    struct clustertalk t;
    struct podview v;

    (void)arg;
    clusterbed_wait_warm(bed, TARGET);
    clustertalk_begin(&t, bed, "ann", &ask, "", "name?");
    pod_of(t.ss.sid, &v);
    is_there(&v);
    clustertalk_delete(&t);
    j = stack_wait(&bed->stack, "ann", t.ss.sid, "ended", CLUSTERBED_GONE_MS);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    clusterbed_wait_gone(bed, "jobs", v.job);
    clusterbed_wait_gone(bed, "pods", v.name);
    clusterbed_wait_gone(bed, "secrets", v.job);
    clusterbed_wait_warm(bed, TARGET);
    clustertalk_fini(&t);
}

/* The last: all that was done above was watched. */
static void at_no_time_there_were_more_than_that(void **arg)
{
    (void)arg;
    clusterpool_until(bed, POLL_MS, TARGET, SETTLED_MS);
    assert_non_null(watch);
    end_watch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_pool_is_filled_from_nothing_and_kept_at_its_target),
        cmocka_unit_test(
            a_session_takes_a_warm_pod_and_another_takes_its_place),
        cmocka_unit_test(the_secret_of_a_runner_given_out_opens_nothing),
        cmocka_unit_test(a_deleted_session_leaves_nothing_of_its_warm_runner),
        cmocka_unit_test(at_no_time_there_were_more_than_that),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
