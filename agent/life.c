#include "agent/life_internal.h"

#include "agent/attach.h"
#include "agent/bundle.h"
#include "agent/egress.h"
#include "agent/launch.h"
#include "agent/report.h"
#include "agent/sandbox.h"
#include "base/frame.h"
#include "base/layer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Lines that a shim taken over can bring about. */
static struct log_rate shim_rate = {.burst = 20, .interval_ms = 1000};

static void life_bundle_start(struct life *l);

const struct agent_spec *life_spec(const struct life *l)
{
    return l->spec;
}

struct state *life_state(const struct life *l)
{
    return l->state;
}

void life_timer(struct life *l, struct loop_timer **slot, int64_t ms,
                void (*cb)(void *arg))
{
    loop_timer_stop(*slot);
    *slot = loop_timer_start(l->loop, ms, 0, cb, l);
}

static void life_stage(struct life *l, const char *stage, const char *state,
                       const char *detail, int64_t done, int64_t total)
{
    struct state_stage *st = state_stage_set(l->state, stage, state, detail,
                                             done, total, loop_wall_ms());

    if (l->attachments)
        attach_stage(l->attachments, st);
}

static int life_status(struct life *l, struct err *e)
{
    const char *state = l->head->started_ms ? "running" : "listening";

    return l->conf.status_path
               ? status_write(l->conf.status_path, state, l->conf.addr,
                              l->head->started_ms, l->spec->isolation,
                              l->head->layers, e)
               : 0;
}

/* A program runs, whether it can be told or not: it is tried again. */
static void life_status_running(struct life *l)
{
    struct err e = {0};
    bool was_due = l->is_status_due;

    if (l->conf.running)
        l->conf.running(l->conf.running_arg);
    l->conf.running = NULL;
    l->is_status_due = life_status(l, &e) < 0;
    if (l->is_status_due && !was_due)
        log_err(&e, "status.write");
}

/* --- shim and program --- */

static void life_shim_missing(void *arg)
{
    struct life *l = arg;

    if (l->head->phase == PHASE_ENDED)
        return;
    if (l->head->exit_kind >= 0)
        life_finish_exit(l); /* told before it went */
    else
        life_refuse(l, REASON_RUNNER_LOST, LEAVE_INTERNAL,
                    "the runner is gone");
}

/* A shim that still waits has lost what an earlier one had started. */
static bool life_shim_fits(const struct life *l, enum shim_state state)
{
    return state != SHIM_WAITING || l->head->phase < PHASE_RUNNING;
}

static void life_shim_hello(void *arg, enum shim_state state,
                            enum shim_end kind, int value)
{
    struct life *l = arg;

    (void)kind; /* exited follows in that state, once the PTY is here */
    (void)value;
    l->shim_is_there = true;
    l->head->cookie_used = 1;
    if (log_rate_ok(&shim_rate, loop_now_ms()))
        log_info("shim.hello", "state", "i", (int64_t)state, "suppressed", "i",
                 shim_rate.suppressed, NULL);
    if (l->head->phase == PHASE_ENDED) {
        if (l->is_leaving)
            life_send_leave(l);
        return;
    }
    loop_timer_stop(l->wait);
    l->wait = NULL;
    if (!life_shim_fits(l, state)) {
        life_refuse(l, REASON_RUNNER_LOST, LEAVE_PROTOCOL,
                    "the runner lost its program");
        return;
    }
    if (state == SHIM_WAITING)
        l->head->phase = l->argv ? PHASE_UNPACKED : PHASE_NEW;
    if (state == SHIM_WAITING && !l->argv && !l->bundle)
        life_bundle_start(l); /* START never reached it */
    if (l->head->end_wanted && state == SHIM_WAITING) {
        life_finish(l, l->head->end_wanted, l->head->detail);
        return;
    }
    if (l->head->end_wanted)
        life_hang_up(l); /* it was asked before we were killed */
    life_try_start(l);
}

/* --- the program --- */

