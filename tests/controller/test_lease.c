/*
 * Leaders and followers of one Lease, each with a way of its own to an API
 * that compares and swaps as the real one, and goes wrong as we say.
 */
#include "controller/lease.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "controller/counts.h"
#include "tests/lib/kubed.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 20000 /* generous: machines are busy */
#define CANDIDATES 3
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
#define HELD(more)                                                             \
    "{\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"1\"},\"spec\":{"      \
    "\"holderIdentity\":\"other\"" more "}}"

enum fault {
    FAULT_NONE,
    FAULT_SILENT,   /* nothing happens, and nobody says so */
    FAULT_REFUSED,  /* 500, nothing happens */
    FAULT_CONFLICT, /* a write, though nobody wrote */
    FAULT_LATE,     /* it happens, after a while */
    FAULT_UNTOLD,   /* a write happens, and the connection breaks */
    FAULT_COUNT     /* any of them, each time */
};

struct candidate {
    struct kubed api;
    struct lease *lease;
    enum fault fault;
    char *text;       /* of the last reply */
    bool is_told;     /* what changed said last */
    int64_t told_ms;  /* when */
    int64_t wrote_ms; /* when a write of its was taken */
    int asked;
};

static struct candidate all[CANDIDATES];
static struct loop *loop;
/* the API's, under lock with what is a candidate's but is_told, told_ms */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct json *record;
static int version;
static bool is_senseless; /* a Lease without a version */
static bool is_foreign;   /* something else was asked for */

/* --- the API --- */

static void put_version(void)
{
    char text[16];

    snprintf(text, sizeof text, "%d", ++version);
    json_set_str((struct json *)(uintptr_t)json_get(record, "metadata"),
                 "resourceVersion", text);
}

static void set_record(const char *text)
{
    struct err e = {0};

    pthread_mutex_lock(&lock);
    json_free(record);
    record = text ? json_parse(text, strlen(text), &e) : NULL;
    if (record)
        put_version();
    pthread_mutex_unlock(&lock);
}

static const char *version_of(const struct json *j)
{
    const char *text = json_get_str(json_get(j, "metadata"), "resourceVersion");

    return text ? text : "";
}

static int write_record(struct candidate *c, const char *body, bool is_new)
{
    struct err e = {0};
    struct json *j = json_parse(body, strlen(body), &e);

    if (!j)
        return 400;
    if (is_new == (record != NULL) ||
        (record && *version_of(j) && /* without one: whatever it was */
         strcmp(version_of(j), version_of(record)) != 0)) {
        json_free(j);
        return is_new || record ? 409 : 404;
    }
    json_free(record);
    record = j;
    put_version();
    c->wrote_ms = loop_now_ms();
    return is_new ? 201 : 200;
}

/* Only what we are given the right to. */
static int serve(struct candidate *c, const char *head, const char *body)
{
    if (strstr(head, "GET " LEASES "/l HTTP/1.1\r\n") == head)
        return record ? 200 : 404;
    if (strstr(head, "PUT " LEASES "/l HTTP/1.1\r\n") == head)
        return write_record(c, body, false);
    if (strstr(head, "POST " LEASES " HTTP/1.1\r\n") == head)
        return write_record(c, body, true);
    is_foreign = true;
    return 403;
}

static enum fault next_fault(struct candidate *c)
{
    uint16_t n;

    if (c->fault != FAULT_COUNT)
        return c->fault;
    random_bytes(&n, sizeof n);
    return n % 3 ? FAULT_NONE : (enum fault)(n / 3 % FAULT_COUNT);
}

static void decide(void *arg, const char *head, const char *body,
                   struct fileserver_reply *reply)
{
    struct candidate *c = arg;
    enum fault fault;
    int status;

    pthread_mutex_lock(&lock);
    fault = next_fault(c);
    c->asked++;
    pthread_mutex_unlock(&lock);
    if (fault == FAULT_LATE)
        poll(NULL, 0, 150);
    *reply = kubed_refuses(fault == FAULT_REFUSED ? 500 : 409, NULL);
    if (fault == FAULT_SILENT)
        reply->trick = FILESERVER_SILENT;
    if (fault == FAULT_SILENT || fault == FAULT_REFUSED ||
        (fault == FAULT_CONFLICT && head[0] != 'G'))
        return;
    pthread_mutex_lock(&lock);
    status = serve(c, head, body);
    free(c->text);
    c->text = is_senseless   ? mem_str("{\"metadata\":{},\"spec\":{}}")
              : status < 300 ? json_text(record)
                             : mem_str("{}");
    pthread_mutex_unlock(&lock);
    *reply = kubed_refuses(status, c->text);
    if (fault == FAULT_UNTOLD && head[0] != 'G')
        reply->trick = FILESERVER_HANG_UP;
}

