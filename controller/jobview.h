/*
 * What a session's Job says of it: an object of the Kubernetes API (batch/v1
 * Job), taken apart into what the launcher acts on. Pure.
 * Source: kubernetes.io, "Jobs", "Job termination and cleanup".
 */
#ifndef PODTERM_CONTROLLER_JOBVIEW_H
#define PODTERM_CONTROLLER_JOBVIEW_H

#include "base/err.h"
#include "base/json.h"
#include "base/vocab.h"

#include <stdbool.h>

struct jobview {
    char sid[ID_SIZE]; /* "" = a warm one */
    char pool[64];     /* "" = of none */
    char name[64], uid[64];
    bool is_new;                 /* nobody has begun with it */
    bool is_leaving;             /* it is being deleted */
    bool is_ending;              /* decided: its pods are over, or ended */
    bool is_finished, is_failed; /* no pod of it runs, or will */
    bool is_late;      /* activeDeadlineSeconds are over: pods are ended */
    char message[256]; /* why it failed; "" = nothing */
    const char *record, *trust; /* annotations, borrowed; NULL = none */
};

/* 0 with *out, or -1 ERR_INPUT: it is no Job of a session or a pool. */
int jobview_of(const struct json *job, struct jobview *out, struct err *e);

#endif
