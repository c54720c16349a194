#include "agent/launch.h"

#include "agent/broker_apis.h"
#include "agent/manifest.h"
#include "agent/sandbox.h"
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

/* Both spellings: curl reads http_proxy, others HTTP_PROXY alone. */
#define PROXY_URL "http://127.0.0.1:" STRING(SHIM_PROXY_PORT)
#define STRING(number) STRING_OF(number)
#define STRING_OF(text) #text
#define NO_PROXY "localhost,127.0.0.1,::1"
static const char *const proxied[] = {
    "HTTP_PROXY=" PROXY_URL, "HTTPS_PROXY=" PROXY_URL, "ALL_PROXY=" PROXY_URL,
    "NO_PROXY=" NO_PROXY,    "http_proxy=" PROXY_URL,  "https_proxy=" PROXY_URL,
    "all_proxy=" PROXY_URL,  "no_proxy=" NO_PROXY,
};
#define PROXIED (sizeof(proxied) / sizeof(proxied[0]))

/* What its key broker is known by. */
static size_t launch_broker(const struct agent_spec *spec, char **out)
{
    char lines[BROKER_ENV_MAX][BROKER_ENV_LINE];
    size_t n = 0;

    for (int a = 0; a < BROKER_API_COUNT; a++) {
        size_t count = spec->has_api[a]
                           ? broker_env((enum broker_api)a, spec->env, lines)
                           : 0;

        for (size_t i = 0; i < count; i++)
            out[n++] = mem_str(lines[i]);
    }
    return n;
}

static char **launch_env(const struct launch *l)
{
    char *ours[5 + PROXIED + BROKER_API_COUNT * BROKER_ENV_MAX] = {
        mem_printf("PATH=%s/bin:%s", l->root, MANIFEST_PATH),
        mem_printf("HOME=%s", l->home),
        mem_str("TERM=xterm-256color"),
        mem_str("COLORTERM=truecolor"),
        mem_str("LANG=C.UTF-8"),
    };
    size_t our_count = 5, count = 0, n = 0;
    char **out;

    for (size_t i = 0; l->spec->proxy_rules && i < PROXIED; i++)
        ours[our_count++] = mem_str(proxied[i]);
    our_count += launch_broker(l->spec, ours + our_count);
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

static enum shim_egress launch_egress(const struct agent_spec *spec)
{
    if (spec->proxy_rules)
        return SHIM_EGRESS_PROXY;
    return strcmp(spec->egress, "open") == 0 ? SHIM_EGRESS_OPEN
                                             : SHIM_EGRESS_NONE;
}

int launch_program(struct shimlink *shim, const struct launch *l, struct err *e)
{
    const struct spec_limits *limits = &l->spec->limits;
    bool is_caged = strcmp(l->spec->isolation, "full") == 0;
    char **env = launch_env(l);
    struct sandbox sandbox;
    struct shimlink_start start = {
        .cols = l->cols,
        .rows = l->rows,
        .isolation = is_caged ? SHIM_ISOLATION_FULL : SHIM_ISOLATION_NONE,
        .egress = launch_egress(l->spec),
        .limits = {.nproc = (uint64_t)limits->nproc,
                   .nofile = (uint64_t)limits->nofile,
                   .data_bytes = (uint64_t)limits->data_bytes,
                   .fsize_bytes = (uint64_t)limits->fsize_bytes,
                   .cpu_s = (uint64_t)limits->cpu_s},
        .cage = &sandbox.cage,
        .cwd = l->home,
        .argv = (const char *const *)l->argv,
        .env = (const char *const *)env,
    };
    int r = sandbox_init(&sandbox, l->spec, l->root, l->home, e);

    if (r == 0) {
        /* in a network of its own; another's is the agent's to listen in */
        if (!l->spec->is_network_shared)
            start.listen_count = sandbox_ports(l->spec, start.listen);
        r = shimlink_start(shim, &start, e);
        sandbox_fini(&sandbox);
    }
    launch_env_free(env);
    return r;
}
