/*
 * From the request for a session to its program's first byte on a cluster,
 * split by stage: cold (a Job is made for it) and warm (a runner is there);
 * and how many warm runners are given out a second.
 *
 * usage: cluster_bench [cold starts] [warm starts] [warm ones at once]
 *
 * Ours of a cold start is what Kubernetes has no part in:
 *   made    from the request until Job and Secret are made (with the time the
 *           API server takes for both)
 *   agent   from the agent's exec until it listens and answers the probe; the
 *           loading of its libraries before it can log is that of a
 *           `podterm-agent --help` on this machine
 *   rest    from the later of the shim's HELLO and the moment the watch shows
 *           agent and runner running, until the program's first byte is at
 *           the client: so all of fetching, verifying and unpacking that takes
 *           longer than the runner's container does is in here
 * Kubernetes' is the rest: scheduling, volumes, sandbox, both containers'
 * starts, the startup probe's period between them, kubelet's report.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterlog.h"
#include "tests/lib/figures.h"
#include "tests/lib/programs.h"

#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define STARTS_MAX 200
#define BURST_MAX 40
#define POOL "5"
#define POOL_READY_MS 240000
#define POLL_MS 100
#define REST_MS 10000
#define LOADS 15 /* of the agent's libraries */
#define WHO "bench"

static int colds = 15, warms = 30, burst = 20;

/* Wall clock, ms; of a start's one session. */
struct marks {
    double posted, created, claimed, launched;   /* controller and client */
    double scheduled, seen;                      /* by the controller's watch */
    double begun, listening, hello;              /* the agent's log */
    double fetched, verified, unpacked, started; /* its stages */
    double ready, first;                         /* at the client */
    double zero; /* stages count from here: the record's */
};

struct part {
    const char *name;
    size_t from, to; /* of struct marks */
};

#define PART(name, from, to)                                                   \
    {                                                                          \
        name, offsetof(struct marks, from), offsetof(struct marks, to)         \
    }

static double wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* --- what is printed --- */

static double mark_of(const struct marks *m, size_t at)
{
    return *(const double *)(const void *)((const char *)m + at);
}

static void say_both(const char *kind, const char *name, double *ms, size_t n)
{
    own_mem char *p50 = mem_printf("%s.%s.p50", kind, name);
    own_mem char *p99 = mem_printf("%s.%s.p99", kind, name);

    figures_say(p50, figures_quantile(ms, n, 0.5), "ms");
    figures_say(p99, figures_quantile(ms, n, 0.99), "ms");
}

static void say_parts(const char *kind, const struct part *parts, size_t count,
                      const struct marks *m, size_t n)
{
    static double ms[STARTS_MAX];

    for (size_t p = 0; p < count; p++) {
        for (size_t i = 0; i < n; i++)
            ms[i] = mark_of(&m[i], parts[p].to) - mark_of(&m[i], parts[p].from);
        say_both(kind, parts[p].name, ms, n);
    }
}

/* --- one session --- */

static void on_stage(void *arg, const struct json *stage)
{
    static const struct {
        const char *name;
        size_t at;
    } names[] = {
        {"scheduled", offsetof(struct marks, scheduled)},
        {"fetched", offsetof(struct marks, fetched)},
        {"verified", offsetof(struct marks, verified)},
        {"unpacked", offsetof(struct marks, unpacked)},
        {"started", offsetof(struct marks, started)},
    };
    int64_t ms;

    if (!json_get_is(stage, "state", "done") ||
        json_get_int(stage, "ms", &ms) < 0)
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_get_is(stage, "stage", names[i].name))
            *(double *)(void *)((char *)arg + names[i].at) = (double)ms;
}

static void post(struct clusterbed *b, const char *identity,
                 const struct stack_bundle *bundle, struct stack_session *ss,
                 struct marks *m)
{
    int fd;

    m->posted = wall_ms();
    fd = stack_ask(&b->stack, identity, bundle, "");
    stack_created(WHO, fd, ss);
    m->created = wall_ms();
}

