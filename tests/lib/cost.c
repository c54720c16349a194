#include "tests/lib/cost.h"

#include "base/loop.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[COST_COUNT] = {
    [COST_GATEWAY] = "gateway",       [COST_AGENT] = "agent",
    [COST_CONTROLLER] = "controller", [COST_KEEPER] = "keeper",
    [COST_SUPERVISOR] = "supervisor", [COST_SHIM] = "shim",
};

/* Only root may look into an agent; anonymous memory is told to all. */
static int private_kib(pid_t pid)
{
    char path[64];
    long resident = 0, shared = 0;
    int got;
    FILE *f;

    if (geteuid() == 0)
        return stackproc_private_kib(pid);
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "re");
    assert_non_null(f);
    got = fscanf(f, "%*d %ld %ld", &resident, &shared);
    fclose(f);
    assert_int_equal(got, 2);
    return (int)((resident - shared) * (sysconf(_SC_PAGESIZE) / 1024));
}

static pid_t service(const struct stack *s, const char *name)
{
    pid_t pids[4];

    assert_int_equal(stack_pids(s, name, NULL, pids, 4), 1);
    return pids[0];
}

void cost_begin(struct cost *c, const struct stack *s, const char *sid)
{
    c->pid[COST_GATEWAY] = service(s, "podterm-gateway");
    c->pid[COST_CONTROLLER] = service(s, "podterm-controller");
    c->pid[COST_AGENT] = stackproc_find(s, sid, PART_MAIN);
    c->pid[COST_KEEPER] = stackproc_find(s, sid, PART_KEEPER);
    c->pid[COST_SUPERVISOR] = stackproc_find(s, sid, PART_SUPERVISOR);
    c->pid[COST_SHIM] = stackproc_find(s, sid, PART_SHIM);
    for (int i = 0; i < COST_COUNT; i++) {
        if (c->pid[i] <= 0)
            fail_msg("the session has no %s", names[i]);
        c->kib[i] = private_kib(c->pid[i]);
    }
}

void cost_settle(struct cost *c, int quiet_ms, int max_ms)
{
    const int64_t until = loop_now_ms() + max_ms;
    int64_t quiet_since = loop_now_ms();

    while (loop_now_ms() - quiet_since < quiet_ms) {
        if (loop_now_ms() > until)
            fail_msg("gateway or agent still grows after %d ms", max_ms);
        poll(NULL, 0, 100);
        for (int i = 0; i < COST_COUNT; i++) {
            int kib = private_kib(c->pid[i]);

            if (kib > c->kib[i] && (i == COST_GATEWAY || i == COST_AGENT))
                quiet_since = loop_now_ms();
            c->kib[i] = kib;
        }
    }
}

void cost_within(const struct cost *c, int gateway_kib, int agent_kib)
{
    for (int i = 0; i < COST_COUNT; i++) {
        int grown = private_kib(c->pid[i]) - c->kib[i];
        int stated = i == COST_GATEWAY ? gateway_kib
                     : i == COST_AGENT ? agent_kib
                                       : COST_OTHERS_KIB;

        if (grown > stated)
            fail_msg("the %s grew by %d KiB, %d are stated", names[i], grown,
                     stated);
    }
}
