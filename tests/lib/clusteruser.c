#include "tests/lib/clusteruser.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RBAC "apis/rbac.authorization.k8s.io/v1"

static struct json *post(struct kube *k, const char *path,
                         const struct json *body)
{
    struct kube_call call = {.method = "POST", .path = path, .body = body};
    struct json *out = NULL;
    struct err e = {0};
    int status = kube_do(k, &call, &out, &e);

    if (status != 201 && status != 200)
        fail_msg("%s: %d %s", path, status, e.text);
    return out;
}

struct place {
    struct kube *kube;
    const char *ns;
};

/* One of the shipped documents, moved into the namespace. */
static void make(void *arg, struct json *doc)
{
    struct kube *k = ((struct place *)arg)->kube;
    const char *ns = ((struct place *)arg)->ns;
    const char *kind = json_get_str(doc, "kind");
    const char *resource = strcmp(kind, "ServiceAccount") == 0
                               ? "serviceaccounts"
                           : strcmp(kind, "Role") == 0 ? "roles"
                                                       : "rolebindings";
    own_mem char *path = mem_printf(
        "/%s/namespaces/%s/%s",
        strcmp(kind, "ServiceAccount") == 0 ? "api/v1" : RBAC, ns, resource);
    struct json *meta = (struct json *)(uintptr_t)json_get(doc, "metadata");
    const struct json *subjects = json_get(doc, "subjects");

    json_set_str(meta, "namespace", ns);
    for (size_t i = 0; i < json_count(subjects); i++)
        json_set_str((struct json *)(uintptr_t)json_at(subjects, i),
                     "namespace", ns);
    json_free(post(k, path, doc));
}

void clusteruser_each(void (*take)(void *arg, struct json *doc), void *arg)
{
    size_t len;
    own_mem char *text = tree_get(CLUSTERUSER_RBAC, &len);
    char *at = text;

    while (at) {
        char *end = strstr(at, "---\n");
        struct err e = {0};
        own_json struct json *doc = NULL;

        if (end)
            *end = '\0';
        doc = yaml_parse(at, strlen(at), &e);
        if (!doc)
            fail_msg(CLUSTERUSER_RBAC ": %s", e.text);
        take(arg, doc);
        at = end ? end + 4 : NULL;
    }
}

static char *token_of(struct kube *k, const char *ns, const char *user)
{
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/serviceaccounts/%s/token", ns, user);
    own_json struct json *body = json_object();
    own_json struct json *made = NULL;

    json_set_int(json_set(body, "spec", json_object()), "expirationSeconds",
                 7200);
    made = post(k, path, body);
    return mem_str(json_get_str(json_get(made, "status"), "token"));
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

char *clusteruser_make(struct kube *k, const struct kube_conf *admin,
                       const char *ns, const char *dir)
{
    own_mem char *token = NULL, *token_path = mem_printf("%s/token", dir);
    own_mem char *ca = mem_zero(base64_size(strlen(admin->ca)), 1);
    own_mem char *text = NULL;
    char *path = mem_printf("%s/kubeconfig", dir);

    clusteruser_each(make, &(struct place){k, ns});
    token = token_of(k, ns, "podterm-controller");
    put(token_path, token);
    base64_encode((const uint8_t *)admin->ca, strlen(admin->ca), ca);
    text = mem_printf("apiVersion: v1\nkind: Config\n"
                      "clusters:\n- name: c\n  cluster: {server: \"%s\", "
                      "certificate-authority-data: %s}\n"
                      "users:\n- name: u\n  user: {tokenFile: %s}\n"
                      "contexts:\n- name: x\n  context: {cluster: c, user: u, "
                      "namespace: %s}\ncurrent-context: x\n",
                      admin->server, ca, token_path, ns);
    put(path, text);
    return path;
}