/* Its own word is taken once, before the program has run. */
static void life_cage(struct life *l, const struct shimlink_run *run)
{
    own_json struct json *j = json_object();
    own_mem char *layers = NULL;
    char text[SANDBOX_TEXT_MAX];

    l->head->layers = (uint8_t)sandbox_layers(l->spec, run->held);
    l->head->landlock = run->landlock;
    layer_to_json(j, "holds", l->head->layers);
    layers = json_text(json_get(j, "holds"));
    log_info("session.start", "cage", "s", l->spec->cage, "holds", "s", layers,
             "landlock", "i", (int64_t)run->landlock, "egress", "s",
             l->spec->egress, NULL);
    sandbox_missing(l->spec, run->held, run->landlock, text);
    if (text[0])
        attach_notice(l->attachments, text);
}

static void life_shim_started(void *arg, int master_fd,
                              const struct shimlink_run *run)
{
    struct life *l = arg;
    struct state_head *h = l->head;

    terminal_adopt(l->terminal, master_fd);
    if (h->phase == PHASE_ENDED || h->started_ms != 0)
        return;
    h->started_ms = loop_wall_ms();
    h->started_mono_ms = h->active_mono_ms = loop_now_ms();
    if (!attach_has_owner(l->attachments))
        h->owner_gone_mono_ms = h->started_mono_ms;
    h->phase = PHASE_RUNNING;
    life_env_forget(l);
    life_stage(l, "started", "done", "", 0, 0);
    life_cage(l, run);
    life_status_running(l);
    malloc_trim(0); /* what fetching and starting took is not needed again */
}

static void life_shim_failed(void *arg, int error, const char *text)
{
    struct life *l = arg;
    char detail[sizeof(l->head->detail)];

    snprintf(detail, sizeof(detail), "%s: %s", text, strerror(error));
    life_refuse(l, REASON_START_FAILED, LEAVE_START_FAILED, detail);
}

static void life_shim_stopping(void *arg)
{
    struct life *l = arg;

    l->shim_is_there = false;
    if (terminal_has_master(l->terminal))
        terminal_drain(l->terminal); /* what there is may be told still */
    life_finish(l, REASON_RUNNER_LOST, "the platform stopped the runner");
}

static void life_shim_lost(void *arg, const struct err *why)
{
    struct life *l = arg;

    l->shim_is_there = false;
    if (!l->is_leaving && log_rate_ok(&shim_rate, loop_now_ms()))
        log_err(why, "shim.lost");
    if (l->head->phase == PHASE_ENDED)
        return;
    if (terminal_has_master(l->terminal))
        terminal_drain(l->terminal);
    if (l->head->exit_kind < 0)
        life_timer(l, &l->wait, LIFE_LEAVE_MS, life_shim_missing);
}

/* Bundle ready, shim there, proxies listening: the program starts. */
void life_try_start(struct life *l)
{
    struct err e = {0};
    struct launch launch = {
        .spec = l->spec,
        .argv = l->argv,
        .root = l->conf.runner_root,
        .home = l->conf.runner_home,
        .cols = l->head->cols,
        .rows = l->head->rows,
    };

    if (l->head->phase != PHASE_UNPACKED || !l->shim_is_there || !l->argv ||
        !l->has_listened)
        return;
    l->head->phase = PHASE_STARTING;
    if (launch_program(l->shim, &launch, &e) < 0)
        life_refuse(l, REASON_START_FAILED, LEAVE_START_FAILED, e.text);
}

/* --- bundle --- */

static void life_bundle_stage(void *arg, const struct bundle_stage *s)
{
    life_stage(arg, s->stage, s->state, s->detail, s->done, s->total);
}

static void life_bundle_done(void *arg, char **argv, const struct err *e)
{
    struct life *l = arg;

    l->bundle = NULL;
    if (l->head->phase == PHASE_ENDED) {
        bundle_argv_free(argv);
        return;
    }
    if (!argv) {
        log_err(e, "bundle.refused");
        life_refuse(l, REASON_BUNDLE_REFUSED, LEAVE_BUNDLE_REFUSED, e->text);
        return;
    }
    l->argv = argv;
    l->head->phase = PHASE_UNPACKED;
    life_try_start(l);
}

static const struct bundle_verbs bundle_verbs = {
    .stage = life_bundle_stage,
    .done = life_bundle_done,
};