static void set_fault(struct candidate *c, enum fault fault)
{
    pthread_mutex_lock(&lock);
    c->fault = fault;
    pthread_mutex_unlock(&lock);
}

static void mend_all(void)
{
    for (int i = 0; i < CANDIDATES; i++)
        set_fault(&all[i], FAULT_NONE);
}

/* --- the candidates --- */

/* Who leads before and after another was seen to lead, led meanwhile. */
static void expect_one_at_most(void)
{
    for (int i = 0; i < CANDIDATES; i++)
        for (int k = 0; k < CANDIDATES; k++)
            if (i != k && all[i].lease && all[k].lease &&
                lease_is_leader(all[i].lease) && lease_is_leader(all[k].lease))
                assert_false(lease_is_leader(all[i].lease));
}

static void changed(void *arg, bool is_leader)
{
    struct candidate *c = arg;

    assert_true(c->is_told != is_leader);
    c->is_told = is_leader;
    c->told_ms = loop_now_ms();
    expect_one_at_most();
}

static void start(struct candidate *c, const struct lease_conf *conf)
{
    struct lease_conf full = *conf;

    full.ns = "ns";
    full.name = "l";
    full.holder = "test";
    c->is_told = false;
    c->lease = lease_start(loop, c->api.kube, &full, changed, c);
}

static void stop(struct candidate *c)
{
    lease_stop(c->lease);
    lease_free(c->lease);
    c->lease = NULL;
    c->is_told = false;
}

static int setup(void **arg)
{
    (void)arg;
    loop = loop_new();
    record = NULL;
    is_senseless = false;
    for (int i = 0; i < CANDIDATES; i++)
        kubed_start_with(&all[i].api, decide, &all[i]);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    for (int i = 0; i < CANDIDATES; i++) {
        lease_stop(all[i].lease);
        lease_free(all[i].lease);
        kubed_stop(&all[i].api);
        free(all[i].text);
        all[i] = (struct candidate){0};
    }
    json_free(record);
    loop_free(loop);
    assert_int_equal(count_get(COUNT_LEADER), 0);
    assert_false(is_foreign);
    return 0;
}

static struct candidate *leader(void)
{
    for (int i = 0; i < CANDIDATES; i++)
        if (all[i].is_told)
            return &all[i];
    return NULL;
}

/* --- waiting --- */

static struct wait {
    bool (*is_so)(void);
    int64_t until_ms;
    bool is_found;
} waiting;

static void look(void *arg)
{
    (void)arg;
    expect_one_at_most();
    waiting.is_found = waiting.is_so && waiting.is_so();
    if (waiting.is_found || loop_now_ms() >= waiting.until_ms)
        loop_stop(loop);
}

static bool wait_for(bool (*is_so)(void), int ms)
{
    struct loop_timer *t;

    waiting = (struct wait){is_so, loop_now_ms() + ms, false};
    t = loop_timer_start(loop, 1, 2, look, NULL);
    loop_run(loop);
    loop_timer_stop(t);
    return waiting.is_found;
}

static bool somebody_leads(void)
{
    return leader() != NULL;
}

static bool nobody_leads(void)
{
    return leader() == NULL;
}

static bool nobody_is_blind(void)
{
    for (int i = 0; i < CANDIDATES; i++)
        if (lease_is_blind(all[i].lease))
            return false;
    return true;
}

static struct candidate *first; /* the leader of before */

static bool another_leads(void)
{
    return leader() && leader() != first;
}

static void start_all(const struct lease_conf *conf)
{
    for (int i = 0; i < CANDIDATES; i++)
        start(&all[i], conf);
    assert_true(wait_for(somebody_leads, SOON_MS));
    first = leader();
}

static void expect_spec(const char *name, const char *text)
{
    own_mem char *got = NULL;

    pthread_mutex_lock(&lock);
    got = json_text(json_get(json_get(record, "spec"), name));
    pthread_mutex_unlock(&lock);
    assert_string_equal(got, text);
}

static const struct lease_conf steady = {.retry_ms = 100};
static const struct lease_conf quick = {
    .duration_ms = 5000, .renew_ms = 3000, .retry_ms = 100};

/* --- as it should be --- */

static void expect_time(const char *name)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    own_mem char *text = NULL;

    pthread_mutex_lock(&lock);
    text = mem_str(json_get_str(json_get(record, "spec"), name));
    pthread_mutex_unlock(&lock);
    for (char *at = text; *at; at++)
        *at = *at >= '0' && *at <= '9' ? 'd' : *at;
    assert_string_equal(text, form);
}

