/*
 * From the request for a session to its program's first byte, and what an
 * idle session costs in private memory.
 *
 * usage: start_bench [starts] [idle sessions]
 * PODTERM_BUNDLE: the archive to start; else a script.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/figures.h"
#include "tests/lib/stack.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STARTS_MAX 200
#define IDLES_MAX 100
#define IDLES_A_USER 4

static int starts = 15, idles = 20;

/* --- start to first byte --- */

/* The bundle where `dev` lets bundles lie. */
static void bundle_take(struct stack *s, const char *path,
                        struct stack_bundle *b)
{
    own_mem char *to = mem_printf("%s/bundles/sample.tar.gz", s->dir);
    own_mem char *cmd = mem_printf("install -m 0644 '%s' %s", path, to);
    own_mem char *sum = mem_printf("sha256sum %s", to);
    FILE *f;

    if (system(cmd) != 0)
        fail_msg("PODTERM_BUNDLE=%s cannot be read", path);
    snprintf(b->url, sizeof(b->url), "file://%s", to);
    f = popen(sum, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%64s", b->sha256), 1);
    pclose(f);
}

/* As stack_create, but the identity is there already: that is not part of
 * what is measured. */
static char *session_create(struct stack *s, const char *identity,
                            const struct stack_bundle *b, char sid[ID_SIZE])
{
    own_mem char *head =
        mem_printf("%sContent-Type: application/json\r\n", identity);
    own_mem char *body =
        mem_printf("{\"bundle\":{\"url\":\"%s\",\"sha256\":\"%s\"},"
                   "\"cols\":80,\"rows\":24}",
                   b->url, b->sha256);
    struct rest_answer a =
        rest_call(s->port, "POST", "/api/sessions", head, body);
    struct err e = {0};
    own_json struct json *j = json_parse(a.body ? a.body : "", a.len, &e);
    char *token;

    if (a.status != 201)
        fail_msg("create: %d %s", a.status, a.body);
    snprintf(sid, ID_SIZE, "%s", json_get_str(j, "id"));
    token = mem_str(json_get_str(j, "token"));
    rest_fini(&a);
    return token;
}

static double start_ms(struct stack *s, const char *identity,
                       const struct stack_bundle *b)
{
    struct stack_link l = {0};
    int64_t start = figures_now_us();
    char sid[ID_SIZE];
    own_mem char *token = session_create(s, identity, b, sid);
    double took;

    if (!stack_attach(s, &l, token, 0, 80, 24))
        fail_msg("attach: %s", l.error);
    while (l.output == 0)
        if (!stack_pump(&l, NULL, NULL, false))
            fail_msg("it ended before its first byte: %s", l.error);
    took = (double)(figures_now_us() - start) / 1e3;
    stack_delete(s, "bench", sid);
    while (stack_pump(&l, NULL, NULL, true))
        continue;
    wspeer_free(l.peer);
    json_free(stack_wait(s, "bench", sid, "ended", 10000));
    return took;
}

static void bench_start(struct stack *s)
{
    const char *path = getenv("PODTERM_BUNDLE");
    own_mem char *identity = stack_identity(s, "bench");
    static double ms[STARTS_MAX];
    struct stack_bundle b;

    if (path)
        bundle_take(s, path, &b);
    else
        stack_pack(s, "hello", "echo hello; exec sleep 600", &b);
    start_ms(s, identity, &b); /* fills the cache */
    for (int i = 0; i < starts; i++)
        ms[i] = start_ms(s, identity, &b);
    figures_at_most("start_to_first_byte.p50",
                    figures_median(ms, (size_t)starts), "ms", 150);
    figures_say("start_to_first_byte.max",
                figures_quantile(ms, (size_t)starts, 1), "ms");
}

/* --- memory --- */

static double memory_of(struct stack *s, const char *name, const char *flag,
                        int *count)
{
    pid_t pids[512];
    double sum = 0;

    *count = stack_pids(s, name, flag, pids, 512);
    for (int i = 0; i < *count; i++)
        sum += figures_private_kib(pids[i]);
    return sum;
}

static void memory_say(struct stack *s)
{
    double all, mains, keepers;
    int n, n_main, n_keeper;

    all = memory_of(s, "podterm-agent", NULL, &n);
    mains = memory_of(s, "podterm-agent", "--main", &n_main);
    keepers = memory_of(s, "podterm-keeper", NULL, &n_keeper);
    assert_int_equal(n_main, idles);
    figures_say("memory.agent.main", mains / idles, "KiB private");
    figures_say("memory.agent.supervisor", (all - mains) / idles,
                "KiB private");
    figures_at_most("memory.agent", all / idles, "KiB private", 4096);
    figures_say("memory.keeper", n_keeper ? keepers / n_keeper : 0,
                "KiB private");
}

static void bench_memory(struct stack *s)
{
    static struct stack_session ss[IDLES_MAX];
    static struct stack_link l[IDLES_MAX];
    struct stack_bundle b;

    stack_pack(s, "idle", "echo idle; exec sleep 600", &b);
    for (int i = 0; i < idles; i++) {
        char who[32];

        snprintf(who, sizeof(who), "idle%d", i / IDLES_A_USER);
        stack_create(s, who, &b, "", &ss[i]);
        if (!stack_attach(s, &l[i], ss[i].token, 0, 80, 24))
            fail_msg("attach: %s", l[i].error);
        while (l[i].output == 0)
            stack_pump(&l[i], NULL, NULL, true);
    }
    poll(NULL, 0, 1000);
    memory_say(s);
    for (int i = 0; i < idles; i++) {
        stack_delete(s, ss[i].who, ss[i].sid);
        wspeer_free(l[i].peer);
        stack_session_fini(&ss[i]);
    }
}

static void run(void)
{
    struct stack *s = stack_new(NULL);

    bench_start(s);
    bench_memory(s);
    stack_free(s);
}

int main(int argc, char **argv)
{
    figures_begin("start and memory");
    if (argc > 1 && atoi(argv[1]) > 0 && atoi(argv[1]) <= STARTS_MAX)
        starts = atoi(argv[1]);
    if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= IDLES_MAX)
        idles = atoi(argv[2]);
    run();
    return 0;
}
