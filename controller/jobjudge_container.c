#include "controller/jobjudge_internal.h"

#include <stdio.h>
#include <string.h>

int jobjudge_profile(const char *where, const struct json *pod_context,
                     const struct json *context, struct err *e)
{
    const struct json *own = json_get(context, "seccompProfile");
    const struct json *is = own ? own : json_get(pod_context, "seccompProfile");
    const struct json *armor = json_get(context, "appArmorProfile");

    if (!json_get_is(is, "type", "RuntimeDefault") &&
        !json_get_is(is, "type", "Localhost"))
        return jobjudge_refuse(
            where, "securityContext.seccompProfile",
            "here or the pod's own: must be RuntimeDefault or "
            "Localhost",
            e);
    if (armor && !json_get_is(armor, "type", "RuntimeDefault") &&
        !json_get_is(armor, "type", "Localhost"))
        return jobjudge_refuse(where, "securityContext.appArmorProfile",
                               "must be RuntimeDefault or Localhost", e);
    return 0;
}

static bool drops_all(const struct json *context)
{
    const struct json *drop =
        json_get(json_get(context, "capabilities"), "drop");

    for (size_t i = 0; i < json_count(drop); i++) {
        const char *name = json_str(json_at(drop, i));

        if (name && strcmp(name, "ALL") == 0)
            return true;
    }
    return false;
}

static int judge_context(const char *container, const struct json *s,
                         struct err *e)
{
    char where[JOBJUDGE_BELOW_SIZE];

    snprintf(where, sizeof where, "%s.securityContext", container);
    if (JOBJUDGE_ONLY(where, s, e, "runAsUser", "runAsGroup", "runAsNonRoot",
                      "allowPrivilegeEscalation", "readOnlyRootFilesystem",
                      "capabilities", "seccompProfile", "appArmorProfile") < 0)
        return -1;
    if (!jobjudge_is(s, "allowPrivilegeEscalation", false))
        return jobjudge_refuse(where, "allowPrivilegeEscalation",
                               "must be false", e);
    if (!jobjudge_is(s, "readOnlyRootFilesystem", true))
        return jobjudge_refuse(where, "readOnlyRootFilesystem", "must be true",
                               e);
    if (json_get(s, "runAsNonRoot") && !jobjudge_is(s, "runAsNonRoot", true))
        return jobjudge_refuse(where, "runAsNonRoot", "must be true", e);
    if (jobjudge_number(s, "runAsUser") <= 0)
        return jobjudge_refuse(where, "runAsUser",
                               "must be set, and not root's", e);
    if (jobjudge_number(s, "runAsGroup") <= 0)
        return jobjudge_refuse(where, "runAsGroup",
                               "must be set, and not root's", e);
    if (!drops_all(s))
        return jobjudge_refuse(where, "capabilities.drop", "must have ALL", e);
    snprintf(where, sizeof where, "%s.securityContext.capabilities", container);
    return JOBJUDGE_ONLY(where, json_get(s, "capabilities"), e, "drop");
}

/* None of it may come from a Secret: the environment is no place for one. */
static int judge_env(const char *container, const struct json *env,
                     struct err *e)
{
    for (size_t i = 0; i < json_count(env); i++) {
        const struct json *v = json_at(env, i);
        char where[JOBJUDGE_BELOW_SIZE];

        snprintf(where, sizeof where, "%s.env[%zu]", container, i);
        if (JOBJUDGE_ONLY(where, v, e, "name", "value", "valueFrom") < 0)
            return -1;
        snprintf(where, sizeof where, "%s.env[%zu].valueFrom", container, i);
        if (JOBJUDGE_ONLY(where, json_get(v, "valueFrom"), e, "fieldRef",
                          "resourceFieldRef") < 0)
            return -1;
    }
    return 0;
}

