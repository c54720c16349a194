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
#include "tests/lib/clusterbed.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define TARGET 2
#define POLL_MS 250
#define SETTLED_POLLS 20 /* looked at while it must not move */
#define ATTACK_MS 5000

static struct clusterbed *bed;
static struct stack_bundle ask;

static int setup(void **arg)
{
    static const char *const more[] = {"--warm-target", "2", NULL};

    (void)arg;
    bed = clusterbed_new(NULL, more);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &ask);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    return 0;
}

static void the_pool_is_kept_at_its_target(void **arg)
{
    int above = 0;

    (void)arg;
    clusterbed_wait_warm(bed, TARGET);
    for (int i = 0; i < SETTLED_POLLS; i++) {
        int n = clusterbed_warm(bed, false);

        above = n > TARGET ? above + 1 : 0;
        assert_true(above < 2); /* not for two polls running */
        assert_true(n >= TARGET);
        poll(NULL, 0, POLL_MS);
    }
}

static void a_session_takes_a_warm_pod_and_another_takes_its_place(void **arg)
{
    int64_t begun_ms;
    struct stack_link l = {0};
    struct stack_session ss;
    own_json struct json *j = NULL;
    struct buf said;

    (void)arg;
    buf_init(&said, SAID_MAX);
    clusterbed_wait_warm(bed, TARGET);
    begun_ms = loop_now_ms();
    stack_create(&bed->stack, "ann", &ask, "", &ss);
    clusterbed_attach(bed, &l, &ss, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    print_message("POST to first byte: %lld ms\n",
                  (long long)(loop_now_ms() - begun_ms));
    assert_int_equal(clusterbed_count(bed, "jobs", ss.sid), 0);
    stack_type(&l, l.input_acked, "ann\n", 4);
    clusterbed_expect(bed, &l, &said, NULL);
    assert_non_null(strstr(buf_cstr(&said), "hello ann"));
    assert_int_equal(l.exit_code, 7);
    stack_cut(&l);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    clusterbed_wait_warm(bed, TARGET);
    stack_session_fini(&ss);
    buf_fini(&said);
}

/* --- who has read the Secret of a warm runner --- */

struct thief {
    char job[64], uid[64], addr[80];
    uint8_t key[SESSION_KEY_BYTES];
};

/* A pod of the pool: the session's, or (NULL) one that is nobody's. */
static void look_at(const char *sid, struct thief *t)
{
    own_json struct json *pods = NULL, *secret = NULL;
    struct podview v;
    struct err e = {0};
    const char *text;

    assert_int_equal(
        clusterbed_call(bed, "GET", NULL, &pods,
                        "/api/v1/namespaces/%s/pods?labelSelector=%s,%s%s",
                        bed->ns, PODVIEW_POOL, sid ? "" : "!", PODVIEW_LABEL),
        200);
    assert_int_equal(podview_of(json_at(json_get(pods, "items"), 0), &v, &e),
                     0);
    if (sid)
        assert_string_equal(v.sid, sid);
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
    struct stack_link l = {0};
    struct stack_session ss;
    struct keys keys = {0};
    struct thief t;
    struct err e = {0};
    struct buf said;
    char id[ID_SIZE];

    (void)arg;
    buf_init(&said, SAID_MAX);
    random_id(id);
    spec = mem_printf("{\"v\":1,\"sid\":\"%s\",\"psk_id\":\"%s\"}", id, id);
    if (keys_load(&keys, state, &e) < 0)
        fail_msg("%s", e.text);
    clusterbed_wait_warm(bed, TARGET);
    /* while it is warm its key is heard, and what is said judged */
    look_at(NULL, &t);
    assert_int_equal(activate(&t, &keys, "another-pod", spec), ERR_DENIED);

    stack_create(&bed->stack, "ann", &ask, "", &ss);
    clusterbed_attach(bed, &l, &ss, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    look_at(ss.sid, &t);
    assert_int_equal(activate(&t, &keys, t.uid, spec), ERR_CONFLICT);
    stack_type(&l, l.input_acked, "ann\n", 4);
    clusterbed_expect(bed, &l, &said, NULL);
    assert_int_equal(l.exit_code, 7);
    stack_cut(&l);
    json_free(stack_wait(&bed->stack, "ann", ss.sid, "ended", 20000));
    keys_fini(&keys);
    stack_session_fini(&ss);
    buf_fini(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_is_kept_at_its_target),
        cmocka_unit_test(
            a_session_takes_a_warm_pod_and_another_takes_its_place),
        cmocka_unit_test(the_secret_of_a_runner_given_out_opens_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
