#include "controller/settings_internal.h"

#include "base/conf.h"
#include "base/redis.h"
#include "base/seal.h"

#include <string.h>

/* As namespaces are named: RFC 1123. */
static bool is_label(const char *text)
{
    const size_t len = strlen(text);

    return len >= 1 && len <= 63 && text[0] != '-' && text[len - 1] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* (--lease "": there is none) */
static int check_name(const char *flag, const char *name, struct err *e)
{
    if (!name || is_label(name) || (!*name && strcmp(flag, "--lease") == 0))
        return 0;
    return err_set(e, ERR_INPUT,
                   "%s \"%.80s\" is no name: 1 to 63 of a-z, 0-9 and -, "
                   "no - first or last",
                   flag, name);
}

/* ("example/x*" would be "example/x-of-others" too) */
static int check_image(const char *pattern, struct err *e)
{
    const char *star = strchr(pattern, '*');

    if (!star || (!star[1] && star > pattern && strchr("/:@", star[-1])))
        return 0;
    return err_set(e, ERR_INPUT, "\"%.200s\": * must end it, after / : or @",
                   pattern);
}

/* What the cluster's launcher needs, and what it excludes. */
int settings_check_kube(struct settings *s, struct err *e)
{
    if (settings_check_choice("launcher", s->launcher, "local", "kubernetes",
                              e) < 0)
        return -1;
    if (strcmp(s->launcher, "local") == 0)
        return 0;
    if (settings_check_list("--runner-images", s->runner_images, check_image,
                            e) < 0)
        return -1;
    if (strcmp(s->isolation, "open") == 0 && strcmp(s->egress, "open") != 0)
        return err_set(e, ERR_INPUT,
                       "--isolation open leaves a pod's network to its "
                       "program: set --egress open as well");
    if (s->dev_issuer)
        return err_set(e, ERR_INPUT,
                       "--dev-issuer gives an identity to whoever asks: it "
                       "cannot be used with --launcher kubernetes");
    if (!s->agent_image || !s->runner_image)
        return err_set(e, ERR_INPUT,
                       "--launcher kubernetes needs --agent-image and "
                       "--runner-image");
    if (s->bundle_file_root)
        return err_set(e, ERR_INPUT,
                       "--bundle-file-root names files of this machine, which "
                       "no pod can read: leave it out with --launcher "
                       "kubernetes");
    if (check_name("--namespace", s->namespace, e) < 0 ||
        check_name("--lease", s->lease, e) < 0 ||
        check_name("--lease-namespace", s->lease_namespace, e) < 0)
        return -1;
    if (settings_check_choice("warm-by", s->warm_by, "controller", "keda", e) <
        0)
        return -1;
    /* with a target of 0 as well: KEDA's runners are then too many */
    s->is_keda = strcmp(s->warm_by, "keda") == 0;
    if (s->is_keda && (!s->store || !redis_is_url(s->store)))
        return err_set(e, ERR_INPUT,
                       "--warm-by keda needs --store redis://… or rediss://…: "
                       "KEDA reads there how many are missing");
    if (s->is_keda && !s->pool_secret_file)
        return err_set(e, ERR_INPUT,
                       "--warm-by keda needs --pool-secret-file, which the "
                       "runners' init containers mount too");
    if (s->is_keda && seal_key_load(s->pool_secret_file, s->pool_secret, e) < 0)
        return err_wrap(e, "--pool-secret-file");
    if (conf_file("kubeconfig", s->kubeconfig, false, e) < 0)
        return -1;
    return conf_file("job-template", s->job_template, false, e);
}
