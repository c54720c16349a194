/*
 * What a person feels: the time from a key to its echo, alone and beside
 * sessions that flood, next to socat (and ttyd where it is on PATH) key by
 * key; and how fast attachments are made.
 *
 * usage: echo_bench [keys] [rounds beside floods]
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/figures.h"
#include "tests/lib/programs.h"
#include "tests/lib/rivals.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS_MAX 5000
#define WARM_KEYS 20
#define FLOODS 10
#define FLOOD_KEYS 60 /* of each round beside floods */
#define FLOOD_SETTLE_MS 500
#define ATTACHES 200
#define ROUNDS_MAX 10

enum who { SOCAT, PODTERM, CHAIN, TTYD, WHO_COUNT };

static const char *const who_name[] = {"socat", "podterm", "haproxy_and_socat",
                                       "ttyd"};
static size_t keys = 1000, rounds = 3;
static char *dir; /* for rivals' files */
static double us[WHO_COUNT][KEYS_MAX];
static struct wire wires[WHO_COUNT];

static bool has(enum who w)
{
    return w != TTYD || rival_has_ttyd();
}

/* --- one key --- */

static double key_us(struct wire *w)
{
    uint64_t at = w->output;
    int64_t start = figures_now_us();

    wire_key(w, 'k');
    while (w->output == at)
        if (wire_read(w) < 0)
            fail_msg("the echo ended");
    return (double)(figures_now_us() - start);
}

static void keys_alone(void)
{
    for (size_t i = 0; i < WARM_KEYS + keys; i++)
        for (int w = 0; w < WHO_COUNT; w++) {
            double t;

            if (!has(w))
                continue;
            t = key_us(&wires[w]);
            if (i >= WARM_KEYS)
                us[w][i - WARM_KEYS] = t;
        }
}

/* --- floods: one child reads each, and is stopped while another's turn --- */

struct flooding {
    pid_t pid;
    struct wire *wire;
    struct stack_session ss;
};

static void flood_read(struct wire *w)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (wire_read(w) >= 0)
        continue;
    _exit(0);
}

static void floods_start(enum who who, struct stack *s, struct stack_bundle *b,
                         struct flooding *f)
{
    for (int i = 0; i < FLOODS; i++) {
        struct stack_link *l = mem_zero(1, sizeof(*l));
        char name[32];

        f[i].wire = mem_zero(1, sizeof(*f[i].wire));
        if (who == PODTERM) {
            snprintf(name, sizeof(name), "flood%d", i);
            stack_create(s, name, b, "", &f[i].ss);
            if (!stack_attach(s, l, f[i].ss.token, 0, 80, 24))
                fail_msg("attach: %s", l->error);
            wire_podterm(f[i].wire, l);
        } else {
            free(l);
            if (who == SOCAT)
                wire_socat(f[i].wire, "yes");
            else if (who == CHAIN)
                wire_chain(f[i].wire, dir, "yes");
            else
                wire_ttyd(f[i].wire, "exec yes");
        }
        f[i].pid = fork();
        if (f[i].pid == 0)
            flood_read(f[i].wire);
        kill(f[i].pid, SIGSTOP);
    }
}

static void floods_signal(struct flooding *f, int signum)
{
    for (int i = 0; i < FLOODS; i++)
        kill(f[i].pid, signum);
}

static void floods_end(enum who who, struct stack *s, struct flooding *f)
{
    for (int i = 0; i < FLOODS; i++) {
        kill(f[i].pid, SIGKILL);
        waitpid(f[i].pid, NULL, 0);
        if (who == PODTERM) {
            stack_delete(s, f[i].ss.who, f[i].ss.sid);
            stack_session_fini(&f[i].ss);
        }
        wire_end(f[i].wire);
        free(f[i].wire->link);
        free(f[i].wire);
    }
}

static void keys_beside_floods(struct stack *s)
{
    static struct flooding f[WHO_COUNT][FLOODS];
    struct stack_bundle yes;

    stack_pack(s, "yes", "stty raw -echo; exec yes", &yes);
    for (int w = 0; w < WHO_COUNT; w++)
        if (has(w))
            floods_start(w, s, &yes, f[w]);
    for (size_t r = 0; r < rounds; r++)
        for (int w = 0; w < WHO_COUNT; w++) {
            if (!has(w))
                continue;
            floods_signal(f[w], SIGCONT);
            poll(NULL, 0, FLOOD_SETTLE_MS);
            for (size_t i = 0; i < FLOOD_KEYS; i++)
                us[w][r * FLOOD_KEYS + i] = key_us(&wires[w]);
            floods_signal(f[w], SIGSTOP);
            poll(NULL, 0, FLOOD_SETTLE_MS);
        }
    for (int w = 0; w < WHO_COUNT; w++)
        if (has(w))
            floods_end(w, s, f[w]);
}

