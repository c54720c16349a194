/*
 * What dies under running sessions on a real cluster: controllers, the store,
 * the API server. No session is lost, none is there twice, none is left.
 */
// alone: it kills the API server
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterquota.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/redisd.h"
#include "tests/lib/skipped.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CREATED 8
#define RUNNING 2
#define AWAY_MS 3000
#define TAKE_OVER_MS 40000 /* a Lease, its retries, and a slow machine */

static struct redisd redis;
static struct clusterbed *bed;
static struct stack_bundle quick, ask;
static char *template;

/* No Job is gone by its TTL before it is counted. */
static int setup(void **arg)
{
    static const char *const changes[][2] = {
        {"ttlSecondsAfterFinished: 120", "ttlSecondsAfterFinished: 3600"},
        {NULL, NULL}};
    static const char *more[] = {"--job-template", NULL, NULL};

    (void)arg;
    redisd_start(&redis, NULL, NULL);
    bed = clusterbed_new(redis.url, NULL);
    template = clusterfiles_template(bed, "long", changes);
    more[1] = template;
    bed->more = more;
    clusterbed_kill(bed, 0, SIGTERM);
    clusterbed_start(bed, 0);
    clusterbed_pack(bed, "quick", "exit 7", &quick);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; while read x; do echo hello $x; "
                    "[ $x = end ] && exit 7; done",
                    &ask);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    free(template);
    redisd_stop(&redis);
    return 0;
}

static void ends_with_seven(const char *sid, int ms)
{
    own_json struct json *j = stack_wait(&bed->stack, "ann", sid, "ended", ms);
    int64_t code = -1;

    json_get_int(j, "exit_code", &code);
    if (code != 7) {
        own_mem char *text = json_text(j);

        fail_msg("%s", text);
    }
}

/* --- in the middle of a creation --- */

/* A creation that may be cut off; asked again under the same key it is the
 * same one. */
static int ask_to_create(const char *key)
{
    own_mem char *identity = stack_identity(&bed->stack, "ann");
    own_mem char *head = mem_printf("%sIdempotency-Key: %s\r\n", identity, key);

    return stack_ask(&bed->stack, head, &quick, "");
}

static void the_controller_is_killed_while_it_creates(void **arg)
{
    static const int after_ms[CREATED] = {0, 2, 5, 10, 20, 40, 80, 200};
    char sids[CREATED][ID_SIZE], keys[CREATED][32];

    (void)arg;
    for (int i = 0; i < CREATED; i++) {
        struct rest_answer a;
        int fd;

        snprintf(keys[i], sizeof keys[i], "create-%d", i);
        fd = ask_to_create(keys[i]);
        poll(NULL, 0, after_ms[i]);
        clusterbed_kill(bed, 0, SIGKILL);
        a = rest_hear(fd);
        rest_fini(&a);
        clusterbed_start(bed, 0);
    }
    for (int i = 0; i < CREATED; i++) {
        struct rest_answer a = rest_hear(ask_to_create(keys[i]));
        struct err e = {0};
        own_json struct json *j = json_parse(a.body, a.len, &e);

        assert_true(a.status == 200 || a.status == 201);
        snprintf(sids[i], sizeof sids[i], "%s", json_get_str(j, "id"));
        rest_fini(&a);
    }
    for (int i = 0; i < CREATED; i++)
        ends_with_seven(sids[i], CLUSTERBED_START_MS * 2);
    assert_int_equal(clusterbed_count(bed, "jobs", NULL), CREATED);
    assert_int_equal(clusterbed_count(bed, "pods", NULL), CREATED);
    clusterbed_wait_none(bed, "secrets", NULL);
}

/* One Job and one pod, and no Secret is left. */
static void is_there_once(const char *sid)
{
    assert_int_equal(clusterbed_count(bed, "jobs", sid), 1);
    assert_int_equal(clusterbed_count(bed, "pods", sid), 1);
    clusterbed_wait_none(bed, "secrets", sid);
}

static void has_job_and_no_secret(const char *sid)
{
    assert_int_equal(clusterbed_count(bed, "jobs", sid), 1);
    assert_int_equal(clusterbed_count(bed, "secrets", sid), 0);
}

/* Its Job is there and its Secret is not: no room for that until it is dead. */
static void the_controller_is_killed_between_job_and_secret(void **arg)
{
    int64_t until = loop_now_ms() + CLUSTERBED_START_MS;
    struct stack_session ss;

    (void)arg;
    clusterquota_none_of(bed, "count/secrets");
    stack_create(&bed->stack, "ann", &quick, "", &ss);
    while (clusterbed_count(bed, "jobs", ss.sid) == 0) {
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, 50);
    }
    has_job_and_no_secret(ss.sid);
    clusterbed_kill(bed, 0, SIGKILL);
    clusterquota_lift(bed);
    has_job_and_no_secret(ss.sid);
    clusterbed_start(bed, 0);
    ends_with_seven(ss.sid, CLUSTERBED_START_MS * 2);
    is_there_once(ss.sid);
    stack_session_fini(&ss);
}