static int writes_wanted;

static bool is_written(void)
{
    bool is_so;

    pthread_mutex_lock(&lock);
    is_so = version >= writes_wanted;
    pthread_mutex_unlock(&lock);
    return is_so;
}

/* So many more, of anybody's. */
static void expect_writes(int count)
{
    pthread_mutex_lock(&lock);
    writes_wanted = version + count;
    pthread_mutex_unlock(&lock);
    assert_true(wait_for(is_written, SOON_MS));
}

static void one_of_three_leads_and_renews(void **arg)
{
    own_mem char *holder = NULL;

    (void)arg;
    start_all(&steady);
    assert_int_equal(count_get(COUNT_LEADER), 1);
    expect_writes(5);
    assert_ptr_equal(leader(), first);
    holder = mem_printf("\"%s\"", lease_holder(first->lease));
    assert_true(strncmp(holder, "\"test_", 6) == 0);
    expect_spec("holderIdentity", holder);
    expect_spec("leaseTransitions", "0");
    expect_spec("leaseDurationSeconds", "15");
    expect_time("acquireTime");
    expect_time("renewTime");
}

static void what_is_given_up_is_taken_at_once(void **arg)
{
    int64_t begun_ms;

    (void)arg;
    start_all(&steady);
    begun_ms = loop_now_ms();
    stop(first);
    expect_spec("holderIdentity", "\"\"");
    assert_true(wait_for(another_leads, SOON_MS));
    assert_true(loop_now_ms() - begun_ms < LEASE_DURATION_MS / 3);
    expect_spec("leaseTransitions", "1");
}

static void what_others_wrote_in_it_stays(void **arg)
{
    (void)arg;
    set_record("{\"metadata\":{\"name\":\"l\",\"labels\":{\"a\":\"b\"}},"
               "\"spec\":{\"leaseTransitions\":7,\"x\":[1]}}");
    start(&all[0], &steady);
    assert_true(wait_for(somebody_leads, SOON_MS));
    expect_spec("x", "[1]");
    expect_spec("leaseTransitions", "8");
    pthread_mutex_lock(&lock);
    assert_true(json_get_is(json_get(json_get(record, "metadata"), "labels"),
                            "a", "b"));
    pthread_mutex_unlock(&lock);
}

/* --- as it goes wrong --- */

static void a_frozen_leader_says_so_before_another_leads(void **arg)
{
    int64_t told_ms;

    (void)arg;
    start_all(&quick);
    set_fault(first, FAULT_SILENT);
    assert_true(wait_for(nobody_leads, SOON_MS));
    told_ms = first->told_ms;
    assert_true(wait_for(another_leads, SOON_MS));
    pthread_mutex_lock(&lock);
    assert_true(told_ms < leader()->wrote_ms);
    pthread_mutex_unlock(&lock);
    first = leader();
    mend_all();
    expect_writes(10);
    assert_ptr_equal(leader(), first);
}

static void a_write_that_was_not_answered_costs_nothing(void **arg)
{
    (void)arg;
    start_all(&steady);
    set_fault(first, FAULT_UNTOLD);
    expect_writes(2);
    set_fault(first, FAULT_NONE);
    expect_writes(3);
    assert_ptr_equal(leader(), first);
    expect_spec("leaseTransitions", "0");
}

static void nobody_leads_while_the_api_is_away(void **arg)
{
    (void)arg;
    start_all(&quick);
    for (int i = 0; i < CANDIDATES; i++)
        set_fault(&all[i], i ? FAULT_REFUSED : FAULT_SILENT);
    assert_true(wait_for(nobody_leads, SOON_MS));
    assert_false(wait_for(somebody_leads, 6000)); /* longer than it lasts */
    for (int i = 0; i < CANDIDATES; i++)
        assert_true(lease_is_blind(all[i].lease));
    mend_all();
    assert_true(wait_for(somebody_leads, SOON_MS));
    assert_true(wait_for(nobody_is_blind, SOON_MS));
}

static void who_finds_another_in_it_leads_no_more(void **arg)
{
    (void)arg;
    start_all(&steady);
    set_record(HELD(",\"leaseDurationSeconds\":15"));
    assert_true(wait_for(nobody_leads, LEASE_RENEW_MS / 2));
}

static bool all_have_seen_it(void)
{
    bool is_so = true;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < CANDIDATES; i++) /* absent, taken, there, answered */
        is_so = is_so && all[i].asked >= 4;
    pthread_mutex_unlock(&lock);
    return is_so;
}

