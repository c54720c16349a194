/*
 * A small Kubernetes: Jobs, Pods and Secrets in memory behind https, with
 * list and watch, any number of connections at once. Nothing happens in it by
 * itself: the test is scheduler, kubelet and garbage collector, and says which
 * calls go wrong. From any thread.
 */
#ifndef PODTERM_TESTS_LIB_KUBEWORLD_H
#define PODTERM_TESTS_LIB_KUBEWORLD_H

#include <stdbool.h>
#include <stddef.h>

#define KUBEWORLD_NS "sessions"
#define KUBEWORLD_INSTALLATION "here"
#define KUBEWORLD_AGENT "example/agent:1" /* images of KEDA's pods */
#define KUBEWORLD_RUNNER "example/runner:1"
#define KUBEWORLD_STRICT "fieldValidation=Strict"

struct kubeworld;

/* dir: srv.pem, srv.key (tests/lib/certs.h). */
struct kubeworld *kubeworld_new(const char *dir);
void kubeworld_free(struct kubeworld *w); /* takes NULL */
int kubeworld_port(const struct kubeworld *w);

/* --- what goes wrong --- */

enum kubeworld_fault {
    KUBEWORLD_REFUSE,   /* status, and nothing is done */
    KUBEWORLD_LOSE,     /* done, and the connection breaks */
    KUBEWORLD_HANG_UP,  /* not done, and the connection breaks */
    KUBEWORLD_NONSENSE, /* done, and answered with what is no JSON */
    KUBEWORLD_HOLD,     /* done when it is let go */
};

/* The next times calls (-1 = all) of that method whose path has this in it.
 * Later ones are looked at first. status, text: of a refusal; text is the
 * sentence, and must live on. */
void kubeworld_fault(struct kubeworld *w, const char *method, const char *path,
                     enum kubeworld_fault what, int status, const char *text,
                     int times);
/* No more faults; what is held goes on. */
void kubeworld_heal(struct kubeworld *w);
/* Watches end now; with it the next are told that they come too late (410). */
void kubeworld_cut(struct kubeworld *w, bool is_forgotten);
/* What is done from now on no watch is told, but lists show it. */
void kubeworld_hide(struct kubeworld *w, bool is_hidden);

/* --- what is seen --- */

/* Objects of "jobs", "pods", "secrets" whose name begins so. */
int kubeworld_count(struct kubeworld *w, const char *kind, const char *name);
/* The n-th's name, the caller's; NULL = there is none. */
char *kubeworld_name(struct kubeworld *w, const char *kind, const char *name,
                     int n);
/* Its JSON text, the caller's, or NULL. */
char *kubeworld_text(struct kubeworld *w, const char *kind, const char *name);
/* Calls so far of that method, whose path and body have that in them. */
int kubeworld_asked(struct kubeworld *w, const char *method, const char *path,
                    const char *body);
/* Those with no method: watches under way. */
int kubeworld_watches(struct kubeworld *w);

/* --- what happens --- */

/* A Job's pod is made, named POD; waits to be scheduled. */
void kubeworld_pod(struct kubeworld *w, const char *job, const char *pod);
/* KEDA's: a Job and its pod, both of a pool, as the shipped ScaledJob has
 * them, and (altered) with a text of that replaced by another. */
void kubeworld_foreign(struct kubeworld *w, const char *job, const char *pod);
void kubeworld_altered(struct kubeworld *w, const char *job, const char *pod,
                       const char *what, const char *by);
/* Its status is this JSON from now on. */
void kubeworld_pod_is(struct kubeworld *w, const char *pod, const char *status);
void kubeworld_job_is(struct kubeworld *w, const char *job, const char *status);
/* A pod has this label too. */
void kubeworld_label(struct kubeworld *w, const char *pod, const char *name,
                     const char *value);
/* It says that this Job owns it: by its name, or by its uid too. */
void kubeworld_own(struct kubeworld *w, const char *pod, const char *job,
                   bool with_uid);
/* A Job, or a pod, is annotated so many times. */
void kubeworld_fatten(struct kubeworld *w, const char *kind, const char *name,
                      int notes);
