/*
 * How a session ends: the first reason stands, the terminal is read to its
 * end, everybody is told, and the agent leaves when it has been heard or has
 * waited long enough.
 */
#include "agent/attach.h"
#include "agent/bundle.h"
#include "agent/life_internal.h"
#include "agent/report.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>

#define LIFE_DRAIN_MS 20 /* between looks at a terminal after the exit */
#define LIFE_STOP_MS 300 /* for EXIT to be told where nobody is waited for */

static void life_leave(struct life *l);

/* The program has its environment, or will never start. */
void life_env_forget(struct life *l)
{
    state_env_wipe(l->state);
    spec_env_forget(l->spec);
}

void life_report(struct life *l)
{
    struct err e = {0};

    if (report_write(l->conf.report_path, l->head, &e) < 0)
        log_err(&e, "report.write");
}

/* Everything has been said, or there is nobody to say it to. */
static void life_linger_over(void *arg)
{
    life_leave(arg);
}

/* How long the agent still waits for its owner; leaves when it need not. */
void life_linger(struct life *l)
{
    bool has_owner = attach_has_owner(l->attachments);
    int64_t for_s = has_owner ? l->spec->linger_s : l->spec->linger_detached_s;
    int64_t since_ms = l->head->ended_mono_ms, left;

    /* who came back after the end has its time from then */
    if (has_owner && l->owner_came_ms > since_ms)
        since_ms = l->owner_came_ms;
    left = since_ms + for_s * 1000 - loop_now_ms();
    if (l->is_leaving)
        return;
    /* who deleted the session has looked away: nobody will come for it */
    if (l->head->reason == REASON_DELETED && !has_owner && !l->stop_by_ms)
        l->stop_by_ms = loop_now_ms() + LIFE_STOP_MS;
    if (l->stop_by_ms && l->stop_by_ms - loop_now_ms() < left)
        left = attach_count(l->attachments) ? l->stop_by_ms - loop_now_ms() : 0;
    if (attach_owner_is_done(l->attachments)) {
        if (attach_all_told(l->attachments))
            left = 0;
        else if (left > LIFE_STOP_MS)
            left = LIFE_STOP_MS; /* viewers are told, not waited for */
    }
    if (left <= 0) {
        life_leave(l);
        return;
    }
    life_timer(l, &l->wait, left, life_linger_over);
}

/*
 * The session is over: reason and exit are final, all output there will ever
 * be is in the ring. The report is written now, so that a kill while we
 * linger loses nothing.
 */
void life_finish(struct life *l, enum end_reason reason, const char *detail)
{
    struct state_head *h = l->head;

    if (h->phase == PHASE_ENDED)
        return;
    loop_timer_stop(l->kill);
    loop_timer_stop(l->drain);
    l->kill = l->drain = NULL;
    h->reason = reason;
    snprintf(h->detail, sizeof(h->detail), "%s", detail ? detail : "");
    h->ended_ms = loop_wall_ms();
    h->ended_mono_ms = loop_now_ms();
    h->phase = PHASE_ENDED;
    life_env_forget(l);
    life_report(l);
    log_info("session.end", "reason", "s", end_reason_name(reason), "detail",
             "s", h->detail, "kind", "i", (int64_t)h->exit_kind, "value", "i",
             (int64_t)h->exit_value, "output_bytes", "i",
             (int64_t)h->output_end, "input_bytes", "i",
             (int64_t)h->input_received, NULL);
    attach_ended(l->attachments);
    life_linger(l);
}

/* The program is gone and its terminal is dry. */
void life_finish_exit(struct life *l)
{
    struct state_head *h = l->head;

    if (h->end_wanted != REASON_NONE)
        life_finish(l, h->end_wanted, h->detail);
    else if (h->exit_kind == SHIM_END_MEMORY)
        life_finish(l, REASON_OUT_OF_MEMORY,
                    "the program used more memory than it may");
    else
        life_finish(l,
                    h->exit_kind == SHIM_END_SIGNAL ? REASON_SIGNALLED
                                                    : REASON_EXITED,
                    h->detail);
}

/*
 * After the exit the terminal is read to its end of file. Others may hold it
 * open (a child the program left behind): then LIFE_QUIET_MS of silence is
 * the end. A ring that is full and held is not silence: its reader may come;
 * but who ended the session waits for no reader.
 */