static void first_byte(struct clusterbed *b, const struct stack_session *ss,
                       struct stack_link *l, struct marks *m)
{
    l->staged = on_stage;
    l->staged_arg = m;
    if (!stack_attach(&b->stack, l, ss->token, 0, 80, 24))
        fail_msg("attach: %s %s", l->error, l->said);
    m->ready = wall_ms();
    while (l->output == 0)
        if (!stack_pump(l, NULL, NULL, true))
            fail_msg("it ended before its first byte: %s", l->error);
    m->first = wall_ms();
}

/* Stages came as ms since the record was made. */
static void stages_settle(struct marks *m)
{
    double *stages[] = {&m->scheduled, &m->fetched, &m->verified, &m->unpacked,
                        &m->started};

    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        *stages[i] += m->zero;
}

static void logs_read(struct clusterbed *b, const char *sid, struct marks *m)
{
    own_mem char *controller = clusterlog_controller(b);
    own_mem char *agent = clusterlog_agent(b, sid);
    own_json struct json *view = stack_get(&b->stack, WHO, sid);

    m->zero = clusterlog_time(json_get_str(view, "created_at"));
    m->claimed = clusterlog_when(controller, "session.claimed", sid);
    m->launched = clusterlog_when(controller, "session.launched", sid);
    m->seen = clusterlog_when(controller, "session.listening", sid);
    m->begun = clusterlog_when(agent, "agent.begin", NULL);
    m->listening = clusterlog_when(agent, "agent.start", NULL);
    m->hello = clusterlog_when(agent, "shim.hello", NULL);
    stages_settle(m);
}

/* A warm one's pod says only after a while whose it is. */
static void wait_pod(struct clusterbed *b, const char *sid)
{
    double until = wall_ms() + CLUSTERBED_START_MS;

    while (clusterbed_count(b, "pods", sid) == 0) {
        if (wall_ms() > until)
            fail_msg("%s has no pod", sid);
        poll(NULL, 0, POLL_MS);
    }
}

static void end(struct clusterbed *b, const struct stack_session *ss,
                struct stack_link *l)
{
    stack_delete(&b->stack, WHO, ss->sid);
    while (stack_pump(l, NULL, NULL, true))
        continue;
    wspeer_free(l->peer);
    json_free(stack_wait(&b->stack, WHO, ss->sid, "ended", CLUSTERBED_GONE_MS));
}

static void start_one(struct clusterbed *b, const char *identity,
                      const struct stack_bundle *bundle, struct marks *m)
{
    struct stack_link l = {0};
    struct stack_session ss;

    post(b, identity, bundle, &ss, m);
    first_byte(b, &ss, &l, m);
    wait_pod(b, ss.sid);
    logs_read(b, ss.sid, m);
    end(b, &ss, &l);
    stack_session_fini(&ss);
}

/* --- a bed --- */

/* The shipped template, with what the agent does told; and, where many run at
 * once, small enough for one node. */
static struct clusterbed *bed_new(const char **flags, bool is_small,
                                  struct stack_bundle *hello)
{
    static const char *const logs[][2] = {
        {"- --spec=", "- --log-level=debug\n        - --spec="}, {NULL, NULL}};
    static const char *const small[][2] = {
        {"- --spec=", "- --log-level=debug\n        - --spec="},
        {"memory: 64Mi", "memory: 16Mi"},
        {"memory: 256Mi", "memory: 16Mi"},
        {NULL, NULL}};
    struct clusterbed *b = clusterbed_new(NULL, NULL);

    flags[1] = clusterfiles_template(b, "bench", is_small ? small : logs);
    b->more = flags;
    clusterbed_kill(b, 0, SIGTERM);
    clusterbed_start(b, 0);
    clusterbed_pack(b, "hello", "echo hello; exec sleep 600", hello);
    return b;
}

static void bed_free(struct clusterbed *b, const char *template)
{
    clusterbed_free(b);
    free((char *)(uintptr_t) template);
}

static void wait_warm(struct clusterbed *b, int want)
{
    double until = wall_ms() + POOL_READY_MS;

    while (clusterbed_warm(b, true) < want) {
        if (wall_ms() > until)
            fail_msg("%d warm runners are ready, not %d",
                     clusterbed_warm(b, true), want);
        poll(NULL, 0, POLL_MS);
    }
}

