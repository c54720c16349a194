#include "controller/podview.h"

#include "base/vocab.h"

#include <stdio.h>
#include <string.h>

/* --- parts --- */

static bool is_condition(const struct json *status, const char *type,
                         const char *value)
{
    return json_get_is(json_find(json_get(status, "conditions"), "type", type),
                       "status", value);
}

static void copy(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

/* --- why it waits --- */

/* Reasons that no waiting mends: what the Job asks for is wrong. */
static bool is_final_reason(const char *reason)
{
    static const char *const list[] = {"InvalidImageName", "ErrImageNeverPull"};

    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(reason, list[i]) == 0)
            return true;
    return false;
}

/* The two every container goes through on its way. */
static bool is_usual_reason(const char *reason)
{
    return strcmp(reason, "ContainerCreating") == 0 ||
           strcmp(reason, "PodInitializing") == 0;
}

static void take_waiting(struct podview *v, const struct json *container)
{
    const struct json *waiting =
        json_get(json_get(container, "state"), "waiting");
    const char *reason = json_get_str(waiting, "reason");

    if (!reason || is_usual_reason(reason) || v->waits_for[0])
        return;
    copy(v->waits_for, sizeof v->waits_for, reason);
    copy(v->waits_why, sizeof v->waits_why, json_get_str(waiting, "message"));
    v->is_stuck = is_final_reason(reason);
}

static void take_scheduling(struct podview *v, const struct json *status)
{
    const struct json *c =
        json_find(json_get(status, "conditions"), "type", "PodScheduled");
    const char *reason = json_get_str(c, "reason");

    v->is_scheduled = is_condition(status, "PodScheduled", "True");
    if (v->is_scheduled || !reason)
        return;
    copy(v->waits_for, sizeof v->waits_for, reason);
    copy(v->waits_why, sizeof v->waits_why, json_get_str(c, "message"));
}

/* --- containers --- */

static const struct json *terminated(const struct json *container)
{
    const struct json *now =
        json_get(json_get(container, "state"), "terminated");

    return now ? now : json_get(json_get(container, "lastState"), "terminated");
}

static void take_report(struct podview *v, const struct json *agent)
{
    const char *text = json_get_str(terminated(agent), "message");
    struct err ignored = {0};

    v->has_report =
        text && report_parse(text, strlen(text), &v->report, &ignored) == 0;
}

/* Between its restarts a kubelet shows a sidecar that no main container has
 * followed as ended, and says nothing of a loop. */
static void take_crashes(struct podview *v, const struct json *agent)
{
    const struct json *end = terminated(agent);
    const char *reason = json_get_str(end, "reason");
    int64_t code = 0;

    if (!end || v->waits_for[0] || v->is_listening || v->agent_restarts == 0)
        return;
    json_get_int(end, "exitCode", &code);
    copy(v->waits_for, sizeof v->waits_for, "CrashLoopBackOff");
    snprintf(v->waits_why, sizeof v->waits_why,
             "the agent ended with code %d, %s", (int)code,
             reason ? reason : "no reason");
}

static void take_agent(struct podview *v, const struct json *agent)
{
    int64_t restarts = 0;
    bool started = false, ready = false;

    json_get_bool(agent, "started", &started);
    json_get_bool(agent, "ready", &ready);
    json_get_int(agent, "restartCount", &restarts);
    v->agent_restarts = restarts > 0 && restarts < 1000000 ? (int)restarts : 0;
    v->is_listening = started && v->ip[0];
    v->is_running = ready && v->is_listening;
    take_waiting(v, agent);
    take_crashes(v, agent);
    take_report(v, agent);
}

static void take_runner(struct podview *v, const struct json *runner)
{
    const struct json *state = json_get(runner, "state");
    const struct json *end = json_get(state, "terminated");
    int64_t code = 0, signum = 0;

    v->is_pulled = json_get(state, "running") || end;
    take_waiting(v, runner);
    if (!end)
        return;
    json_get_int(end, "exitCode", &code);
    json_get_int(end, "signal", &signum);
    v->runner = (struct runner_exit){true, signum > 0 || code > 128,
                                     (int)(signum > 0   ? signum
                                           : code > 128 ? code - 128
                                                        : code)};
    /* a child that was killed for memory marks a runner that left with 0 */
    v->is_out_of_memory = code != 0 && json_get_is(end, "reason", "OOMKilled");
}

