/*
 * podterm on a real cluster, for tests: controllers and a gateway of this
 * machine, sessions as Jobs in a namespace of the test's own. The cluster is
 * that of KUBECONFIG; PODTERM_AGENT_IMAGE and PODTERM_RUNNER_IMAGE name the
 * images its nodes have, and PODTERM_PUBLIC an address of this machine that
 * pods reach and that is no private one: there the bundles lie. tests/cluster/
 * run sets all of them. Every function fails the test when something does not
 * do in time what it is asked for, unless it says otherwise.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERBED_H
#define PODTERM_TESTS_LIB_CLUSTERBED_H

#include "controller/kube.h"
#include "tests/lib/stack.h"

#define CLUSTERBED_TEMPLATE "infra/k8s/session-job.yaml" /* as shipped */
#define CLUSTERBED_ISSUER "https://identity.test"
#define CLUSTERBED_AUDIENCE "podterm-test"
#define CLUSTERBED_CONTROLLERS 2
#define CLUSTERBED_START_MS 60000 /* from POST, or a start, to what then runs */
#define CLUSTERBED_GONE_MS 60000  /* for what is removed to be gone */

struct clusterbed_process {
    pid_t pid; /* 0 = it does not run */
    int port;
    char *log;
};

struct clusterbed {
    struct stack stack; /* of controller 0, for stack_create and the like */
    struct clusterbed_process controllers[CLUSTERBED_CONTROLLERS];
    struct clusterbed_process gateway, web;
    struct kube *kube; /* as who KUBECONFIG is */
    char *template;    /* of sessions' Jobs, where a flag names no other */
    char *user;        /* kubeconfig of the controllers: the shipped rights */
    struct token_signer *signer; /* of identities */
    char ns[64];
    bool is_ns_ours;         /* made, and to be removed */
    char here[4096];         /* the project's root */
    const char *const *more; /* flags of every controller; borrowed */
    const char *store;       /* borrowed; NULL = SQLite, on one machine */
};

/* Controller 0, gateway and bundles. store: redis://…, or NULL; more:
 * NULL-terminated, or NULL. Both outlive the bed. */
struct clusterbed *clusterbed_new(const char *store, const char *const *more);
/* All but podterm itself, which the caller starts: clients are of stack.port
 * and stack.attach_port, sessions are Jobs of ns. */
struct clusterbed *clusterbed_around(const char *ns);
/* Removes the namespace (not one that was there); nothing of the sessions may
 * be left before that but what its TTL keeps. NULL: what one that failed while
 * it was made has left. */
void clusterbed_free(struct clusterbed *b);

/* Start a program whose output goes to a file of the bed; end it. Wait until
 * a server of this machine answers a GET with 200. */
void clusterbed_spawn(struct clusterbed *b, struct clusterbed_process *p,
                      const char *name, const char *path, char *const *argv);
void clusterbed_stop(struct clusterbed_process *p, int signum);
void clusterbed_serves(int port, const char *path, const char *head,
                       const char *who);

/* Start controller i on the same state and wait until it serves; kill it. */
void clusterbed_start(struct clusterbed *b, int i);
/* The same of one that may not come to serve: nobody waits for it. */
void clusterbed_launch(struct clusterbed *b, int i);
void clusterbed_kill(struct clusterbed *b, int i, int signum);

/* The real `podterm`, as who, on this bed's controller; args: the command and
 * what follows it, NULL-terminated. Its output goes to p->log; the caller
 * waits for it, and frees that. */
void clusterbed_client(struct clusterbed *b, struct clusterbed_process *p,
                       const char *who, const char *const *args);

/* Wait until its log holds this text. */
void clusterbed_said(const struct clusterbed_process *p, const char *text,
                     int ms);

/* A bundle whose bin/prog is this script, where pods can get it. */
void clusterbed_pack(struct clusterbed *b, const char *name, const char *script,
                     struct stack_bundle *out);
/* The same of one file that is the program. */
void clusterbed_pack_file(struct clusterbed *b, const char *name,
                          const char *path, struct stack_bundle *out);
/* An archive that is there. */
void clusterbed_take(struct clusterbed *b, const char *name, const char *path,
                     struct stack_bundle *out);
/* An identity token that lives a while; the caller's. */
char *clusterbed_identity(const struct stack *s, const char *who);

/* A call to the API; -1 never. path as printf. */
int clusterbed_call(struct clusterbed *b, const char *method, const char *body,
                    struct json **out, const char *path, ...)
    __attribute__((format(printf, 5, 6)));
/* How many jobs, pods or secrets of sessions there are (sid NULL: of all). */
int clusterbed_count(struct clusterbed *b, const char *what, const char *sid);
void clusterbed_wait_none(struct clusterbed *b, const char *what,
                          const char *sid);
/* None of the three. */
void clusterbed_wait_nothing(struct clusterbed *b, const char *sid);
/* Until the API knows no job, pod or secret of that name. */
void clusterbed_wait_gone(struct clusterbed *b, const char *what,
                          const char *name);
/* The session's pod, the caller's; NULL = there is none. */
struct json *clusterbed_pod(struct clusterbed *b, const char *sid);

/* Warm pods that belong to nobody (clusterpool.c): ready ones alone, or all
 * that are not leaving. */
int clusterbed_warm(struct clusterbed *b, bool only_ready);
/* Until so many are ready, neither more nor fewer. */
void clusterbed_wait_warm(struct clusterbed *b, int want);

/* Attach as the owner, again and again until READY. */
void clusterbed_attach(struct clusterbed *b, struct stack_link *l,
                       const struct stack_session *ss, int64_t from);
/* Pump until the program has said this (all is kept in said), or the end of
 * the session when text is NULL. */
void clusterbed_expect(struct clusterbed *b, struct stack_link *l,
                       struct buf *said, const char *text);

/* A process of the session in its pod on this node: one whose command line
 * holds name and flag (NULL = any). 0 = there is none. Only on a cluster of
 * the tests' own. */
pid_t clusterbed_process(struct clusterbed *b, const char *sid,
                         const char *name, const char *flag);
/* The same of any pod, by its uid; NULL: 0. */
pid_t clusterbed_process_of(const char *uid, const char *name,
                            const char *flag);

#endif
