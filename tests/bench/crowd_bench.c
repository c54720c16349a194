/*
 * One gateway with 9,000 idle sessions: is the echo of one more as quick as
 * beside 10? Two gateways, asked in turn, key by key. TLS agent legs.
 *
 * usage: crowd_bench [sessions] [keys]
 */
#include "gateway/wsframe.h"
#include "tests/lib/fakelegs.h"
#include "tests/lib/figures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FEW 10
#define CROWDS 2 /* processes that hold the clients */
#define KEYS_MAX 20000
#define WARM_KEYS 50

static int many = 9000;
static size_t keys = 4000;

struct place {
    struct bench *b;
    char sid[ID_SIZE];
    pid_t agents, crowds[CROWDS];
    struct wspeer *client; /* the one that types */
    double us[KEYS_MAX];
};

static void place_begin(struct place *p)
{
    static const char *const more[] = {
        "--attached-max=100000", "--attached-per-user=100000",
        "--attached-per-address=100000", "--unproven-per-address=100000", NULL};

    p->b = bench_new();
    bench_session(p->b, STATE_RUNNING, p->sid);
    bench_start(p->b, more);
    p->agents = fakelegs_start(p->b, p->b->agent_ctx, FAKELEGS_ECHO, 0);
}

static void place_fill(struct place *p, int count)
{
    int fds[CROWDS];
    char byte;

    for (int i = 0; i < CROWDS; i++)
        p->crowds[i] = fakelegs_crowd(p->b, p->sid, count / CROWDS, &fds[i]);
    for (int i = 0; i < CROWDS; i++) {
        if (read(fds[i], &byte, 1) != 1)
            fail_msg("a crowd did not get in");
        close(fds[i]);
    }
}

static void place_end(struct place *p)
{
    wspeer_free(p->client);
    for (int i = 0; i < CROWDS; i++)
        fakelegs_stop(p->crowds[i]);
    fakelegs_stop(p->agents);
    bench_free(p->b);
}

static double key_us(struct wspeer *c)
{
    int64_t start = figures_now_us();
    struct wsmsg m;

    wspeer_send(c, WSFRAME_BINARY, "0123456789abcdef", 16);
    if (!wspeer_recv(c, &m))
        fail_msg("echo ended");
    return (double)(figures_now_us() - start);
}

static void say(struct place *p, const char *who)
{
    char name[64];

    snprintf(name, sizeof(name), "crowd.echo.%s.p50", who);
    figures_say(name, figures_median(p->us, keys), "us");
    snprintf(name, sizeof(name), "crowd.echo.%s.p99", who);
    figures_say(name, figures_quantile(p->us, keys, 0.99), "us");
}

int main(int argc, char **argv)
{
    static struct place few, lots;
    struct place *both[] = {&few, &lots};
    double before;
    int64_t start;

    figures_begin("many sessions on one gateway");
    figures_many_files();
    if (argc > 1 && atoi(argv[1]) > 0)
        many = atoi(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= KEYS_MAX)
        keys = (size_t)atoi(argv[2]);
    for (int i = 0; i < 2; i++)
        place_begin(both[i]);
    place_fill(&few, FEW);
    before = figures_private_kib(lots.b->pid);
    start = figures_now_us();
    place_fill(&lots, many);
    figures_say("crowd.sessions", many, "idle");
    figures_say("crowd.attach", many * 1e6 / (double)(figures_now_us() - start),
                "a second, 2 at a time");
    figures_say("crowd.memory",
                (figures_private_kib(lots.b->pid) - before) / many,
                "KiB private a session");
    for (int i = 0; i < 2; i++) {
        struct wsmsg m;

        both[i]->client = bench_attach(both[i]->b, both[i]->sid);
        if (!wspeer_recv(both[i]->client, &m))
            fail_msg("no READY came");
    }
    for (size_t i = 0; i < keys + WARM_KEYS; i++)
        for (int w = 0; w < 2; w++) {
            double t = key_us(both[w]->client);

            if (i >= WARM_KEYS)
                both[w]->us[i - WARM_KEYS] = t;
        }
    say(&few, "at_10");
    say(&lots, "at_many");
    figures_at_most("crowd.echo.many_to_10.p99",
                    figures_quantile(lots.us, keys, 0.99) /
                        figures_quantile(few.us, keys, 0.99),
                    "ratio", 2);
    for (int i = 0; i < 2; i++)
        place_end(both[i]);
    return 0;
}
