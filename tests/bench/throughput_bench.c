/*
 * How fast a program's output comes to a raw-socket client through gateway
 * and agent, and what a byte costs: beside a bare loop that reads a PTY,
 * socat, and ttyd where it is on PATH.
 *
 * usage: throughput_bench [MB of each flood] [rounds]
 */
#include "tests/lib/figures.h"
#include "tests/lib/programs.h"
#include "tests/lib/rivals.h"

#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS_MAX 20

static long megabytes = 128;
static size_t rounds = 5;

enum rival { SOCAT, CHAIN, TTYD };

static char *dir; /* for their files */

struct flood {
    double mbs;     /* MB per second */
    double ns;      /* CPU of the server, or of the agent, ns a byte */
    double gateway; /* of the gateway */
};

static struct flood flood_of(uint64_t bytes, int64_t took_us, double cpu_ns)
{
    return (struct flood){.mbs = (double)bytes / (double)took_us,
                          .ns = cpu_ns / (double)bytes};
}

/* The floor: nothing but read(2). */
static struct flood flood_bare(void)
{
    char cmd[128], *argv[] = {"sh", "-c", cmd, NULL};
    static uint8_t buf[65536];
    double cpu = figures_cpu_self_ns();
    int64_t start = 0;
    uint64_t bytes = 0;
    ssize_t n;
    pid_t pid;
    int fd;

    snprintf(cmd, sizeof(cmd), "stty raw -echo; head -c %ldM /dev/zero",
             megabytes);
    pid = forkpty(&fd, NULL, NULL, NULL);
    if (pid == 0) {
        execv("/bin/sh", argv);
        _exit(127);
    }
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        if (!start)
            start = figures_now_us();
        bytes += (uint64_t)n;
    }
    start = figures_now_us() - start;
    cpu = figures_cpu_self_ns() - cpu;
    close(fd);
    waitpid(pid, NULL, 0);
    return flood_of(bytes, start, cpu);
}

/* To the end of what a rival's program says. */
static struct flood flood_rival(enum rival who)
{
    static struct wire w;
    const uint64_t all = (uint64_t)megabytes << 20;
    char cmd[128];
    struct flood f;
    int64_t start;

    /* ttyd drops what is left when its program exits: it stays */
    snprintf(cmd, sizeof(cmd),
             "stty raw -echo; head -c %ldM /dev/zero; "
             "sleep 60",
             megabytes);
    if (who == TTYD)
        wire_ttyd(&w, cmd);
    else if (who == CHAIN)
        wire_chain(&w, dir, cmd);
    else
        wire_socat(&w, cmd);
    while (w.output == 0)
        if (wire_read(&w) < 0)
            fail_msg("the rival hung up");
    start = figures_now_us();
    while (w.output < all)
        if (wire_read(&w) < 0)
            fail_msg("the rival hung up at %llu", (unsigned long long)w.output);
    f = flood_of(w.output, figures_now_us() - start, figures_cpu_ns(w.server));
    wire_end(&w);
    return f;
}

static double stack_cpu_ns(struct stack *s, const char *name, const char *flag)
{
    pid_t pids[64];
    int n = stack_pids(s, name, flag, pids, 64);
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += figures_cpu_ns(pids[i]);
    return sum;
}

static struct flood flood_podterm(struct stack *s, struct stack_bundle *b)
{
    static struct wire w;
    const uint64_t all = (uint64_t)megabytes << 20;
    struct stack_session ss;
    struct stack_link l = {0};
    double agent, gateway;
    struct flood f;
    int64_t start;

    stack_create(s, "bench", b, "", &ss);
    if (!stack_attach(s, &l, ss.token, 0, 80, 24))
        fail_msg("attach: %s", l.error);
    wire_podterm(&w, &l);
    while (w.output == 0) /* the program is there and waits for a key */
        wire_read(&w);
    agent = stack_cpu_ns(s, "podterm-agent", "--main");
    gateway = stack_cpu_ns(s, "podterm-gateway", NULL);
    wire_key(&w, 'g');
    start = figures_now_us();
    while (w.output < all)
        if (wire_read(&w) < 0)
            fail_msg("the stream broke at %llu", (unsigned long long)w.output);
    f = flood_of(w.output, figures_now_us() - start,
                 stack_cpu_ns(s, "podterm-agent", "--main") - agent);
    f.gateway =
        (stack_cpu_ns(s, "podterm-gateway", NULL) - gateway) / (double)w.output;
    wire_let_go(&w);
    wire_end(&w);
    json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
    stack_session_fini(&ss);
    return f;
}