static void a_lease_removed_by_hand_is_made_by_its_leader(void **arg)
{
    (void)arg;
    start_all(&quick);
    assert_true(wait_for(all_have_seen_it, SOON_MS));
    set_record(NULL);
    expect_writes(3);
    assert_ptr_equal(leader(), first);
    /* and where the leader does not see it, nobody is too early */
    set_fault(first, FAULT_SILENT);
    set_record(NULL);
    assert_true(wait_for(another_leads, SOON_MS));
}

static void what_is_no_lease_is_not_written(void **arg)
{
    (void)arg;
    set_record(HELD(""));
    is_senseless = true;
    start(&all[0], &(struct lease_conf){
                       .duration_ms = 500, .renew_ms = 300, .retry_ms = 50});
    assert_false(wait_for(somebody_leads, 1500));
    pthread_mutex_lock(&lock);
    assert_true(all[0].asked > 3);
    assert_int_equal(all[0].wrote_ms, 0);
    pthread_mutex_unlock(&lock);
}

static void nonsense_is_taken_over_after_our_own_duration(void **arg)
{
    static const char *const texts[] = {
        HELD(""),
        HELD(",\"leaseDurationSeconds\":2000000000"),
        HELD(",\"leaseDurationSeconds\":1e300"),
        HELD(",\"leaseDurationSeconds\":-5"),
        HELD(",\"leaseDurationSeconds\":\"x\",\"renewTime\":\"yesterday\""),
        HELD(",\"renewTime\":\"9999-12-31T23:59:59.999999Z\""),
        HELD(",\"renewTime\":{},\"acquireTime\":[],\"leaseTransitions\":-1"),
        HELD(",\"leaseTransitions\":2147483647"),
        "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":7}}",
        "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":[\"\"]}}",
    };
    const struct lease_conf conf = {
        .duration_ms = 400, .renew_ms = 300, .retry_ms = 50};

    (void)arg;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t begun_ms;

        set_record(texts[i]);
        begun_ms = loop_now_ms();
        start(&all[0], &conf);
        assert_true(wait_for(somebody_leads, SOON_MS));
        assert_true(loop_now_ms() - begun_ms >= conf.duration_ms);
        expect_time("renewTime");
        expect_time("acquireTime");
        expect_spec("leaseDurationSeconds", "1");
        expect_spec("leaseTransitions", "1");
        stop(&all[0]);
    }
    /* nobody's, in any words, or in another shape: at once */
    set_record("{\"metadata\":{\"name\":\"l\"},\"spec\":[]}");
    start(&all[0], &steady);
    assert_true(wait_for(somebody_leads, LEASE_DURATION_MS / 3));
}

static void to_stop_takes_no_longer_than_said(void **arg)
{
    int64_t begun_ms;

    (void)arg;
    start_all(&steady);
    for (int i = 0; i < CANDIDATES; i++)
        set_fault(&all[i], FAULT_SILENT);
    wait_for(NULL, 300); /* they are in a call */
    begun_ms = loop_now_ms();
    stop(first);
    assert_true(loop_now_ms() - begun_ms < LEASE_RELEASE_MS + 4000);
}

/* --- and at random --- */

static void whatever_the_api_does_no_two_lead(void **arg)
{
    const struct lease_conf conf = {
        .duration_ms = 2000, .renew_ms = 1500, .retry_ms = 50};
    int64_t before = count_get(COUNT_LEASE_TRANSITIONS);

    (void)arg;
    start_all(&conf);
    for (int i = 0; i < CANDIDATES; i++)
        set_fault(&all[i], FAULT_COUNT);
    for (int i = 0; i < 8; i++) {
        struct candidate *c = leader() ? leader() : &all[i % CANDIDATES];

        if (i % 2) {
            stop(c);
            start(c, &conf);
        } else {
            set_fault(c, FAULT_SILENT);
        }
        wait_for(NULL, i % 2 ? 700 : 3000);
        set_fault(c, FAULT_COUNT);
    }
    assert_true(count_get(COUNT_LEASE_TRANSITIONS) > before + 1);
    mend_all();
    assert_true(wait_for(somebody_leads, SOON_MS));
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_of_three_leads_and_renews),
        T(what_is_given_up_is_taken_at_once),
        T(what_others_wrote_in_it_stays),
        T(a_frozen_leader_says_so_before_another_leads),
        T(a_write_that_was_not_answered_costs_nothing),
        T(nobody_leads_while_the_api_is_away),
        T(who_finds_another_in_it_leads_no_more),
        T(a_lease_removed_by_hand_is_made_by_its_leader),
        T(what_is_no_lease_is_not_written),
        T(nonsense_is_taken_over_after_our_own_duration),
        T(to_stop_takes_no_longer_than_said),
        T(whatever_the_api_does_no_two_lead),
    };

    signal(SIGPIPE, SIG_IGN);
    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