static void life_bundle_start(struct life *l)
{
    struct bundle_conf conf = {
        .spec = l->spec,
        .bundle_dir = l->conf.bundle_dir,
        .tmp_dir = l->conf.tmp_dir,
        .cache_dir = l->conf.cache_dir,
        .cached_path = l->conf.cached_path,
        .keep_path = l->conf.keep_path,
        .runner_root = l->conf.runner_root,
        .verbs = &bundle_verbs,
        .arg = l,
    };

    l->bundle = bundle_start(l->loop, l->conf.worker, &conf);
}

/* --- attachments --- */

int life_input(struct life *l, uint64_t offset, const uint8_t *bytes,
               size_t len, struct err *e)
{
    if (terminal_input(l->terminal, offset, bytes, len, e) < 0)
        return -1;
    l->head->active_mono_ms = loop_now_ms();
    return 0;
}

void life_input_forget(struct life *l)
{
    terminal_input_forget(l->terminal);
}

void life_resize(struct life *l, uint16_t cols, uint16_t rows)
{
    l->head->active_mono_ms = loop_now_ms();
    if (l->head->cols == cols && l->head->rows == rows)
        return;
    l->head->cols = cols;
    l->head->rows = rows;
    terminal_resize(l->terminal, cols, rows);
    attach_resized(l->attachments);
}

void life_signal(struct life *l, uint8_t frame_signal)
{
    static const int signums[] = {
        [FRAME_SIG_INT] = SIGINT,   [FRAME_SIG_QUIT] = SIGQUIT,
        [FRAME_SIG_TERM] = SIGTERM, [FRAME_SIG_HUP] = SIGHUP,
        [FRAME_SIG_KILL] = SIGKILL,
    };
    int signum = signums[frame_signal];

    l->head->active_mono_ms = loop_now_ms();
    if (terminal_signal(l->terminal, signum) < 0)
        life_shim_signal(l, signum);
}

void life_told_exit(struct life *l)
{
    life_linger(l);
}

void life_acked(struct life *l)
{
    l->head->active_mono_ms = loop_now_ms();
    terminal_acked(l->terminal);
    if (l->head->phase == PHASE_ENDED)
        life_linger(l);
}

void life_owner(struct life *l, bool is_there)
{
    terminal_hold(l->terminal, true);
    l->head->owner_gone_mono_ms = is_there ? 0 : loop_now_ms();
    if (is_there)
        l->owner_came_ms = loop_now_ms();
    else
        terminal_input_forget(l->terminal);
    if (l->head->phase == PHASE_ENDED)
        life_linger(l);
}

/* Kept first: whoever starts after a kill judges by it. */
int life_viewers(struct life *l, const struct frame_viewers *v, struct err *e)
{
    if (state_viewers_set(l->state, v, e) < 0)
        return -1;
    attach_viewers(l->attachments, v);
    l->spec->viewers = *v;
    log_info("session.viewers", "version", "i", (int64_t)v->version, "count",
             "i", (int64_t)v->count, NULL);
    return 0;
}

/* --- time --- */

static void life_deadline(struct life *l, int64_t now)
{
    const enum deadline_verdict verdict =
        deadline_judge(&l->deadline, l->spec, l->head, now);
    char text[DEADLINE_TEXT_MAX];

    switch (verdict) {
    case DEADLINE_END_LIFETIME:
        life_end(l, REASON_LIFETIME, "its lifetime was over");
        break;
    case DEADLINE_END_IDLE:
        life_end(l, REASON_IDLE, "nobody used it");
        break;
    case DEADLINE_WARN_LIFETIME:
    case DEADLINE_WARN_IDLE:
        deadline_say(&l->deadline, verdict, text);
        attach_notice(l->attachments, text);
        break;
    case DEADLINE_NONE:
        break;
    }
}

static void life_tick(void *arg)
{
    struct life *l = arg;
    int64_t now = loop_now_ms();

    stall_beat(&l->stall);
    attach_tick(l->attachments, now);
    if (terminal_is_foul(l->terminal))
        life_refuse(l, REASON_RUNNER_LOST, LEAVE_PROTOCOL,
                    "the runner made its terminal block");
    if (l->is_status_due)
        life_status_running(l);
    if (l->head->phase != PHASE_RUNNING)
        return;
    life_deadline(l, now);
    if (!attach_has_owner(l->attachments) &&
        now - l->head->owner_gone_mono_ms >= l->spec->hold_s * 1000)
        terminal_hold(l->terminal, false);
}

