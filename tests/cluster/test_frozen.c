/*
 * A leader that stands still in the middle of giving a warm runner out, while
 * another leads and gives the session one: it wakes, and nothing comes of it.
 * No session runs twice, none is lost, no runner is left. (That a claim which
 * does reach the store is refused, tests/controller/test_reaper_lead shows.)
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/store.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/redisd.h"
#include "tests/lib/redishold.h"

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
#define HELD_MS 20000
#define TAKE_OVER_MS 40000 /* a Lease, its retries, and a slow machine */
#define POLL_MS 250
#define STILL_MS 3000 /* while nothing may change */

static struct redisd redis;
static struct redishold *hold;
static struct store *store;
static struct clusterbed *bed;
static struct stack_bundle ask;

static int setup(void **arg)
{
    static const char *const more[] = {"--warm-target", "2", NULL};
    struct err e = {0};

    (void)arg;
    redisd_start(&redis, NULL, NULL);
    hold = redishold_start(redis.port);
    store = store_open(&(struct store_conf){.where = redis.url}, &e);
    assert_non_null(store);
    bed = clusterbed_new(redishold_url(hold), more);
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; while read x; do echo hello $x; "
                    "[ $x = end ] && exit 7; done",
                    &ask);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (bed && bed->controllers[0].pid > 0)
        kill(bed->controllers[0].pid, SIGCONT);
    clusterbed_free(bed);
    store_free(store);
    redishold_stop(hold);
    redisd_stop(&redis);
    return 0;
}

static void runs_in(const char *sid, char ref[64])
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct err e = {0};

    if (store_get(store, sid, row, &e) < 0)
        fail_msg("%s", e.text);
    snprintf(ref, 64, "%.63s", row->launch_ref);
}

static void type(struct stack_link *l, uint64_t *typed, const char *line)
{
    stack_type(l, *typed, line, strlen(line));
    *typed += strlen(line);
}

/* What was chosen in vain is nobody's, and is not kept. */
static void give_all_out(const char *chosen)
{
    struct stack_session all[TARGET];
    char ref[64];

    clusterbed_wait_warm(bed, TARGET);
    for (int i = 0; i < TARGET; i++)
        stack_create(&bed->stack, "ann", &ask, "", &all[i]);
    for (int i = 0; i < TARGET; i++) {
        json_free(stack_wait(&bed->stack, "ann", all[i].sid, "running",
                             CLUSTERBED_START_MS));
        runs_in(all[i].sid, ref);
        assert_string_not_equal(ref, chosen);
    }
    clusterbed_wait_gone(bed, "jobs", chosen);
    for (int i = 0; i < TARGET; i++) {
        assert_int_equal(stack_delete(&bed->stack, "ann", all[i].sid), 202);
        json_free(stack_wait(&bed->stack, "ann", all[i].sid, "ended",
                             CLUSTERBED_GONE_MS));
        stack_session_fini(&all[i]);
    }
}

/* Stop the leader when it has chosen a runner, and the store has not heard:
 * its name, as the record was to name it. */
static void freeze_in_a_claim(struct stack_session *ss, char chosen[64])
{
    /* launch_ref: its tag and length (base/store_row.c) */
    static const uint8_t claim[] = {26, 0, 2 + ID_LEN, 'w', '-'};
    char after[ID_LEN + 1];

    redishold_arm(hold, claim, sizeof claim);
    stack_create(&bed->stack, "ann", &ask, "", ss);
    redishold_wait(hold, HELD_MS, after, sizeof after);
    assert_int_equal(kill(bed->controllers[0].pid, SIGSTOP), 0);
    snprintf(chosen, 64, "w-%s", after);
}

static void a_leader_frozen_in_a_claim_gives_nothing_out_twice(void **arg)
{
    char chosen[64], runs[64], still[64];
    struct stack_link l = {0};
    struct stack_session ss;
    uint64_t typed = 0;
    int64_t until;
    struct buf said;

    (void)arg;
    buf_init(&said, SAID_MAX);
    clusterbed_wait_warm(bed, TARGET);
    clusterbed_start(bed, 1);
    freeze_in_a_claim(&ss, chosen);
    bed->stack.port = bed->controllers[1].port;
    clusterbed_said(&bed->controllers[1], "lease.held", TAKE_OVER_MS);
    clusterbed_attach(bed, &l, &ss, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    runs_in(ss.sid, runs);
    assert_string_not_equal(chosen, runs);

    /* the store's answer is before it as it wakes */
    redishold_release(hold, HELD_MS);
    assert_int_equal(kill(bed->controllers[0].pid, SIGCONT), 0);
    clusterbed_said(&bed->controllers[0], "lease.lost", TAKE_OVER_MS);
    for (until = loop_now_ms() + STILL_MS; loop_now_ms() < until;) {
        runs_in(ss.sid, still);
        assert_string_equal(still, runs);
        assert_int_equal(clusterbed_count(bed, "pods", ss.sid), 1);
        poll(NULL, 0, POLL_MS);
    }
    type(&l, &typed, "ann\n");
    clusterbed_expect(bed, &l, &said, "hello ann");
    type(&l, &typed, "end\n");
    clusterbed_expect(bed, &l, &said, NULL);
    assert_int_equal(l.exit_code, 7);
    stack_cut(&l);
    json_free(
        stack_wait(&bed->stack, "ann", ss.sid, "ended", CLUSTERBED_START_MS));
    give_all_out(chosen);
    clusterbed_wait_warm(bed, TARGET);
    assert_int_equal(clusterbed_warm(bed, false), TARGET);
    stack_session_fini(&ss);
    buf_fini(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_frozen_in_a_claim_gives_nothing_out_twice),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
