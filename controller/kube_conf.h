/*
 * Where the Kubernetes API is and who we are there: from a pod's own files,
 * or from a kubeconfig (its current context; a token, a token file or a client
 * certificate). What we do not do is refused by its name: plug-ins (exec,
 * auth-provider), passwords, unverified TLS.
 * Source: kubernetes.io, "Accessing the Kubernetes API from a Pod";
 * client-go, tools/clientcmd/api/v1.
 */
#ifndef PODTERM_CONTROLLER_KUBE_CONF_H
#define PODTERM_CONTROLLER_KUBE_CONF_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

#define KUBE_CONF_FILE_MAX (1024 * 1024) /* bytes of any file read here */
#define KUBE_TOKEN_MAX 16384             /* bytes of a bearer token */
#define KUBE_POD_FILES "/var/run/secrets/kubernetes.io/serviceaccount"

struct kube_conf {    /* strings owned; NULL = not told */
    char *server;     /* https://host:port, nothing behind it */
    char *ca;         /* PEM; NULL = the system's roots */
    char *token_path; /* read anew: such tokens are exchanged while we run */
    char *token;
    char *cert, *key; /* PEM */
    char *ns;         /* namespace of the context, or the pod's */
};

/*
 * Read a kubeconfig, or with path NULL what a pod is given: two variables of
 * its environment and the files below dir (KUBE_POD_FILES).
 *
 * returns  0 with *out filled (kube_conf_fini), or -1: ERR_ABSENT there is no
 *          such file, or we are in no pod; ERR_INPUT names file and member;
 *          ERR_SYSTEM
 * thread   any; blocks on files
 */
int kube_conf_file(const char *path, struct kube_conf *out, struct err *e);
int kube_conf_pod(const char *dir, struct kube_conf *out, struct err *e);
void kube_conf_fini(struct kube_conf *c); /* wipes what is secret */

/* The bearer token as it is now, without line ends, appended to out (max
 * KUBE_TOKEN_MAX, secret); nothing where none is used. 0 or -1. */
int kube_conf_token(const struct kube_conf *c, struct buf *out, struct err *e);

#endif
