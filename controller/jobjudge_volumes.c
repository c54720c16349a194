#include "controller/jobjudge_internal.h"
#include "controller/podview.h"

#include <stdio.h>
#include <string.h>

/* How often a container mounts it; path: where, of the last. */
static int mounts_of(const struct json *c, const char *volume,
                     const char **path)
{
    const struct json *mounts = json_get(c, "volumeMounts");
    int n = 0;

    for (size_t i = 0; i < json_count(mounts); i++) {
        const struct json *m = json_at(mounts, i);

        if (!json_get_is(m, "name", volume))
            continue;
        n++;
        *path = json_get_str(m, "mountPath");
    }
    return n;
}

/* A Secret is in reach of one container, and that is not the runner. */
static int judge_secret(const struct jobjudge *g, const char *where,
                        const char *name, struct err *e)
{
    const char *ignored = NULL;
    const struct json *v = jobjudge_named(json_get(g->pod, "volumes"), name);
    const struct json *holder = g->secret ? g->agent : g->key;

    if (g->secret && strcmp(name, g->secret) != 0)
        return jobjudge_refuse(where, "secret",
                               "only the session's may be here", e);
    if (!holder || !mounts_of(holder, name, &ignored))
        return jobjudge_refuse(where, "secret", "nobody mounts it who may", e);
    if (mounts_of(g->runner, name, &ignored) ||
        (g->key && mounts_of(g->agent, name, &ignored)))
        return jobjudge_refuse(where, "secret",
                               g->key ? JOBJUDGE_POOL_KEY " alone may mount it"
                                      : "the agent alone may mount it",
                               e);
    return JOBJUDGE_ONLY(where, json_get(v, "secret"), e, "secretName",
                         "defaultMode");
}

static int judge_empty(const char *where, const struct json *empty,
                       struct err *e)
{
    if (!jobjudge_amount(json_get(empty, "sizeLimit")))
        return jobjudge_refuse(
            where, "emptyDir.sizeLimit",
            "must be set: the node's disk or memory would be used up", e);
    return JOBJUDGE_ONLY(where, empty, e, "medium", "sizeLimit");
}

/* One of a few kinds, and of one kind only. */
static int judge_volume(const struct jobjudge *g, const struct json *v,
                        struct err *e)
{
    const char *name = json_get_str(v, "name"), *ignored = NULL;
    char where[JOBJUDGE_WHERE_SIZE];

    snprintf(where, sizeof where, "%s.volumes[%s]", g->root, name ? name : "");
    if (!name)
        return jobjudge_refuse(where, "name", "must be set", e);
    if (JOBJUDGE_ONLY(where, v, e, "name", "emptyDir", "secret",
                      g->key ? "configMap" : "secret") < 0)
        return -1;
    if (json_count(v) != 2)
        return jobjudge_refuse(where, "name", "must be of one kind", e);
    if (json_get(v, "emptyDir"))
        return judge_empty(where, json_get(v, "emptyDir"), e);
    if (json_get(v, "secret"))
        return judge_secret(g, where, name, e);
    if (mounts_of(g->runner, name, &ignored))
        return jobjudge_refuse(where, "configMap",
                               "the runner must not mount it", e);
    return 0;
}

/* Where all of the agent's containers mount it; n: how often. */
static const char *agents_path(const struct jobjudge *g, const char *volume,
                               int *n)
{
    const char *path = NULL;

    *n = mounts_of(g->agent, volume, &path);
    if (g->key)
        *n += mounts_of(g->key, volume, &path);
    return path;
}

/* At it, below it, or what it lies in. */
static bool touches_ours(const char *path)
{
    const size_t len = strlen(path), ours = sizeof JOBJUDGE_OURS - 1;

    if (len < ours)
        return strncmp(path, JOBJUDGE_OURS, len) == 0 &&
               JOBJUDGE_OURS[len] == '/';
    return strncmp(path, JOBJUDGE_OURS, ours) == 0 &&
           (!path[ours] || path[ours] == '/');
}

/* What both have is the socket's directory or the bundle, and the runner
 * cannot write there; its own is nowhere near. */
static int judge_shared(const char *where, const struct json *m,
                        const char *agents, int agents_count, struct err *e)
{
    const char *path = json_get_str(m, "mountPath");

    if (!agents_count && touches_ours(path))
        return jobjudge_refuse(where, "mountPath",
                               "must not be near " JOBJUDGE_OURS, e);
    if (!agents_count)
        return 0;
    if (agents_count != 1 || (strcmp(agents, JOBJUDGE_IPC) != 0 &&
                              strcmp(agents, JOBJUDGE_BUNDLE) != 0))
        return jobjudge_refuse(
            where, "name",
            "the agent mounts it too, and not as " JOBJUDGE_IPC
            " or " JOBJUDGE_BUNDLE " alone: the runner must not",
            e);
    if (strcmp(path, agents) != 0)
        return jobjudge_refuse(where, "mountPath", "must be as in the agent",
                               e);
    if (!jobjudge_is(m, "readOnly", true))
        return jobjudge_refuse(
            where, "readOnly",
            "must be true: the program could replace what is there", e);
    return 0;
}

static int judge_runner_mounts(const struct jobjudge *g, struct err *e)
{
    const struct json *mounts = json_get(g->runner, "volumeMounts");
    int shared = 0;

    for (size_t i = 0; i < json_count(mounts); i++) {
        const struct json *m = json_at(mounts, i);
        const char *name = json_get_str(m, "name"), *agents;
        char where[JOBJUDGE_WHERE_SIZE];
        int n = 0;

        snprintf(where, sizeof where, "%s.containers[%s].volumeMounts[%zu]",
                 g->root, PODVIEW_RUNNER, i);
        if (!name || !jobjudge_named(json_get(g->pod, "volumes"), name))
            return jobjudge_refuse(where, "name", "there is no such volume", e);
        agents = agents_path(g, name, &n);
        if (judge_shared(where, m, agents, n, e) < 0)
            return -1;
        shared += n > 0;
    }
    if (shared != 2)
        return jobjudge_refuse(g->root,
                               "containers[" PODVIEW_RUNNER "].volumeMounts",
                               JOBJUDGE_IPC " and " JOBJUDGE_BUNDLE
                                            " must be the agent's, once each",
                               e);
    return 0;
}

int jobjudge_volumes(const struct jobjudge *g, struct err *e)
{
    const struct json *volumes = json_get(g->pod, "volumes");
    int secrets = 0;

    for (size_t i = 0; i < json_count(volumes); i++) {
        const struct json *v = json_at(volumes, i);

        if (judge_volume(g, v, e) < 0)
            return -1;
        secrets += json_get(v, "secret") != NULL;
    }
    if (secrets != 1)
        return jobjudge_refuse(
            g->root, "volumes",
            g->secret ? "there must be the volume session, a secret"
                      : "there must be one secret, the pool's",
            e);
    return judge_runner_mounts(g, e);
}