/* --- cold --- */

static double load_once_ms(const char *agent)
{
    double from = wall_ms();
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout))
            execl(agent, agent, "--help", NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    return wall_ms() - from;
}

static double load_ms(void)
{
    own_mem char *agent = program_path("podterm-agent");
    double ms[LOADS];

    for (int i = 0; i < LOADS; i++)
        ms[i] = load_once_ms(agent);
    return figures_median(ms, LOADS);
}

static void cold_own(const struct marks *m, size_t n)
{
    static double ours[STARTS_MAX], theirs[STARTS_MAX], rest[STARTS_MAX];
    const double load = load_ms();

    for (size_t i = 0; i < n; i++) {
        rest[i] = m[i].first - fmax(m[i].hello, m[i].seen);
        ours[i] = m[i].launched - m[i].posted + load + m[i].listening -
                  m[i].begun + rest[i];
        theirs[i] = m[i].first - m[i].posted - ours[i];
    }
    figures_say("cold.agent_load.p50", load, "ms");
    say_both("cold", "rest", rest, n);
    say_both("cold", "kubernetes", theirs, n);
    figures_at_most("cold.ours.p50", figures_quantile(ours, n, 0.5), "ms", 100);
    figures_say("cold.ours.p99", figures_quantile(ours, n, 0.99), "ms");
}

static void measure_cold(void)
{
    static const struct part parts[] = {
        PART("whole", posted, first),
        PART("answered", posted, created),
        PART("made", posted, launched),
        PART("until_agent_begins", launched, begun), /* Kubernetes' */
        PART("agent", begun, listening),
        PART("until_shim_says_hello", listening, hello), /* Kubernetes' */
        PART("reported", hello, seen),                   /* Kubernetes' */
        PART("until_unpacked", listening, unpacked),     /* beside it */
        PART("ready", seen, ready),
        PART("first_byte", ready, first),
    };
    static const char *flags[] = {"--job-template", NULL, "--log-level",
                                  "debug", NULL};
    static struct marks m[STARTS_MAX];
    struct stack_bundle hello;
    struct clusterbed *b = bed_new(flags, false, &hello);
    own_mem char *identity = stack_identity(&b->stack, WHO);
    struct marks first = {0};

    start_one(b, identity, &hello, &first); /* fills caches */
    for (int i = 0; i < colds; i++) {
        clusterbed_wait_none(b, "pods", NULL);
        start_one(b, identity, &hello, &m[i]);
    }
    say_parts("cold", parts, sizeof parts / sizeof *parts, m, (size_t)colds);
    cold_own(m, (size_t)colds);
    bed_free(b, flags[1]);
}

/* --- warm --- */

static void measure_warm(void)
{
    static const struct part parts[] = {
        PART("answered", posted, created),
        PART("claimed", posted, claimed),
        PART("woken", claimed, launched),
        PART("agent_again", launched, listening),
        PART("until_unpacked", listening, unpacked),
        PART("until_started", unpacked, started),
        PART("until_ready", launched, ready),
        PART("first_byte", ready, first),
    };
    static const char *flags[] = {
        "--job-template", NULL, "--log-level", "debug",
        "--warm-target",  POOL, NULL};
    static struct marks m[STARTS_MAX];
    static double whole[STARTS_MAX];
    struct stack_bundle hello;
    struct clusterbed *b = bed_new(flags, false, &hello);
    own_mem char *identity = stack_identity(&b->stack, WHO);
    struct marks first = {0};

    wait_warm(b, atoi(POOL));
    start_one(b, identity, &hello, &first);
    for (int i = 0; i < warms; i++) {
        clusterbed_wait_none(b, "pods", NULL);
        wait_warm(b, atoi(POOL));
        start_one(b, identity, &hello, &m[i]);
        whole[i] = m[i].first - m[i].posted;
    }
    figures_at_most("warm.whole.p50",
                    figures_quantile(whole, (size_t)warms, 0.5), "ms", 150);
    figures_at_most("warm.whole.p99",
                    figures_quantile(whole, (size_t)warms, 0.99), "ms", 500);
    say_parts("warm", parts, sizeof parts / sizeof *parts, m, (size_t)warms);
    bed_free(b, flags[1]);
}

