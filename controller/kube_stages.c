/*
 * What a session's pod shows is told as stages, each once; and that it shows
 * nothing, or that it will never start.
 */
#include "controller/kube_run.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdio.h>
#include <string.h>

static bool is_no_image(const char *waits_for)
{
    return strcmp(waits_for, "ErrImagePull") == 0 ||
           strcmp(waits_for, "ImagePullBackOff") == 0;
}

/* For what may mend itself, a registry that is away or a runtime that was too
 * slow, how long that is waited for; 0 = it is none of these. */
static int64_t patience_ms(const char *waits_for)
{
    if (is_no_image(waits_for))
        return (int64_t)LAUNCHER_KUBE_PULL_S * 1000;
    if (strcmp(waits_for, "CreateContainerError") == 0 ||
        strcmp(waits_for, "RunContainerError") == 0)
        return (int64_t)LAUNCHER_KUBE_MAKE_S * 1000;
    return 0;
}

static void tell_wait(struct kube_run *r)
{
    const struct podview *v = &r->pod;
    struct launch_sink *sink = &r->l->base.sink;
    char detail[160];

    if (!v->waits_for[0] || r->told_listening ||
        strcmp(v->waits_for, r->told_wait) == 0 ||
        (is_no_image(v->waits_for) && is_no_image(r->told_wait)))
        return; /* a kubelet says the two in turn */
    snprintf(r->told_wait, sizeof r->told_wait, "%s", v->waits_for);
    snprintf(detail, sizeof detail, "%s%s%.90s", v->waits_for,
             v->waits_why[0] ? ": " : "", v->waits_why);
    sink->stage(sink->arg, r->sid, v->is_scheduled ? "pulled" : "scheduled",
                "waiting", detail);
}

static void await_pod(struct kube_run *r);

static void look_again(void *arg)
{
    kube_run_advance(arg);
}

/* Since when that is so; the pod may show nothing new when it is over. */
static bool has_failed_for(struct kube_run *r, int64_t ms)
{
    if (!r->fails_ms) {
        r->fails_ms = loop_now_ms();
        loop_timer_stop(r->look);
        r->look = loop_timer_start(r->l->loop, ms + 1, 0, look_again, r);
    }
    return loop_now_ms() - r->fails_ms > ms;
}

/* An agent that always dies is waited for as well. */
static bool is_hopeless(struct kube_run *r)
{
    const struct podview *v = &r->pod;
    const int64_t wait_ms = patience_ms(v->waits_for);

    if (v->is_pulled || r->told_listening)
        return false; /* the runner runs: its agent has listened */
    if (v->is_stuck || v->has_report || /* what was reported stands */
        (!v->is_listening && v->agent_restarts >= LAUNCHER_KUBE_CRASHES))
        return true;
    if (!v->waits_for[0])
        r->fails_ms = 0;
    return wait_ms && has_failed_for(r, wait_ms);
}

char *kube_run_addr(const struct kube_run *r, const struct podview *v)
{
    bool is_v6 = strchr(v->ip, ':') != NULL;

    return mem_printf("%s%s%s:%d", is_v6 ? "[" : "", v->ip, is_v6 ? "]" : "",
                      r->l->agent_port);
}

static void tell_listening(struct kube_run *r)
{
    struct launch_sink *sink = &r->l->base.sink;
    own_mem char *addr = kube_run_addr(r, &r->pod);

    log_debug("session.listening", "sid", "s", r->sid, NULL);
    r->told_listening = true;
    sink->stage(sink->arg, r->sid, "pulled", "done", "");
    sink->listening(sink->arg, r->sid, addr, r->pod.uid, r->l->base.isolation);
}

/*
 * Neither a Job nor anything else we may read says why it has no pod: it is
 * the cluster's quota most often. That alone is no end, as there may be room
 * in a while; the Job's deadline is, and then it is told with it.
 */
static void no_pod(void *arg)
{
    struct kube_run *r = arg;

    loop_timer_stop(r->look);
    r->look = NULL;
    if (!r->has_pod && r->l->pods_list > KUBE_FIRST_LIST) {
        snprintf(r->pod.waits_for, sizeof r->pod.waits_for, "NoPod");
        snprintf(r->pod.waits_why, sizeof r->pod.waits_why,
                 "its Job has no pod yet; a quota or an admission rule may "
                 "be in the way");
        log_warn("session.no_pod", "sid", "s", r->sid, "job", "s", r->job,
                 NULL);
        tell_wait(r);
        return;
    }
    kube_run_advance(r);
}

static void await_pod(struct kube_run *r)
{
    if (r->state == RUN_FOLLOWED && !r->look && !r->pod.waits_for[0])
        r->look = loop_timer_start(r->l->loop, r->l->pod_ms, 0, no_pod, r);
}

void kube_run_advance(struct kube_run *r)
{
    const struct podview *v = &r->pod;
    struct launch_sink *sink = &r->l->base.sink;

    if (r->is_quiet || (r->state != RUN_MAKING && r->state != RUN_FOLLOWED))
        return;
    if (!r->has_pod) {
        await_pod(r);
        return;
    }
    if (v->is_scheduled && !r->told_scheduled) {
        r->told_scheduled = true;
        sink->stage(sink->arg, r->sid, "scheduled", "done", "");
    }
    tell_wait(r);
    /* the program needs both containers; until then what keeps the runner
     * waiting is ours to tell */
    if (v->is_listening && v->is_pulled && !r->told_listening)
        tell_listening(r);
    if (v->is_running && r->told_listening && !r->told_running) {
        r->told_running = true;
        sink->running(sink->arg, r->sid, 0, 0);
    }
    if (!v->is_over && is_hopeless(r))
        kube_run_end(r, REASON_START_FAILED,
                     "The session's pod cannot be started.");
    else if (r->is_to_mark && !r->is_working)
        kube_run_mark(r);
}
