#include "controller/kube_conf.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/url.h"
#include "base/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- files --- */

/* A whole file as text, the caller's; NULL with *e. */
static char *file_text(const char *path, struct err *e)
{
    struct buf b;
    char *text = NULL;

    buf_init_secret(&b, KUBE_CONF_FILE_MAX);
    if (file_read(path, &b, e) == 0) {
        if (b.len && !memchr(b.data, '\0', b.len))
            text = mem_strn((const char *)b.data, b.len);
        else
            err_set(e, ERR_INPUT, "%s: no text", path);
    }
    buf_fini_secret(&b);
    return text;
}

/* As kubectl does: relative to the file that says it. */
static char *beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');

    if (path[0] == '/' || !slash)
        return mem_str(path);
    return mem_printf("%.*s/%s", (int)(slash - file), file, path);
}

/* --- members --- */

struct source { /* of what is being read, for errors and paths */
    const char *file;
    struct err *e;
};

/* A text member; NULL when absent. -1: it is something else. */
static int text_of(const struct source *s, const struct json *in,
                   const char *name, const char **out)
{
    const struct json *at = json_get(in, name);

    *out = at && !json_is_null(at) ? json_str(at) : NULL;
    if (at && !json_is_null(at) && (!*out || !**out))
        return err_set(s->e, ERR_INPUT, "%s: %s must be a text", s->file, name);
    return 0;
}

static char *decoded(const struct source *s, const char *name, const char *text)
{
    const size_t len = strlen(text);
    uint8_t *bytes = mem_zero(len + 1, 1);
    long n = base64_decode(text, len, bytes, len);

    if (n > 0 && !memchr(bytes, 0, (size_t)n))
        return (char *)bytes;
    explicit_bzero(bytes, len);
    free(bytes);
    err_set(s->e, ERR_INPUT, "%s: %s is no base64 of a text", s->file, name);
    return NULL;
}

/* "name-data" holds base64 and goes before "name", which holds a path. */
static int pem_of(const struct source *s, const struct json *in,
                  const char *name, char **out)
{
    own_mem char *data_name = mem_printf("%s-data", name), *path = NULL;
    const char *data, *file;

    if (text_of(s, in, data_name, &data) < 0 || text_of(s, in, name, &file) < 0)
        return -1;
    if (!data && !file)
        return 0;
    if (data) {
        *out = decoded(s, data_name, data);
    } else {
        path = beside(s->file, file);
        *out = file_text(path, s->e);
    }
    return *out ? 0 : -1;
}

/* The member `what` of the entry called name in a list of {name, what}. */
static const struct json *named(const struct json *root, const char *list,
                                const char *name, const char *what)
{
    return json_get(json_find(json_get(root, list), "name", name), what);
}

/* --- a kubeconfig --- */

static int server_of(const struct source *s, const char *text, char **out)
{
    struct url u;
    size_t len = strlen(text);
    struct err why = {0};

    while (len > 0 && text[len - 1] == '/')
        len--;
    *out = mem_strn(text, len);
    if (url_parse(*out, &u, &why) == 0 && u.scheme == URL_HTTPS &&
        strcspn(*out + strlen("https://"), "/?") ==
            strlen(*out + strlen("https://")))
        return 0;
    return err_set(s->e, ERR_INPUT,
                   "%s: server \"%.100s\" must be like https://host:6443",
                   s->file, text);
}

static int take_cluster(const struct source *s, const struct json *in,
                        struct kube_conf *out)
{
    const char *server;
    bool is_unverified = false;

    json_get_bool(in, "insecure-skip-tls-verify", &is_unverified);
    if (is_unverified)
        return err_set(s->e, ERR_INPUT,
                       "%s: insecure-skip-tls-verify is not taken: give "
                       "certificate-authority",
                       s->file);
    for (const char *const *name =
             (const char *const[]){"tls-server-name", "proxy-url", NULL};
         *name; name++)
        if (json_get(in, *name))
            return err_set(s->e, ERR_INPUT, "%s: %s is not taken", s->file,
                           *name);
    if (text_of(s, in, "server", &server) < 0)
        return -1;
    if (!server)
        return err_set(s->e, ERR_INPUT, "%s: the cluster has no server",
                       s->file);
    if (server_of(s, server, &out->server) < 0)
        return -1;
    return pem_of(s, in, "certificate-authority", &out->ca);
}

static int take_user(const struct source *s, const struct json *in,
                     struct kube_conf *out)
{
    static const char *const others[] = {"exec", "auth-provider", "username",
                                         "as", NULL};
    const char *token, *file;

