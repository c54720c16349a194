/*
 * What a session's pod says of the session: an object of the Kubernetes API
 * (core/v1 Pod), taken apart into what the launcher acts on. Pure.
 * Source: kubernetes.io, "Pod Lifecycle", "Sidecar Containers"; PROTOCOL.md 7
 * (the report is the agent's termination message).
 */
#ifndef PODTERM_CONTROLLER_PODVIEW_H
#define PODTERM_CONTROLLER_PODVIEW_H

#include "base/json.h"
#include "controller/report.h"

#include <stdbool.h>

#define PODVIEW_LABEL "podterm.dev/session" /* holds the session's id */
#define PODVIEW_POOL "podterm.dev/pool"     /* a warm one's: which pool */
#define PODVIEW_AGENT "agent"               /* the sidecar's name */
#define PODVIEW_RUNNER "runner"             /* the container's */

struct podview {
    char sid[ID_SIZE]; /* "" = a warm one's, of nobody yet as far as it says */
    char pool[64];     /* "" = of none */
    /* Whose pod it is: its owner, for labels are anybody's who may write
     * them; "" = no Job's. */
    char job[64], job_uid[64];
    char name[128], uid[64]; /* of the pod */
    char ip[64];             /* "" = none yet */
    bool is_scheduled;
    bool is_pulled;    /* the runner's image is there: it runs or ran */
    bool is_listening; /* the agent has started, at ip */
    bool is_running;   /* the program has: the agent is ready */
    bool is_leaving;   /* it is being deleted */
    int64_t grace_ms;  /* and has so long to end; at most an hour */
    bool is_over;      /* no container of it runs any more */
    /* why it does not go on; "" = it does */
    char waits_for[64]; /* a word of the platform's: "ImagePullBackOff" */
    char waits_why[256];
    bool is_stuck; /* and never will: no time mends what is asked for */
    int agent_restarts;
    /* why no session is to have it (kube_pool_look); "" = nothing */
    char unfit[ERR_TEXT_MAX];
    /* the end */
    bool is_evicted, is_out_of_memory;
    char platform_says[256]; /* of an eviction; "" = nothing */
    struct runner_exit runner;
    bool has_report;
    struct launch_end report;
};

/* Of a pod's or a Job's metadata: whose it is, or which pool's, and its uid
 * ("" = not said). false: it is neither's. */
bool podview_whose(const struct json *meta, char sid[ID_SIZE], char pool[64],
                   char uid[64]);
/* 0 with *out, or -1 ERR_INPUT: it is no pod of a session or a pool. */
int podview_of(const struct json *pod, struct podview *out, struct err *e);

/* The end as it is recorded; wanted as for report_judge. */
void podview_end(const struct podview *v, enum end_reason wanted,
                 const char *wanted_detail, int64_t now_ms,
                 struct launch_end *out);

#endif
