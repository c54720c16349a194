#include "client/attach_internal.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/command.h"
#include "client/say.h"
#include "client/tty.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTACH_FDS 64
#define ATTACH_FRONT_MS 300  /* between looks at who has the terminal */
#define ATTACH_LEAVE_MS 1000 /* for the last messages to go out */

/* --- leaving --- */

static void attach_stop(void *arg)
{
    struct attach *a = arg;

    loop_stop(a->loop);
}

void attach_after(struct attach *a, struct loop_timer **t, int64_t ms,
                  void (*cb)(void *arg))
{
    if (*t)
        loop_timer_again(*t, ms, 0);
    else
        *t = loop_timer_start(a->loop, ms, 0, cb, a);
}

void attach_timer_off(struct loop_timer **t)
{
    loop_timer_stop(*t);
    *t = NULL;
}

/* Nothing is tried again from here; what is queued still goes out. */
static void attach_close(struct attach *a)
{
    a->is_leaving = true;
    atomic_store(&a->is_cancelled, true);
    attach_timer_off(&a->pause);
    attach_timer_off(&a->notice);
    if (a->source)
        source_want(a->source, 0);
    for (struct leg *l = a->legs; l; l = l->next)
        leg_close(l, 1000);
    attach_after(a, &a->limit, a->legs || a->ticket ? ATTACH_LEAVE_MS : 0,
                 attach_stop);
}

void attach_leave(struct attach *a, int status, const char *sentence)
{
    if (a->is_leaving)
        return;
    a->status = status;
    snprintf(a->parting, sizeof(a->parting), "%s", sentence ? sentence : "");
    attach_close(a);
}

void attach_part(struct attach *a, int status, const char *why)
{
    char text[REPLY_TEXT_MAX];
    own_mem char *flags = remote_flags(a->conf->remote);

    if (a->is_end_told)
        snprintf(text, sizeof(text),
                 "%.200s; that the session ends was not confirmed. To be sure: "
                 "podterm end %s%.200s",
                 why, a->conf->sid, flags);
    else
        snprintf(text, sizeof(text),
                 "%.200s; the session goes on. Attach again with: podterm "
                 "attach %s%s%.200s",
                 why, a->conf->sid,
                 a->conf->role == ROLE_VIEWER ? " --view" : "", flags);
    attach_leave(a, status, text);
}

static void attach_detached(void *arg)
{
    struct attach *a = arg;
    char why[128] = "detached";

    if (!link_is_idle(&a->link) && a->link.role == ROLE_OWNER)
        snprintf(why, sizeof(why),
                 "detached; the last %zu typed bytes have not arrived",
                 a->link.kept.len);
    a->is_detached = !a->is_leaving;
    attach_part(a, 0, why);
}

void attach_detach_check(struct attach *a)
{
    if (a->is_detaching && (link_is_idle(&a->link) || !a->leg))
        attach_detached(a);
}

void attach_detach(struct attach *a)
{
    a->is_detaching = true;
    attach_after(a, &a->parted, ATTACH_LEAVE_MS, attach_detached);
    attach_detach_check(a);
}

void attach_final(struct attach *a, const char *why, const char *detail)
{
    char text[REPLY_TEXT_MAX];

    snprintf(text, sizeof(text), "%s%s%.300s", why, detail[0] ? ": " : "",
             detail);
    attach_leave(a, EXIT_PODTERM, text);
}

/* The program's end is known: all of its output first. */
void attach_check(struct attach *a)
{
    bool is_acked =
        !a->leg || !a->link.is_ready || a->link.acked >= a->link.next;

    if (!a->has_end || a->is_leaving || a->is_asking || a->link.queued > 0)
        return;
    if (a->leg && !is_acked) { /* attach_drained comes back here */
        attach_want(a);
        return;
    }
    if (a->end.reason == REASON_RUNNER_LOST && !a->is_recorded)
        attach_ask_end(a);
    else
        attach_leave(a, reply_status(&a->end), NULL);
}