static void life_drain(void *arg)
{
    struct life *l = arg;
    int64_t now = loop_now_ms();

    if (!terminal_drain(l->terminal) || l->quiet_at != l->head->output_end) {
        l->quiet_at = l->head->output_end;
        l->quiet_since_ms = now;
    }
    if (terminal_is_at_end(l->terminal) ||
        now - l->quiet_since_ms >= LIFE_QUIET_MS ||
        (l->head->end_wanted != REASON_NONE &&
         now - l->drain_since_ms >= LIFE_KILL_MS))
        life_finish_exit(l);
    else
        life_timer(l, &l->drain, LIFE_DRAIN_MS, life_drain);
}

void life_shim_exited(void *arg, enum shim_end kind, int value)
{
    struct life *l = arg;

    if (l->head->phase == PHASE_ENDED || l->drain)
        return;
    l->head->exit_kind = kind;
    l->head->exit_value = value;
    l->quiet_at = l->head->output_end;
    l->drain_since_ms = l->quiet_since_ms = loop_now_ms();
    if (!terminal_has_master(l->terminal))
        life_finish_exit(l);
    else
        life_drain(l);
}

void life_terminal_ended(void *arg)
{
    struct life *l = arg;

    if (l->head->exit_kind >= 0 && l->head->phase != PHASE_ENDED)
        life_finish_exit(l);
}

void life_shim_signal(struct life *l, int signum)
{
    struct err e = {0};

    if (l->shim_is_there && shimlink_signal(l->shim, signum, &e) < 0)
        log_err(&e, "shim.signal");
}

void life_send_leave(struct life *l)
{
    struct err e = {0};

    if (l->shim_is_there &&
        shimlink_leave(l->shim, l->head->leave_code, &e) < 0)
        log_err(&e, "shim.leave");
}

static void life_kill(void *arg)
{
    life_shim_signal(arg, SIGKILL);
}

/* As a terminal that goes away: SIGHUP, and what ignores it is killed. */
void life_hang_up(struct life *l)
{
    l->drain_since_ms = loop_now_ms();
    life_shim_signal(l, SIGHUP);
    life_timer(l, &l->kill, LIFE_KILL_MS, life_kill);
}

void life_refuse(struct life *l, enum end_reason reason, int code,
                 const char *detail)
{
    if (l->head->phase == PHASE_ENDED)
        return;
    l->head->leave_code = code;
    life_finish(l, reason, detail);
}

void life_end(struct life *l, enum end_reason reason, const char *detail)
{
    struct state_head *h = l->head;

    if (h->phase == PHASE_ENDED || h->end_wanted != REASON_NONE)
        return;
    h->end_wanted = reason;
    snprintf(h->detail, sizeof(h->detail), "%s", detail);
    log_info("session.ending", "reason", "s", end_reason_name(reason), NULL);
    if (h->phase < PHASE_STARTING) {
        bundle_cancel(l->bundle);
        l->bundle = NULL;
        life_finish(l, reason, detail);
        return;
    }
    life_hang_up(l);
}

void life_stop(struct life *l)
{
    if (l->head->phase != PHASE_ENDED)
        l->head->leave_code = LEAVE_STOPPED;
    l->stop_by_ms = loop_now_ms() + LIFE_STOP_MS;
    life_finish(l, REASON_RUNNER_LOST, "the platform stopped the session");
    life_linger(l);
}

/* --- leaving --- */

static void life_gone(void *arg)
{
    struct life *l = arg;

    loop_stop(l->loop);
}

/* Connections get their close frames, the shim its LEAVE; then we go. */
static void life_left(void *arg)
{
    struct life *l = arg;

    if (attach_count(l->attachments) == 0 && !l->shim_is_there)
        life_gone(l);
}

static void life_leave(struct life *l)
{
    if (l->is_leaving)
        return;
    l->is_leaving = true;
    loop_timer_stop(l->wait);
    l->wait = loop_timer_start(l->loop, LIFE_LEAVE_MS, 0, life_gone, l);
    loop_timer_stop(l->kill);
    l->kill = loop_timer_start(l->loop, 5, 5, life_left, l);
    attach_close_all(l->attachments, ERR_NONE, NULL);
    life_send_leave(l);
}