/* The same once more. */
void kubeworld_repeat(struct kubeworld *w, const char *kind, const char *name);
/* It is to go, within a second: deletionTimestamp and its grace. */
void kubeworld_leaves(struct kubeworld *w, const char *kind, const char *name);
void kubeworld_gone(struct kubeworld *w, const char *kind, const char *name);

/* Statuses. AGENT: its container runs, the runner's image is waited for. */
#define KW_COND(type, value) "{\"type\":\"" type "\",\"status\":\"" value "\"}"
#define KW_HEAD_AND(conditions)                                                \
    "\"podIP\":\"127.0.0.1\",\"conditions\":[" KW_COND("PodScheduled", "True") \
        conditions "]"
#define KW_HEAD KW_HEAD_AND("")
#define KW_AGENT(started, ready)                                               \
    "\"initContainerStatuses\":[{\"name\":\"agent\",\"started\":" started      \
    ",\"ready\":" ready ",\"state\":{\"running\":{}}}]"
#define KW_RUNNER(state)                                                       \
    "\"containerStatuses\":[{\"name\":\"runner\",\"state\":{" state "}}]"
#define KW_SCHEDULED "{\"phase\":\"Pending\"," KW_HEAD "}"
#define KW_WAITS(why)                                                          \
    "{\"phase\":\"Pending\"," KW_HEAD                                          \
    "," KW_AGENT("true", "false") "," KW_RUNNER(                               \
        "\"waiting\":{\"reason\":\"" why "\",\"message\":\"m\"}") "}"
#define KW_AGENT_UP                                                            \
    "{\"phase\":\"Pending\"," KW_HEAD "," KW_AGENT("true", "false") "}"
#define KW_LISTENS                                                             \
    "{\"phase\":\"Running\"," KW_HEAD                                          \
    "," KW_AGENT("true", "false") "," KW_RUNNER("\"running\":{}") "}"
#define KW_RUNS_AND(conditions)                                                \
    "{\"phase\":\"Running\"," KW_HEAD_AND(conditions) "," KW_AGENT(            \
        "true", "true") "," KW_RUNNER("\"running\":{}") "}"
#define KW_RUNS KW_RUNS_AND("")
#define KW_RUNS_DISRUPTED /* its node's taint has it deleted */                \
    KW_RUNS_AND("," KW_COND("DisruptionTarget", "True"))
#define KW_REPORT                                                              \
    "{\\\"v\\\":1,\\\"reason\\\":\\\"exited\\\",\\\"exit_code\\\":7,"          \
    "\\\"detail\\\":\\\"\\\",\\\"started_ms\\\":1000,"                         \
    "\\\"ended_ms\\\":2000,\\\"output_bytes\\\":5,\\\"input_bytes\\\":3}"
#define KW_OVER                                                                \
    "{\"phase\":\"Succeeded\"," KW_HEAD ",\"initContainerStatuses\":[{"        \
    "\"name\":\"agent\",\"state\":{\"terminated\":{\"exitCode\":0,"            \
    "\"message\":\"" KW_REPORT                                                 \
    "\"}}}]," KW_RUNNER("\"terminated\":{\"exitCode\":0}") "}"
#define KW_KILLED /* for memory, without a word */                             \
    "{\"phase\":\"Failed\"," KW_HEAD "," KW_RUNNER(                            \
        "\"terminated\":{\"exitCode\":137,\"reason\":\"OOMKilled\"}") "}"
/* A while before that; its pod is over. */
#define KW_JOB_ENDS                                                            \
    "{\"conditions\":[" KW_COND("SuccessCriteriaMet", "True") "]}"
#define KW_JOB_DONE "{\"conditions\":[" KW_COND("Complete", "True") "]}"
#define KW_JOB_FAILED                                                          \
    "{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"reason\":"    \
    "\"BackoffLimitExceeded\",\"message\":\"too many pods failed\"}]}"
#define KW_JOB_LATE                                                            \
    "{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"reason\":"    \
    "\"DeadlineExceeded\",\"message\":\"late\"}]}"

#endif