/* --- the terminal --- */

void attach_aside_over(void *arg)
{
    struct attach *a = arg;

    attach_timer_off(&a->aside);
    if (progress_clear(a->conf->progress))
        attach_repaint(a);
}

void attach_aside(struct attach *a)
{
    int64_t stands_ms = progress_stands_ms(a->conf->progress);

    attach_timer_off(&a->aside);
    if (stands_ms > 0) /* else as long as it is true */
        attach_after(a, &a->aside, stands_ms, attach_aside_over);
}

void attach_begin(struct attach *a)
{
    struct err e = {0};

    if (a->is_begun)
        return;
    a->is_begun = true;
    if (a->link.role == ROLE_VIEWER)
        progress_viewer(a->conf->progress);
    else if (a->is_tty)
        progress_way_out(a->conf->progress, a->escape.key);
    progress_begin(a->conf->progress, a->is_tty, sink_modes(a->sink));
    if (a->is_tty && tty_raw(STDIN_FILENO, STDOUT_FILENO, &e) < 0)
        attach_part(a, EXIT_PODTERM, e.text);
    attach_source(a); /* it may have begun in the background */
    attach_flow(a);
}

/* --- messages --- */

/* The connection is a good one: nothing is lost any more. */
static void attach_alive(struct attach *a)
{
    a->was_alive = true;
    a->lost_ms = 0;
    attach_timer_off(&a->notice);
}

static void attach_ready(struct attach *a, struct leg *l,
                         const struct reply_ready *r)
{
    bool is_first = !a->link.was_ready, was_told = a->is_lost_told;
    struct leg *old = a->leg;
    uint64_t skipped;

    attach_heard(a);
    a->leg = l;
    a->next = NULL;
    a->is_moving = a->has_rival = a->is_lost_told = false;
    if (old)
        leg_close(old, 1000);
    attach_alive(a);
    link_ready(&a->link, r);
    skipped = link_skipped(&a->link);
    a->skipped += skipped;
    /* signals that nobody confirmed */
    a->signals_due |= a->signals_sent;
    a->signals_sent = 0;
    if (a->is_end_told) /* nobody answers END: it may have been lost */
        attach_tell_end(a);
    if (is_first) {
        if (r->output_seen > a->link.next)
            sink_was_seen(a->sink, r->output_seen - a->link.next);
        progress_ready(a->conf->progress, r);
    } else if (was_told || skipped) {
        progress_back(a->conf->progress, skipped);
        attach_aside(a);
    }
    a->is_size_due |= a->is_resized; /* its HELLO had another */
    attach_resized(a);
    if (a->is_repaint_due)
        attach_repaint(a);
    attach_flow(a);
}

static void attach_on_ready(struct attach *a, struct leg *l,
                            const struct frame *f)
{
    struct reply_ready r;
    struct err e = {0};

    if (l == a->leg)
        return; /* twice: nothing new */
    if (reply_ready(f->body, f->body_len, &r, &e) == 0) {
        attach_ready(a, l, &r);
        return;
    }
    snprintf(l->why, sizeof(l->why), "%.120s", e.text);
    leg_close(l, 1002);
}

static void attach_on_stage(struct attach *a, const struct frame *f)
{
    struct reply_stage st;
    struct err e = {0};

    if (reply_stage(f->body, f->body_len, &st, &e) < 0)
        return; /* it is for show only */
    if (!a->link.was_ready)
        attach_alive(a);
    progress_stage(a->conf->progress, &st, loop_now_ms());
    attach_aside(a);
    if (strcmp(st.stage, "started") == 0 && strcmp(st.state, "done") == 0) {
        if (!a->is_started && a->conf->started)
            a->conf->started();
        a->is_started = true;
        attach_begin(a);
    }
}

