/*
 * What dies under running sessions on a real cluster: controllers, the store,
 * the API server. No session is lost, none is there twice, none is left.
 */
// alone: it kills the API server
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/redisd.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define CREATED 8
#define RUNNING 2
#define TAKE_OVER_MS 40000 /* a Lease, its retries, and a slow machine */

static struct redisd redis;
static struct clusterbed *bed;
static struct stack_bundle quick, ask;

static int setup(void **arg)
{
    (void)arg;
    redisd_start(&redis, NULL, NULL);
    bed = clusterbed_new(redis.url, NULL);
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

/* --- sessions that run --- */

struct running {
    struct stack_session ss;
    struct stack_link link;
    struct buf said;
    uint64_t typed; /* bytes since the session began */
};

static void type(struct running *r, const char *line)
{
    stack_type(&r->link, r->typed, line, strlen(line));
    r->typed += strlen(line);
}

static void begin(struct running *r)
{
    memset(r, 0, sizeof *r);
    buf_init(&r->said, SAID_MAX);
    stack_create(&bed->stack, "ann", &ask, "", &r->ss);
    clusterbed_attach(bed, &r->link, &r->ss, 0);
    clusterbed_expect(bed, &r->link, &r->said, "name?");
}

static void say(struct running *r, const char *word)
{
    own_mem char *line = mem_printf("%s\n", word);
    own_mem char *answer = mem_printf("hello %s", word);

    type(r, line);
    clusterbed_expect(bed, &r->link, &r->said, answer);
}

/* On the attachment it has, and on a fresh one, which goes on where the other
 * was. */
static void goes_on(struct running *r)
{
    int64_t from = (int64_t)r->link.output;

    stack_cut(&r->link);
    clusterbed_attach(bed, &r->link, &r->ss, from);
    say(r, "again");
}

static void finish(struct running *r)
{
    type(r, "end\n");
    clusterbed_expect(bed, &r->link, &r->said, NULL);
    assert_int_equal(r->link.exit_code, 7);
    stack_cut(&r->link);
    ends_with_seven(r->ss.sid, 30000);
    stack_session_fini(&r->ss);
    buf_fini(&r->said);
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
    struct running r[RUNNING];

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
    }
}

static void the_store_is_emptied_and_the_controller_killed(void **arg)
{
    struct running r[RUNNING];

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
    }
}

/* --- two controllers --- */

static void two_controllers_and_the_leader_is_killed(void **arg)
{
    struct running r;
    struct stack_session late, gone;
    own_json struct json *j = NULL;

    (void)arg;
    clusterbed_start(bed, 1);
    begin(&r);
    /* what the other one is asked for, the leader does */
    bed->stack.port = bed->controllers[1].port;
    stack_create(&bed->stack, "ann", &quick, "", &late);
    ends_with_seven(late.sid, CLUSTERBED_START_MS);
    stack_session_fini(&late);
    stack_create(&bed->stack, "ann", &ask, "", &gone);
    assert_int_equal(stack_delete(&bed->stack, "ann", gone.sid), 202);
    j = stack_wait(&bed->stack, "ann", gone.sid, "ended", CLUSTERBED_START_MS);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    stack_session_fini(&gone);

    clusterbed_kill(bed, 0, SIGKILL);
    stack_create(&bed->stack, "ann", &quick, "", &late);
    goes_on(&r);
    ends_with_seven(late.sid, CLUSTERBED_START_MS + TAKE_OVER_MS);
    finish(&r);
    stack_session_fini(&late);
    /* the first again, and the other leaves in order: no wait for the Lease */
    clusterbed_start(bed, 0);
    clusterbed_kill(bed, 1, SIGTERM);
    bed->stack.port = bed->controllers[0].port;
    stack_create(&bed->stack, "ann", &quick, "", &late);
    ends_with_seven(late.sid, CLUSTERBED_START_MS);
    stack_session_fini(&late);
}

/* --- the API server --- */

static void shell(const char *text)
{
    own_mem char *cmd = mem_printf("d=%s; %s", getenv("PODTERM_CLUSTER"), text);

    if (system(cmd) != 0)
        fail_msg("%s", cmd);
}

/* Away for a while, and what we watched from is forgotten meanwhile (410). */
static void the_api_server_is_killed_and_its_past_forgotten(void **arg)
{
    struct running r, dying;
    struct stack_session late;

    (void)arg;
    if (!getenv("PODTERM_CLUSTER")) {
        skip();
        return;
    }
    begin(&r);
    begin(&dying);
    shell("kill -9 $(cat $d/pid/apiserver)");
    stack_create(&bed->stack, "ann", &quick, "", &late);
    say(&r, "still");
    type(&dying, "end\n");
    clusterbed_expect(bed, &dying.link, &dying.said, NULL);
    stack_cut(&dying.link);
    shell(
        "rev=$(curl -s http://127.0.0.1:2379/v3/kv/range -d "
        "'{\"key\":\"AA==\"}' | sed 's/.*\"revision\":\"\\([0-9]*\\)\".*/\\1/')"
        "; curl -sf http://127.0.0.1:2379/v3/kv/compaction -d "
        "\"{\\\"revision\\\":\\\"$rev\\\"}\" >/dev/null");
    poll(NULL, 0, 3000);
    shell("tests/cluster/cluster apiserver $d");
    ends_with_seven(dying.ss.sid, CLUSTERBED_START_MS);
    ends_with_seven(late.sid, CLUSTERBED_START_MS * 2);
    goes_on(&r);
    finish(&r);
    stack_session_fini(&late);
    stack_session_fini(&dying.ss);
    buf_fini(&dying.said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controller_is_killed_while_it_creates),
        cmocka_unit_test(the_store_is_emptied_under_running_sessions),
        cmocka_unit_test(the_store_is_emptied_and_the_controller_killed),
        cmocka_unit_test(two_controllers_and_the_leader_is_killed),
        cmocka_unit_test(the_api_server_is_killed_and_its_past_forgotten),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