    for (const char *const *name = others; *name; name++)
        if (json_get(in, *name))
            return err_set(s->e, ERR_INPUT,
                           "%s: the user's %s is not taken: give a token, a "
                           "tokenFile or a client certificate",
                           s->file, *name);
    if (text_of(s, in, "token", &token) < 0 ||
        text_of(s, in, "tokenFile", &file) < 0 ||
        pem_of(s, in, "client-certificate", &out->cert) < 0 ||
        pem_of(s, in, "client-key", &out->key) < 0)
        return -1;
    if (file)
        out->token_path = beside(s->file, file);
    else if (token)
        out->token = mem_str(token);
    if (!out->cert != !out->key)
        return err_set(s->e, ERR_INPUT,
                       "%s: client-certificate and client-key go together",
                       s->file);
    if (!out->cert && !token && !file)
        return err_set(s->e, ERR_INPUT,
                       "%s: the user has no token, no tokenFile and no client "
                       "certificate",
                       s->file);
    return 0;
}

static int take_context(const struct source *s, const struct json *root,
                        struct kube_conf *out)
{
    const char *current, *cluster, *user, *ns;
    const struct json *context;

    if (text_of(s, root, "current-context", &current) < 0)
        return -1;
    context = current ? named(root, "contexts", current, "context") : NULL;
    if (!context)
        return err_set(s->e, ERR_INPUT, "%s: there is no context \"%.60s\"",
                       s->file, current ? current : "");
    if (text_of(s, context, "cluster", &cluster) < 0 ||
        text_of(s, context, "user", &user) < 0 ||
        text_of(s, context, "namespace", &ns) < 0)
        return -1;
    if (!cluster || !named(root, "clusters", cluster, "cluster"))
        return err_set(s->e, ERR_INPUT, "%s: there is no cluster \"%.60s\"",
                       s->file, cluster ? cluster : "");
    if (!user || !named(root, "users", user, "user"))
        return err_set(s->e, ERR_INPUT, "%s: there is no user \"%.60s\"",
                       s->file, user ? user : "");
    if (ns)
        out->ns = mem_str(ns);
    if (take_cluster(s, named(root, "clusters", cluster, "cluster"), out) < 0)
        return -1;
    return take_user(s, named(root, "users", user, "user"), out);
}

int kube_conf_file(const char *path, struct kube_conf *out, struct err *e)
{
    const struct source s = {path, e};
    struct kube_conf c = {0};
    own_json struct json *root = NULL;
    struct buf b;

    buf_init_secret(&b, KUBE_CONF_FILE_MAX);
    if (file_read(path, &b, e) == 0) {
        root = yaml_parse(b.data, b.len, e);
        if (!root)
            err_wrap(e, "%s", path);
    }
    buf_fini_secret(&b);
    if (!root || take_context(&s, root, &c) < 0) {
        kube_conf_fini(&c);
        return -1;
    }
    *out = c;
    return 0;
}

/* --- a pod --- */

int kube_conf_pod(const char *dir, struct kube_conf *out, struct err *e)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    own_mem char *ca = mem_printf("%s/ca.crt", dir);
    own_mem char *ns = mem_printf("%s/namespace", dir);
    own_mem char *server = NULL;
    struct kube_conf c = {0};
    const struct source s = {"KUBERNETES_SERVICE_HOST", e};

    if (!host || !port)
        return err_set(e, ERR_ABSENT,
                       "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT "
                       "are not set: this is no pod");
    server = mem_printf(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s",
                        host, port);
    c.token_path = mem_printf("%s/token", dir);
    c.ca = file_text(ca, e);
    c.ns = c.ca ? file_text(ns, e) : NULL;
    if (!c.ns || server_of(&s, server, &c.server) < 0) {
        kube_conf_fini(&c);
        return -1;
    }
    *out = c;
    return 0;
}

/* --- both --- */

static void wipe_text(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void kube_conf_fini(struct kube_conf *c)
{
    free(c->server);
    free(c->ca);
    free(c->token_path);
    free(c->cert);
    free(c->ns);
    wipe_text(c->token);
    wipe_text(c->key);
    *c = (struct kube_conf){0};
}

int kube_conf_token(const struct kube_conf *c, struct buf *out, struct err *e)
{
    const char *of = c->token ? "token" : c->token_path;

    if (!of)
        return 0;
    if (c->token && buf_append_str(out, c->token) < 0)
        return err_set(e, ERR_INPUT, "the token is too long");
    if (!c->token && file_read(c->token_path, out, e) < 0)
        return -1;
    while (out->len > 0 &&
           (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    for (size_t i = 0; i < out->len; i++)
        if (out->data[i] <= ' ' || out->data[i] > '~')
            return err_set(e, ERR_INPUT, "%s: not of visible ASCII alone", of);
    return out->len ? 0 : err_set(e, ERR_INPUT, "%s is empty", of);
}