static void attach_on_exit(struct attach *a, struct leg *l,
                           const struct frame *f)
{
    struct err e = {0};

    if (reply_exit(f->body, f->body_len, &a->end, &e) < 0) {
        snprintf(l->why, sizeof(l->why), "%.120s", e.text);
        leg_close(l, 1002);
        return;
    }
    a->has_end = true;
    attach_flow(a);
    attach_check(a);
}

static void attach_on_error(struct leg *l, const struct frame *f)
{
    struct err e = {0};

    l->has_error = reply_error(f->body, f->body_len, &l->error, &e) == 0;
    leg_close(l, 1000);
}

static void attach_on_move(struct attach *a)
{
    if (a->next || a->ticket || a->pause)
        return; /* under way */
    a->is_moving = true;
    attach_fetch(a);
}

void attach_frame(void *arg, struct leg *l, const struct frame *f)
{
    struct attach *a = arg;

    if (a->is_leaving || (l != a->leg && l != a->next))
        return;
    if (l == a->leg)
        attach_heard(a);
    if (f->type == FRAME_ERROR)
        attach_on_error(l, f);
    else if (f->type == FRAME_STAGE)
        attach_on_stage(a, f);
    else if (f->type == FRAME_READY)
        attach_on_ready(a, l, f);
    else if (l != a->leg)
        return;
    else if (f->type == FRAME_OUTPUT)
        attach_output(a, l, f);
    else if (f->type == FRAME_INPUT_ACK &&
             link_input_acked(&a->link, f->offset) == 0)
        attach_flow(a);
    else if (f->type == FRAME_EXIT)
        attach_on_exit(a, l, f);
    else if (f->type == FRAME_PONG)
        attach_pong(a, f);
    else if (f->type == FRAME_MOVE)
        attach_on_move(a);
}

/* --- signals --- */

static void attach_interrupt(struct attach *a, int signum)
{
    static const struct {
        int signum;
        unsigned frame;
    } table[] = {{SIGINT, FRAME_SIG_INT},
                 {SIGQUIT, FRAME_SIG_QUIT},
                 {SIGTERM, FRAME_SIG_TERM}};

    if (a->interrupts++ > 0) {
        attach_part(a, 128 + signum, "you left");
        return;
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (table[i].signum == signum)
            attach_signal(a, table[i].frame);
    progress_notice(a->conf->progress,
                    "passed on to the program; once more leaves it running");
}

/* After a stop the terminal is as the shell had it. In the background it is
 * not ours: shells bring a job that runs to the front without a word. */
void attach_continued(void *arg)
{
    struct attach *a = arg;
    struct err e = {0};

    if (!a->is_tty || a->is_leaving)
        return;
    if (!tty_is_front(STDIN_FILENO)) {
        attach_after(a, &a->front, ATTACH_FRONT_MS, attach_continued);
        return;
    }
    if (a->is_away && tty_raw(STDIN_FILENO, STDOUT_FILENO, &e) < 0) {
        attach_part(a, EXIT_PODTERM, e.text);
        return;
    }
    if (a->is_away) {
        progress_resumed(a->conf->progress);
        attach_away(a, false);
    }
    tty_again();
    attach_source(a);
    attach_resized(a);
    attach_repaint(a);
    attach_flow(a);
}

static void attach_on_signal(void *arg, int signum)
{
    struct attach *a = arg;

    if (signum == SIGCONT) {
        attach_continued(a);
    } else if (signum == SIGWINCH) {
        attach_resized(a);
    } else if (a->is_leaving) {
        loop_stop(a->loop);
    } else if (a->is_asking) {
        attach_leave(a, reply_status(&a->end), NULL);
    } else if (a->conf->role != ROLE_OWNER) {
        attach_part(a, 128 + signum, "you left");
    } else if (!a->is_started && a->conf->is_ours) {
        if (a->is_tty && signum == SIGINT)
            progress_interrupted(a->conf->progress);
        a->wants_end = true;
        attach_leave(a, 128 + signum, NULL);
    } else if (a->is_tty || signum == SIGHUP || !a->is_started) {
        attach_part(a, 128 + signum, "you left");
    } else {
        attach_interrupt(a, signum);
    }
}

static void attach_signals(struct attach *a)
{
    static const int list[ATTACH_SIGNALS] = {SIGWINCH, SIGINT,  SIGTERM,
                                             SIGHUP,   SIGQUIT, SIGCONT};

    struct sigaction hangup;

    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGHUP, NULL, &hangup);
    for (int i = 0; i < ATTACH_SIGNALS && list[i]; i++)
        if (list[i] != SIGHUP || hangup.sa_handler != SIG_IGN) /* nohup */
            a->signals[i] =
                loop_signal_start(a->loop, list[i], attach_on_signal, a);
}