/* --- birth --- */

static void life_terminal_output(void *arg)
{
    attach_output(((struct life *)arg)->attachments);
}

static void life_terminal_input(void *arg)
{
    attach_input_acked(((struct life *)arg)->attachments);
}

static const struct terminal_verbs terminal_verbs = {
    .output = life_terminal_output,
    .input = life_terminal_input,
    .ended = life_terminal_ended,
};

static const struct shimlink_verbs shim_verbs = {
    .hello = life_shim_hello,
    .listener = life_listener,
    .started = life_shim_started,
    .exited = life_shim_exited,
    .stopping = life_shim_stopping,
    .failed = life_shim_failed,
    .lost = life_shim_lost,
};

static void life_init_state(struct life *l)
{
    struct state_head *h = l->head;

    if (l->state->is_resumed)
        return;
    random_bytes(h->cookie, sizeof(h->cookie));
    h->created_ms = l->spec->created_ms;
    h->cols = l->spec->cols;
    h->rows = l->spec->rows;
    h->owner_gone_mono_ms = h->active_mono_ms = loop_now_ms();
}

/* A killed agent goes on from its phase; what was under way is done again. */
static void life_resume(struct life *l)
{
    struct state_head *h = l->head;

    if (h->owner_gone_mono_ms == 0) /* it went with us */
        h->owner_gone_mono_ms = loop_now_ms();
    if (h->phase == PHASE_ENDED) {
        life_report(l); /* we may have been killed before we could */
        attach_ended(l->attachments);
        life_linger(l);
        return;
    }
    if (h->phase < PHASE_STARTING) {
        h->phase = PHASE_NEW;
        life_bundle_start(l);
        return;
    }
    /* The shim comes back within a moment, or not at all. */
    life_timer(l, &l->wait, LIFE_SHIM_WAIT_MS, life_shim_missing);
}

struct life *life_new(const struct life_conf *conf, struct err *e)
{
    struct life *l = mem_zero(1, sizeof(*l));
    struct shimlink_conf shim = {
        .ipc_dir = conf->ipc_dir,
        .runner_uid = conf->runner_uid,
        .is_caged = strcmp(conf->spec->isolation, "full") == 0,
        .verbs = &shim_verbs,
        .arg = l,
    };

    l->conf = *conf;
    l->loop = conf->loop;
    l->spec = conf->spec;
    l->state = conf->state;
    l->head = conf->state->head;
    life_init_state(l);
    l->terminal =
        terminal_new(l->loop, l->state, (size_t)l->spec->input_window_bytes,
                     &terminal_verbs, l);
    shim.cookie = l->head->cookie;
    shim.is_cookie_spent = l->head->cookie_used != 0;
    l->shim = shimlink_new(l->loop, &shim, e);
    if (!l->shim) {
        life_free(l);
        return NULL;
    }
    return l;
}

int life_begin(struct life *l, struct attach_set *set, struct err *e)
{
    l->attachments = set;
    if (l->head->started_ms)
        life_status_running(l);
    else if (life_status(l, e) < 0)
        return -1;
    l->tick =
        loop_timer_start(l->loop, LIFE_TICK_MS, LIFE_TICK_MS, life_tick, l);
    life_resume(l);
    life_listen(l);
    return stall_start(&l->stall, STALL_NUDGE_MS, STALL_KILL_MS, e);
}

void life_free(struct life *l)
{
    if (!l)
        return;
    stall_stop(&l->stall);
    bundle_cancel(l->bundle);
    egress_free(l->egress);
    egress_free(l->broker);
    shimlink_free(l->shim);
    terminal_free(l->terminal);
    loop_timer_stop(l->tick);
    loop_timer_stop(l->kill);
    loop_timer_stop(l->drain);
    loop_timer_stop(l->wait);
    loop_timer_stop(l->listen);
    bundle_argv_free(l->argv);
    free(l);
}
