#include "agent/launch.h"

#include "agent/manifest.h"
#include "base/mem.h"
#include "base/seal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool launch_is_set(char *const *env, const char *pair)
{
    size_t len = strcspn(pair, "=") + 1;

    for (; *env; env++)
        if (strncmp(*env, pair, len) == 0)
            return true;
    return false;
}

static char **launch_env(const struct launch *l)
{
    char *ours[] = {
        mem_printf("PATH=%s/bin:%s", l->root, MANIFEST_PATH),
        mem_printf("HOME=%s", l->home),
        mem_str("TERM=xterm-256color"),
        mem_str("COLORTERM=truecolor"),
        mem_str("LANG=C.UTF-8"),
    };
    const size_t our_count = sizeof(ours) / sizeof(ours[0]);
    size_t count = 0, n = 0;
    char **out;

    while (l->spec->env[count])
        count++;
    out = mem_zero(count + our_count + 1, sizeof(*out));
    for (size_t i = 0; i < our_count; i++) {
        if (launch_is_set(l->spec->env, ours[i]))
            free(ours[i]);
        else
            out[n++] = ours[i];
    }
    for (size_t i = 0; i < count; i++)
        out[n++] = mem_str(l->spec->env[i]);
    return out;
}

static void launch_env_free(char **env)
{
    for (char **p = env; *p; p++) {
        wipe(*p, strlen(*p));
        free(*p);
    }
    free(env);
}

int launch_program(struct shimlink *shim, const struct launch *l, struct err *e)
{
    const struct spec_limits *limits = &l->spec->limits;
    bool is_caged = strcmp(l->spec->isolation, "full") == 0;
    bool is_open = strcmp(l->spec->egress, "open") == 0;
    char **env = launch_env(l);
    struct shimlink_start start = {
        .cols = l->cols,
        .rows = l->rows,
        .isolation = is_caged ? SHIM_ISOLATION_FULL : SHIM_ISOLATION_NONE,
        .egress = is_open ? SHIM_EGRESS_OPEN : SHIM_EGRESS_NONE,
        .limits = {.nproc = (uint64_t)limits->nproc,
                   .nofile = (uint64_t)limits->nofile,
                   .data_bytes = (uint64_t)limits->data_bytes,
                   .fsize_bytes = (uint64_t)limits->fsize_bytes,
                   .cpu_s = (uint64_t)limits->cpu_s},
        .cwd = l->home,
        .argv = (const char *const *)l->argv,
        .env = (const char *const *)env,
    };
    int r = shimlink_start(shim, &start, e);

    launch_env_free(env);
    return r;
}