/* --- many at once --- */

/* In a process of its own, as clients are: tells when its byte was there. */
static void burst_client(struct clusterbed *b, const struct stack_session *ss,
                         int out_fd)
{
    struct stack_link l = {0};
    struct marks m = {0};

    first_byte(b, ss, &l, &m);
    _exit(write(out_fd, &m.first, sizeof m.first) == sizeof m.first ? 0 : 1);
}

static double burst_attach(struct clusterbed *b, struct stack_session *all)
{
    double last = 0, at;
    pid_t pids[BURST_MAX];
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    for (int i = 0; i < burst; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            burst_client(b, &all[i], fds[1]);
    }
    close(fds[1]);
    for (int i = 0; i < burst; i++) {
        if (read(fds[0], &at, sizeof at) != sizeof at)
            fail_msg("only %d of %d have had a byte", i, burst);
        last = fmax(last, at);
    }
    close(fds[0]);
    for (int i = 0; i < burst; i++)
        waitpid(pids[i], NULL, 0);
    return last;
}

static void burst_say(struct clusterbed *b, const struct stack_session *all,
                      double from, double last)
{
    own_mem char *log = clusterlog_controller(b);
    double told = 0;
    int warm = 0;

    for (int i = 0; i < burst; i++) {
        warm += clusterlog_when(log, "session.claimed", all[i].sid) != 0;
        told = fmax(told, clusterlog_when(log, "session.launched", all[i].sid));
    }
    figures_say("burst.sessions", burst, "at once");
    figures_say("burst.warm", warm, "of them");
    figures_say("burst.activations", burst * 1e3 / (told - from), "1/s");
    figures_say("burst.first_bytes", burst * 1e3 / (last - from), "1/s");
    figures_say("burst.last_first_byte", last - from, "ms");
}

static void measure_burst(void)
{
    char target[16];
    const char *flags[] = {"--job-template", NULL,   "--log-level", "debug",
                           "--warm-target",  target, NULL};
    struct stack_session all[BURST_MAX];
    int fds[BURST_MAX];
    struct stack_bundle hello;
    struct clusterbed *b;
    own_mem char *identity = NULL;
    double from, last;

    snprintf(target, sizeof target, "%d", burst);
    b = bed_new(flags, true, &hello);
    identity = stack_identity(&b->stack, WHO);
    wait_warm(b, burst);
    poll(NULL, 0, REST_MS); /* the last of them have only just started */
    from = wall_ms();
    for (int i = 0; i < burst; i++)
        fds[i] = stack_ask(&b->stack, identity, &hello, "");
    for (int i = 0; i < burst; i++)
        stack_created(WHO, fds[i], &all[i]);
    last = burst_attach(b, all);
    burst_say(b, all, from, last);
    for (int i = 0; i < burst; i++) {
        stack_delete(&b->stack, WHO, all[i].sid);
        stack_session_fini(&all[i]);
    }
    bed_free(b, flags[1]);
}

/* --- the three, as a group: what fails is told --- */

static void bench_cold(void **arg)
{
    (void)arg;
    if (colds)
        measure_cold();
}

static void bench_warm(void **arg)
{
    (void)arg;
    if (warms)
        measure_warm();
}

static void bench_burst(void **arg)
{
    (void)arg;
    if (burst)
        measure_burst();
}

/* Another number than the usual, 0 = none. */
static void take_count(const char *text, int max, int *out)
{
    if (text && atoi(text) >= 0 && atoi(text) <= max)
        *out = atoi(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest parts[] = {
        cmocka_unit_test(bench_cold),
        cmocka_unit_test(bench_warm),
        cmocka_unit_test(bench_burst),
    };

    take_count(argc > 1 ? argv[1] : NULL, STARTS_MAX, &colds);
    take_count(argc > 2 ? argv[2] : NULL, STARTS_MAX, &warms);
    take_count(argc > 3 ? argv[3] : NULL, BURST_MAX, &burst);
    figures_begin("starts on a cluster");
    return cmocka_run_group_tests(parts, NULL, NULL);
}
