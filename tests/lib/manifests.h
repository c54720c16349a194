/* What infra/k8s renders to, and kubectl for the cluster of KUBECONFIG. */
#ifndef PODTERM_TESTS_LIB_MANIFESTS_H
#define PODTERM_TESTS_LIB_MANIFESTS_H

#include "tests/lib/child.h"

/* Run kubectl (the cluster's own where there is one) with these words, the
 * last NULL. What it said is in c until child_fini. */
void manifests_kubectl(struct child *c, const char *const *words);
/* The same, and expect that it works; its output, the caller's. */
char *manifests_ask(const char *const *words);
#define MANIFESTS_ASK(...)                                                     \
    manifests_ask((const char *const[]){__VA_ARGS__, NULL})

/* The namespaces of an installation are there once in a cluster of the tests'
 * own: whose they are, until the descriptor is closed. */
int manifests_lock(void);

/* infra/k8s/overlays/NAME as kustomize renders it, the caller's. */
char *manifests_render(const char *overlay);
/* Cut the next document (YAML) off; NULL behind the last. */
char *manifests_next(char **text);
/* Is it of that kind? */
bool manifests_is(const char *document, const char *kind);
/* The template of sessions' Jobs out of what an overlay renders, the
 * caller's. */
char *manifests_template(const char *rendered);

#endif