struct series {
    double mbs[ROUNDS_MAX], ns[ROUNDS_MAX], gateway[ROUNDS_MAX];
};

static void series_add(struct series *s, size_t i, struct flood f)
{
    s->mbs[i] = f.mbs;
    s->ns[i] = f.ns;
    s->gateway[i] = f.gateway;
}

static void series_say(struct series *s, const char *who)
{
    double mbs[ROUNDS_MAX], ns[ROUNDS_MAX];
    char name[64];

    memcpy(mbs, s->mbs, sizeof(mbs));
    memcpy(ns, s->ns, sizeof(ns));
    snprintf(name, sizeof(name), "throughput.%s", who);
    figures_say(name, figures_median(mbs, rounds), "MB/s");
    snprintf(name, sizeof(name), "throughput.%s.cpu", who);
    figures_say(name, figures_median(ns, rounds), "ns/byte");
}

static void say(struct series *bare, struct series *socat, struct series *chain,
                struct series *ttyd, struct series *ours)
{
    series_say(bare, "bare_pty");
    series_say(socat, "socat");
    series_say(chain, "haproxy_and_socat");
    if (rival_has_ttyd())
        series_say(ttyd, "ttyd");
    series_say(ours, "podterm");
    figures_at_least("throughput.podterm_to_bare_pty",
                     figures_ratio(ours->mbs, bare->mbs, rounds), "ratio", 0.9);
    figures_say("throughput.podterm_to_socat",
                figures_ratio(ours->mbs, socat->mbs, rounds), "ratio");
    figures_say("throughput.podterm_to_haproxy_and_socat",
                figures_ratio(ours->mbs, chain->mbs, rounds), "ratio");
    figures_say("throughput.agent_cpu_to_bare_pty",
                figures_ratio(ours->ns, bare->ns, rounds), "ratio");
    figures_say("throughput.agent_cpu_to_socat",
                figures_ratio(ours->ns, socat->ns, rounds), "ratio");
    if (rival_has_ttyd()) {
        figures_say("throughput.podterm_to_ttyd",
                    figures_ratio(ours->mbs, ttyd->mbs, rounds), "ratio");
        figures_say("throughput.agent_cpu_to_ttyd",
                    figures_ratio(ours->ns, ttyd->ns, rounds), "ratio");
    }
    figures_say("throughput.podterm.gateway_cpu",
                figures_median(ours->gateway, rounds), "ns/byte");
}

static void run(void)
{
    static struct series bare, socat, chain, ttyd, ours;
    struct stack *s = stack_new(NULL);
    struct stack_bundle b;
    char script[128];

    snprintf(script, sizeof(script),
             "stty raw -echo; printf .; head -c 1 >/dev/null; "
             "exec head -c %ldM /dev/zero",
             megabytes);
    stack_pack(s, "flood", script, &b);
    for (size_t i = 0; i < rounds; i++) {
        series_add(&bare, i, flood_bare());
        series_add(&ours, i, flood_podterm(s, &b));
        series_add(&socat, i, flood_rival(SOCAT));
        series_add(&chain, i, flood_rival(CHAIN));
        if (rival_has_ttyd())
            series_add(&ttyd, i, flood_rival(TTYD));
    }
    say(&bare, &socat, &chain, &ttyd, &ours);
    stack_free(s);
}

int main(int argc, char **argv)
{
    figures_begin("terminal throughput");
    if (argc > 1)
        megabytes = atol(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= ROUNDS_MAX)
        rounds = (size_t)atoi(argv[2]);
    dir = scratch_new();
    run();
    scratch_remove(dir);
    return 0;
}
