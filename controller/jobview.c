#include "controller/jobview.h"

#include "controller/jobspec.h"
#include "controller/podview.h"

#include <stdio.h>
#include <string.h>

static const struct json *condition(const struct json *job, const char *type)
{
    const struct json *c = json_find(
        json_get(json_get(job, "status"), "conditions"), "type", type);

    return json_get_is(c, "status", "True") ? c : NULL;
}

/* FailureTarget comes first, while its pods are still being ended. */
static void take_failure(struct jobview *v, const struct json *job)
{
    const struct json *failed = condition(job, "Failed");
    const struct json *c = failed ? failed : condition(job, "FailureTarget");
    const char *message = json_get_str(c, "message");

    v->is_failed = failed != NULL;
    v->is_late = json_get_is(c, "reason", "DeadlineExceeded");
    snprintf(v->message, sizeof v->message, "%s", message ? message : "");
}

int jobview_of(const struct json *job, struct jobview *out, struct err *e)
{
    const struct json *meta = json_get(job, "metadata");
    const struct json *notes = json_get(meta, "annotations");
    const char *name = json_get_str(meta, "name");
    struct jobview v = {0};

    if (!podview_whose(meta, v.sid, v.pool, v.uid) || !name || !*name ||
        strlen(name) >= sizeof v.name)
        return err_set(e, ERR_INPUT, "no Job of a session");
    snprintf(v.name, sizeof v.name, "%s", name);
    v.is_new = !json_get(json_get(job, "status"), "startTime");
    v.is_leaving = json_get(meta, "deletionTimestamp") != NULL;
    take_failure(&v, job);
    v.is_finished = v.is_failed || condition(job, "Complete");
    v.is_ending = v.is_finished || condition(job, "SuccessCriteriaMet") ||
                  condition(job, "FailureTarget");
    v.record = json_get_str(notes, JOBSPEC_ANNOTATION);
    v.trust = json_get_str(notes, JOBSPEC_TRUST);
    *out = v;
    return 0;
}