/* --- sessions that run --- */

static void begin(struct clustertalk *t)
{
    clustertalk_begin(t, bed, "ann", &ask, "", "name?");
}

static void say(struct clustertalk *r, const char *word)
{
    own_mem char *line = mem_printf("%s\n", word);
    own_mem char *answer = mem_printf("hello %s", word);

    clustertalk_type(r, line);
    clustertalk_expect(r, answer);
}

/* On the attachment it has, and on a fresh one, which goes on where the other
 * was. */
static void goes_on(struct clustertalk *r)
{
    clustertalk_again(r);
    say(r, "again");
}

static void finish(struct clustertalk *r)
{
    clustertalk_type(r, "end\n");
    clustertalk_expect(r, NULL);
    assert_int_equal(r->link.exit_code, 7);
    stack_cut(&r->link);
    ends_with_seven(r->ss.sid, 30000);
}

/* --- the store --- */

static void empty_the_store(void)
{
    struct redis_reply *reply = redisd_ask(&redis, "FLUSHALL", NULL);

    redis_reply_free(reply);
}

static void is_back(const char *sid)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);
    int64_t until = loop_now_ms() + TAKE_OVER_MS;

    for (;;) {
        own_mem char *head = stack_identity(&bed->stack, "ann");
        struct rest_answer a =
            rest_call(bed->stack.port, "GET", path, head, NULL);
        int status = a.status;

        rest_fini(&a);
        if (status == 200)
            return;
        if (loop_now_ms() > until)
            fail_msg("the record of %s is not back: %d", sid, status);
        poll(NULL, 0, 50);
    }
}

static void the_store_is_emptied_under_running_sessions(void **arg)
{
    struct clustertalk r[RUNNING];

    (void)arg;
    for (int i = 0; i < RUNNING; i++)
        begin(&r[i]);
    empty_the_store();
    for (int i = 0; i < RUNNING; i++)
        say(&r[i], "still"); /* nobody noticed */
    for (int i = 0; i < RUNNING; i++) {
        is_back(r[i].ss.sid);
        goes_on(&r[i]);
        finish(&r[i]);
        is_there_once(r[i].ss.sid);
        clustertalk_fini(&r[i]);
    }
}

static void the_store_is_emptied_and_the_controller_killed(void **arg)
{
    struct clustertalk r[RUNNING];

    (void)arg;
    for (int i = 0; i < RUNNING; i++)
        begin(&r[i]);
    clusterbed_kill(bed, 0, SIGKILL);
    empty_the_store();
    clusterbed_start(bed, 0);
    for (int i = 0; i < RUNNING; i++) {
        is_back(r[i].ss.sid);
        say(&r[i], "still");
        goes_on(&r[i]);
        finish(&r[i]);
        is_there_once(r[i].ss.sid);
        clustertalk_fini(&r[i]);
    }
}

/* --- two controllers --- */

/* Who holds the Lease. */
static int leader(void)
{
    own_json struct json *lease = NULL;
    const char *who;
    int i = 0;

    assert_int_equal(clusterbed_call(bed, "GET", NULL, &lease,
                                     "/apis/coordination.k8s.io/v1/namespaces/"
                                     "%s/leases/podterm-controller",
                                     bed->ns),
                     200);
    who = json_get_str(json_get(lease, "spec"), "holderIdentity");
    if (!who || sscanf(who, "controller-%d", &i) != 1)
        fail_msg("the Lease is %s's", who ? who : "nobody");
    assert_in_range(i, 0, CLUSTERBED_CONTROLLERS - 1);
    return i;
}

static void quick_ends(int ms)
{
    struct stack_session ss;

    stack_create(&bed->stack, "ann", &quick, "", &ss);
    ends_with_seven(ss.sid, ms);
    is_there_once(ss.sid);
    stack_session_fini(&ss);
}

static void delete_at_once(void)
{
    own_json struct json *j = NULL;
    struct stack_session ss;

    stack_create(&bed->stack, "ann", &ask, "", &ss);
    assert_int_equal(stack_delete(&bed->stack, "ann", ss.sid), 202);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", CLUSTERBED_START_MS);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    clusterbed_wait_nothing(bed, ss.sid);
    stack_session_fini(&ss);
}