/* --- the whole --- */

#define GRACE_MAX_S 3600

static void take_leave(struct podview *v, const struct json *meta)
{
    int64_t s = 0;

    v->is_leaving = json_get(meta, "deletionTimestamp") != NULL;
    json_get_int(meta, "deletionGracePeriodSeconds", &s);
    v->grace_ms = (s < 0 ? 0 : s > GRACE_MAX_S ? GRACE_MAX_S : s) * 1000;
}

static void take_phase(struct podview *v, const struct json *status)
{
    const char *says;

    v->is_over = json_get_is(status, "phase", "Succeeded") ||
                 json_get_is(status, "phase", "Failed");
    v->is_evicted = json_get_is(status, "reason", "Evicted") ||
                    is_condition(status, "DisruptionTarget", "True");
    says = json_get_str(status, "message");
    if (!says)
        says = json_get_str(json_find(json_get(status, "conditions"), "type",
                                      "DisruptionTarget"),
                            "message");
    copy(v->platform_says, sizeof v->platform_says, says);
}

bool podview_whose(const struct json *meta, char sid[ID_SIZE], char pool[64],
                   char uid[64])
{
    const struct json *labels = json_get(meta, "labels");
    const char *session = json_get_str(labels, PODVIEW_LABEL);
    const char *of_pool = json_get_str(labels, PODVIEW_POOL);
    const char *id = json_get_str(meta, "uid");

    if ((session ? !id_is_valid(session) : !of_pool) || !id || !*id ||
        strlen(id) >= 64)
        return false;
    copy(sid, ID_SIZE, session);
    copy(pool, 64, of_pool);
    copy(uid, 64, id);
    return true;
}

static void take_owner(struct podview *v, const struct json *meta)
{
    const struct json *owner =
        json_find(json_get(meta, "ownerReferences"), "kind", "Job");
    bool is_controller = false;

    json_get_bool(owner, "controller", &is_controller);
    if (!is_controller)
        return;
    copy(v->job, sizeof v->job, json_get_str(owner, "name"));
    copy(v->job_uid, sizeof v->job_uid, json_get_str(owner, "uid"));
}

int podview_of(const struct json *pod, struct podview *out, struct err *e)
{
    const struct json *meta = json_get(pod, "metadata");
    const struct json *status = json_get(pod, "status");
    struct podview v = {0};

    if (!podview_whose(meta, v.sid, v.pool, v.uid))
        return err_set(e, ERR_INPUT, "no pod of a session");
    copy(v.name, sizeof v.name, json_get_str(meta, "name"));
    take_owner(&v, meta);
    copy(v.ip, sizeof v.ip, json_get_str(status, "podIP"));
    take_leave(&v, meta);
    take_phase(&v, status);
    take_scheduling(&v, status);
    take_agent(&v, json_find(json_get(status, "initContainerStatuses"), "name",
                             PODVIEW_AGENT));
    take_runner(&v, json_find(json_get(status, "containerStatuses"), "name",
                              PODVIEW_RUNNER));
    *out = v;
    return 0;
}

void podview_end(const struct podview *v, enum end_reason wanted,
                 const char *wanted_detail, int64_t now_ms,
                 struct launch_end *out)
{
    report_judge(v->has_report ? &v->report : NULL, &v->runner, wanted,
                 wanted_detail, now_ms, out);
    if (out->reason != REASON_RUNNER_LOST)
        return; /* it ended by itself, or as we wanted */
    if (v->is_evicted)
        report_end_with(out, REASON_EVICTED,
                        v->platform_says[0] ? v->platform_says
                                            : "The platform needed the room.");
    else if (v->is_out_of_memory)
        report_end_with(out, REASON_OUT_OF_MEMORY,
                        "The program used more memory than it may.");
}