static int judge_ports(const char *container, const struct json *ports,
                       struct err *e)
{
    for (size_t i = 0; i < json_count(ports); i++) {
        char where[JOBJUDGE_BELOW_SIZE];

        snprintf(where, sizeof where, "%s.ports[%zu]", container, i);
        if (JOBJUDGE_ONLY(where, json_at(ports, i), e, "name", "containerPort",
                          "protocol") < 0)
            return -1;
    }
    return 0;
}

static int judge_limits(const char *container, const struct json *c,
                        struct err *e)
{
    const struct json *limits = json_get(json_get(c, "resources"), "limits");

    if (!jobjudge_amount(json_get(limits, "memory")))
        return jobjudge_refuse(container, "resources.limits.memory",
                               "must be set: the node's would be used up", e);
    if (!jobjudge_amount(json_get(limits, "ephemeral-storage")))
        return jobjudge_refuse(container, "resources.limits.ephemeral-storage",
                               "must be set: the node's would be used up", e);
    return 0;
}

/* As a mount's path is compared: absolute, and nothing to be resolved. */
static bool is_clean(const char *path)
{
    const size_t len = path ? strlen(path) : 0;

    return len > 1 && path[0] == '/' && path[len - 1] != '/' &&
           !strstr(path, "//") && !strstr(path, "/./") &&
           !strstr(path, "/../") && strcmp(path + len - 2, "/.") != 0 &&
           (len < 3 || strcmp(path + len - 3, "/..") != 0);
}

static int judge_mounts(const char *container, const struct json *mounts,
                        struct err *e)
{
    for (size_t i = 0; i < json_count(mounts); i++) {
        const struct json *m = json_at(mounts, i);
        char where[JOBJUDGE_BELOW_SIZE];

        snprintf(where, sizeof where, "%s.volumeMounts[%zu]", container, i);
        if (JOBJUDGE_ONLY(where, m, e, "name", "mountPath", "readOnly",
                          "recursiveReadOnly", "mountPropagation") < 0)
            return -1;
        if (!is_clean(json_get_str(m, "mountPath")))
            return jobjudge_refuse(where, "mountPath",
                                   "must be absolute and without . or ..", e);
        if (json_get(m, "mountPropagation") &&
            !json_get_is(m, "mountPropagation", "None"))
            return jobjudge_refuse(where, "mountPropagation", "must be None",
                                   e);
    }
    return 0;
}

/* What both kinds must be. list: "initContainers" or "containers". */
int jobjudge_container(const struct jobjudge *g, const char *list,
                       const struct json *c, struct err *e)
{
    char where[JOBJUDGE_WHERE_SIZE];
    const struct json *context = json_get(c, "securityContext");

    snprintf(where, sizeof where, "%s.%s[%s]", g->root, list,
             json_get_str(c, "name"));
    if (JOBJUDGE_ONLY(where, c, e, "name", "image", "imagePullPolicy", "env",
                      "ports", "resources", "resizePolicy", "volumeMounts",
                      "securityContext", "terminationMessagePath",
                      "terminationMessagePolicy",
                      c == g->runner ? "command" : "args",
                      c == g->runner ? "command" : "restartPolicy",
                      c == g->runner ? "command" : "startupProbe",
                      c == g->runner ? "command" : "readinessProbe",
                      c == g->runner ? "command" : "livenessProbe") < 0)
        return -1;
    if (json_get(c, "terminationMessagePath") &&
        !json_get_is(c, "terminationMessagePath", JOBJUDGE_REPORT))
        return jobjudge_refuse(where, "terminationMessagePath",
                               "must be " JOBJUDGE_REPORT, e);
    if (judge_context(where, context, e) < 0 ||
        jobjudge_profile(where, json_get(g->pod, "securityContext"), context,
                         e) < 0 ||
        judge_env(where, json_get(c, "env"), e) < 0 ||
        judge_ports(where, json_get(c, "ports"), e) < 0 ||
        judge_limits(where, c, e) < 0)
        return -1;
    return judge_mounts(where, json_get(c, "volumeMounts"), e);
}