/* --- the whole --- */

static int attach_open(struct attach *a, const struct attach_conf *conf,
                       struct err *e)
{
    a->conf = conf;
    a->status = EXIT_PODTERM;
    a->loop = loop_new();
    a->worker = worker_new(a->loop, 1, 4);
    a->ws = ws_context_new(a->loop, ATTACH_FDS, e);
    conf->remote->server.is_cancelled = &a->is_cancelled;
    attach_streams(a);
    if (!a->ws)
        return -1;
    attach_signals(a);
    return 0;
}

/* The terminal is the user's again: say how it ended. */
static void attach_tell(struct attach *a)
{
    struct progress *p = a->conf->progress;
    char text[REPLY_TEXT_MAX * 2];

    progress_finish(p);
    tty_restore();
    a->skipped += link_skipped(&a->link);
    if (a->skipped > 0 && a->is_tty) { /* it was told in passing, if at all */
        snprintf(text, sizeof(text),
                 "%" PRIu64 " bytes of output were skipped%s", a->skipped,
                 a->conf->role == ROLE_OWNER ? " while the connection was away"
                                             : "");
        progress_notice(p, text);
    }
    if (a->missing > 0) {
        snprintf(text, sizeof(text),
                 "the last %" PRIu64 " bytes of output did not arrive",
                 a->missing);
        progress_notice(p, text);
    }
    if (a->has_end) {
        reply_sentence(&a->end, text, sizeof(text));
        progress_end(p, &a->end, a->status, text);
    } else if (a->is_detached) {
        progress_detached(p, a->conf->sid, a->parting);
    } else if (a->parting[0]) {
        progress_failed(p, a->parting);
    }
}

static void attach_shut(struct attach *a)
{
    if (a->ws)
        ws_context_free(a->ws);
    while (a->legs) {
        struct leg *l = a->legs;

        a->legs = l->next;
        leg_free(l);
    }
    worker_free(a->worker);
    for (int i = 0; i < ATTACH_SIGNALS; i++)
        if (a->signals[i])
            loop_signal_stop(a->signals[i]);
    attach_streams_free(a);
    attach_timer_off(&a->pause);
    attach_timer_off(&a->notice);
    attach_timer_off(&a->aside);
    attach_timer_off(&a->probe);
    attach_timer_off(&a->limit);
    attach_timer_off(&a->front);
    attach_timer_off(&a->repaint);
    attach_timer_off(&a->parted);
    attach_timer_off(&a->verdict);
    attach_drop_token(a);
    loop_free(a->loop);
    free(a);
}

void attach_run(const struct attach_conf *conf, struct attach_result *out)
{
    struct attach *a = mem_zero(1, sizeof(*a));
    struct err e = {0};

    if (attach_open(a, conf, &e) < 0) {
        snprintf(a->parting, sizeof(a->parting), "%s", e.text);
    } else {
        attach_fetch(a);
        loop_run(a->loop);
    }
    a->is_leaving = true;
    attach_tell(a);
    *out = (struct attach_result){.status = a->status,
                                  .wants_end = a->wants_end,
                                  .is_stuck = a->ticket != NULL};
    if (a->ticket)
        return; /* its thread still uses all this: it goes with the process */
    conf->remote->server.is_cancelled = NULL;
    conf->remote->is_quiet = false;
    attach_shut(a);
}