static void two_controllers_and_the_leader_is_killed(void **arg)
{
    struct clustertalk r;
    struct stack_session late;
    int leads, other;

    (void)arg;
    clusterbed_start(bed, 1);
    begin(&r);
    leads = leader();
    other = !leads;
    /* what the other one is asked for, the leader does */
    bed->stack.port = bed->controllers[other].port;
    quick_ends(CLUSTERBED_START_MS);
    delete_at_once();
    assert_int_equal(leader(), leads);

    clusterbed_kill(bed, leads, SIGKILL);
    stack_create(&bed->stack, "ann", &quick, "", &late);
    goes_on(&r);
    ends_with_seven(late.sid, CLUSTERBED_START_MS + TAKE_OVER_MS);
    assert_int_equal(leader(), other);
    is_there_once(late.sid);
    finish(&r);
    is_there_once(r.ss.sid);
    stack_session_fini(&late);
    clustertalk_fini(&r);
    /* the first again, and the other leaves in order: no wait for the Lease */
    clusterbed_start(bed, leads);
    clusterbed_kill(bed, other, SIGTERM);
    bed->stack.port = bed->controllers[leads].port;
    quick_ends(CLUSTERBED_START_MS);
    assert_int_equal(leader(), leads);
}

/* --- the API server --- */

static void shell(const char *text)
{
    own_mem char *cmd = mem_printf("d=%s; %s", getenv("PODTERM_CLUSTER"), text);

    if (system(cmd) != 0)
        fail_msg("%s", cmd);
}

/* Of the collection that controllers watch. */
static char *version_of_pods(void)
{
    own_json struct json *pods = NULL;

    assert_int_equal(clusterbed_call(bed, "GET", NULL, &pods,
                                     "/api/v1/namespaces/%s/pods?limit=1",
                                     bed->ns),
                     200);
    return mem_str(json_get_str(json_get(pods, "metadata"), "resourceVersion"));
}

/* Whoever would go on from there is told 410: as a status, or as the one event
 * of a watch. */
static void is_forgotten(const char *version)
{
    own_json struct json *said = NULL;
    const struct json *object;
    int64_t code = 0;
    int status = clusterbed_call(bed, "GET", NULL, &said,
                                 "/api/v1/namespaces/%s/pods?watch=1&"
                                 "timeoutSeconds=1&resourceVersion=%s",
                                 bed->ns, version);

    object = json_get(said, "object");
    if (object)
        json_get_int(object, "code", &code);
    if (status != 410 && code != 410)
        fail_msg("%s is not forgotten: %d, %lld", version, status,
                 (long long)code);
}

/* One revision that nobody has seen, and none before it: else what was watched
 * last may be what is listed first. */
static void forget_the_past(void)
{
    static const char put[] =
        "curl -sf http://127.0.0.1:2379/v3/kv/put -d "
        "'{\"key\":\"cG9kdGVybQ==\",\"value\":\"eA==\"}'"
        " | sed 's/.*\"revision\":\"\\([0-9]*\\)\".*/{\"revision\":\"\\1\"}/'";
    own_mem char *compact = mem_printf(
        "%s | curl -sf http://127.0.0.1:2379/v3/kv/compaction -d @- >/dev/null",
        put);

    shell(compact);
}

/* Away for a while, and what we watched from is forgotten meanwhile (410). */
static void the_api_server_is_killed_and_its_past_forgotten(void **arg)
{
    own_mem char *version = NULL;
    struct clustertalk r, dying;
    struct stack_session late;
    int jobs;

    (void)arg;
    if (!getenv("PODTERM_CLUSTER"))
        skipped("a cluster of the tests' own alone");
    jobs = clusterbed_count(bed, "jobs", NULL);
    begin(&r);
    begin(&dying);
    version = version_of_pods();
    shell("kill -9 $(cat $d/pid/apiserver)");
    stack_create(&bed->stack, "ann", &quick, "", &late);
    say(&r, "still");
    clustertalk_type(&dying, "end\n");
    clustertalk_expect(&dying, NULL);
    stack_cut(&dying.link);
    forget_the_past();
    poll(NULL, 0, AWAY_MS);
    shell("tests/cluster/cluster apiserver $d");
    ends_with_seven(dying.ss.sid, CLUSTERBED_START_MS);
    is_forgotten(version);
    ends_with_seven(late.sid, CLUSTERBED_START_MS * 2);
    goes_on(&r);
    finish(&r);
    is_there_once(r.ss.sid);
    is_there_once(dying.ss.sid);
    is_there_once(late.sid);
    assert_int_equal(clusterbed_count(bed, "jobs", NULL), jobs + 3);
    clusterbed_wait_none(bed, "secrets", NULL);
    stack_session_fini(&late);
    clustertalk_fini(&r);
    clustertalk_fini(&dying);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controller_is_killed_while_it_creates),
        cmocka_unit_test(the_controller_is_killed_between_job_and_secret),
        cmocka_unit_test(the_store_is_emptied_under_running_sessions),
        cmocka_unit_test(the_store_is_emptied_and_the_controller_killed),
        cmocka_unit_test(two_controllers_and_the_leader_is_killed),
        cmocka_unit_test(the_api_server_is_killed_and_its_past_forgotten),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