/* --- attachments --- */

static void attaches(struct stack *s, const char *sid)
{
    static double ms[ATTACHES];
    char *tokens[ATTACHES];

    for (int i = 0; i < ATTACHES; i++) {
        struct stack_link l = {0};
        int64_t start;

        tokens[i] = stack_token(s, "bench", sid, "owner", NULL);
        start = figures_now_us();
        if (!stack_attach(s, &l, tokens[i], 0, 80, 24))
            fail_msg("attach %d: %s", i, l.error);
        ms[i] = (double)(figures_now_us() - start) / 1e3;
        wspeer_free(l.peer);
        free(tokens[i]);
    }
    figures_say("attach.p50", figures_quantile(ms, ATTACHES, 0.5), "ms");
    figures_say("attach.p99", figures_quantile(ms, ATTACHES, 0.99), "ms");
    figures_say("attach.rate", 1e3 / figures_median(ms, ATTACHES),
                "a second, one at a time");
}

/* --- */

static void say(const char *what, size_t n)
{
    char name[64];
    double p50[WHO_COUNT];

    for (int w = 0; w < WHO_COUNT; w++) {
        if (!has(w))
            continue;
        p50[w] = figures_median(us[w], n);
        snprintf(name, sizeof(name), "%s.%s.p50", what, who_name[w]);
        figures_say(name, p50[w], "us");
        snprintf(name, sizeof(name), "%s.%s.p99", what, who_name[w]);
        figures_say(name, figures_quantile(us[w], n, 0.99), "us");
    }
    snprintf(name, sizeof(name), "%s.podterm_to_socat.p50", what);
    if (strcmp(what, "echo") == 0)
        figures_at_most(name, p50[PODTERM] / p50[SOCAT], "ratio", 1.5);
    else
        figures_say(name, p50[PODTERM] / p50[SOCAT], "ratio");
    snprintf(name, sizeof(name), "%s.podterm_to_haproxy_and_socat.p50", what);
    figures_say(name, p50[PODTERM] / p50[CHAIN], "ratio");
    if (!has(TTYD))
        return;
    snprintf(name, sizeof(name), "%s.podterm_to_ttyd.p50", what);
    figures_say(name, p50[PODTERM] / p50[TTYD], "ratio");
}

static void run(void)
{
    struct stack *s = stack_new(NULL);
    struct stack_session ss;
    struct stack_link l = {0};
    struct stack_bundle cat;

    stack_pack(s, "cat", "stty raw -echo; echo; exec cat", &cat);
    stack_create(s, "bench", &cat, "", &ss);
    if (!stack_attach(s, &l, ss.token, 0, 80, 24))
        fail_msg("attach: %s", l.error);
    wire_podterm(&wires[PODTERM], &l);
    while (wires[PODTERM].output == 0) /* stty is done */
        wire_read(&wires[PODTERM]);
    wire_socat(&wires[SOCAT], "cat");
    wire_chain(&wires[CHAIN], dir, "cat");
    if (has(TTYD)) {
        wire_ttyd(&wires[TTYD], "stty raw -echo; echo; exec cat");
        while (wires[TTYD].output == 0)
            wire_read(&wires[TTYD]);
    }
    keys_alone();
    say("echo", keys);
    keys_beside_floods(s);
    say("echo_beside_10_floods", rounds * FLOOD_KEYS);
    for (int w = 0; w < WHO_COUNT; w++)
        if (has(w))
            wire_end(&wires[w]);
    attaches(s, ss.sid);
    stack_delete(s, "bench", ss.sid);
    json_free(stack_wait(s, "bench", ss.sid, "ended", 10000));
    stack_session_fini(&ss);
    stack_free(s);
}

int main(int argc, char **argv)
{
    figures_begin("key echo and attachments");
    if (argc > 1 && atoi(argv[1]) > 0 && atoi(argv[1]) <= KEYS_MAX)
        keys = (size_t)atoi(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= ROUNDS_MAX)
        rounds = (size_t)atoi(argv[2]);
    dir = scratch_new();
    run();
    scratch_remove(dir);
    return 0;
}
