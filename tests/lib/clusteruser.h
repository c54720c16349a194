/*
 * The controller's own user on a test's cluster: the service account, Roles
 * and bindings that are shipped (infra/k8s/base/rbac.yaml), in the test's
 * namespace, so that every test on a cluster shows that they suffice.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERUSER_H
#define PODTERM_TESTS_LIB_CLUSTERUSER_H

#include "controller/kube.h"

#define CLUSTERUSER_RBAC "infra/k8s/base/rbac.yaml"

/* Each of the shipped documents. */
void clusteruser_each(void (*take)(void *arg, struct json *doc), void *arg);

/* Make them, with the namespace's other service account; the path of a
 * kubeconfig of that user in dir, the caller's. admin: who makes them. */
char *clusteruser_make(struct kube *k, const struct kube_conf *admin,
                       const char *ns, const char *dir);

#endif
